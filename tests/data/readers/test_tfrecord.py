"""TFRecord files without TensorFlow: checksums against known values, every damaged byte is noticed."""

import struct
from pathlib import Path

import numpy as np
import pytest
from foreign_datasets import example, tfrecord

from xwam.data.readers import tfrecord as module
from xwam.data.readers.tfrecord import TFRecordFile, crc32c, masked_crc32c
from xwam.errors import DataError


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),  # the check value of CRC-32C
        (bytes(32), 0x8A9136AA),  # RFC 3720, B.4
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_known_checksums(content: bytes, expected: int):
    assert crc32c(content) == expected


@pytest.mark.parametrize("length", [4095, 4096, 4097, 5000, 99_991])
def test_stretches_side_by_side_give_what_one_after_the_other_gives(length: int):
    content = np.random.default_rng(length).integers(0, 256, length, dtype=np.uint8).tobytes()
    assert crc32c(content) == module._crc32c_in_order(content)


def test_the_mask_is_tensorflows():
    """The header of a record of 10 bytes, as TensorFlow writes it."""
    crc = crc32c(struct.pack("<Q", 10))
    assert masked_crc32c(struct.pack("<Q", 10)) == ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


RECORD = example(
    {
        "floats": np.float32([1.5, -2.0, 3e10]),
        "integers": np.array([0, 1, -1, 2**40, -(2**62)]),
        "bytes": [b"first", b"", b"third"],
        "none": np.zeros(0, np.float32),
    }
)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_lists_come_back(tmp_path: Path):
    with TFRecordFile(write(tmp_path / "a", tfrecord([RECORD, RECORD]))) as file:
        assert len(file.records) == 2
        features = file.features(1)
        assert features["floats"].numbers().tolist() == [1.5, -2.0, np.float32(3e10)]
        assert features["integers"].numbers().tolist() == [0, 1, -1, 2**40, -(2**62)]
        assert [features["bytes"].bytes_at(number) for number in range(3)] == [b"first", b"", b"third"]
        assert len(features["none"]) == 0
        assert [len(features[name]) for name in ("floats", "integers", "bytes")] == [3, 5, 3]


def test_lists_that_are_not_packed_come_back(tmp_path: Path):
    """Old writers give every number a field of its own."""
    floats = b"".join(b"\x0d" + struct.pack("<f", value) for value in (1.0, 2.0))
    integers = b"\x08\x05\x08\x07"
    entries = b""
    for name, kind, content in ((b"f", 2, floats), (b"i", 3, integers)):
        feature = bytes([kind << 3 | 2, len(content)]) + content
        entry = b"\x0a\x01" + name + b"\x12" + bytes([len(feature)]) + feature
        entries += b"\x0a" + bytes([len(entry)]) + entry
    record = b"\x0a" + bytes([len(entries)]) + entries
    with TFRecordFile(write(tmp_path / "a", tfrecord([record]))) as file:
        features = file.features(0)
        assert features["f"].numbers().tolist() == [1.0, 2.0]
        assert features["i"].numbers().tolist() == [5, 7]


def test_every_damaged_byte_is_noticed(tmp_path: Path):
    intact = tfrecord([RECORD])
    for place in range(len(intact)):
        damaged = bytearray(intact)
        damaged[place] ^= 0x20
        with pytest.raises(DataError), TFRecordFile(write(tmp_path / "a", bytes(damaged))) as file:
            file.check(0)


def test_every_cut_is_noticed(tmp_path: Path):
    intact = tfrecord([RECORD, b"x"])
    end = len(tfrecord([RECORD]))
    for length in set(range(1, len(intact))) - {end}:
        with pytest.raises(DataError, match="cut off in the record"):
            TFRecordFile(write(tmp_path / "a", intact[:length]))


def test_other_files_are_no_tfrecord(tmp_path: Path):
    with pytest.raises(DataError, match="no header of a record"):
        TFRecordFile(write(tmp_path / "a", b"version https://git-lfs.github.com/spec/v1"))
    with pytest.raises(DataError, match="cannot be opened"):
        TFRecordFile(tmp_path / "absent")
    assert TFRecordFile(write(tmp_path / "empty", b"")).records == []


def test_a_record_that_is_no_example_is_called_so(tmp_path: Path):
    rng = np.random.default_rng(0)
    with TFRecordFile(
        write(tmp_path / "a", tfrecord([b"\x0a\xff\xff\xff\xff\x0f", b"\x0b", bytes([10] * 40)]))
    ) as file:
        for number in range(3):
            with pytest.raises(DataError, match=f"Record {number} is no tf.train.Example"):
                file.features(number)
    for _ in range(200):  # noise is an Example or is refused; nothing else happens
        noise = rng.integers(0, 256, 30, dtype=np.uint8).tobytes()
        with TFRecordFile(write(tmp_path / "a", tfrecord([noise]))) as file:
            try:
                file.features(0)
            except DataError:
                continue

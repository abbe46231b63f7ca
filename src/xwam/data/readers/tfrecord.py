"""TFRecord files and the `tf.train.Example` records in them, without TensorFlow.

A record is its length (8 bytes), a checksum of the length (4), its content, and a checksum of the content (4). Checksums are
masked CRC-32C. The content of an Example is a protocol buffer: a map from names to lists of bytes, floats or integers.

Source: `tensorflow/core/lib/io/record_writer.h` and `tensorflow/core/example/feature.proto`.
"""

import functools
import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xwam.errors import DataError

_HEADER, _FOOTER = 12, 4  # bytes
_MASK = 0xA282EAD8  # added to a checksum that was turned by 15 bits
_POLYNOMIAL = 0x82F63B78  # CRC-32C, lowest bit first
_LANES = 1024  # stretches of a content whose checksums are taken side by side
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5  # wire types of protocol buffers


class Record(NamedTuple):
    """Where the content of one record lies in its file.

    Args:
        start (`int`): Its first byte.
        length (`int`): Its bytes.
    """

    start: int
    length: int


class TFRecordFile:
    """One open TFRecord file. Use it in a `with` statement. Opening looks at the headers of records only.

    Args:
        path (`Path`): The file.

    Raises:
        DataError: If it is no such file, or it is cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._size = path.stat().st_size
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if self._size else None
        except OSError as error:
            raise DataError(f"The file cannot be opened: {error.strerror}.", path=str(path)) from error
        self.content = memoryview(self._map if self._map is not None else b"")
        try:
            self.records = list(self._headers())
        except DataError:
            self.close()
            raise

    def check(self, number: int) -> None:
        """Compare the content of a record with its checksum.

        Args:
            number (`int`): Number of the record.

        Raises:
            DataError: If they differ.
        """
        record = self.records[number]
        end = record.start + record.length
        (stored,) = struct.unpack_from("<I", self.content, end)
        if masked_crc32c(self.content[record.start : end]) != stored:
            raise DataError(f"Record {number} is damaged: its checksum differs.", path=str(self.path))

    def features(self, number: int) -> dict[str, "FeatureList"]:
        """The features of the Example in a record, of which nothing but names and places is read.

        Args:
            number (`int`): Number of the record.

        Raises:
            DataError: If the record is no Example.
        """
        record = self.records[number]
        try:
            return dict(_features(self.content, record.start, record.start + record.length))
        except (ValueError, IndexError, struct.error) as error:
            raise DataError(f"Record {number} is no tf.train.Example: {error}.", path=str(self.path)) from error

    def close(self) -> None:
        """Give the file back."""
        self.content.release()
        if self._map is not None:
            self._map.close()

    def __enter__(self) -> "TFRecordFile":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _headers(self) -> Iterator[Record]:
        place = 0
        while place < self._size:
            if place + _HEADER > self._size:
                raise self._cut_off(place)
            header = bytes(self.content[place : place + _HEADER])
            length, stored = struct.unpack("<QI", header)
            if masked_crc32c(header[:8]) != stored:
                raise DataError(f"The bytes at {place} are no header of a record.", path=str(self.path))
            start = place + _HEADER
            place = start + length + _FOOTER
            if place > self._size:
                raise self._cut_off(start)
            yield Record(start, length)

    def _cut_off(self, place: int) -> DataError:
        return DataError(f"The file is cut off in the record at byte {place}.", path=str(self.path))


class FeatureList:
    """One list of an Example.

    Args:
        kind (`str`): `"bytes"`, `"floats"` or `"integers"`; `"nothing"` for a list that was never set.
        content (`memoryview`): The file.
        start (`int`): First byte of the list.
        stop (`int`): One after its last byte.
    """

    def __init__(self, kind: str, content: memoryview, start: int, stop: int) -> None:
        self.kind, self._content, self._start, self._stop = kind, content, start, stop

    @functools.cached_property
    def places(self) -> list[tuple[int, int]]:
        """First byte, and one after the last, of every entry of a list of bytes."""
        return [(start, stop) for _, kind, start, stop in self._fields() if kind == _LENGTH]

    def bytes_at(self, number: int) -> bytes:
        """One entry of a list of bytes.

        Args:
            number (`int`): Which.
        """
        start, stop = self.places[number]
        return bytes(self._content[start:stop])

    def numbers(self) -> np.ndarray:
        """All entries of a list of floats, `float32`, or of integers, `int64`."""
        if self.kind == "integers":
            return _varints(b"".join(bytes(self._content[start:stop]) for _, _, start, stop in self._fields()))
        parts = [self._content[start:stop] for _, _, start, stop in self._fields()]
        return np.concatenate([np.frombuffer(part, dtype="<f4") for part in parts] or [np.zeros(0, np.float32)])

    def __len__(self) -> int:
        return len(self.places) if self.kind == "bytes" else len(self.numbers())

    def _fields(self) -> Iterator[tuple[int, int, int, int]]:
        return _fields(self._content, self._start, self._stop)


def masked_crc32c(content: bytes | memoryview) -> int:
    """The checksum that TFRecord files keep of some bytes.

    Args:
        content (`bytes` or `memoryview`): The bytes.
    """
    crc = crc32c(content)
    return (((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF


def crc32c(content: bytes | memoryview) -> int:
    """CRC-32C of some bytes.

    The remainder is linear: stretches of equal length are taken side by side, then joined in pairs by shifting the first
    past the second.

    Args:
        content (`bytes` or `memoryview`): The bytes.
    """
    data = np.frombuffer(content, dtype=np.uint8)
    if len(data) < 4 * _LANES:
        return _crc32c_in_order(content)
    steps = -(-len(data) // _LANES)
    lanes = np.zeros(_LANES * steps, dtype=np.uint8)  # zeros in front change nothing
    lanes[-len(data) :] = data
    lanes[-len(data) : len(lanes) - len(data) + 4] ^= 0xFF  # what a remainder that begins with ones amounts to
    columns = np.ascontiguousarray(lanes.reshape(_LANES, steps).T)
    table, crcs = _table(), np.zeros(_LANES, dtype=np.uint32)
    for column in columns:
        crcs = table[(crcs ^ column) & 0xFF] ^ (crcs >> 8)
    shift = _shift_past(steps)
    while len(crcs) > 1:
        crcs = _apply(shift, crcs[0::2]) ^ crcs[1::2]
        shift = _apply(shift, shift)
    return int(crcs[0]) ^ 0xFFFFFFFF


def _crc32c_in_order(content: bytes | memoryview) -> int:
    crc, table = 0xFFFFFFFF, _table_list()
    for byte in bytes(content):
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


@functools.cache
def _table() -> np.ndarray:
    """Remainder of every byte, `uint32` of shape `(256,)`."""
    crcs = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crcs = np.where(crcs & 1, (crcs >> 1) ^ np.uint32(_POLYNOMIAL), crcs >> 1).astype(np.uint32)
    return crcs


@functools.cache
def _table_list() -> list[int]:
    return [int(value) for value in _table()]


@functools.lru_cache(maxsize=64)
def _shift_past(length: int) -> np.ndarray:
    """What so many zero bytes make of each bit of a remainder, `uint32` of shape `(32,)`."""
    whole = np.uint32(1) << np.arange(32, dtype=np.uint32)
    step = _table()[whole & 0xFF] ^ (whole >> 8)
    while length:
        if length & 1:
            whole = _apply(step, whole)
        step, length = _apply(step, step), length >> 1
    return whole


def _apply(matrix: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """A linear map of bits, given by what it makes of each bit, on every vector of bits."""
    found = np.zeros_like(vectors)
    for bit in range(32):
        found ^= np.where((vectors >> np.uint32(bit)) & 1, matrix[bit], 0).astype(np.uint32)
    return found


def _features(content: memoryview, start: int, stop: int) -> Iterator[tuple[str, FeatureList]]:
    kinds = {1: "bytes", 2: "floats", 3: "integers"}
    for field, kind, begin, end in _fields(content, start, stop):
        if (field, kind) != (1, _LENGTH):
            raise ValueError(f"field {field} of type {kind} in an Example")
        for _, _, entry_begin, entry_end in _fields(content, begin, end):
            entry = {number: (first, last) for number, _, first, last in _fields(content, entry_begin, entry_end)}
            if 1 not in entry:
                raise ValueError("a feature without a name")
            name = bytes(content[slice(*entry[1])]).decode("utf-8")
            lists = list(_fields(content, *entry[2])) if 2 in entry else []
            if not lists:
                yield name, FeatureList("nothing", content, 0, 0)
            for number, _, first, last in lists[:1]:
                yield name, FeatureList(kinds.get(number, "nothing"), content, first, last)


def _fields(content: memoryview, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """Number, wire type and bytes of every field of a message."""
    place = start
    while place < stop:
        tag, place = _varint(content, place, stop)
        kind = tag & 7
        if kind == _LENGTH:
            length, place = _varint(content, place, stop)
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        elif kind == _VARINT:
            length = _varint(content, place, stop)[1] - place
        else:
            raise ValueError(f"wire type {kind}")
        if place + length > stop:
            raise ValueError("a field that is longer than its message")
        yield tag >> 3, kind, place, place + length
        place += length


def _varint(content: memoryview, place: int, stop: int) -> tuple[int, int]:
    value = 0
    for number in range(10):
        if place + number >= stop:
            break
        byte = content[place + number]
        value |= (byte & 0x7F) << (7 * number)
        if byte < 0x80:
            return value, place + number + 1
    raise ValueError("a number that does not end")


def _varints(content: bytes) -> np.ndarray:
    """Integers `int64` that stand one after the other."""
    values, place, view = [], 0, memoryview(content)
    while place < len(content):
        value, place = _varint(view, place, len(content))
        values.append(value - 2**64 if value >= 2**63 else value)
    return np.array(values, dtype=np.int64)

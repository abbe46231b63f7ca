"""Depth images are read by decoders that know nothing of this library: scikit-image, OpenCV, and the PNG's own bytes."""

import struct
import zlib

import numpy as np
import pytest
from skimage import io

from xwam.export.depth_images import depth_levels, read_depth_png, write_depth_png

RNG = np.random.default_rng(0)
DEPTH = np.where(RNG.uniform(size=(24, 32)) < 0.3, 0, RNG.uniform(0.2, 3.0, (24, 32))).astype(np.float32)


def chunks(path) -> list[tuple[bytes, bytes]]:
    """Kind and content of every chunk of a PNG."""
    data, found, start = path.read_bytes(), [], 8
    while start < len(data):
        (length,), kind = struct.unpack_from(">I", data, start), data[start + 4 : start + 8]
        content = data[start + 8 : start + 8 + length]
        assert zlib.crc32(kind + content) == struct.unpack_from(">I", data, start + 8 + length)[0]
        found.append((kind, content))
        start += length + 12
    return found


def test_levels_are_millimetres_and_zero_is_unknown(tmp_path):
    write_depth_png(tmp_path / "new" / "depth.png", DEPTH)
    levels = io.imread(tmp_path / "new" / "depth.png")
    assert (levels.dtype, levels.shape) == (np.uint16, DEPTH.shape)
    np.testing.assert_array_equal(levels == 0, DEPTH == 0)
    assert np.abs(levels / 1000 - DEPTH)[DEPTH > 0].max() <= 0.0005 + 1e-6
    assert np.abs(np.mean((levels / 1000 - DEPTH)[DEPTH > 0])) < 5e-5, "rounded to the nearest, so without bias"


def test_opencv_reads_the_same(tmp_path):
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    write_depth_png(tmp_path / "depth.png", DEPTH)
    levels = cv2.imread(str(tmp_path / "depth.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(levels, depth_levels(DEPTH))


@pytest.mark.parametrize("unit", [0.001, 0.0001, 0.01])
def test_the_file_says_its_unit_and_is_read_by_it(tmp_path, unit):
    write_depth_png(tmp_path / "depth.png", DEPTH, metres_per_level=unit)
    kinds = dict(chunks(tmp_path / "depth.png"))
    assert struct.unpack(">IIBB", kinds[b"IHDR"][:10]) == (32, 24, 16, 0), "16 bits, grey"
    assert kinds[b"tEXt"] == b"metres_per_level\0" + repr(unit).encode()
    read = read_depth_png(tmp_path / "depth.png")
    assert read.dtype == np.float32
    assert np.abs(read - DEPTH).max() <= unit / 2 * 1.001


def test_a_file_without_a_unit_is_not_guessed(tmp_path):
    io.imsave(tmp_path / "other.png", depth_levels(DEPTH), check_contrast=False)
    with pytest.raises(ValueError, match="must say its unit in the text 'metres_per_level'"):
        read_depth_png(tmp_path / "other.png")


def test_the_ends_of_the_range_are_kept(tmp_path):
    ends = np.array([[0.00051, 0.001, 65.535]])
    np.testing.assert_array_equal(depth_levels(ends), [[1, 1, 65535]])


@pytest.mark.parametrize(
    ("depth", "message"),
    [
        ([[1.0, 65.6]], r"`left` must be at most 65.535 m .* but reaches 65.6 m; give a greater `metres_per_level`"),
        ([[1.0, 0.0004]], r"`left` must be at least half a step of 0.001 m, but holds 0.0004 m"),
        ([[1.0, -0.1]], "holds negative, NaN or infinite values"),
        ([[1.0, np.nan]], "holds negative, NaN or infinite values"),
        ([1.0], r"`left` must have shape \(H W\)"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path, depth, message):
    with pytest.raises(ValueError, match=message):
        write_depth_png(tmp_path / "depth.png", np.array(depth, np.float32), name="left")
    assert not list(tmp_path.iterdir())


def test_wrong_arguments_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must end in .png"):
        write_depth_png(tmp_path / "depth.jpg", DEPTH)
    with pytest.raises(ValueError, match="`metres_per_level` must be positive, but is 0"):
        write_depth_png(tmp_path / "depth.png", DEPTH, metres_per_level=0)

import av
import numpy as np
import pytest

from xwam.data.video.pixels import PictureArrays

rng = np.random.default_rng(0)


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p", "rgb24", "gray12le"])
@pytest.mark.parametrize("size", [(48, 64), (34, 50), (40, 56), (16, 180)])  # in memory, rows of 50 pixels are padded
def test_colours_are_those_of_the_plain_conversion(pixel_format: str, size: tuple[int, int]):
    arrays = PictureArrays(size, pixel_format, False, 3)
    expected = []
    for number in range(3):
        picture = av.VideoFrame.from_ndarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8), format="rgb24")
        picture = picture.reformat(format=pixel_format)
        arrays.fill(number, picture)
        expected.append(picture.to_ndarray(format="rgb24"))
    np.testing.assert_array_equal(arrays.array, expected)
    assert arrays.array.shape == (3, *size, 3)


def test_codes_of_twelve_bits_are_kept():
    codes = rng.integers(0, 4096, (34, 50)).astype(np.uint16)
    arrays = PictureArrays((34, 50), "gray12le", True, 1)
    arrays.fill(0, av.VideoFrame.from_ndarray(codes, format="gray12le"))
    assert arrays.array.dtype == np.uint16
    np.testing.assert_array_equal(arrays.array, codes[None])


@pytest.mark.parametrize("width", [32, 50, 180])
def test_levels_of_a_video_reach_from_0_to_255(width: int):
    video = av.VideoFrame(width, 32, "yuv420p")
    luma = np.tile(np.linspace(16, 235, width).round(), (32, 1)).astype(np.uint8)
    for plane, values in zip(video.planes, (luma, np.full((16, width), 128), np.full((16, width), 128)), strict=True):
        rows = np.zeros((plane.height, plane.line_size), dtype=np.uint8)
        rows[:, : plane.width] = values[:, : plane.width]
        plane.update(rows.tobytes())
    arrays = PictureArrays((32, width), "yuv420p", True, 1)
    arrays.fill(0, video)
    levels = arrays.array[0]
    assert (levels.min(), levels.max()) == (0, 255)
    np.testing.assert_allclose(levels, (luma.astype(float) - 16) * 255 / 219, rtol=0, atol=1)
    np.testing.assert_array_equal(levels, video.to_ndarray(format="rgb24")[..., 0])  # as the release's reader rounds


def test_another_size_is_refused():
    arrays = PictureArrays((32, 32), "rgb24", False, 1)
    with pytest.raises(ValueError, match=r"size \(32, 48\), but the video \(32, 32\)"):
        arrays.fill(0, av.VideoFrame(48, 32, "rgb24"))

"""Decoded pictures into arrays."""

from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

_CODES = "gray12le"  # how depth of 12 bits is stored
_RGB = "rgb24"
# Twice as fast where chroma is full, and equal. From other formats FFmpeg 8 spoils the last columns of widths like 180.
_PLANES, _PLANAR_SOURCE = "gbrp", "yuv444p"
_GREEN_BLUE_RED = (1, 2, 0)


class PictureArrays:
    """Arrays of the pictures of one video.

    Args:
        size (`tuple[int, int]`): Height and width, in pixels.
        pixel_format (`str`): How the video stores pixels.
        is_depth (`bool`): Whether one number per pixel is wanted: 12-bit codes as they are, else levels from 0 to 255, which
            are the red of the picture: rounded as in RGB, where brightness alone would often be one level off.
        count (`int`): Number of pictures.
    """

    def __init__(self, size: tuple[int, int], pixel_format: str, is_depth: bool, count: int) -> None:
        if is_depth and pixel_format == _CODES:
            self._format = _CODES
        else:
            self._format = _PLANES if pixel_format == _PLANAR_SOURCE else _RGB
        self._is_level = is_depth and self._format != _CODES
        self._size = size
        self._converter = VideoReformatter()  # one of its own: a new one per picture costs as much as the picture
        dtype = np.uint16 if self._format == _CODES else np.uint8
        shape = {_RGB: (1, *size, 3), _PLANES: (3, *size)}.get(self._format, (1, *size))
        self._planes = np.empty((count, *shape), dtype=dtype)  # (n, planes, H, W) or (n, planes, H, W, 3)

    def fill(self, number: int, picture: av.VideoFrame) -> None:
        """Take a picture.

        Args:
            number (`int`): Which of the array's.
            picture (`av.VideoFrame`): What the decoder gave.

        Raises:
            ValueError: If it has another size.
        """
        if (picture.height, picture.width) != self._size:
            raise ValueError(f"The frame has size {(picture.height, picture.width)}, but the video {self._size}.")
        planes: Any = self._converter.reformat(picture, format=self._format, threads=1).planes
        for place, plane in zip(_GREEN_BLUE_RED if self._format == _PLANES else (0,), planes, strict=True):
            target = self._planes[number, place]
            pixels = np.frombuffer(plane, dtype=target.dtype).reshape(len(target), -1)
            target[:] = pixels[:, : target[0].size].reshape(target.shape)  # rows may be padded

    @property
    def array(self) -> np.ndarray:
        """RGB of shape `(n, H, W, 3)`, or numbers of shape `(n, H, W)`."""
        frames = self._planes.transpose(0, 2, 3, 1) if self._format == _PLANES else self._planes[:, 0]
        return frames[..., 0] if self._is_level else frames

"""Real frames and real depth beside this repository, for comparing metrics with other implementations of them."""

import numpy as np
from PIL import Image
from recorded_folder import RECORDED

from xwam.data.video.reader import read_frames

DROID = ("data", "droid_3view")
APC = ("data", "apc_rgbd_calibrated", "scene-0000")


def droid_frames(numbers: list[int]) -> np.ndarray:
    """RGB `(V, F, H, W, 3)` of all three cameras."""
    files = sorted(RECORDED.joinpath(*DROID).glob("*.mp4"))
    return np.stack([read_frames(file, numbers) for file in files])


def apc_depth(numbers: list[int]) -> np.ndarray:
    """Metres `(F, H, W)`, 0 where the sensor saw nothing."""
    paths = [RECORDED.joinpath(*APC, f"frame-{number:06d}.depth.png") for number in numbers]
    stored = np.stack([np.asarray(Image.open(path)).astype(np.uint16) for path in paths])
    return ((stored >> 3) | (stored << 13)).astype(np.float32) / 10000  # the bits are rotated by three

"""Levels of depth that has no unit in the 12 bits of a LeRobot depth video, and back: every sixteenth code is a level.

LeRobot itself has no word for such depth; the feature says `"depth_unit": "level"`. Its own reader takes the codes for metres.
"""

import numpy as np

UNIT = "level"
STEP = 16  # codes from one level to the next


def encode(levels: np.ndarray) -> np.ndarray:
    """Codes of levels, `uint16` of the same shape.

    Args:
        levels (`np.ndarray`): `uint8`, 255 near.
    """
    return levels.astype(np.uint16) * STEP


def decode(codes: np.ndarray) -> np.ndarray:
    """Levels of codes, `uint8` of the same shape: the inverse of `encode`.

    Args:
        codes (`np.ndarray`): Whole numbers from 0 to 4095.
    """
    return (codes // STEP).astype(np.uint8)


def shares() -> np.ndarray:
    """What each code stands for, `float32` of shape `(4096,)`: from 0, far, to 1, near."""
    return decode(np.arange(256 * STEP)).astype(np.float32) / 255

"""RGB frames to an mp4 that every browser plays, and all views of a future in one picture."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from xwam.export.files import replacing
from xwam.export.images import UNKNOWN_COLOUR
from xwam.utils.shapes import expect_shapes

QUALITY = "16"  # H.264's constant rate factor: lower is better; 16 cannot be told from the original by eye


def write_video(path: str | Path, frames: np.ndarray, *, fps: float) -> None:
    """Write an H.264 mp4 with 4:2:0 chroma.

    Args:
        path (`str` or `Path`): File to make, ending in `.mp4`; its folders are made too.
        frames (`np.ndarray` of shape `(F, H, W, 3)`): RGB `uint8`; height and width must be even.
        fps (`float`): Frames per second.

    Raises:
        ValueError: If the frames have another shape or type, an odd height or width, or the rate is not positive.
    """
    sizes = expect_shapes(frames=(frames, "F H W 3"))
    if frames.dtype != np.uint8:
        raise ValueError(f"`frames` must be uint8 but is {frames.dtype}.")
    if min(sizes.values()) < 1 or sizes["H"] % 2 or sizes["W"] % 2:
        raise ValueError(
            f"`frames` must have at least one frame of even height and width but has shape {frames.shape}."
        )
    if not 0 < fps < float("inf"):
        raise ValueError(f"`fps` must be positive but is {fps}.")
    if Path(path).suffix != ".mp4":
        raise ValueError(f"`path` must end in .mp4 but is {str(path)!r}.")
    with replacing(path) as temporary, av.open(str(temporary), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(100_000))
        stream.height, stream.width, stream.pix_fmt = sizes["H"], sizes["W"], "yuv420p"
        stream.options = {"crf": QUALITY}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode(None))


def side_by_side(frames: Mapping[str, np.ndarray], depths: Mapping[str, np.ndarray]) -> np.ndarray:
    """All views beside each other, in their order, coloured depth below RGB.

    Args:
        frames (`Mapping[str, np.ndarray]`): RGB `uint8` of shape `(F, H, W, 3)` by camera.
        depths (`Mapping[str, np.ndarray]`): Coloured depth of the same shape by camera. A camera without is grey; without any
            camera there is no row of depth.

    Returns:
        `np.ndarray` of shape `(F, 2 * H, V * W, 3)`: RGB `uint8`; `(F, H, V * W, 3)` without depth.

    Raises:
        ValueError: If there is no camera, the shapes differ, or there is depth of a camera that is not in `frames`.
    """
    if not frames:
        raise ValueError("`frames` must hold at least one camera, but is empty.")
    if extra := sorted(set(depths) - set(frames)):
        raise ValueError(f"`depths` holds {extra}, but the cameras are {list(frames)}.")
    labelled = [(f"frames[{name!r}]", own) for name, own in frames.items()]
    labelled += [(f"depths[{name!r}]", own) for name, own in depths.items()]
    expect_shapes(**{label: (own, "F H W 3") for label, own in labelled})
    rows = [np.concatenate(list(frames.values()), axis=2)]
    if depths:
        unknown = np.full_like(next(iter(frames.values())), 0) + np.array(UNKNOWN_COLOUR, np.uint8)
        rows.append(np.concatenate([depths.get(name, unknown) for name in frames], axis=2))
    return np.concatenate(rows, axis=1)

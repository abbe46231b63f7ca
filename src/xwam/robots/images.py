"""What the model sees of a picture: resized to its size, cut to a box, resized back; the box is the centre at inference."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch.nn.functional import interpolate

from xwam.geometry.cameras import center_crop_box
from xwam.geometry.depth import depth_to_image
from xwam.robots.spec import RobotSpec

CropBox = tuple[int, int, int, int]  # rows and columns (top, left, height, width) in pixels of the model's image


def images_to_frames(images: Sequence[np.ndarray], image_size: tuple[int, int], crop_ratio: float) -> torch.Tensor:
    """Frames `(V, 3, H, W)` in [-1, 1], float32.

    Source: `resize_and_center_crop_tensor` in the official `evaluation/policy_server.py`.

    Args:
        images (`Sequence[np.ndarray]` of shape `(h, w, 3)` each): RGB `uint8`, one per view.
        image_size (`tuple[int, int]`): Size (H, W) of the model's images.
        crop_ratio (`float`): Share of each side that the centre crop keeps.
    """
    box = center_crop_box(image_size, crop_ratio)
    return torch.cat([video_to_frames(np.asarray(image)[None], image_size, box) for image in images])


def video_to_frames(video: np.ndarray, image_size: tuple[int, int], box: CropBox) -> torch.Tensor:
    """Frames `(F, 3, H, W)` in [-1, 1] of one camera, float32, all cut alike.

    Args:
        video (`np.ndarray` of shape `(F, h, w, 3)`): RGB `uint8`.
        image_size (`tuple[int, int]`): Size (H, W) of the model's images.
        box (`tuple[int, int, int, int]`): What is kept of the resized image.
    """
    frames = _own(video).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)  # (F, 3, h, w)
    return _resize_and_crop(frames, image_size, box, "bilinear", "bilinear")


def frames_to_uint8(frames: torch.Tensor) -> np.ndarray:
    """RGB `uint8` of shape `(..., H, W, 3)` of imagined frames, cut off to whole numbers as in the release.

    Args:
        frames (`torch.Tensor` of shape `(..., 3, H, W)`): In [-1, 1]; what lies beyond is cut.
    """
    levels = ((frames + 1) * 127.5).clamp(0, 255).to(torch.uint8)
    return levels.movedim(-3, -1).cpu().numpy()


def depths_to_views(depths: Sequence[np.ndarray], image_size: tuple[int, int], crop_ratio: float) -> torch.Tensor:
    """Depth maps `(V, H, W)` in metres, float32, cut like the frames; no two measurements are mixed.

    Args:
        depths (`Sequence[np.ndarray]` of shape `(h, w)` each): Metres, one per view.
        image_size (`tuple[int, int]`): Size (H, W) of the model's images.
        crop_ratio (`float`): Share of each side that the centre crop keeps.
    """
    box = center_crop_box(image_size, crop_ratio)
    return torch.cat([video_to_depths(np.asarray(depth)[None], image_size, box) for depth in depths])


def video_to_depths(video: np.ndarray, image_size: tuple[int, int], box: CropBox) -> torch.Tensor:
    """Depth maps `(F, H, W)` of one camera, float32, cut like the frames; no two measurements are mixed.

    Source: `_read_video_frames` and `VideoAugmentation` in the official `data/`: `nearest-exact` to resize, `nearest` after
    the cut.

    Args:
        video (`np.ndarray` of shape `(F, h, w)`): Metres, or levels of depth that has no unit.
        image_size (`tuple[int, int]`): Size (H, W) of the model's images.
        box (`tuple[int, int, int, int]`): What is kept of the resized image.
    """
    maps = _own(video).float()[:, None]  # (F, 1, h, w)
    return _resize_and_crop(maps, image_size, box, "nearest-exact", "nearest")[:, 0]


def drawn_encoding(spec: RobotSpec) -> str:
    """How metres are drawn as depth images: `"inverse"` or `"linear"`. For relative depth any inverse depth will do."""
    return "linear" if spec.depth_encoding == "linear" else "inverse"


def encode_depths(
    spec: RobotSpec, depths: Mapping[str, np.ndarray]
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Depth images `(V, 3, H, W)` and the mask `(V, H, W)` of the pixels that were measured within their range.

    There are images only where depth of every camera is measured and has a range: nothing stands for a view without.

    Args:
        spec (`RobotSpec`): The robot.
        depths (`Mapping[str, np.ndarray]`): Metres by camera name, or empty.
    """
    if not depths:
        return None, None
    images, mask = [], torch.zeros(len(spec.cameras), *spec.image_size, dtype=torch.bool)
    for index, camera in enumerate(spec.cameras):
        if camera.depth_range is not None and camera.name in depths:
            (view,) = depths_to_views([depths[camera.name]], spec.image_size, spec.crop_ratio)
            image, mask[index] = depth_to_image(view, *camera.depth_range, drawn_encoding(spec))
            images.append(image)
    return torch.stack(images) if len(images) == len(spec.cameras) else None, mask


def _own(video: np.ndarray) -> torch.Tensor:
    """A tensor over the same memory where torch can have it."""
    return torch.from_numpy(np.require(video, requirements=("C", "W")))


def _resize_and_crop(
    video: torch.Tensor, image_size: tuple[int, int], box: CropBox, resize_mode: str, crop_mode: str
) -> torch.Tensor:
    """The walk of one view `(F, C, h, w)` to `(F, C, H, W)`; no antialiasing, as in the release."""
    top, left, height, width = box
    resized = _resize(video, image_size, resize_mode)
    return _resize(resized[..., top : top + height, left : left + width], image_size, crop_mode)


def _resize(video: torch.Tensor, size: tuple[int, int], mode: str) -> torch.Tensor:
    if tuple(video.shape[-2:]) == size:
        return video
    return interpolate(video, size=size, mode=mode, align_corners=False if mode == "bilinear" else None)

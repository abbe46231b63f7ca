"""What the pipelines return."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from diffusers.utils import BaseOutput

from xwam.export.future_folder import save_future, save_futures
from xwam.futures.depth_note import depth_note
from xwam.futures.future import Future
from xwam.futures.point_clouds import point_cloud
from xwam.structures import Camera, PointCloud


@dataclass
class XWAMPolicyOutput(BaseOutput):
    """Actions, one entry per observation.

    Args:
        actions (`list[ActionChunk]` or `torch.Tensor` of shape `(B, K, A)`): Commands in physical units, or normalized actions
            with `output_type="pt"`.
        states (`list[list[RobotState]]` or `torch.Tensor` of shape `(B, S, R)`): Predicted robot states at the F frames, the
            first one observed; normalized with `output_type="pt"`.
        timings (`dict[str, float]`): Seconds by stage.
    """

    actions: Any = None
    states: Any = None
    timings: dict[str, float] = field(default_factory=dict)


@dataclass
class XWAM4DOutput(BaseOutput):
    """A future, one entry per observation.

    Args:
        frames (`np.ndarray`, `torch.Tensor` or `list`): RGB video of every view. `output_type="np"`: `uint8`
            `(B, V, F, H, W, 3)`; `"pt"`: float32 `(B, V, F, 3, H, W)` in [-1, 1]; `"pil"`: images, nested as
            `[example][view][frame]`; `"latent"`: video latents `(B, C, T, V, h, w)`.
        depth_images (`np.ndarray` or `torch.Tensor`, *optional*): Depth images `(B, V, F, H, W)`, float32 in [-1, 1]; larger is
            nearer where the robot's spec declares inverse depth. With `"latent"` depth latents. `None` without depth branch, and
            with an interleaved one when the call was interrupted.
        actions (`list[ActionChunk]` or `torch.Tensor`): As in `XWAMPolicyOutput`; in forward dynamics those given, as the network
            read them.
        states (`list[list[RobotState]]` or `torch.Tensor`): As in `XWAMPolicyOutput`.
        timings (`dict[str, float]`): Seconds by stage.
        is_finished (`bool`, *optional*, defaults to `True`): Whether all steps were taken; a callback may interrupt them.
        futures (`list[Future]`, *optional*): The same in physical units, one per observation: depth in metres, cameras at every
            frame. `None` with `output_type` `"pt"` and `"latent"`, and so are the properties and methods that need it.
    """

    frames: Any = None
    depth_images: Any = None
    actions: Any = None
    states: Any = None
    timings: dict[str, float] = field(default_factory=dict)
    is_finished: bool = True
    futures: list[Future] | None = None

    def future(self, example: int = 0) -> Future:
        """One example in physical units.

        Args:
            example (`int`, *optional*, defaults to `0`): Which observation's.

        Raises:
            ValueError: If the pipeline was asked for tensors, or there is no such example.
        """
        futures = self._futures()
        if isinstance(example, bool) or not isinstance(example, int | np.integer) or not 0 <= example < len(futures):
            raise ValueError(f"`example` must be a whole number from 0 to {len(futures) - 1}, but is {example!r}.")
        return futures[example]

    def camera(self, name: str, frame: int, *, example: int = 0) -> Camera:
        """Calibration of one camera at one frame, in pixels of `frames`; what an arm carries moves with the predicted states.

        Args:
            name (`str`): Name of the camera.
            frame (`int`): From 0, observed, to F − 1.
            example (`int`, *optional*, defaults to `0`): Which observation's.

        Raises:
            ValueError: If the pipeline was asked for tensors, there is no such frame, or the calibration is unknown.
        """
        return self.future(example).camera(name, frame)

    def point_cloud(self, frame: int, *, example: int = 0, **options: Any) -> PointCloud:
        """Fuse the views of one frame into a coloured cloud in the robot base frame, in metres.

        Args:
            frame (`int`): From 0, observed, to F − 1.
            example (`int`, *optional*, defaults to `0`): Which observation's.
            options (`Any`): Passed to `xwam.futures.point_clouds.point_cloud`, such as `voxel_size`.

        Raises:
            ValueError: If there is no depth in metres or no calibration.
        """
        return point_cloud(self.future(example), frame, **options)

    def save(self, folder: str | Path, *, example: int | None = None, **options: Any) -> list[Path]:
        """Write videos, depth images, clouds, a Rerun recording and exact arrays; see docs/how_to/export_a_future.md.

        What an earlier export wrote there is replaced as a whole.

        Args:
            folder (`str` or `Path`): Folder to make. One example is written into it, several into `0000`, `0001`, … below.
            example (`int`, *optional*): Write only this observation's, into the folder itself.
            options (`Any`): Passed to `xwam.export.future_folder.save_future`, such as `formats`.

        Returns:
            `list[Path]`: The files.

        Raises:
            ValueError: If the pipeline was asked for tensors, or the folder holds files of somebody else.
        """
        futures = self._futures()
        if example is not None or len(futures) == 1:
            return save_future(folder, self.future(example or 0), **options)
        return save_futures(folder, futures, **options)

    @property
    def depths(self) -> np.ndarray:
        """Depth in metres, `float32` `(B, V, F, H, W)` in the order of `frames`; zero where nothing is known.

        A camera whose depth is unknown is zero all over. `future(example).depths` has the others by name.
        """
        views = [
            [future.depths.get(name, np.zeros(frames.shape[:3], np.float32)) for name, frames in future.frames.items()]
            for future in self._futures()
        ]
        return np.array(views, dtype=np.float32)

    @property
    def depth_masks(self) -> np.ndarray:
        """Where depth is known, `bool` of the shape of `depths`."""
        return self.depths > 0

    @property
    def depth_notes(self) -> list[str]:
        """What the depth of each example is, in words: metric, calibrated with which residual, relative or none."""
        return [depth_note(future) for future in self._futures()]

    @property
    def cameras(self) -> list[dict[str, list[Camera]]]:
        """Calibration by example and camera at the F frames, of the cameras where it is known."""
        return [
            {
                name: [future.camera(name, frame) for frame in range(future.num_frames)]
                for name in future.cameras
                if name in future.intrinsics and name in future.base_from_camera
            }
            for future in self._futures()
        ]

    def _futures(self) -> list[Future]:
        if self.futures is None:
            raise ValueError("Physical units need `output_type` 'np' or 'pil', but this output holds tensors.")
        return self.futures

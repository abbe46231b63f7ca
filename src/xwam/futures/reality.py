"""What really came, as the model would have seen it: from observations of a robot or from a recorded clip."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from xwam.futures.checks import check_future
from xwam.futures.future import Future
from xwam.geometry.cameras import center_crop_box
from xwam.robots.calibration import known_intrinsics, known_poses
from xwam.robots.clip_observation import clip_states
from xwam.robots.clip_views import clip_intrinsics, clip_poses
from xwam.robots.images import video_to_depths, video_to_frames
from xwam.robots.observation_checks import check_observation
from xwam.robots.spec import RobotSpec
from xwam.robots.states import RobotState
from xwam.structures import ActionChunk, Clip, Observation


def observed_future(
    spec: RobotSpec, observations: Sequence[Observation], commands: np.ndarray | ActionChunk | None = None
) -> Future:
    """What a robot saw, in the form of a dream: resized and cropped as at inference, camera matrices with it.

    Depth keeps what the sensor measured, also beyond the range that the model can say. The pose of a camera is what each
    observation reports, else what follows from the measured states.

    Args:
        spec (`RobotSpec`): The robot as the model knows it.
        observations (`Sequence[Observation]`): One for each frame, `control_period` · `actions_per_frame` seconds apart.
        commands (`np.ndarray` of shape `(K, columns)` or `ActionChunk`, *optional*): What was executed between them.

    Raises:
        ObservationError: If an observation does not fit the robot.
        ValueError: If there is none, they lie at other times, the control period is unknown, or commands do not fit.
    """
    period = _frame_period(spec)
    if len(observations) == 0:
        raise ValueError("`observations` must hold at least one observation, but is empty.")
    for observation in observations:
        check_observation(spec, observation)
    _check_times(observations, period)
    states: list[RobotState] = [{**own.arms, **own.joints} for own in observations]
    videos = {camera.name: np.stack([own.images[camera.name] for own in observations]) for camera in spec.cameras}
    measured = [camera.name for camera in spec.cameras if all(camera.name in own.depths for own in observations)]
    maps = {name: np.stack([own.depths[name] for own in observations]) for name in measured}
    return _future(
        spec,
        observations[0].instruction,
        videos,
        maps,
        depth_kind="measured" if maps else "none",
        intrinsics=known_intrinsics(spec, observations[0]),
        base_from_camera=_poses(spec, observations, states),
        states=tuple(states),
        actions=_executed(spec, _chunk(spec, commands, observations[0].time), len(observations)),
    )


def clip_future(spec: RobotSpec, clip: Clip) -> Future:
    """What a recorded window shows, in the form of a dream.

    Cameras that were not recorded are left out. Depth without a unit is left out, and `depth_kind` is `"relative"` then.
    Where any state was not measured, there are no states; where any command is unknown, there are no actions.

    Args:
        spec (`RobotSpec`): The robot as the model knows it.
        clip (`Clip`): A window of its recording.

    Raises:
        ValueError: If the clip is of another robot or has another form, or the control period is unknown.
    """
    if clip.robot != spec.name:
        raise ValueError(f"The clip must be of robot {spec.name!r}, but is of {clip.robot!r}.")
    box = [center_crop_box(spec.image_size, spec.crop_ratio)]
    own = [camera.name for camera in spec.cameras if camera.name in clip.images]
    depths = {name: clip.depths[name] for name in own if name in clip.depths}
    has_levels = any(name in clip.relative_depths for name in own)
    intrinsics, poses = {}, {}
    for camera in spec.cameras:
        alone = replace(spec, cameras=(camera,))
        if camera.name in clip.images and (matrix := clip_intrinsics(alone, clip, box)) is not None:
            intrinsics[camera.name] = matrix[0].numpy()
        if camera.name in clip.images and (path := clip_poses(alone, clip)) is not None:
            poses[camera.name] = path[0].numpy()
    return _future(
        spec,
        clip.instruction,
        clip.images,
        depths,
        depth_kind="measured" if depths else "relative" if has_levels else "none",
        intrinsics=intrinsics,
        base_from_camera=poses,
        states=tuple(clip_states(spec, clip) or ()),
        actions=_chunk(spec, clip.commands, 0.0) if clip.command_is_valid.all() else None,
    )


def _future(
    spec: RobotSpec,
    instruction: str,
    videos: Mapping[str, np.ndarray],
    maps: Mapping[str, np.ndarray],
    **facts: Any,
) -> Future:
    """Videos `(F, h, w, 3)` and depth maps `(F, h, w)` of the robot through the model's eyes."""
    box = center_crop_box(spec.image_size, spec.crop_ratio)
    names = [camera.name for camera in spec.cameras if camera.name in videos]
    frames = {name: _to_uint8(video_to_frames(videos[name], spec.image_size, box)) for name in names}
    known = {name: _known(maps[name]) for name in names if name in maps}
    depths = {name: video_to_depths(own, spec.image_size, box).numpy() for name, own in known.items()}
    future = Future(spec.name, instruction, _frame_period(spec), frames, depths, **facts)
    check_future(future, name="what was seen")
    return future


def _known(depth: np.ndarray) -> np.ndarray:
    """Depth with zero where nothing was measured; some sensors say NaN there, and some infinity."""
    return np.nan_to_num(depth.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)


def _to_uint8(frames: torch.Tensor) -> np.ndarray:
    """Frames `(F, 3, H, W)` in [-1, 1] as RGB `(F, H, W, 3)`, rounded, so that a camera's own pixels come back as they were.

    What a network makes is cut off instead (`frames_to_uint8`), as in the release: half a level darker in the mean.
    """
    levels = frames.clamp(-1, 1).add(1).mul(127.5).round()
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def _poses(
    spec: RobotSpec, observations: Sequence[Observation], states: Sequence[RobotState]
) -> dict[str, np.ndarray]:
    """Camera poses `(F, 4, 4)` by camera: as reported, else as the measured states carry them."""
    poses = {name: own.copy() for name, own in known_poses(spec, observations[0], states).items()}
    for camera in spec.cameras:  # one on an arm described by its joints is known where every observation reports it
        if all(camera.name in own.cameras for own in observations):
            poses.setdefault(camera.name, np.tile(np.eye(4), (len(observations), 1, 1)))
    for name, path in poses.items():
        for frame, observation in enumerate(observations):
            if name in observation.cameras:
                path[frame] = observation.cameras[name].base_from_camera
    return poses


def _frame_period(spec: RobotSpec) -> float:
    spec.require("control_period", purpose="tell the time between frames")
    return float(spec.control_period or 0) * spec.actions_per_frame


def _check_times(observations: Sequence[Observation], period: float) -> None:
    """Looks at another rate would be compared with the wrong frames. Recordings without a clock say zero throughout."""
    times = np.array([observation.time for observation in observations]) - observations[0].time
    expected = period * np.arange(len(times))
    if times.any() and (np.abs(times - expected) > period / 2).any():
        frame = int((np.abs(times - expected) > period / 2).argmax())
        raise ValueError(
            f"`observations[{frame}]` must be seen {expected[frame]:g} s after the first, since frames are {period:g} s apart, "
            f"but was seen {times[frame]:g} s after it."
        )


def _chunk(spec: RobotSpec, commands: np.ndarray | ActionChunk | None, start_time: float) -> ActionChunk | None:
    if commands is None or isinstance(commands, ActionChunk):
        return commands
    return ActionChunk(
        robot=spec.name,
        commands=np.asarray(commands, dtype=np.float64),
        columns=spec.command_columns,
        period=float(spec.control_period or 0),
        start_time=start_time,
    )


def _executed(spec: RobotSpec, actions: ActionChunk | None, num_frames: int) -> ActionChunk | None:
    expected = (num_frames - 1) * spec.actions_per_frame
    if actions is not None and len(actions.commands) != expected:
        raise ValueError(
            f"`commands` must be {expected}, {spec.actions_per_frame} for each step between {num_frames} observations, but are "
            f"{len(actions.commands)}."
        )
    return actions

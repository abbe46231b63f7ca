"""Clips with everything in them, and what the release's reader would make of them, written again from its rules."""

from dataclasses import replace

import numpy as np
import torch
from robot_samples import complete_spec, make_commands, make_states
from scipy.spatial.transform import Rotation
from torch.nn.functional import interpolate

from xwam.robots.spec import RobotSpec
from xwam.structures import ArmState, Clip

SIZE = (40, 56)


def small_spec(name: str, **changes: object) -> RobotSpec:
    """A registered robot that sees 5 small frames; its cameras measure depth."""
    spec = complete_spec(name)
    cameras = tuple(replace(camera, depth_range=camera.depth_range or (0.3, 5.0)) for camera in spec.cameras)
    return replace(spec, cameras=cameras, image_size=(32, 48), num_frames=5, **changes)


def make_clip(spec: RobotSpec, seed: int = 0, *, is_metric: bool = True) -> Clip:
    rng = np.random.default_rng(seed)
    states = make_states(spec, spec.num_actions + 1, seed)
    rows = []
    for state in states:
        numbers = []
        for arm in spec.arms:
            own = state[arm.name]
            numbers += [*own.position, *own.quaternion] if isinstance(own, ArmState) else [*own.positions]
            numbers.append(own.gripper)
        rows.append(numbers)
    commands = make_commands(spec, spec.num_actions, seed)
    names = [camera.name for camera in spec.cameras]
    shape = (spec.num_frames, *SIZE)
    metres = {name: rng.uniform(0.1, 6.0, shape).astype(np.float32) for name in names}
    for depth in metres.values():
        depth[:, :5] = 0.0
    return Clip(
        robot=spec.name,
        instruction="put the red cube into the bin",
        images={name: rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for name in names},
        states=np.array(rows),
        commands=commands,
        state_is_valid=np.ones((len(rows), len(rows[0])), dtype=bool),
        command_is_valid=np.ones(commands.shape, dtype=bool),
        depths=metres if is_metric else {},
        relative_depths={} if is_metric else {name: rng.integers(0, 256, shape, dtype=np.uint8) for name in names},
        source="made-up/000@0",
    )


def twin_frames(video: np.ndarray, size: tuple[int, int], box: tuple[int, int, int, int] | None) -> torch.Tensor:
    """`_read_video_frames` and `_apply_random_crop` of the release for pictures."""
    top, left, height, width = box or (0, 0, *size)
    array = np.transpose(video.astype(np.float32) / 127.5 - 1.0, (0, 3, 1, 2))
    frames = []
    for frame in array:
        resized = interpolate(torch.from_numpy(frame.copy())[None], size, mode="bilinear", align_corners=False)
        cut = resized[:, :, top : top + height, left : left + width]
        frames.append(interpolate(cut, size, mode="bilinear", align_corners=False)[0])
    return torch.stack(frames)


def twin_depth(levels: np.ndarray, size: tuple[int, int], box: tuple[int, int, int, int] | None) -> np.ndarray:
    """The same for depth: source pixel of each pixel by the definitions of `nearest-exact` and `nearest`."""
    top, left, height, width = box or (0, 0, *size)
    (rows, columns), frames = levels.shape[1:], levels.astype(np.float32) / 127.5 - 1.0
    down = np.floor((np.arange(size[0]) + 0.5) * rows / size[0]).astype(int)
    across = np.floor((np.arange(size[1]) + 0.5) * columns / size[1]).astype(int)
    cut = frames[:, down][:, :, across][:, top : top + height, left : left + width]
    down, across = np.arange(size[0]) * height // size[0], np.arange(size[1]) * width // size[1]
    return cut[:, down][:, :, across]


def twin_normalized(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    low, high = np.asarray(low, dtype=np.float32), np.asarray(high, dtype=np.float32)
    return (2.0 * (values.astype(np.float32) - low) / np.maximum(high - low, 1e-6) - 1.0).astype(np.float32)


def twin_numbers(spec: RobotSpec, clip: Clip) -> tuple[np.ndarray, np.ndarray]:
    """States `(S, channels)` and actions `(K, channels)`, normalised, for end-effector robots of any number of arms."""
    base = np.array(spec.model_from_base)
    states, actions, offset, own = [], [], 0, 0
    for arm in spec.arms:
        tool, quaternion = np.array(arm.model_from_tool), slice(offset + 3, offset + 7)
        position = clip.states[:, offset : offset + 3] @ base.T
        rotation = base @ Rotation.from_quat(clip.states[:, quaternion], scalar_first=True).as_matrix() @ tool.T
        opening = clip.states[:, offset + 7 : offset + 8]
        turned = Rotation.from_matrix(rotation).as_quat(canonical=True, scalar_first=True)
        states.append(np.concatenate([position, turned, opening], axis=1)[:: spec.actions_per_frame])
        if spec.command_kind == "raw":
            actions.append(clip.commands[:, own : own + 7])
            own += 7
        else:
            goal = clip.commands[:, offset : offset + 3] @ base.T - position[:-1]
            wanted = base @ Rotation.from_quat(clip.commands[:, quaternion], scalar_first=True).as_matrix() @ tool.T
            turn = Rotation.from_matrix(np.einsum("tij,tkj->tik", wanted, rotation[:-1])).as_rotvec()
            actions.append(np.concatenate([goal, turn, opening[1:] - opening[:-1]], axis=1))
        offset += 8
    low_high = spec.quantiles
    signs = np.ones(len(spec.action_columns))
    for column, arm in zip(range(6, len(signs), 7), spec.arms, strict=True):
        signs[column] = arm.gripper.action_sign
    return (
        twin_normalized(np.concatenate(states, axis=1), low_high.state_low, low_high.state_high),
        twin_normalized(np.concatenate(actions, axis=1), low_high.action_low, low_high.action_high) * signs,
    )

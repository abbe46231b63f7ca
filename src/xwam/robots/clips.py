"""Clips of recordings in the model's units: the border of training, over the same frames and signs as the robot's."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from xwam.errors import DataError
from xwam.geometry.cameras import center_crop_box
from xwam.geometry.matrix_checks import UNIT_TOLERANCE
from xwam.geometry.rotations import quaternion_conjugate, quaternion_multiply, quaternion_to_axis_angle
from xwam.robots.actions import commands_to_channels
from xwam.robots.clip_views import clip_intrinsics, clip_poses, encode_clip_depths, encode_frames
from xwam.robots.images import CropBox
from xwam.robots.layout import VectorLayout
from xwam.robots.observation_checks import GRIPPER_TOLERANCE
from xwam.robots.spec import ArmSpec, RobotSpec
from xwam.robots.states import model_poses, state_rows_to_channels
from xwam.robots.vector_codec import VectorCodec
from xwam.structures import Clip


@dataclass(frozen=True, eq=False)
class EncodedClip:
    """A window of a recording in the model's units.

    Args:
        frames (`torch.Tensor` of shape `(V, F, 3, H, W)`): RGB in [-1, 1], float32; -1 in views that were not recorded.
        states (`torch.Tensor` of shape `(S, R)`): Normalised states at the frames, float32; 0 where masked.
        actions (`torch.Tensor` of shape `(K, A)`): Normalised actions, float32; 0 where masked.
        state_mask (`torch.BoolTensor` of shape `(S, R)`): True where the state was measured.
        action_mask (`torch.BoolTensor` of shape `(K, A)`): True where the action is known.
        view_mask (`torch.BoolTensor` of shape `(V,)`): True where the view was recorded.
        instruction (`str`): The task in words.
        depth_images (`torch.Tensor` of shape `(V, F, 3, H, W)`, *optional*): Inverse depth in [-1, 1], float32, 1 near; -1 in
            views without. The three channels are equal and share their memory. `None` for a clip without depth.
        depth_mask (`torch.BoolTensor` of shape `(V, F, H, W)`, *optional*): True where depth was measured within its range.
        intrinsics (`torch.Tensor` of shape `(V, 3, 3)`, *optional*): Camera matrices in pixels of `frames`, float64; `None`
            unless those of all views are known.
        base_from_camera (`torch.Tensor` of shape `(V, F, 4, 4)`, *optional*): Camera poses in metres, float64; `None` unless
            those of all views are known.
        cameras (`tuple[str, ...]`): Name of the camera of each view.
        source (`str`): As in `Clip`.
    """

    frames: torch.Tensor
    states: torch.Tensor
    actions: torch.Tensor
    state_mask: torch.Tensor
    action_mask: torch.Tensor
    view_mask: torch.Tensor
    instruction: str
    depth_images: torch.Tensor | None = None
    depth_mask: torch.Tensor | None = None
    intrinsics: torch.Tensor | None = None
    base_from_camera: torch.Tensor | None = None
    cameras: tuple[str, ...] = ()
    source: str = ""


def encode_clip(spec: RobotSpec, clip: Clip, boxes: Sequence[CropBox] | None = None) -> EncodedClip:
    """A clip in the model's units, see `RobotProcessor.encode_clip`.

    Args:
        spec (`RobotSpec`): The robot, with its quantiles.
        clip (`Clip`): A window of its recording.
        boxes (`Sequence[tuple[int, int, int, int]]`, *optional*): What is kept of each view; the centre by default.

    Raises:
        DataError: If a number is not finite, a measured quaternion has another length than 1, or an opening is none.
        ValueError: If the clip is of another robot or has another form, a box leaves the image, or the spec lacks what is
            needed.
    """
    spec.require("command_kind", "model_from_base", "quantiles", "arms", purpose="encode clips")
    _check_numbers(spec, clip)
    if boxes is None:
        boxes = [center_crop_box(spec.image_size, spec.crop_ratio)] * len(spec.cameras)
    _check_boxes(spec, boxes)
    frames, view_mask = encode_frames(spec, clip, boxes)
    depth_images, depth_mask = encode_clip_depths(spec, clip, boxes)
    rows = slice(None, None, spec.actions_per_frame)
    states, state_mask = _masked_vectors(
        VectorCodec.of_states(spec),
        spec.state_layout,
        state_channels(spec, clip.states[rows]),
        valid_state_channels(spec, clip.state_is_valid[rows]),
    )
    actions, action_mask = _masked_vectors(
        VectorCodec.of_actions(spec),
        spec.action_layout,
        action_channels(spec, clip.states, clip.commands),
        valid_action_channels(spec, clip.state_is_valid, clip.command_is_valid),
    )
    return EncodedClip(
        frames=frames,
        states=states,
        actions=actions,
        state_mask=state_mask,
        action_mask=action_mask,
        view_mask=view_mask,
        instruction=clip.instruction,
        depth_images=depth_images,
        depth_mask=depth_mask,
        intrinsics=clip_intrinsics(spec, clip, boxes),
        base_from_camera=clip_poses(spec, clip),
        cameras=tuple(camera.name for camera in spec.cameras),
        source=clip.source,
    )


def state_channels(spec: RobotSpec, states: np.ndarray) -> torch.Tensor:
    """State channels `(n, channels)` before normalisation, in the model's frames, float64; finite where the states are.

    Args:
        spec (`RobotSpec`): The robot.
        states (`np.ndarray` of shape `(n, columns)`): States as in `Clip.states`.
    """
    return state_rows_to_channels(spec, _with_unit_quaternions(spec, spec.state_layout, states))


def action_channels(spec: RobotSpec, states: np.ndarray, commands: np.ndarray) -> torch.Tensor:
    r"""Action channels `(K, channels)` before normalisation, in the model's frames, float64; finite where the clip is.

    Recorded poses become what they ask of the measured state: \(\Delta p_j = p^a_j - p^s_j\),
    \(\Delta\theta_j = \log(R^a_j {R^s_j}^T)\), and the gripper what it did, \(g^s_{j+1} - g^s_j\). Commands of other kinds
    are turned as those of a robot are.

    Source: `_build_delta_action_tensor` and `_build_raw_action_tensor` in the official `data/robot_dataset.py`.

    Args:
        spec (`RobotSpec`): The robot.
        states (`np.ndarray` of shape `(K + 1, columns)`): States as in `Clip.states`.
        commands (`np.ndarray` of shape `(K, columns)`): Commands as in `Clip.commands`.
    """
    if spec.command_kind != "absolute_end_effector":
        return commands_to_channels(spec, torch.from_numpy(np.array(commands, dtype=np.float64)), {})
    measured = _with_unit_quaternions(spec, spec.state_layout, states)
    commanded = _with_unit_quaternions(spec, spec.command_layout, commands)
    layout = spec.action_layout
    channels = torch.empty(len(commands), len(layout.columns), dtype=torch.float64)
    for arm in spec.arms:
        position, quaternion = _model_poses(spec, arm, spec.state_layout, measured[:-1])
        goal, turned = _model_poses(spec, arm, spec.command_layout, commanded)
        turn = quaternion_multiply(turned, quaternion_conjugate(quaternion))
        channels[:, layout.part(f"{arm.name}_position")] = goal - position
        channels[:, layout.part(f"{arm.name}_rotation")] = quaternion_to_axis_angle(turn)
        openings = measured[:, spec.state_layout.part(f"{arm.name}_gripper")]
        channels[:, layout.part(f"{arm.name}_gripper")] = openings.diff(dim=0)
    return channels


def valid_state_channels(spec: RobotSpec, is_valid: np.ndarray) -> np.ndarray:
    """Which of `state_channels` were measured, bool `(n, channels)`; a pose is measured as a whole.

    Args:
        spec (`RobotSpec`): The robot.
        is_valid (`np.ndarray` of shape `(n, columns)`): As in `Clip.state_is_valid`.
    """
    return _whole_vectors(spec, spec.state_layout, is_valid)


def valid_action_channels(spec: RobotSpec, state_is_valid: np.ndarray, command_is_valid: np.ndarray) -> np.ndarray:
    """Which of `action_channels` are known, bool `(K, channels)`.

    Args:
        spec (`RobotSpec`): The robot.
        state_is_valid (`np.ndarray` of shape `(K + 1, columns)`): As in `Clip`.
        command_is_valid (`np.ndarray` of shape `(K, columns)`): As in `Clip`.
    """
    if spec.command_kind in ("raw", "joint_position"):
        return np.array(command_is_valid, dtype=bool)
    commanded = _whole_vectors(spec, spec.command_layout, command_is_valid)
    if spec.command_kind == "delta_end_effector":
        return commanded
    measured = _whole_vectors(spec, spec.state_layout, state_is_valid)
    known = np.empty((len(commanded), len(spec.action_layout.columns)), dtype=bool)
    for arm in spec.arms:
        for part in ("position", "rotation"):
            source, target = spec.command_layout.part(f"{arm.name}_{part}"), f"{arm.name}_{part}"
            both = np.all(commanded[:, source] & measured[:-1, source], axis=1, keepdims=True)
            known[:, spec.action_layout.part(target)] = both
        opening = measured[:, spec.state_layout.part(f"{arm.name}_gripper")]
        known[:, spec.action_layout.part(f"{arm.name}_gripper")] = opening[1:] & opening[:-1]
    return known


def _masked_vectors(
    codec: VectorCodec, layout: VectorLayout, channels: torch.Tensor, is_valid: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """Model vectors `(n, size)` in float32, zero where they are not valid, and where they are, bool `(n, size)`."""
    mask = torch.zeros(len(channels), layout.size, dtype=torch.bool)
    mask[:, list(layout.slots)] = torch.from_numpy(is_valid)
    return codec.encode(channels).float().masked_fill_(~mask, 0), mask


def _check_numbers(spec: RobotSpec, clip: Clip) -> None:
    if clip.robot != spec.name:
        raise ValueError(f"The clip must be of robot {spec.name!r}, but is of {clip.robot!r}.")
    for field, rows, layout in (
        ("state", spec.num_actions + 1, spec.state_layout),
        ("command", spec.num_actions, spec.command_layout),
    ):
        values, is_valid = getattr(clip, f"{field}s"), getattr(clip, f"{field}_is_valid")
        for name, array in ((f"{field}s", values), (f"{field}_is_valid", is_valid)):
            if array.shape != (rows, len(layout.columns)):
                raise ValueError(
                    f"`{name}` of the clip must have shape {(rows, len(layout.columns))}, but has {array.shape}."
                )
        _check_finite(clip, field, layout, values)
        for arm in spec.arms:
            if any(part == f"{arm.name}_rotation" and width == 4 for part, width in layout.parts):
                part = layout.part(f"{arm.name}_rotation")
                _check_unit(clip, f"{arm.name} {field}", values[:, part], is_valid[:, part].all(axis=1))
            if field == "state":
                part = layout.part(f"{arm.name}_gripper")
                _check_openings(clip, layout.columns[part][0], values[:, part][:, 0], is_valid[:, part][:, 0])


def _check_finite(clip: Clip, field: str, layout: VectorLayout, values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise DataError(
            f"A {field} is {values[row, column]} in row {row} of the window.",
            episode=clip.source,
            feature=layout.columns[column],
        )


def _check_unit(clip: Clip, name: str, quaternions: np.ndarray, is_valid: np.ndarray) -> None:
    lengths: np.ndarray = np.linalg.norm(quaternions, axis=1)
    wrong = np.flatnonzero(is_valid & (np.abs(lengths - 1) > UNIT_TOLERANCE))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"The quaternion must have length 1, but has {lengths[row]:.4g} in row {row} of the window.",
            episode=clip.source,
            feature=name,
        )


def _check_openings(clip: Clip, name: str, openings: np.ndarray, is_valid: np.ndarray) -> None:
    """The same bounds as for an observation: what is trained on can also be asked for."""
    inside = (openings >= -GRIPPER_TOLERANCE) & (openings <= 1 + GRIPPER_TOLERANCE)
    wrong = np.flatnonzero(is_valid & ~inside)
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"The opening must be from 0 closed to 1 open, but is {openings[row]:.4g} in row {row} of the window.",
            episode=clip.source,
            feature=name,
        )


def _check_boxes(spec: RobotSpec, boxes: Sequence[CropBox]) -> None:
    if len(boxes) != len(spec.cameras):
        raise ValueError(f"`boxes` must hold one box per camera, {len(spec.cameras)} in all, but holds {len(boxes)}.")
    height, width = spec.image_size
    for number, (top, left, rows, columns) in enumerate(boxes):
        if not (0 <= top < top + rows <= height and 0 <= left < left + columns <= width):
            raise ValueError(
                f"`boxes[{number}]` must lie in the image of size {spec.image_size}, but is {tuple(boxes[number])}."
            )


def _whole_vectors(spec: RobotSpec, layout: VectorLayout, is_valid: np.ndarray) -> np.ndarray:
    """Frames turn positions and rotations, so that one missing number leaves none."""
    whole = np.array(is_valid, dtype=bool)
    for arm in spec.arms:
        for part in ("position", "rotation") if arm.num_joints is None else ():
            own = layout.part(f"{arm.name}_{part}")
            whole[:, own] = whole[:, own].all(axis=1, keepdims=True)
    return whole


def _with_unit_quaternions(spec: RobotSpec, layout: VectorLayout, rows: np.ndarray) -> torch.Tensor:
    """Rows in float64; quaternions that were not measured, which are zero, become the identity."""
    values = np.array(rows, dtype=np.float64)
    for arm in spec.arms:
        if arm.num_joints is None:
            part = layout.part(f"{arm.name}_rotation")
            values[~values[:, part].any(axis=1), part] = (1.0, 0.0, 0.0, 0.0)
    return torch.from_numpy(values)


def _model_poses(
    spec: RobotSpec, arm: ArmSpec, layout: VectorLayout, rows: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    position, rotation = (rows[:, layout.part(f"{arm.name}_{part}")] for part in ("position", "rotation"))
    return model_poses(spec, arm, position, rotation)

"""What is wrong between the fields of a `RobotSpec`, one sentence each."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from xwam.geometry.matrix_checks import FARTHEST_DEPTH, intrinsics_problem, rigid_problem, rotation_problem
from xwam.robots.layout import COMMAND_FORMS

if TYPE_CHECKING:
    from xwam.robots.spec import CameraSpec, RobotSpec

# Far above any robot: a broken file must not make anything large.
MAX_SIDE = 16384  # pixels
MAX_CHANNELS = 1024
MAX_JOINTS = 64
MAX_FRAMES = 1025
LONGEST_PERIOD = 4.0  # seconds; what is above is a rate in Hz

DEPTH_ENCODINGS = ("inverse", "linear", "relative")
VAE_TIME_STRIDE = 4  # RGB frames per latent frame of the Wan2.2 VAE


def name_problems(name: str) -> Iterator[str]:
    """A name is a key in observations, columns and file names."""
    if not re.fullmatch(r"[^\s./\\:\0]{1,100}", name):
        yield f"`name` must be 1 to 100 characters without spaces, dots, colons or slashes, but is {name[:100]!r}"


def size_problems(field: str, size: tuple[int, int]) -> Iterator[str]:
    """A size (H, W) that no image has."""
    if not all(1 <= side <= MAX_SIDE for side in size):
        yield f"`{field}` must be (H, W) from 1 to {MAX_SIDE}, but is {size}"


def camera_problems(camera: "CameraSpec") -> Iterator[str]:
    """Names, sizes and calibration that no camera has."""
    yield from name_problems(camera.name)
    yield from size_problems("size", camera.size)
    if camera.intrinsics is not None and (problem := intrinsics_problem(camera.intrinsics, camera.size)):
        yield f"`intrinsics` {problem}"
    for field in ("base_from_camera", "tool_from_camera"):
        if (pose := getattr(camera, field)) is not None and (problem := rigid_problem(pose)):
            yield f"`{field}` {problem}"
    if camera.arm is None and camera.tool_from_camera is not None:
        yield "`tool_from_camera` needs `arm`, the arm that carries the camera"
    if camera.arm is not None and camera.base_from_camera is not None:
        yield "`base_from_camera` is only for a camera that no arm carries"
    if camera.depth_range is not None and not 0 < camera.depth_range[0] < camera.depth_range[1]:
        yield f"`depth_range` must be 0 < near < far, but is {camera.depth_range}"
    elif camera.depth_range is not None and camera.depth_range[0] > FARTHEST_DEPTH:
        yield f"`depth_range` must be metres, but begins at {camera.depth_range[0]:g}, farther than any robot looks"


def number_problems(spec: "RobotSpec") -> Iterator[str]:
    """Numbers outside their range."""
    yield from name_problems(spec.name)
    if spec.control_period is not None and spec.control_period <= 0:
        yield f"`control_period` must be positive seconds, but is {spec.control_period}"
    elif spec.control_period is not None and spec.control_period > LONGEST_PERIOD:
        yield f"`control_period` must be seconds between commands, not commands per second, but is {spec.control_period}"
    yield from size_problems("image_size", spec.image_size)
    if not 0 < spec.crop_ratio <= 1:
        yield f"`crop_ratio` must be in (0, 1], but is {spec.crop_ratio}"
    elif min(int(side * spec.crop_ratio) for side in spec.image_size) < 1:
        yield f"`crop_ratio` {spec.crop_ratio} leaves nothing of images of size {spec.image_size}"
    if spec.depth_encoding not in DEPTH_ENCODINGS:
        yield f"`depth_encoding` must be one of {list(DEPTH_ENCODINGS)}, but is {spec.depth_encoding!r}"
    if not 1 < spec.num_frames <= MAX_FRAMES or (spec.num_frames - 1) % VAE_TIME_STRIDE:
        yield f"`num_frames` must be 5, 9, 13, … {MAX_FRAMES}, but is {spec.num_frames}"
    for field in ("actions_per_frame", "state_dim", "action_dim"):
        if not 1 <= getattr(spec, field) <= MAX_CHANNELS:
            yield f"`{field}` must be from 1 to {MAX_CHANNELS}, but is {getattr(spec, field)}"
    if spec.model_from_base is not None and (problem := rotation_problem(spec.model_from_base)):
        yield f"`model_from_base` {problem}"


def structure_problems(spec: "RobotSpec") -> Iterator[str]:
    """Arms, cameras and commands that do not belong together."""
    for field in ("arms", "cameras"):
        counts = Counter(entry.name for entry in getattr(spec, field))
        if not counts:
            yield f"`{field}` must not be empty"
        if twice := [name for name, count in counts.items() if count > 1]:
            yield f"`{field}` must have different names, but {twice} occur more than once"
    arms = [arm.name for arm in spec.arms]
    for camera in spec.cameras:
        if camera.arm is not None and camera.arm not in arms:
            yield f"`cameras`: {camera.name!r} is carried by arm {camera.arm!r}, but arms are {arms}"
    yield from _command_problems(spec)


def _command_problems(spec: "RobotSpec") -> Iterator[str]:
    if spec.command_kind is not None and spec.command_kind not in COMMAND_FORMS:
        yield f"`command_kind` must be one of {sorted(COMMAND_FORMS)} or unknown, but is {spec.command_kind!r}"
        return
    for arm in spec.arms:
        needs_joints = spec.command_kind == "joint_position"
        if spec.command_kind is not None and needs_joints != (arm.num_joints is not None):
            form = "`num_joints`" if needs_joints else "tool poses, so `num_joints` unset"
            yield f"`command_kind` {spec.command_kind!r} needs {form} for arm {arm.name!r}, which has {arm.num_joints}"
    if spec.raw_scale is not None and spec.command_kind != "raw":
        yield f"`raw_scale` is only for raw commands, but `command_kind` is {spec.command_kind!r}"


def slot_problems(spec: "RobotSpec") -> Iterator[str]:
    """Channels without a slot of their own in the model's vectors."""
    for field, size, columns in (
        ("state_slots", spec.state_dim, spec.state_columns),
        ("action_slots", spec.action_dim, spec.action_columns),
    ):
        slots = getattr(spec, field)
        if len(slots) != len(columns):
            yield f"`{field}` must have one slot for each of {len(columns)} channels, but has {len(slots)}"
        if outside := [slot for slot in slots if not 0 <= slot < size]:
            yield f"`{field}` must be in 0 … {size - 1}, but holds {outside}"
        if len(set(slots)) != len(slots):
            yield f"`{field}` must be different slots, but is {slots}"


def quantile_problems(spec: "RobotSpec") -> Iterator[str]:
    """Quantiles of another length, upside down, or for channels that pass through."""
    if spec.quantiles is None:
        return
    for kind, columns, is_normalized in (
        ("state", spec.state_columns, spec.state_is_normalized),
        ("action", spec.action_columns, spec.action_is_normalized),
    ):
        low, high = getattr(spec.quantiles, f"{kind}_low"), getattr(spec.quantiles, f"{kind}_high")
        if not len(low) == len(high) == len(columns):
            yield f"`quantiles` of the {kind} must have {len(columns)} channels, but have {len(low)} and {len(high)}"
            continue
        for column, lowest, highest, applies in zip(columns, low, high, is_normalized, strict=True):
            if highest < lowest:
                yield f"`quantiles`: high must not be below low, but {kind} {column!r} has {lowest} and {highest}"
            if not applies and (lowest, highest) != (-1.0, 1.0):
                yield f"`quantiles`: {kind} {column!r} passes through and must have -1 and 1, not {lowest} and {highest}"

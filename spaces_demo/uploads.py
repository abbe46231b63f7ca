"""Files and numbers of a visitor's own robot, read as an observation or refused in words."""

import json
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from xwam import ArmState, Camera, JointState, Observation, RobotSpec, load_recorded_observation

MAX_BYTES = 8 * 1024 * 1024  # of one file
MAX_JSON_CHARACTERS = 20_000
PICTURE_FORMATS = ("PNG", "JPEG", "WEBP")
PICTURE_MODES = ("RGB", "RGBA", "P", "L")
DEPTH_MODES = ("I;16", "I;16B", "I")
DEPTH_STEP = 0.001  # metres a level of a depth image stands for, where the JSON does not say
STATE_KEYS = ("arms", "joints", "cameras", "depth_step")
ROBOT_OF_EXAMPLE = "mujoco_panda"
_UNREADABLE = (OSError, SyntaxError, ValueError, struct.error, zlib.error, Image.DecompressionBombError)


class UploadError(ValueError):
    """Something uploaded that cannot be used; the message says which field, what is expected and what came."""


def read_observation(
    spec: RobotSpec,
    pictures: Sequence[str | None],
    depths: Sequence[str | None],
    state: str,
    instruction: str,
) -> Observation:
    """Make an observation of what was uploaded. Whether its numbers fit the robot is for the processor to say.

    Args:
        spec (`RobotSpec`): The robot.
        pictures (`Sequence[str | None]`): One file per camera, in the robot's order.
        depths (`Sequence[str | None]`): 16-bit PNG per camera, all or none of those that measure depth.
        state (`str`): JSON with `arms` or `joints` and, where known, `cameras` and `depth_step`; see `example_state`.
        instruction (`str`): The task in words.

    Raises:
        UploadError: If a file or the JSON cannot be read.
    """
    missing = [camera.name for camera, path in zip(spec.cameras, pictures, strict=True) if path is None]
    if missing:
        raise UploadError(f"{len(spec.cameras)} views are needed; not given: {', '.join(missing)}.")
    facts = _read_json(state)
    step = _number("depth_step", facts.get("depth_step", DEPTH_STEP))
    if not 0 < step < math.inf:
        raise UploadError(f"`depth_step` must be metres above 0, but is {step}.")
    return Observation(
        images={
            camera.name: _picture(camera.name, str(path), camera.size)
            for camera, path in zip(spec.cameras, pictures, strict=True)
        },
        depths={
            camera.name: _depth(camera.name, path, camera.size, step)
            for camera, path in zip(spec.cameras, depths, strict=True)
            if path is not None
        },
        instruction=instruction,
        robot=spec.name,
        arms={name: _arm(f"arms.{name}", own) for name, own in _table(facts, "arms").items()},
        joints={name: _joints(f"joints.{name}", own) for name, own in _table(facts, "joints").items()},
        cameras={name: _camera(f"cameras.{name}", own) for name, own in _table(facts, "cameras").items()},
    )


def preview(spec: RobotSpec, pictures: Sequence[str | None]) -> list[np.ndarray | None]:
    """The pictures given so far.

    Raises:
        UploadError: If one cannot be read.
    """
    return [
        None if path is None else _picture(camera.name, path, camera.size)
        for camera, path in zip(spec.cameras, pictures, strict=True)
    ]


def example_state(spec: RobotSpec) -> str:
    """JSON of a state in the form that `read_observation` reads, to be overwritten by the visitor."""
    facts: dict[str, Any] = {}
    for arm in spec.arms:
        if arm.num_joints is None:
            own = {"position": [0.5, 0.0, 0.3], "quaternion": [1.0, 0.0, 0.0, 0.0], "gripper": 1.0}
            facts.setdefault("arms", {})[arm.name] = own
        else:
            facts.setdefault("joints", {})[arm.name] = {"positions": [0.0] * arm.num_joints, "gripper": 1.0}
    return _as_text(facts)


def write_example(folder: Path) -> tuple[list[str], list[str], str, str]:
    """Files of a recorded observation of the embedded world, as a visitor would bring them.

    Args:
        folder (`Path`): Where to write them.

    Returns:
        `tuple`: Pictures, depth images, the state as JSON, the instruction.
    """
    seen, pictures, depths = load_recorded_observation(), [], []
    for name, image in seen.images.items():
        pictures.append(str(folder / f"{name}.png"))
        Image.fromarray(image).save(pictures[-1])
        depths.append(str(folder / f"{name}_depth.png"))
        Image.fromarray(np.round(seen.depths[name] / DEPTH_STEP).astype(np.uint16)).save(depths[-1])
    facts = {
        "arms": {
            name: {
                "position": arm.position.round(4).tolist(),
                "quaternion": arm.quaternion.round(8).tolist(),
                "gripper": arm.gripper,
            }
            for name, arm in seen.arms.items()
        },
        "cameras": {
            name: {
                "intrinsics": camera.intrinsics.round(4).tolist(),
                "base_from_camera": camera.base_from_camera.round(8).tolist(),
            }
            for name, camera in seen.cameras.items()
        },
        "depth_step": DEPTH_STEP,
    }
    return pictures, depths, _as_text(facts), seen.instruction


def _as_text(facts: Mapping[str, Any]) -> str:
    """JSON with one line per vector."""
    lines = [f'"{key}": {json.dumps(value)}' for key, value in facts.items()]
    return "{\n " + ",\n ".join(lines) + "\n}"


def _read_json(text: str) -> Mapping[str, Any]:
    if len(text or "") > MAX_JSON_CHARACTERS:
        raise UploadError(f"The robot state must have at most {MAX_JSON_CHARACTERS} characters, but has {len(text)}.")
    try:
        facts = json.loads(text or "")
    except (ValueError, RecursionError) as error:
        raise UploadError(f"The robot state must be JSON: {str(error)[:200]}.") from error
    if not isinstance(facts, dict):
        came = type(facts).__name__
        raise UploadError(f'The robot state must be a JSON object such as {{"arms": …}}, but is a {came}.')
    if unknown := [key for key in facts if key not in STATE_KEYS]:
        raise UploadError(
            f"The robot state may hold {', '.join(STATE_KEYS)}, but also holds {', '.join(unknown)[:200]}."
        )
    return facts


def _table(facts: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = facts.get(key, {})
    if not isinstance(table, dict):
        raise UploadError(f"`{key}` must be a JSON object by name, but is a {type(table).__name__}.")
    return table


def _arm(label: str, own: Any) -> ArmState:
    own = _fields(label, own, ("position", "quaternion", "gripper"))
    return ArmState(
        _vector(f"{label}.position", own["position"]),
        _vector(f"{label}.quaternion", own["quaternion"]),
        _number(f"{label}.gripper", own["gripper"]),
    )


def _joints(label: str, own: Any) -> JointState:
    own = _fields(label, own, ("positions", "gripper"))
    return JointState(_vector(f"{label}.positions", own["positions"]), _number(f"{label}.gripper", own["gripper"]))


def _camera(label: str, own: Any) -> Camera:
    own = _fields(label, own, ("intrinsics", "base_from_camera"))
    return Camera(
        _vector(f"{label}.intrinsics", own["intrinsics"]),
        _vector(f"{label}.base_from_camera", own["base_from_camera"]),
    )


def _fields(label: str, own: Any, names: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(own, dict) or set(own) != set(names):
        came = ", ".join(own)[:200] if isinstance(own, dict) else type(own).__name__
        raise UploadError(f"`{label}` must hold {', '.join(names)}, but holds {came or 'nothing'}.")
    return own


def _vector(label: str, values: Any) -> np.ndarray:
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        came = str(values)[:60]
        raise UploadError(f"`{label}` must hold numbers, in rows of equal length, but holds {came}.") from error


def _number(label: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UploadError(f"`{label}` must be a number, but is {str(value)[:60]}.")
    try:
        return float(value)
    except OverflowError as error:
        raise UploadError(f"`{label}` must be a number, but is one of more than 300 digits.") from error


def _picture(name: str, path: str, size: tuple[int, int]) -> np.ndarray:
    image = _open(name, path, size, PICTURE_FORMATS, PICTURE_MODES, "a colour picture with 8 bits per channel")
    return np.array(image.convert("RGB"))


def _depth(name: str, path: str, size: tuple[int, int], step: float) -> np.ndarray:
    image = _open(f"Depth of {name}", path, size, ("PNG",), DEPTH_MODES, "a grey PNG with 16 bits per pixel")
    return (np.array(image).astype(np.float64) * step).astype(np.float32)


def _open(
    name: str, path: str, size: tuple[int, int], formats: tuple[str, ...], modes: tuple[str, ...], kind: str
) -> Image.Image:
    """Decode a picture; its size is read from its header first, so that a small file cannot become a huge array."""
    if Path(path).stat().st_size > MAX_BYTES:
        raise UploadError(f"{name}: the file must have at most {MAX_BYTES // 2**20} MB.")
    height, width = size
    try:
        image = Image.open(path, formats=formats)
    except _UNREADABLE as error:
        raise UploadError(f"{name}: this is no {' or '.join(formats)} picture.") from error
    if image.size != (width, height):
        came = f"{image.size[0]} × {image.size[1]}"
        raise UploadError(f"{name}: the picture must be {width} × {height} pixels (width × height), but is {came}.")
    if image.mode not in modes:
        raise UploadError(f"{name}: this must be {kind}, but its pixels are of kind {image.mode}.")
    try:
        image.load()
    except _UNREADABLE as error:
        raise UploadError(f"{name}: the picture is damaged.") from error
    return image

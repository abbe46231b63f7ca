"""A future as one JSON file for what can be read, and one NPZ file for every array, exactly; and back."""

from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from xwam.checkpoints.json_files import read_json
from xwam.futures.checks import check_future
from xwam.futures.depth_note import depth_note
from xwam.futures.future import Future
from xwam.robots.registry import get_robot, list_robots
from xwam.structures import ActionChunk, ArmState, DepthCalibration, JointState

FORMAT, FORMAT_VERSION = "xwam.future", 1
MAX_JSON_BYTES = 1 << 26
UNITS = {
    "frame_period": "s",
    "intrinsics": "pixels of the frames, pixel centres at +0.5",
    "base_from_camera": "m, camera axes x right, y down, z forward",
    "depths": "m along the optical axis, 0 where nothing is known",
    "position": "m in the robot base frame",
    "quaternion": "w, x, y, z of unit length",
    "positions": "rad",
    "gripper": "0 closed to 1 open",
}


def future_facts(future: Future) -> dict[str, Any]:
    """Everything but pixels, as JSON can hold it: for people and for programs without NumPy.

    Args:
        future (`Future`): A checked future.
    """
    height, width = next(iter(future.frames.values())).shape[1:3]
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "robot": future.robot,
        "instruction": future.instruction,
        "num_frames": future.num_frames,
        "frame_period": float(future.frame_period),
        "image_size": [height, width],
        "cameras": {
            name: {
                "has_depth": name in future.depths,
                "intrinsics": _listed(future.intrinsics.get(name)),
                "base_from_camera": _listed(future.base_from_camera.get(name)),
            }
            for name in future.cameras
        },
        "depth": {
            "kind": future.depth_kind,
            "note": depth_note(future),
            "calibrations": {name: _fit_facts(fit) for name, fit in future.depth_calibrations.items()},
        },
        "states": [{arm: _state_facts(own) for arm, own in state.items()} for state in future.states],
        "actions": None if future.actions is None else _action_facts(future.actions),
        "units": UNITS,
        "versions": {name: version(name) for name in ("xwam", "numpy")},
    }


def future_arrays(future: Future) -> dict[str, np.ndarray]:
    """Every array of a future by a name such as `"depths/left"` or `"states/arm/position"`.

    Args:
        future (`Future`): A checked future.

    Raises:
        ValueError: If an array holds objects.
    """
    arrays: dict[str, np.ndarray] = {}
    for field in ("frames", "depths", "intrinsics", "base_from_camera"):
        arrays |= {f"{field}/{camera}": value for camera, value in getattr(future, field).items()}
    for arm in future.states[0] if future.states else ():
        path = [state[arm] for state in future.states]
        parts = ("position", "quaternion") if isinstance(path[0], ArmState) else ("positions",)
        arrays |= {f"states/{arm}/{part}": np.stack([getattr(own, part) for own in path]) for part in parts}
        arrays[f"states/{arm}/gripper"] = np.array([own.gripper for own in path], dtype=np.float64)
    if future.actions is not None:
        arrays["actions/commands"] = future.actions.commands
    if objects := [name for name, value in arrays.items() if np.asarray(value).dtype.hasobject]:
        raise ValueError(f"Arrays must hold numbers to be saved without pickles, but {objects} hold objects.")
    return arrays


def read_future(json_path: Path, npz_path: Path) -> Future:
    """The future that `future_facts` and `future_arrays` describe.

    Args:
        json_path (`Path`): File that holds the facts.
        npz_path (`Path`): File that holds the arrays.

    Raises:
        ValueError: If a file is missing, damaged, of another format, or what it holds is no future.
    """
    facts = read_json(json_path, max_bytes=MAX_JSON_BYTES)
    if facts.get("format") != FORMAT or facts.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{json_path} must be of format {FORMAT!r}, version {FORMAT_VERSION}, but says {facts.get('format')!r}, "
            f"version {facts.get('format_version')!r}."
        )
    try:
        with np.load(npz_path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise ValueError(f"{npz_path} holds the arrays, but is not there.") from error
    # Headers are Python literals of any size, and members claim any compression: NumPy, ast and zipfile have a dozen types for it.
    except Exception as error:
        raise ValueError(f"{npz_path} cannot be read as NPZ without pickles: {error!r}.") from error
    try:
        future = _future(facts, arrays)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{json_path} and {npz_path.name} do not describe a future: {error!r}.") from error
    check_future(future, name=str(json_path.parent))
    return future


def _future(facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Future:
    """The inverse of the two maps above."""
    fields = {
        field: {name: arrays[f"{field}/{name}"] for name in facts["cameras"] if f"{field}/{name}" in arrays}
        for field in ("frames", "depths", "intrinsics", "base_from_camera")
    }
    actions = facts["actions"]
    return Future(
        robot=facts["robot"],
        instruction=facts["instruction"],
        frame_period=facts["frame_period"],
        depth_kind=facts["depth"]["kind"],
        depth_calibrations={name: DepthCalibration(**fit) for name, fit in facts["depth"]["calibrations"].items()},
        states=tuple(
            {arm: _state(arm, frame, arrays) for arm in state} for frame, state in enumerate(facts["states"])
        ),
        actions=None
        if actions is None
        else ActionChunk(
            robot=actions["robot"],
            commands=arrays["actions/commands"],
            columns=tuple(actions["columns"]),
            period=actions["period"],
            start_time=actions["start_time"],
            timings=actions["timings"],
        ),
        **fields,
    )


def _state(arm: str, frame: int, arrays: Mapping[str, np.ndarray]) -> ArmState | JointState:
    gripper = float(arrays[f"states/{arm}/gripper"][frame])
    if f"states/{arm}/positions" in arrays:
        return JointState(arrays[f"states/{arm}/positions"][frame], gripper)
    return ArmState(arrays[f"states/{arm}/position"][frame], arrays[f"states/{arm}/quaternion"][frame], gripper)


def _fit_facts(fit: DepthCalibration) -> dict[str, float]:
    """Python's numbers: JSON would not have NumPy's."""
    return {name: int(value) if name == "num_pixels" else float(value) for name, value in asdict(fit).items()}


def _state_facts(state: ArmState | JointState) -> dict[str, Any]:
    if isinstance(state, JointState):
        return {"positions": _listed(state.positions), "gripper": float(state.gripper)}
    return {
        "position": _listed(state.position),
        "quaternion": _listed(state.quaternion),
        "gripper": float(state.gripper),
    }


def _action_facts(chunk: ActionChunk) -> dict[str, Any]:
    units = command_units(chunk)
    return {
        "robot": chunk.robot,
        "period": float(chunk.period),
        "start_time": float(chunk.start_time),
        "columns": list(chunk.columns),
        "units": [units.get(column, "") for column in chunk.columns],
        "commands": _listed(chunk.commands),
        "timings": {stage: float(seconds) for stage, seconds in chunk.timings.items()},
    }


def command_units(chunk: ActionChunk) -> dict[str, str]:
    """Unit by column where the robot is one of `list_robots()`; else nothing is known.

    Args:
        chunk (`ActionChunk`): Commands.
    """
    if chunk.robot not in list_robots():
        return {}
    spec = get_robot(chunk.robot)
    if spec.command_columns != tuple(chunk.columns):
        return {}
    return dict(zip(spec.command_columns, spec.command_units, strict=True))


def _listed(array: np.ndarray | None) -> list[Any] | None:
    return None if array is None else np.asarray(array).tolist()

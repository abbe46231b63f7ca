"""Write an observation as plain files, read it back, and hand out one of the table-top world that ships with the package.

The shipped one serves machines without OpenGL. RGB is kept exactly, depth as 16-bit PNG in steps of 0.1 mm.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from xwam.robots.spec_checks import name_problems
from xwam.structures import ArmState, Camera, Observation

RECORDING = Path(__file__).parent / "assets" / "recorded_observation"
DEPTH_STEP = 1e-4  # metres
DEPTH_LIMIT = np.iinfo(np.uint16).max * DEPTH_STEP  # metres


def load_recorded_observation() -> Observation:
    """Return an observation of the environment `"mujoco/pick_by_colour"` without MuJoCo and OpenGL.

    Returns:
        `Observation`: What `reset` returns for the seed in the recording's `observation.json`, depth rounded to 0.1 mm.
    """
    return load_observation(RECORDING)


def save_observation(observation: Observation, folder: str | Path, *, seed: int | None = None) -> None:
    """Write an observation of a robot with arm poses: one JSON file, one PNG per image and per depth map.

    Depth that the sensor did not measure, zero or NaN, becomes zero.

    Args:
        observation (`Observation`): What to keep.
        folder (`str` or `Path`): Made if missing; files of the same names are replaced.
        seed (`int`, *optional*): Seed of the episode, noted for whoever makes the files again.

    Raises:
        ValueError: If a depth is negative or beyond 6.5 m, the state is in joints, or a name could be a path.
    """
    if observation.joints:
        raise ValueError("`observation` must have its state in `arms`; joint states are not kept.")
    _check_names([*observation.images, *observation.depths])
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in observation.images.items():
        Image.fromarray(image).save(folder / f"{name}.png", optimize=True)
    for name, depth in observation.depths.items():
        Image.fromarray(_depth_steps(name, depth)).save(folder / f"{name}_depth.png", optimize=True)
    facts = {
        "robot": observation.robot,
        "seed": seed,
        "instruction": observation.instruction,
        "time": float(observation.time),
        "views": list(observation.images),
        "depth_views": list(observation.depths),
        "arms": {
            name: {
                "position": arm.position.tolist(),
                "quaternion": arm.quaternion.tolist(),
                "gripper": float(arm.gripper),
            }
            for name, arm in observation.arms.items()
        },
        "cameras": {
            name: {"intrinsics": camera.intrinsics.tolist(), "base_from_camera": camera.base_from_camera.tolist()}
            for name, camera in observation.cameras.items()
        },
    }
    (folder / "observation.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def load_observation(folder: str | Path) -> Observation:
    """Read what `save_observation` wrote.

    Args:
        folder (`str` or `Path`): Where it was written.

    Returns:
        `Observation`: Depth rounded to 0.1 mm, everything else as it was.

    Raises:
        ValueError: If the folder holds no such observation, or a name in the file could be a path.
    """
    folder = Path(folder)
    try:
        facts = json.loads((folder / "observation.json").read_text(encoding="utf-8"))
        return _observation(folder, facts)
    except (OSError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{folder} must hold what `save_observation` wrote: {type(error).__name__}: {error}."
        ) from error


def _observation(folder: Path, facts: dict[str, Any]) -> Observation:
    _check_names([*facts["views"], *facts["depth_views"]])
    return Observation(
        images={name: _read_png(folder / f"{name}.png") for name in facts["views"]},
        depths={
            name: (_read_png(folder / f"{name}_depth.png") * DEPTH_STEP).astype(np.float32)
            for name in facts["depth_views"]
        },
        cameras={
            name: Camera(np.array(camera["intrinsics"]), np.array(camera["base_from_camera"]))
            for name, camera in facts["cameras"].items()
        },
        arms={
            name: ArmState(np.array(arm["position"]), np.array(arm["quaternion"]), arm["gripper"])
            for name, arm in facts["arms"].items()
        },
        instruction=facts["instruction"],
        time=facts["time"],
        robot=facts["robot"],
    )


def _check_names(views: Iterable[object]) -> None:
    for view in views:
        if not isinstance(view, str):
            raise ValueError(f"A view must have a string as `name`, but has {view!r}.")
        for problem in name_problems(view):
            raise ValueError(f"A view is not valid: {problem}.")


def _depth_steps(name: str, depth: np.ndarray) -> np.ndarray:
    known = np.nan_to_num(depth)
    if known.min() < 0 or known.max() > DEPTH_LIMIT:
        raise ValueError(
            f"`depths[{name!r}]` must lie in 0…{DEPTH_LIMIT:.2f} m but lies in {known.min():.2f}…{known.max():.2f}."
        )
    return np.round(known / DEPTH_STEP).astype(np.uint16)


def _read_png(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)

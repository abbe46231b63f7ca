"""Demonstrations in robomimic's HDF5 layout, which robosuite and RoboCasa publish theirs in: read, check and write.

A file has the group `data` with the attribute `env_args` (JSON) and one group per demonstration, `demo_0`, `demo_1`, …, each with the
data sets `states` and `actions` and the attributes `model_file` (XML) and, from RoboCasa, `ep_meta` (JSON).
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xwam.utils.optional import require

PURPOSE = "xwam.envs.robosuite_demonstrations"
REQUIRED = ("states", "actions", "model_file", "ep_meta", "env_args")


def list_demonstrations(path: str | Path) -> tuple[str, ...]:
    """Names of a file's demonstrations, in the order of their numbers.

    Args:
        path (`str` or `Path`): HDF5 file.

    Raises:
        ValueError: If the file has no group `data`.
        ImportError: If h5py is not installed.
    """
    with _open(path) as file:
        return tuple(sorted(_data(file, path), key=lambda name: [int(n) for n in re.findall(r"\d+", name)] or [-1]))


def load_demonstration(path: str | Path, name: str) -> dict[str, Any]:
    """Read one demonstration.

    Args:
        path (`str` or `Path`): HDF5 file.
        name (`str`): One of `list_demonstrations`, such as `"demo_0"`.

    Returns:
        `dict[str, Any]`: `"states"` and `"actions"`, float64 with one row per command; `"model_file"`, XML; `"ep_meta"` and
            `"env_args"`, dicts, empty where the file has none.

    Raises:
        ValueError: If there is no such demonstration, or it lacks states, actions or the model.
        ImportError: If h5py is not installed.
    """
    with _open(path) as file:
        data = _data(file, path)
        if name not in data:
            raise ValueError(f"{path} has no demonstration {name!r}; it has {', '.join(data) or 'none'}.")
        group = data[name]
        lacking = [key for key in ("states", "actions") if key not in group]
        lacking += [key for key in ("model_file",) if key not in group.attrs]
        if lacking:
            raise ValueError(f"Demonstration {name!r} of {path} lacks {', '.join(lacking)}.")
        return {
            "states": np.asarray(group["states"], dtype=np.float64),
            "actions": np.asarray(group["actions"], dtype=np.float64),
            "model_file": str(group.attrs["model_file"]),
            "ep_meta": json.loads(group.attrs.get("ep_meta", "{}")),
            "env_args": json.loads(data.attrs.get("env_args", "{}")),
        }


def write_demonstrations(path: str | Path, demonstrations: Iterable[Mapping[str, Any]]) -> None:
    """Inverse of `load_demonstration`: write demonstrations of one environment as `demo_0`, `demo_1`, ….

    Args:
        path (`str` or `Path`): HDF5 file to make; replaced if it is there.
        demonstrations (`Iterable[Mapping[str, Any]]`): Mappings with the keys of `load_demonstration`.

    Raises:
        ValueError: If there are none, or they are of different environments.
        ImportError: If h5py is not installed.
    """
    demonstrations = list(demonstrations)
    arguments = {json.dumps(demonstration["env_args"]) for demonstration in demonstrations}
    total = sum(len(demonstration["actions"]) for demonstration in demonstrations)
    if not total:
        raise ValueError("`demonstrations` must have at least one command but have none.")
    if len(arguments) > 1:
        raise ValueError("`demonstrations` must be of one environment, but their `env_args` differ.")
    with require("h5py", extra="robosuite", needed_for=PURPOSE).File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"], data.attrs["total"] = arguments.pop(), total
        for index, demonstration in enumerate(demonstrations):
            group = data.create_group(f"demo_{index}")
            group.create_dataset("states", data=demonstration["states"])
            group.create_dataset("actions", data=demonstration["actions"])
            group.attrs["model_file"] = demonstration["model_file"]
            group.attrs["ep_meta"] = json.dumps(demonstration["ep_meta"])
            group.attrs["num_samples"] = len(demonstration["actions"])


def check_demonstration(demonstration: Mapping[str, Any], task: str) -> None:
    """Check that a demonstration is complete and of one task.

    Args:
        demonstration (`Mapping[str, Any]`): As `load_demonstration` returns it.
        task (`str`): Name that the file's `env_args` must give, where it has them.

    Raises:
        ValueError: If it is not.
    """
    if lacking := [key for key in REQUIRED if key not in demonstration]:
        raise ValueError(f"A demonstration must have {', '.join(REQUIRED)} but lacks {', '.join(lacking)}.")
    if np.ndim(demonstration["states"]) != 2 or len(demonstration["states"]) == 0:
        raise ValueError(f"`states` must have one row per command but have shape {np.shape(demonstration['states'])}.")
    recorded = demonstration["env_args"].get("env_name", task)
    if recorded != task:
        raise ValueError(f"The demonstration must be of task {task!r} but is of {recorded!r}.")


def _open(path: str | Path) -> Any:
    h5py = require("h5py", extra="robosuite", needed_for=PURPOSE)
    if not Path(path).is_file():
        raise ValueError(f"`path` must be an HDF5 file, but {path} is none.")
    return h5py.File(path, "r")


def _data(file: Any, path: str | Path) -> Any:
    if "data" not in file:
        raise ValueError(f"{path} must have the group `data` but has {', '.join(file) or 'nothing'}.")
    return file["data"]

"""What a public data set is to this library, and the seven of the paper's pretraining by name."""

import importlib
from dataclasses import dataclass, replace
from pathlib import Path

from xwam.data.dataset_map import DatasetMap
from xwam.data.readers.base import EpisodeReader
from xwam.data.readers.open import open_dataset
from xwam.robots.registry import get_robot
from xwam.robots.spec import IDENTITY, RobotSpec

LAYOUTS = ("lerobot", "rlds")

# Module of each source. The paper names these seven for pretraining but not how often each is drawn, so that no weights
# are given here: a mixture without shares draws every window of every data set equally often.
_MODULES = {
    "agibot_world": "agibot_world",
    "droid": "droid",
    "interna1_aloha": "interna1",
    "interna1_genie1": "interna1",
    "interna1_lift2": "interna1",
    "robocasa_mimicgen": "robocasa",
    "robotwin": "robotwin",
    "droid_rlds": "droid",  # the same data in the layout in which DROID itself publishes it
}
PRETRAINING = tuple(name for name in _MODULES if name != "droid_rlds")


@dataclass(frozen=True)
class Source:
    """A public data set.

    Args:
        name (`str`): Its name here.
        title (`str`): What its authors call it.
        robot (`str`): Name of its `RobotSpec`.
        map (`DatasetMap`): Where it keeps states, commands and cameras.
        layout (`str`): One of `LAYOUTS`.
        rate (`float`): Rows per second.
        home (`str`): Where it is published.
        license (`str`, *optional*): Its licence, as far as it is known.
    """

    name: str
    title: str
    robot: str
    map: DatasetMap
    layout: str
    rate: float
    home: str
    license: str | None = None

    @property
    def unknown(self) -> tuple[str, ...]:
        """What no public source tells and a user must decide, as `RobotSpec.unknown` names it; quantiles are computed."""
        return tuple(name for name in get_robot(self.robot).unknown if name != "quantiles")

    def open(self, folder: str | Path, robot: RobotSpec | None = None, *, split: str | None = None) -> EpisodeReader:
        """A reader of a copy of this data set.

        Args:
            folder (`str` or `Path`): Local folder, or a dataset on the hub.
            robot (`RobotSpec`, *optional*): Its robot with what was unknown; else the spec as it ships.
            split (`str`, *optional*): Split, for RLDS.

        Raises:
            DataError: If the folder is not as this source is.
        """
        return open_dataset(folder, robot or get_robot(self.robot), map=self.map, split=split)


def list_sources() -> list[str]:
    """Names that `get_source` knows."""
    return sorted(_MODULES)


def get_source(name: str) -> Source:
    """A public data set by name.

    Args:
        name (`str`): One of `list_sources()`.

    Raises:
        ValueError: If there is no such source.
    """
    if name not in _MODULES:
        raise ValueError(f"There is no source {name!r}, and no file; known sources are {list_sources()}.")
    return importlib.import_module(f"xwam.data.sources.{_MODULES[name]}").SOURCES[name]


def with_own_frames(robot: RobotSpec) -> RobotSpec:
    """The same robot with its own base and tool axes as the model's, where nothing is known: a choice, and noted as one.

    Args:
        robot (`RobotSpec`): The robot.
    """
    arms = tuple(replace(arm, model_from_tool=arm.model_from_tool or IDENTITY) for arm in robot.arms)
    if arms == robot.arms and robot.model_from_base is not None:
        return robot
    note = "Base and tool axes are taken as the model's own; the paper's choice is not known."
    return replace(robot, arms=arms, model_from_base=robot.model_from_base or IDENTITY, notes=(*robot.notes, note))

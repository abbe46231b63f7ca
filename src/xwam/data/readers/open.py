"""Open a data set by what lies in its folder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from xwam.data import lerobot_layout
from xwam.data.dataset_map import DatasetMap
from xwam.data.readers.base import EpisodeReader
from xwam.data.readers.dataset_files import DatasetFiles
from xwam.errors import DataError
from xwam.robots.registry import read_robot
from xwam.robots.spec import RobotSpec

if TYPE_CHECKING:
    from xwam.data.sources.base import Source

_RELEASE_FILE = "metadata.json"
_RLDS_FILE = "features.json"
_SHOWN = 10  # names in a message


@dataclass(frozen=True)
class _Request:
    source: str | Path
    robot: RobotSpec | None
    map: DatasetMap | None
    split: str
    name: str | None
    revision: str | None

    def need_robot(self) -> RobotSpec:
        if self.robot is None:
            raise DataError("The data set does not say which robot it is of; give one.", dataset=str(self.source))
        return self.robot


def read_map(name: str | Path) -> DatasetMap:
    """A map of its own file, or of a public data set.

    Args:
        name (`str` or `Path`): JSON file, or the name of a source such as `"droid"`.

    Raises:
        ValueError: If it is neither a source nor a file with a map.
    """
    public = _public_source(name)
    return DatasetMap.read(name) if public is None else public.map


def open_dataset(
    source: str | Path,
    robot: RobotSpec | str | None = None,
    *,
    map: DatasetMap | str | Path | None = None,
    split: str | None = None,
    name: str | None = None,
    revision: str | None = None,
) -> EpisodeReader:
    """A reader of whatever layout the data set has: LeRobot, RLDS or the X-WAM release's.

    Args:
        source (`str` or `Path`): A local folder, `"user/name"` for a dataset on the hub, or `"hf://datasets/user/name"`.
        robot (`RobotSpec` or `str`, *optional*): The robot, its name, or a JSON file with it; else what the data set or the
            named source says.
        map (`DatasetMap`, `str` or `Path`, *optional*): Where states, commands and cameras are, a JSON file that says it, or
            the name of a public source, such as `"droid"`; else the data set must use the robot's own names. RLDS always
            needs one; the release's layout takes none.
        split (`str`, *optional*): Split of an RLDS data set; else `"train"`.
        name (`str`, *optional*): Name for messages; else the folder's or the repository's.
        revision (`str`, *optional*): Branch, tag or commit on the hub.

    Raises:
        DataError: If there is no data set of a layout that can be read, or it does not fit the robot.
        UnknownRobotError: If no robot has this name.
        ValueError: If `map` is neither a source nor a file with a map.
    """
    files = DatasetFiles(source, revision)
    known = read_robot(robot) if isinstance(robot, str) else robot
    if (public := _public_source(map)) is not None:
        known = known or read_robot(public.robot)
    own_map = map if map is None or isinstance(map, DatasetMap) else read_map(map)
    request = _Request(source, known, own_map, split or "train", name, revision)
    for _, is_found, opened in _LAYOUTS:
        if is_found(files):
            if split is not None and opened is not _open_rlds:
                raise DataError(f"Only RLDS has splits, but {split!r} was asked for.", dataset=files.name)
            return opened(request)
    looked_for = "; ".join(marks for marks, _, _ in _LAYOUTS)
    there = sorted({found.split("/")[0] for found in files.names("")})
    raise DataError(
        f"No layout of a data set was found in {files.where}. Looked for: {looked_for}. Found: {there[:_SHOWN] or 'nothing'}.",
        dataset=files.name,
    )


def _has_rlds(files: DatasetFiles) -> bool:
    patterns = (_RLDS_FILE, f"*/{_RLDS_FILE}", f"*/*/{_RLDS_FILE}")
    if files.folder is not None:
        return any(any(files.folder.glob(pattern)) for pattern in patterns)
    return any(PurePosixPath(name).name == _RLDS_FILE and name.count("/") <= 2 for name in files.names(""))


def _open_lerobot(request: _Request) -> EpisodeReader:
    from xwam.data.readers.lerobot import LeRobotReader

    return LeRobotReader(request.source, request.robot, map=request.map, name=request.name, revision=request.revision)


def _open_release(request: _Request) -> EpisodeReader:
    from xwam.data.readers.release import ReleaseReader

    if request.map is not None:
        raise DataError(
            "The release's layout says itself where things are; it takes no map.", dataset=str(request.source)
        )
    return ReleaseReader(request.source, request.need_robot(), name=request.name, revision=request.revision)


def _open_rlds(request: _Request) -> EpisodeReader:
    from xwam.data.readers.rlds import RldsReader

    if not Path(request.source).expanduser().is_dir():
        raise DataError(
            "RLDS is read from local folders only, since its episodes cannot be found without walking through whole files: "
            "get it with `hf download --repo-type dataset --local-dir FOLDER`, and give the folder.",
            dataset=str(request.source),
        )
    if request.map is None:
        raise DataError("RLDS data sets name their features freely; give a `DatasetMap`.", dataset=str(request.source))
    return RldsReader(request.source, request.need_robot(), request.map, request.split, name=request.name)


_Layout = tuple[str, Callable[[DatasetFiles], bool], Callable[[_Request], EpisodeReader]]
_LAYOUTS: tuple[_Layout, ...] = (
    (
        f"{lerobot_layout.INFO_FILE} (LeRobot)",
        lambda files: files.exists(lerobot_layout.INFO_FILE),
        _open_lerobot,
    ),
    (f"{_RELEASE_FILE} (X-WAM release)", lambda files: files.exists(_RELEASE_FILE), _open_release),
    (f"{_RLDS_FILE} here or at most two folders below (RLDS)", _has_rlds, _open_rlds),
)


def _public_source(name: DatasetMap | str | Path | None) -> "Source | None":
    """The public data set that is named where a file could be: whatever is neither a file nor looks like one."""
    if not isinstance(name, str) or Path(name).suffix == ".json":
        return None
    from xwam.data.sources.base import get_source, list_sources  # which itself opens data sets

    if name not in list_sources() and Path(name).is_file():
        return None
    return get_source(name)

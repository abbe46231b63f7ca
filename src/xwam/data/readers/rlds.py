"""RLDS data sets as TFDS writes them: shards of TFRecord, one Example per episode. Needs no TensorFlow."""

import functools
import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xwam.checkpoints.json_files import read_json
from xwam.checkpoints.paths import contained_path
from xwam.data.dataset_map import DatasetMap, StoredFeature
from xwam.data.readers.base import Episode
from xwam.data.readers.dataset_files import fill_pattern
from xwam.data.readers.mapped import MappedReader
from xwam.data.readers.tfrecord import FeatureList, TFRecordFile
from xwam.errors import CheckpointConfigError, DataError
from xwam.robots.spec import RobotSpec

INFO_FILE, FEATURES_FILE = "dataset_info.json", "features.json"
MAX_JSON_BYTES = 2**26  # the lengths of 100,000 shards take 2 MB
MAX_OPEN = 8  # shards that stay open
MAX_KEPT = 64  # episodes whose places in their record are kept
_STEPS, _METADATA = "steps/", "episode_metadata/"


class RldsReader(MappedReader):
    """One split of an RLDS data set.

    Features of steps are named without `steps/`, such as `"observation/state"`. An episode is one record; its images are
    found and decoded one by one. The first time that an episode is read, its record is compared with its checksum.

    Args:
        folder (`str` or `Path`): Folder of one version, with `features.json` and `dataset_info.json`, or one above it.
        robot (`RobotSpec`): The robot.
        map (`DatasetMap`): Where states, commands, cameras and instructions are.
        split (`str`, *optional*, defaults to `'train'`): Which split.
        name (`str`, *optional*): Name for messages; else the data set's own.
        check_content (`bool`, *optional*, defaults to `True`): Whether checksums of records are compared; those of their
            headers always are.

    Raises:
        DataError: If the folder is no such data set, or does not fit the robot.
    """

    def __init__(
        self,
        folder: str | Path,
        robot: RobotSpec,
        map: DatasetMap,
        split: str = "train",
        *,
        name: str | None = None,
        check_content: bool = True,
    ) -> None:
        self.folder, self._check_content = find_version(Path(folder).expanduser()), check_content
        info = _read(self.folder, INFO_FILE)
        self.name, self.map = name or str(info.get("name") or self.folder.name), map
        try:
            leaves = {path: _stored(leaf) for path, leaf in _leaves(_read(self.folder, FEATURES_FILE)["featuresDict"])}
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise DataError(
                f"The file does not describe features as TFDS does ({type(error).__name__}: {error}).",
                dataset=self.name,
                path=FEATURES_FILE,
            ) from error
        steps = {leaf.removeprefix(_STEPS): own for leaf, own in leaves.items() if leaf.startswith(_STEPS)}
        steps |= {leaf: own for leaf, own in leaves.items() if leaf in map.instructions}  # said once per episode
        self._shards, lengths = _shards(info, split, self.name)
        self._open: OrderedDict[int, TFRecordFile] = OrderedDict()
        self._kept: OrderedDict[int, dict[str, FeatureList]] = OrderedDict()
        self._checked: set[int] = set()
        self._places: list[tuple[int, int]] = []  # shard and record of each episode
        episodes = list(self._find_episodes(lengths))
        period = robot.control_period
        if map.rate is None and period is None:
            raise DataError("Neither the map nor the robot says how many rows a second has.", dataset=self.name)
        rate = map.rate if map.rate is not None else 1 / float(period or math.nan)
        super().__init__(self.name, robot, rate, episodes, map, steps)

    def read_images(self, episode: int, camera: str, rows: Sequence[int]) -> np.ndarray:
        """RGB `uint8` of shape `(frames, H, W, 3)` at increasing rows."""
        feature = self._image_feature(camera, is_depth=False)
        return self._stills(episode, feature, rows, functools.partial(self._still, episode, feature), is_depth=False)

    def read_depths(self, episode: int, camera: str, rows: Sequence[int]) -> np.ndarray:
        """Depth at increasing rows: metres, `float32` of shape `(frames, H, W)`, zero where nothing was measured."""
        feature = self._image_feature(camera, is_depth=True)
        scale = self._camera(camera).depth_scale
        if scale is None:
            raise DataError("The map must give `depth_scale` of this camera.", dataset=self.name, feature=feature)
        read = functools.partial(self._still, episode, feature)
        return self._stills(episode, feature, rows, read, is_depth=True).astype(np.float32) * np.float32(scale)

    def read_features(self, features: Sequence[str], episode: int, start: int, stop: int) -> dict[str, np.ndarray]:
        """Numbers of rows `start` to `stop` as they are stored, float64 `(rows, width)` by feature."""
        length = self.episodes[episode].length
        if not 0 <= start <= stop <= length:
            raise IndexError(f"The episode has rows 0 to {length}, but {start} to {stop} were asked for.")
        found = {}
        for feature in features:
            values, width = self._list(episode, feature).numbers(), self.features[feature].width or 0
            if len(values) != length * width:
                problem = f"{length} rows must have {width} numbers each, but there are {len(values)} in all."
                raise self._rows(episode, 0).fault(problem, feature, 0)
            found[feature] = values.astype(np.float64).reshape(length, width)[start:stop]
        return found

    def read_metadata(self, episode: int) -> dict[str, Any]:
        """What the data set tells of an episode beside its steps. Nothing in it is trusted by this reader.

        Args:
            episode (`int`): Index into `episodes`.
        """
        contents = self._contents(episode)
        return {
            name.removeprefix(_METADATA): _plain(own) for name, own in contents.items() if not name.startswith(_STEPS)
        }

    def close(self) -> None:
        """Give back open files."""
        self._kept.clear()
        while self._open:
            self._open.popitem()[1].close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict(), "_kept": OrderedDict()}

    def _find_episodes(self, lengths: Sequence[int]) -> Iterator[Episode]:
        for shard, expected in enumerate(lengths):
            file = self._shard(shard)
            if len(file.records) != expected:
                problem = f"The file must hold {expected} episodes, but holds {len(file.records)}."
                raise DataError(problem, dataset=self.name, path=self._shards[shard])
            for record in range(expected):
                contents = file.features(record)
                self._places.append((shard, record))
                yield Episode(f"{self._shards[shard]}#{record}", self._length(contents), self._instructions(contents))

    def _length(self, contents: Mapping[str, FeatureList]) -> int:
        """Rows of an episode, by the marks that every RLDS step has, else by its images."""
        marks = [contents[f"{_STEPS}{name}"] for name in ("is_first", "is_last") if f"{_STEPS}{name}" in contents]
        images = [
            contents[f"{_STEPS}{camera.image}"] for camera in self.map.cameras if f"{_STEPS}{camera.image}" in contents
        ]
        return len((marks + images)[0]) if marks or images else 0

    def _instructions(self, contents: Mapping[str, FeatureList]) -> tuple[str, ...]:
        """Instructions of the first step, in the order of the map."""
        found: dict[str, None] = {}
        for feature in self.map.instructions:
            own = contents.get(f"{_STEPS}{feature}") or contents.get(feature)
            if own and own.kind == "bytes":
                found |= {own.bytes_at(0).decode("utf-8", "replace").strip(): None}
        found.pop("", None)
        return tuple(found)

    def _still(self, episode: int, feature: str, row: int) -> bytes:
        images, length = self._list(episode, feature), self.episodes[episode].length
        if images.kind != "bytes" or len(images) != length:
            problem = f"The episode has {length} rows, but {len(images)} images."
            raise self._rows(episode, 0).fault(problem, feature, 0)
        return images.bytes_at(row)

    def _list(self, episode: int, feature: str) -> FeatureList:
        contents = self._contents(episode)
        if f"{_STEPS}{feature}" not in contents:
            raise self._rows(episode, 0).fault("The episode has no such feature.", feature, 0)
        return contents[f"{_STEPS}{feature}"]

    def _contents(self, episode: int) -> dict[str, FeatureList]:
        """Features of an episode, which is undamaged."""
        shard, record = self._places[episode]
        file = self._shard(shard)
        if self._check_content and episode not in self._checked:
            try:
                file.check(record)
            except DataError as error:
                key, path = self.episodes[episode].key, self._shards[shard]
                raise DataError(error.problem, dataset=self.name, episode=key, path=path) from error
            self._checked.add(episode)
        if episode not in self._kept:
            self._kept[episode] = file.features(record)
        self._kept.move_to_end(episode)
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return self._kept[episode]

    def _shard(self, number: int) -> TFRecordFile:
        if number not in self._open:
            self._open[number] = TFRecordFile(contained_path(self.folder, self._shards[number]))
        self._open.move_to_end(number)
        while len(self._open) > MAX_OPEN:
            closed, file = self._open.popitem(last=False)
            for episode in [episode for episode in self._kept if self._places[episode][0] == closed]:
                del self._kept[episode]
            file.close()
        return self._open[number]


def find_version(folder: Path) -> Path:
    """The folder of the newest version at or below a folder.

    Args:
        folder (`Path`): Where to look, at most two levels deep.

    Raises:
        DataError: If there is none, or versions of several data sets.
    """
    found = [path.parent for pattern in (".", "*", "*/*") for path in folder.glob(f"{pattern}/{FEATURES_FILE}")]
    if not found:
        raise DataError(f"There is no {FEATURES_FILE} in it or in the folders below.", path=str(folder))
    if len(parents := sorted({str(path.parent) for path in found if path != folder})) > 1:
        raise DataError(f"It holds several data sets; name one of {parents}.", path=str(folder))
    return max(found, key=lambda path: [int(part) if part.isdigit() else -1 for part in path.name.split(".")])


def _read(folder: Path, name: str) -> dict[str, Any]:
    try:
        return read_json(folder / name, max_bytes=MAX_JSON_BYTES)
    except CheckpointConfigError as error:
        raise DataError(str(error), path=str(folder / name)) from error


def _shards(info: Mapping[str, Any], split: str, dataset: str) -> tuple[list[str], list[int]]:
    """Names of the files of a split, and how many episodes each has."""
    entries = info.get("splits")
    splits = (
        {str(own.get("name")): own for own in entries or [] if isinstance(own, dict)}
        if isinstance(entries, list)
        else {}
    )
    if split not in splits:
        raise DataError(f"There is no split {split!r}; there are {sorted(splits)}.", dataset=dataset, path=INFO_FILE)
    own = splits[split]
    template = own.get("filepathTemplate") or "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    try:
        lengths = [int(length) for length in own["shardLengths"]]
        names = {
            "DATASET": str(info["name"]),
            "SPLIT": split,
            "FILEFORMAT": str(info.get("fileFormat") or "tfrecord"),
        }
        count = len(lengths)
        shards = [
            fill_pattern(template, **names, SHARD_X_OF_Y=f"{shard:05d}-of-{count:05d}", SHARD_INDEX=f"{shard:05d}")
            for shard in range(count)
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"The split {split!r} is not described as TFDS does: {error}.", dataset=dataset) from error
    return shards, lengths


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Features of `features.json` by their path; a step is an entry of a sequence or of a data set."""
    for name, own in node.get("features", {}).items():
        while "sequence" in own:
            own = own["sequence"]["feature"]
        path = f"{prefix}{name}"
        if "featuresDict" in own:
            yield from _leaves(own["featuresDict"], f"{path}/")
        else:
            yield path, own


def _stored(leaf: Mapping[str, Any]) -> StoredFeature:
    tensor = leaf.get("tensor")
    if not isinstance(tensor, Mapping) or tensor.get("dtype") in ("string", None):
        return StoredFeature()
    sizes = [int(size) for size in tensor.get("shape", {}).get("dimensions", [])]
    return StoredFeature(width=math.prod(sizes))


def _plain(own: FeatureList) -> Any:
    if own.kind == "bytes":
        values: list[Any] = [own.bytes_at(number).decode("utf-8", "replace") for number in range(len(own))]
    else:
        values = own.numbers().tolist() if own.kind != "nothing" else []
    return values[0] if len(values) == 1 else values

"""What readers of layouts with named features share: a `DatasetMap` says which feature is what."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from xwam.data.dataset_map import CameraMap, DatasetMap, StoredFeature
from xwam.data.readers.base import Calibration, Episode, EpisodeReader, Numbers
from xwam.data.readers.number_reading import NumberReading, Rows
from xwam.data.readers.still_images import decode_depth, decode_image
from xwam.errors import DataError
from xwam.robots.spec import RobotSpec


class MappedReader(EpisodeReader):
    """A data set of named features. A layout adds how numbers and images are found.

    Args:
        name (`str`): Name of the data set, for messages.
        robot (`RobotSpec`): The robot.
        rate (`float`): Rows per second.
        episodes (`Sequence[Episode]`): Its episodes.
        map (`DatasetMap`): Where states, commands and cameras are.
        features (`Mapping[str, StoredFeature]`): What the data set has.

    Raises:
        DataError: If map, robot and data set do not fit together.
    """

    def __init__(
        self,
        name: str,
        robot: RobotSpec,
        rate: float,
        episodes: Sequence[Episode],
        map: DatasetMap,
        features: Mapping[str, StoredFeature],
    ) -> None:
        super().__init__(name, robot, rate, episodes)
        self.map, self.features = map, dict(features)
        self._numbers = NumberReading(map, robot, features, name)
        self._cameras = {camera.name: camera for camera in map.cameras}
        if not self.cameras:
            wanted = [camera.name for camera in robot.cameras]
            raise DataError(f"No camera of {wanted} has images; features are {sorted(features)}.", dataset=name)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Cameras of the robot that the data set has images of, in the robot's order."""
        with_images = {name for name, camera in self._cameras.items() if camera.image}
        return tuple(camera.name for camera in self.robot.cameras if camera.name in with_images)

    @property
    def depth_cameras(self) -> tuple[str, ...]:
        """Those of them with depth."""
        return tuple(name for name in self.cameras if self._cameras[name].depth)

    def read_states(self, episode: int, start: int, stop: int) -> Numbers:
        """States of rows `start` to `stop`, columns as in `RobotSpec.state_columns`."""
        features = self.read_features(self._numbers.state_features, episode, start, stop)
        return _of_rows(self._numbers.states(features, self._rows(episode, start)), stop - start)

    def read_commands(self, episode: int, start: int, stop: int) -> Numbers:
        """Commands given at rows `start` to `stop`, columns as in `RobotSpec.command_columns`."""
        end = stop
        if self._numbers.next_state_is_command:
            end = min(stop + 1, self.episodes[episode].length)
        features = self.read_features(self._numbers.command_features, episode, start, end)
        return _of_rows(self._numbers.commands(features, self._rows(episode, start)), stop - start)

    def read_calibration(self, episode: int, camera: str, rows: Sequence[int]) -> Calibration:
        """Calibration at increasing rows, as far as the data set has it."""
        own = self._camera(camera)
        shapes = {own.intrinsics: (3, 3), own.base_from_camera: (4, 4)}
        wanted = [feature for feature in shapes if feature is not None]
        start = min(rows)
        found = self.read_features(wanted, episode, start, max(rows) + 1) if wanted else {}
        matrices = {}
        for feature, values in found.items():
            if not np.isfinite(values).all():
                row = int(np.argwhere(~np.isfinite(values))[0, 0])
                raise self._rows(episode, start).fault("A calibration is not finite.", feature, row)
            matrices[feature] = values[[row - start for row in rows]].reshape(-1, *shapes[feature])
        poses = matrices.get(str(own.base_from_camera))
        intrinsics = matrices.get(str(own.intrinsics))
        if intrinsics is not None and (intrinsics != intrinsics[0]).any():
            raise self._rows(episode, start).fault(
                "The camera matrix changes within a window.", str(own.intrinsics), 0
            )
        return Calibration(None if intrinsics is None else intrinsics[0], poses)

    @abstractmethod
    def read_features(self, features: Sequence[str], episode: int, start: int, stop: int) -> dict[str, np.ndarray]:
        """Numbers of rows `start` to `stop` as they are stored, float64 `(rows, width)` by feature.

        Args:
            features (`Sequence[str]`): Names of features.
            episode (`int`): Index into `episodes`.
            start (`int`): First row.
            stop (`int`): One after the last row.

        Raises:
            DataError: If there are none, or not as many as there must be.
        """

    def _camera(self, name: str) -> CameraMap:
        if name not in self._cameras:
            raise DataError(f"There is no camera {name!r}; there are {list(self._cameras)}.", dataset=self.name)
        return self._cameras[name]

    def _image_feature(self, camera: str, *, is_depth: bool) -> str:
        own = self._camera(camera)
        feature = own.depth if is_depth else own.image
        if feature is None:
            kind = "depth" if is_depth else "images"
            raise DataError(f"There is no feature with {kind} of camera {camera!r}.", dataset=self.name)
        return feature

    def _rows(self, episode: int, start: int) -> Rows:
        return Rows(self.name, self.episodes[episode].key, start)

    def _check_rows(self, episode: int, rows: Sequence[int]) -> None:
        entry = self.episodes[episode]
        if len(rows) == 0 or min(rows) < 0 or max(rows) >= entry.length:
            raise IndexError(f"Episode {entry.key} has rows 0 to {entry.length}, but {list(rows)} were asked for.")

    def _stills(
        self, episode: int, feature: str, rows: Sequence[int], read: Callable[[int], bytes], *, is_depth: bool
    ) -> np.ndarray:
        """Images that are stored one by one."""
        self._check_rows(episode, rows)
        decode, images = decode_depth if is_depth else decode_image, []
        for row in rows:
            try:
                images.append(decode(read(row)))
            except DataError as error:
                raise self._rows(episode, row).fault(error.problem, feature, 0) from error
            if images[-1].shape != images[0].shape:
                problem = f"An image has size {images[-1].shape[:2]}, others {images[0].shape[:2]}."
                raise self._rows(episode, row).fault(problem, feature, 0)
        return np.stack(images)


def _of_rows(found: Numbers, count: int) -> Numbers:
    """So many rows: where a map names nothing there were none, and no state follows the last row of an episode."""
    lacking = ((0, count - len(found.values)), (0, 0))
    return Numbers(np.pad(found.values, lacking), np.pad(found.is_valid, lacking))

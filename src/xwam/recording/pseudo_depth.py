"""A copy of a data set with depth that a model estimates from its RGB.

States and commands are copied as float32 and frames are encoded once more. Each episode is written beside the data set and
becomes part of it as a whole; what a crash leaves is gone on with.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xwam.data import lerobot_layout as layout
from xwam.data.readers.base import Episode, EpisodeReader, Numbers
from xwam.data.writers.dataset_writer import DatasetWriter, plain_key
from xwam.data.writers.episode_writer import EpisodeDescription
from xwam.data.writers.recording_format import RecordingFormat
from xwam.errors import DamagedVideoError, DataError, DepthCalibrationError, ObservationError
from xwam.models.depth_alignment import DepthAlignment
from xwam.models.depth_estimation import DepthEstimator
from xwam.recording.demonstrations import open_writer
from xwam.recording.depth_labels import LabelOptions, labelled_format, labelled_robot
from xwam.robots.states import row_to_state
from xwam.structures import ArmState, Camera, JointState, Observation

ROWS_AT_ONCE = 16  # frames of every camera that are in memory


@dataclass(frozen=True)
class LabelResult:
    """What was labelled.

    Args:
        num_episodes (`int`): Episodes that were added.
        num_rows (`int`): Their rows.
        skipped (`Mapping[str, str]`): Why, by the source's key, an episode is not there; also of former runs.
    """

    num_episodes: int
    num_rows: int
    skipped: Mapping[str, str] = field(default_factory=dict)


def label_depth(
    reader: EpisodeReader,
    folder: str | Path,
    estimator: DepthEstimator,
    options: LabelOptions,
    *,
    output_format: str = "lerobot",
    on_rows: Callable[[int], None] | None = None,
) -> LabelResult:
    """Write the episodes of a data set with estimated depth. Go on after a crash by calling it again.

    Depth that the source has is replaced. Episodes with damaged videos, or whose depth cannot be aligned, are skipped and
    noted; they are tried again with the next call. Of several instructions, the first is kept.

    Args:
        reader (`EpisodeReader`): The source.
        folder (`str` or `Path`): The new data set, or one to go on with.
        estimator (`DepthEstimator`): The depth model.
        options (`LabelOptions`): How depth is stored.
        output_format (`str`, *optional*, defaults to `"lerobot"`): `"lerobot"` or `"release"`.
        on_rows (`Callable`, *optional*): Called with numbers of rows that are done, for a progress bar.

    Returns:
        `LabelResult`: What was added.

    Raises:
        DataError: If the source cannot be labelled so; episodes before are kept.
        ValueError: If the model's answer cannot be aligned so, or the folder holds something else.
    """
    options.check_model(estimator.answer)
    robot = labelled_robot(reader, options)
    form = labelled_format(reader, robot, options, estimator.facts)
    num_episodes = num_rows = 0
    with open_writer(output_format, folder) as writer:
        writer.expect_form(form)  # also where all is done, and nothing would be added
        labeller = _Labeller(reader, writer, estimator, options, form)
        done = {key for key, is_kept in writer.outcomes().items() if is_kept}
        for index, entry in enumerate(reader.episodes):
            count = 0 if labeller.key(index) in done else labeller.write(index, on_rows)
            num_episodes, num_rows = num_episodes + (count > 0), num_rows + count
            if on_rows is not None and not count:
                on_rows(entry.length)
        writer.finish()
        kept = {key for key, is_kept in writer.outcomes().items() if is_kept}
        notes = [note for key, note in writer.skipped_notes().items() if key not in kept]
        skipped = {str(note["episode"]): str(note["reason"]) for note in notes}
        if not kept:
            reason = next(iter(skipped.values()), "there is none with a row")
            raise DataError(f"No episode could be labelled: {reason}", dataset=reader.name)
    return LabelResult(num_episodes, num_rows, skipped)


class _Labeller:
    """Writes episodes of a source with estimated depth."""

    def __init__(
        self,
        reader: EpisodeReader,
        writer: DatasetWriter,
        estimator: DepthEstimator,
        options: LabelOptions,
        form: RecordingFormat,
    ) -> None:
        self._reader, self._writer, self._estimator = reader, writer, estimator
        self._options, self._form = options, form
        self._cameras = {camera.name: camera for camera in form.robot.cameras if camera.name in reader.cameras}

    def key(self, index: int) -> str:
        """Name in the new data set, which orders episodes as the source does."""
        return f"{index:06d}-{plain_key(self._reader.episodes[index].key)}"

    def write(self, index: int, on_rows: Callable[[int], None] | None) -> int:
        """Write an episode, or note why not; the number of its rows."""
        entry = self._reader.episodes[index]
        try:
            numbers = self._numbers(index)
            if not (count := len(numbers[1])):
                return self._skip(entry, index, "There is no row with a command.")
            alignments = self._alignments(index, count)
            with self._writer.episode(self.key(index), self._description(index, alignments), self._form) as target:
                for start in range(0, count, ROWS_AT_ONCE):
                    rows = range(start, min(start + ROWS_AT_ONCE, count))
                    for observation, command in self._frames(index, rows, numbers, alignments):
                        target.add(observation, command)
                    if on_rows is not None:
                        on_rows(len(rows))
                steps = entry.facts.get("num_steps")
                target.publish(is_success=bool(entry.facts.get("success")), num_steps=steps and min(int(steps), count))
        except (DamagedVideoError, DepthCalibrationError) as error:
            return self._skip(entry, index, str(error))
        except ObservationError as error:
            raise DataError(str(error), dataset=self._reader.name, episode=entry.key) from error
        return count

    def _skip(self, entry: Episode, index: int, reason: str) -> int:
        note = {"episode": entry.key, "environment": self._reader.name, "reason": reason}
        self._writer.skip(self.key(index), note)
        return 0

    def _numbers(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """States and commands of all rows that have both; a last row without a command is left out."""
        entry, robot = self._reader.episodes[index], self._form.robot
        states = self._reader.read_states(index, 0, entry.length)
        commands = self._reader.read_commands(index, 0, entry.length)
        count = entry.length - (entry.length > 0 and not commands.is_valid[-1].any())
        for kind, found, columns in (
            ("states", states, robot.state_columns),
            ("commands", commands, robot.command_columns),
        ):
            self._expect_whole(entry, kind, Numbers(found.values[:count], found.is_valid[:count]), columns)
        return states.values[:count], commands.values[:count]

    def _expect_whole(self, entry: Episode, kind: str, numbers: Numbers, columns: Sequence[str]) -> None:
        if not numbers.is_valid.all():
            is_whole = np.atleast_1d(numbers.is_valid.all(axis=0))
            lacking = [name for name, has in zip(columns, is_whole, strict=True) if not has]
            row = int(np.argwhere(~numbers.is_valid)[0, 0])
            raise DataError(
                f"The {kind} lack {lacking}, which a copy would have to invent; label with a robot or a map without them.",
                dataset=self._reader.name,
                episode=entry.key,
                row=row,
            )

    def _alignments(self, index: int, count: int) -> dict[str, DepthAlignment]:
        """One alignment per camera, from frames that are spread over the episode."""
        entry = self._reader.episodes[index]
        rows = np.unique(np.linspace(0, count - 1, min(self._options.num_fitted, count)).round().astype(int)).tolist()
        found = {}
        for name, camera in self._cameras.items():
            answers = self._estimator(self._reader.read_images(index, name, rows))
            measured = self._reader.read_depths(index, name, rows) if self._options.alignment == "measured" else None
            if measured is not None and measured.shape != answers.shape:
                raise DataError(
                    f"Measured depth has size {measured.shape[1:]}, but the images have {answers.shape[1:]}.",
                    dataset=self._reader.name,
                    episode=entry.key,
                    feature=name,
                )
            try:
                found[name] = self._options.align(answers, camera, measured, self._estimator.answer)
            except DepthCalibrationError as error:
                raise DepthCalibrationError(f"camera {name!r}: {error.reason}") from error
        return found

    def _description(self, index: int, alignments: Mapping[str, DepthAlignment]) -> EpisodeDescription:
        entry = self._reader.episodes[index]
        facts, labels = entry.facts, {name: own.to_dict() for name, own in alignments.items()}
        seed = facts.get("seed")
        return EpisodeDescription(
            environment=str(facts.get("environment") or self._reader.name),
            seed=seed if isinstance(seed, int) else index,
            options={**_dict(facts.get("options")), layout.ESTIMATED_DEPTH: labels},
            versions=_dict(facts.get("versions")),
            expert=_dict(facts.get("expert")) or {"source": self._reader.name},
        )

    def _frames(
        self,
        index: int,
        rows: range,
        numbers: tuple[np.ndarray, np.ndarray],
        alignments: Mapping[str, DepthAlignment],
    ) -> list[tuple[Observation, np.ndarray]]:
        entry, robot = self._reader.episodes[index], self._form.robot
        images = {name: self._reader.read_images(index, name, rows) for name in self._cameras}
        depths = {}
        for name, alignment in alignments.items():
            answers = self._estimator(images[name])
            depths[name] = alignment.metres(answers) if self._options.is_metric else alignment.levels(answers)
        cameras = self._calibrations(index, rows)
        found = []
        for place, row in enumerate(rows):
            arms = row_to_state(robot, numbers[0][row])
            observation = Observation(
                images={name: video[place] for name, video in images.items()},
                instruction=next(iter(entry.instructions), ""),
                arms={name: arm for name, arm in arms.items() if isinstance(arm, ArmState)},
                joints={name: arm for name, arm in arms.items() if isinstance(arm, JointState)},
                time=row / self._reader.rate,
                robot=robot.name,
                depths={name: own[place] for name, own in depths.items()},
                cameras={name: own[place] for name, own in cameras.items()},
            )
            found.append((observation, numbers[1][row]))
        return found

    def _calibrations(self, index: int, rows: range) -> dict[str, list[Camera]]:
        found = {}
        for camera in self._form.cameras:
            if camera.is_calibrated:
                own = self._reader.read_calibration(index, camera.name, rows)
                if own.intrinsics is not None and own.base_from_camera is not None:
                    found[camera.name] = [Camera(own.intrinsics, pose) for pose in own.base_from_camera]
        return found


def _dict(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}

"""Data sets made ready for a run: some episodes held out, the robot's quantiles known, and what they are in a few words."""

import logging
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from xwam.checkpoints.json_files import read_json
from xwam.data.readers.base import EpisodeReader
from xwam.data.readers.selection import Selection
from xwam.data.statistics.quantiles import compute_quantiles
from xwam.data.streams.clip_dataset import ClipDataset
from xwam.data.streams.collate import TrainBatch, collate
from xwam.data.streams.mixture import Mixture
from xwam.data.streams.windows import WindowShape, check_rate
from xwam.data.writers.durable_files import write_json
from xwam.errors import DataError
from xwam.robots.clips import EncodedClip
from xwam.robots.processor import RobotProcessor
from xwam.robots.spec import RobotSpec

MOST_HELD_OUT = 0.2  # share of the episodes
ROWS_OF_IDENTITY = 64  # of the first episode

logger = logging.getLogger(__name__)


def hold_out(reader: EpisodeReader, count: int) -> tuple[EpisodeReader, EpisodeReader | None]:
    """Part a data set into episodes to train on and episodes to validate on, spread evenly over it.

    Args:
        reader (`EpisodeReader`): The data set.
        count (`int`): Episodes to hold out; at most a fifth of them, and none of fewer than five.

    Returns:
        `tuple[EpisodeReader, EpisodeReader | None]`: The one, and the other where there is any.
    """
    total = len(reader.episodes)
    wanted, count = count, min(count, int(total * MOST_HELD_OUT))
    if count < 1:
        if wanted:
            logger.warning(
                "No episode of %s is held out, since it has only %d, so nothing is validated on it.",
                reader.name,
                total,
            )
        return reader, None
    held = {int((number + 0.5) * total / count) for number in range(count)}
    return Selection(reader, [n for n in range(total) if n not in held]), Selection(reader, sorted(held))


def robot_with_quantiles(
    robot: RobotSpec, readers: Sequence[EpisodeReader], file: Path, *, rows_per_command: int = 1
) -> RobotSpec:
    """The robot with its own quantiles; else with those of `file`, which is made of the data where it does not hold theirs.

    Args:
        robot (`RobotSpec`): The robot.
        readers (`Sequence[EpisodeReader]`): Data sets to train on.
        file (`Path`): JSON file of the robot in the folder of the run; beside it is noted which data it was made of.
        rows_per_command (`int`, *optional*, defaults to `1`): Rows from one command to the next, as in training.

    Raises:
        DataError: If the data come at another rate than the robot's commands, the file is of a robot that differs in more than
            quantiles and notes, or the data cannot be read.
    """
    shape = WindowShape.of(robot, rows_per_command)
    for reader in readers:
        check_rate(reader, robot, rows_per_command)
    if robot.quantiles is not None:
        return robot
    data = {"rows_per_command": rows_per_command, "data": [numbers_identity(reader) for reader in readers]}
    source = file.with_name(f"{file.stem}_quantiles_of.json")
    if file.exists():
        found = RobotSpec.from_dict(read_json(file))
        if difference := other_robot(found, robot):
            raise DataError(
                f"It is of a robot with another {difference} than the {robot.name!r} that is given: take another output "
                "folder, or give that robot.",
                path=str(file),
            )
        if not source.exists() or read_json(source) == data:
            logger.info("The quantiles of robot %s are those of %s.", robot.name, file)
            return found
        logger.warning("The quantiles in %s are of other data, see %s: they are made anew.", file, source)
    logger.info("Robot %s has no quantiles: reading the numbers of all episodes once.", robot.name)
    found, report = compute_quantiles(readers, robot, shape, widen=True)
    logger.info("%s They are in %s and in the processor of the trained pipeline.", report.note, file)
    for channel in report.degenerate:
        logger.warning(
            "%s %s cannot be normalised by its quantiles and got a harmless range. %s",
            channel.kind,
            channel.name,
            channel.problem,
        )
    source.unlink(missing_ok=True)
    write_json(file, found.to_dict())
    write_json(source, data)
    return found


def other_robot(there: RobotSpec, here: RobotSpec) -> str:
    """Fields in which two robots differ, but for quantiles and notes; empty where they are the same.

    Args:
        there (`RobotSpec`): One of them.
        here (`RobotSpec`): The other.
    """
    theirs, ours = there.to_dict(), here.to_dict()
    return ", ".join(name for name in ours if name not in ("quantiles", "notes") and theirs[name] != ours[name])


def data_identity(mixture: Mixture) -> dict[str, Any]:
    """What must be the same for the same seed to mean the same samples: data sets, episodes, windows, shares and robots.

    Args:
        mixture (`Mixture`): Data sets.
    """
    named: dict[str, Any] = {}
    for number, (part, share) in enumerate(zip(mixture.parts, mixture.shares, strict=True)):
        named[f"{number}: {part.reader.name}"] = {
            **numbers_identity(part.reader),
            "windows": sum(part.counts),
            "rows_per_command": part.rows_per_command,
            "share": share,
            "robot": part.processor.spec.to_dict(),
        }
    return named


def numbers_identity(reader: EpisodeReader) -> dict[str, Any]:
    """How long the episodes are, and what the first one's numbers are as they are read now, with map and units.

    Args:
        reader (`EpisodeReader`): A data set.
    """
    digest = sha256()
    if reader.episodes:
        stop = min(reader.episodes[0].length, ROWS_OF_IDENTITY)
        for read in (reader.read_states, reader.read_commands):
            numbers = read(0, 0, stop)
            digest.update(np.where(numbers.is_valid, numbers.values, 0).astype(np.float32).tobytes())
    return {
        "episodes": len(reader.episodes),
        "rows": sha256(repr([episode.length for episode in reader.episodes]).encode()).hexdigest(),
        "first_numbers": digest.hexdigest(),
    }


def validation_batches(
    readers: Sequence[EpisodeReader],
    processor: RobotProcessor,
    *,
    num_clips: int,
    batch_size: int,
    rows_per_command: int = 1,
) -> Iterator[TrainBatch]:
    """Clips spread evenly over held-out episodes, always the same; damaged ones are left out with a warning.

    Args:
        readers (`Sequence[EpisodeReader]`): Held-out episodes.
        processor (`RobotProcessor`): Their robot.
        num_clips (`int`): Clips in all, about the same number of each reader.
        batch_size (`int`): Clips of a batch.
        rows_per_command (`int`, *optional*, defaults to `1`): Rows from one command to the next, as in training.
    """
    clips: list[EncodedClip] = []
    for reader in readers:
        windows = ClipDataset(reader, processor, rows_per_command=rows_per_command)
        count = min(len(windows), -(-num_clips // len(readers)))
        for number in range(count):
            try:
                clip = windows[int((number + 0.5) * len(windows) / count)]
            except DataError as error:
                logger.warning("Left out of the validation: %s", error)
                continue
            assert isinstance(clip, EncodedClip), "there is a processor"
            clips.append(clip)
            if len(clips) == batch_size:
                yield collate(clips)
                clips = []
    if clips:
        yield collate(clips)

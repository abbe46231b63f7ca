"""Everything that can be checked on one episode by itself, and what it adds to checks of the whole data set."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from xwam.data.checks.calibrations import calibration_findings
from xwam.data.checks.cameras import camera_findings
from xwam.data.checks.depths import depth_findings
from xwam.data.checks.findings import Finding, finding_of
from xwam.data.checks.flags import flag_findings
from xwam.data.checks.following import Sums, following_sums
from xwam.data.checks.frames import Trace, trace_frames
from xwam.data.checks.motions import flip_findings, jump_findings
from xwam.data.checks.numbers import EpisodeNumbers
from xwam.data.checks.orders import order_sums, stored_quaternions
from xwam.data.checks.ranges import Ranges
from xwam.data.checks.times import time_findings
from xwam.data.readers.base import EpisodeReader, Numbers
from xwam.data.streams.windows import WindowShape
from xwam.errors import DataError

BURST = 12  # rows that a quick check reads together
NUM_PICTURES = 4


@dataclass(frozen=True)
class CheckOptions:
    """How much is looked at.

    Args:
        every (`int`, *optional*, defaults to `1`): Every how manieth frame is decoded; with 1 no damage is missed.
        is_quick (`bool`, *optional*, defaults to `False`): Only begin, middle and end of every video.
        num_episodes (`int`, *optional*): Episodes, evenly over the data set; else all.

    Raises:
        ValueError: If that is nothing.
    """

    every: int = 1
    is_quick: bool = False
    num_episodes: int | None = None

    def __post_init__(self) -> None:
        for name, number in (("every", self.every), ("num_episodes", self.num_episodes)):
            if number is not None and number < 1:
                raise ValueError(f"`{name}` must be at least 1, but is {number}.")

    def rows(self, length: int) -> list[int]:
        """Rows of an episode whose frames are decoded."""
        rows = range(0, length, self.every)
        if not self.is_quick or len(rows) <= 3 * BURST:
            return list(rows)
        middle = len(rows) // 2 - BURST // 2
        return [*rows[:BURST], *rows[middle : middle + BURST], *rows[-BURST:]]

    def episodes(self, count: int) -> list[int]:
        """Which of so many episodes are checked."""
        wanted = count if self.num_episodes is None else min(self.num_episodes, count)
        return np.unique(np.linspace(0, count - 1, wanted).round().astype(int)).tolist() if wanted else []


@dataclass(frozen=True, eq=False)
class EpisodeResult:
    """What was found in one episode.

    Args:
        key (`str`): Its name.
        findings (`tuple[Finding, ...]`): Defects of the episode itself.
        states (`Ranges`, *optional*): Of its states; `None` where they cannot be read.
        commands (`Ranges`, *optional*): Of its commands.
        following (`Sums`): For `following_findings`.
        orders (`Sums`): For `order_findings`.
        fingerprint (`str`): The same for episodes with the same numbers; empty where there are none.
        pictures (`dict[str, dict[int, np.ndarray]]`): Small frames by camera and row; depth as `"<camera> depth"`.
    """

    key: str
    findings: tuple[Finding, ...]
    states: Ranges | None = None
    commands: Ranges | None = None
    following: Sums = field(default_factory=dict)
    orders: Sums = field(default_factory=dict)
    fingerprint: str = ""
    pictures: dict[str, dict[int, np.ndarray]] = field(default_factory=dict)


def check_episode(reader: EpisodeReader, options: CheckOptions, episode: int) -> EpisodeResult:
    """Check one episode.

    Args:
        reader (`EpisodeReader`): The data set.
        options (`CheckOptions`): How much to look at.
        episode (`int`): Index into its episodes.
    """
    entry = reader.episodes[episode]
    findings = _words(reader, episode)
    states = _read(partial(reader.read_states, episode, 0, entry.length), findings)
    commands = _read(partial(reader.read_commands, episode, 0, entry.length), findings)
    numbers = None
    if states is not None and commands is not None:
        numbers = EpisodeNumbers(reader.robot, reader.rate, states, commands)
        findings += [*jump_findings(numbers), *flip_findings(numbers)]
    findings += _times(reader, episode)
    images, depths = _traces(reader, options, episode)
    seen = list(camera_findings(reader.robot, images, reader.rate, numbers))
    dead = {str(finding.feature) for finding in seen if finding.kind == "dead_camera"}
    findings += [*seen, *_flags(reader, episode, images, dead)]
    cameras = {camera.name: camera for camera in reader.robot.cameras}
    for name, trace in depths.items():
        findings += depth_findings(trace, cameras[name], is_metric=reader.depth_is_metric)
    sizes = {name: trace.size for name, trace in images.items() if trace.size is not None}
    broken, rotations = calibration_findings(reader, episode, sizes)
    findings += broken
    kept = {**images, **{trace.feature: trace for trace in depths.values()}}
    return EpisodeResult(
        key=entry.key,
        findings=tuple(replace(finding, episode=entry.key, dataset=reader.name) for finding in findings),
        states=None if states is None else Ranges.of(states),
        commands=None if commands is None else Ranges.of(commands),
        following={} if numbers is None else following_sums(numbers),
        orders={} if numbers is None else order_sums(numbers, stored_quaternions(reader, episode), rotations),
        fingerprint=_fingerprint(states, commands),
        pictures={name: trace.pictures for name, trace in kept.items() if trace.pictures},
    )


def _words(reader: EpisodeReader, episode: int) -> list[Finding]:
    entry, span = reader.episodes[episode], WindowShape.of(reader.robot).span
    found = []
    try:
        if not any(instruction.strip() for instruction in entry.instructions):
            found.append(Finding("no_instruction", "the task in words", "nothing"))
    except DataError as error:  # layouts that keep the task in the episode's own file
        found.append(finding_of(error))
    if entry.length <= span:
        found.append(Finding("short_episode", f"at least {span + 1} rows for one window", f"{entry.length} rows"))
    return found


def _flags(reader: EpisodeReader, episode: int, images: dict[str, Trace], dead: set[str]) -> list[Finding]:
    try:
        return list(flag_findings(reader, episode, images, dead))
    except DataError as error:
        return [finding_of(error)]


def _read(read: partial[Numbers], findings: list[Finding]) -> Numbers | None:
    try:
        return read()
    except DataError as error:
        if (found := finding_of(error)) not in findings:  # commands may be made of states
            findings.append(found)
        return None


def _times(reader: EpisodeReader, episode: int) -> list[Finding]:
    try:
        times = reader.read_timestamps(episode)
    except DataError as error:
        return [finding_of(error, feature="timestamp")]
    return [] if times is None else list(time_findings(times, reader.rate))


def _traces(reader: EpisodeReader, options: CheckOptions, episode: int) -> tuple[dict[str, Trace], dict[str, Trace]]:
    """Frames of all cameras, and depth of those that have it."""
    rows = options.rows(reader.episodes[episode].length)
    pictured = _spread(rows)
    near = {camera.name: camera.depth_range[0] for camera in reader.robot.cameras if camera.depth_range is not None}
    images = {
        camera: trace_frames(camera, partial(reader.read_images, episode, camera), rows, pictured)
        for camera in reader.cameras
    }
    depths = {
        camera: trace_frames(
            f"{camera} depth", partial(reader.read_depths, episode, camera), rows, pictured, near.get(camera)
        )
        for camera in reader.depth_cameras
    }
    return images, depths


def _spread(rows: Sequence[int]) -> list[int]:
    places = np.linspace(0, len(rows) - 1, min(NUM_PICTURES, len(rows))).round().astype(int)
    return [rows[place] for place in places]


def _fingerprint(states: Numbers | None, commands: Numbers | None) -> str:
    digest = hashlib.sha256()
    kept = [numbers for numbers in (states, commands) if numbers is not None and numbers.is_valid.any()]
    for numbers in kept:
        digest.update(numbers.values.astype(np.float32).tobytes())
    return digest.hexdigest() if kept else ""

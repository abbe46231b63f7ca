"""All checks of a whole data set, episode by episode in any number of processes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from xwam.data.checks.episode_check import CheckOptions, EpisodeResult, check_episode
from xwam.data.checks.findings import ERROR, KINDS, Finding, finding_of
from xwam.data.checks.following import Sums, add_sums, following_findings
from xwam.data.checks.lerobot_files import lerobot_findings
from xwam.data.checks.orders import order_findings
from xwam.data.checks.ranges import CONSTANT, Ranges, range_findings
from xwam.data.checks.report import CheckReport
from xwam.data.checks.times import rate_findings
from xwam.data.dataset_map import DatasetMap
from xwam.data.lerobot_layout import INFO_FILE
from xwam.data.readers.base import EpisodeReader
from xwam.data.readers.dataset_files import DatasetFiles
from xwam.data.readers.lerobot import LeRobotReader
from xwam.data.statistics.quantiles import compute_quantiles
from xwam.errors import DataError
from xwam.robots.spec import SMALLEST_RANGE, RobotSpec
from xwam.utils.jobs import run_jobs


def check_dataset(
    source: str | Path,
    robot: RobotSpec,
    *,
    map: DatasetMap | None = None,
    options: CheckOptions | None = None,
    num_processes: int = 1,
    on_episode: Callable[[EpisodeResult], object] | None = None,
) -> CheckReport:
    """Check a data set of any layout that `open_dataset` reads.

    Args:
        source (`str` or `Path`): Folder or hub id.
        robot (`RobotSpec`): The robot.
        map (`DatasetMap`, *optional*): Where its columns and cameras are.
        options (`CheckOptions`, *optional*): How much to look at; everything by default.
        num_processes (`int`, *optional*, defaults to `1`): Processes.
        on_episode (`Callable`, *optional*): Called with the result of each episode, in any order.

    Raises:
        DataError: If there is no such data set.
    """
    from xwam.data.readers.open import open_dataset

    files = DatasetFiles(source)
    reader, found = None, []
    try:
        reader = open_dataset(source, robot, map=map)
    except DataError as error:
        found.append(finding_of(error))
    if files.exists(INFO_FILE):
        found += lerobot_findings(files, reader if isinstance(reader, LeRobotReader) else None)
    if reader is None:
        named = [replace(finding, dataset=files.name) for finding in found]
        return CheckReport(files.name, robot.name, "it cannot be opened", _ordered(named))
    with reader:
        return check_reader(reader, options=options, num_processes=num_processes, on_episode=on_episode, found=found)


def check_reader(
    reader: EpisodeReader,
    *,
    options: CheckOptions | None = None,
    num_processes: int = 1,
    on_episode: Callable[[EpisodeResult], object] | None = None,
    found: Sequence[Finding] = (),
) -> CheckReport:
    """Check a data set that is open.

    Args:
        reader (`EpisodeReader`): The data set.
        options (`CheckOptions`, *optional*): How much to look at; everything by default.
        num_processes (`int`, *optional*, defaults to `1`): Processes.
        on_episode (`Callable`, *optional*): Called with the result of each episode, in any order.
        found (`Sequence[Finding]`, *optional*): What is known to be wrong before.
    """
    options = options or CheckOptions()
    chosen = options.episodes(len(reader.episodes))
    whole = _Whole()
    for episode, result in run_jobs(_Work(reader, options), chosen, num_processes=num_processes):
        whole.add(episode, result)
        if on_episode is not None:
            on_episode(result)
    findings = [*found, *_camera_and_rate_findings(reader), *whole.findings(reader)]
    named = [replace(finding, dataset=reader.name) for finding in dict.fromkeys(findings)]
    return CheckReport(reader.name, reader.robot.name, _looked_at(reader, options, chosen), _ordered(named))


@dataclass(frozen=True, eq=False)
class _Work:
    """Makes the function that checks one episode; travels to other processes."""

    reader: EpisodeReader
    options: CheckOptions

    def __call__(self) -> Callable[[int], EpisodeResult]:
        return partial(check_episode, self.reader, self.options)


class _Whole:
    """What episodes add up to."""

    def __init__(self) -> None:
        self._findings: dict[int, tuple[Finding, ...]] = {}
        self._keys: dict[int, str] = {}
        self._prints: dict[int, str] = {}
        self._ranges: list[Ranges | None] = [None, None]
        self._following: Sums = {}
        self._orders: Sums = {}
        self._readable: list[int] = []

    def add(self, episode: int, result: EpisodeResult) -> None:
        self._findings[episode], self._keys[episode] = result.findings, result.key
        self._prints[episode] = result.fingerprint
        if result.states is not None and result.commands is not None:
            self._readable.append(episode)
        for place, own in enumerate((result.states, result.commands)):
            before = self._ranges[place]
            self._ranges[place] = own if before is None else before if own is None else before | own
        self._following = add_sums(self._following, result.following)
        self._orders = add_sums(self._orders, result.orders)

    def findings(self, reader: EpisodeReader) -> Iterator[Finding]:
        orders = list(order_findings(reader.robot, self._orders))
        misread = {str(one.feature).removeprefix("state ") for one in orders if one.kind == "quaternion_order"}
        for episode in sorted(self._findings):
            yield from (one for one in self._findings[episode] if not _follows_from(one, misread))
        yield from self._duplicates()
        states, commands = self._ranges
        if states is not None and commands is not None:
            yield from range_findings(reader.robot, states, commands)
        yield from (
            one for one in following_findings(reader.robot, self._following) if not _follows_from(one, misread)
        )
        yield from orders
        yield from self._degenerate(reader)

    def _duplicates(self) -> Iterator[Finding]:
        first: dict[str, str] = {}
        for episode in sorted(self._prints):
            mark, key = self._prints[episode], self._keys[episode]
            if mark and first.setdefault(mark, key) != key:
                yield Finding(
                    "duplicate_episode", "numbers of its own", f"those of episode {first[mark]}", episode=key
                )

    def _degenerate(self, reader: EpisodeReader) -> Iterator[Finding]:
        """Channels that cannot be normalised by their quantiles, but those that never change."""
        robot = reader.robot
        lacking = {path.split(".")[0] for path in robot.unknown} & {"command_kind", "model_from_base", "arms"}
        if lacking or not self._readable:
            return
        _, report = compute_quantiles([reader], robot, episodes=[sorted(self._readable)])
        for channel in report.degenerate:
            largest = max(abs(channel.lowest), abs(channel.highest))
            if channel.highest - channel.lowest > max(CONSTANT * largest, SMALLEST_RANGE):
                feature = f"{channel.kind} channel {channel.name}"
                yield Finding("degenerate_quantiles", "values spread over the range", channel.problem, feature)


def _follows_from(finding: Finding, misread: set[str]) -> bool:
    """Whether it is there only because quaternions are read in the wrong order; its advice would mislead."""
    return finding.feature in misread and finding.kind in ("quaternion_flip", "jump", "wrong_axes", "wrong_sign")


def _camera_and_rate_findings(reader: EpisodeReader) -> Iterator[Finding]:
    yield from rate_findings(reader.rate, reader.robot.control_period)
    for camera in reader.robot.cameras:
        if camera.name not in reader.cameras:
            yield Finding("missing_camera", "a video", "none", camera.name)
    if not reader.episodes:
        yield Finding("unreadable", "episodes", "none")


def _looked_at(reader: EpisodeReader, options: CheckOptions, chosen: Sequence[int]) -> str:
    rows = sum(reader.episodes[episode].length for episode in chosen)
    frames = "begin, middle and end of every video" if options.is_quick else "every frame"
    frames = f"every {options.every}th frame" if options.every > 1 and not options.is_quick else frames
    depth = f" ({len(reader.depth_cameras)} with depth)" if reader.depth_cameras else ""
    return (
        f"{len(chosen)} of {len(reader.episodes)} episodes, {rows} rows at {reader.rate:.4g} per second, "
        f"{len(reader.cameras)} cameras{depth}, {frames}"
    )


def _ordered(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Errors first; in the order of kinds, then as they came."""
    kinds = list(KINDS)
    return tuple(sorted(findings, key=lambda finding: (finding.severity != ERROR, kinds.index(finding.kind))))

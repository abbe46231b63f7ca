"""What a check found: as a table for people and as plain values for JSON."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from xwam.data.checks.findings import ERROR, KINDS, WARNING, Finding

SHOWN = 3  # examples of each kind


@dataclass(frozen=True, eq=False)
class CheckReport:
    """What a check found.

    Args:
        dataset (`str`): Name of the data set.
        robot (`str`): Name of the robot.
        looked_at (`str`): What was checked, in words.
        findings (`tuple[Finding, ...]`): Defects, worst first.
    """

    dataset: str
    robot: str
    looked_at: str
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Defects that make training wrong or impossible."""
        return tuple(finding for finding in self.findings if finding.severity == ERROR)

    @property
    def kinds(self) -> set[str]:
        """Kinds of defects that were found."""
        return {finding.kind for finding in self.findings}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "version": 1,
            "dataset": self.dataset,
            "robot": self.robot,
            "looked_at": self.looked_at,
            "counts": dict(Counter(finding.kind for finding in self.findings)),
            "findings": [finding.to_dict() for finding in self.findings],
        }

    def lines(self) -> Iterator[str]:
        """The table, line by line."""
        yield f"{self.dataset} of robot {self.robot}: {self.looked_at}"
        for severity in (ERROR, WARNING):
            kinds = [kind for kind in KINDS if kind in self.kinds and KINDS[kind][0] == severity]
            if kinds:
                yield ""
                yield f"{severity}s"
            for kind in kinds:
                yield from _kind_lines(kind, [finding for finding in self.findings if finding.kind == kind])
        yield ""
        errors, warnings = len(self.errors), len(self.findings) - len(self.errors)
        yield f"{errors} errors, {warnings} warnings" if self.findings else "No defects were found."


def _kind_lines(kind: str, findings: Sequence[Finding]) -> Iterator[str]:
    episodes = len({finding.episode for finding in findings if finding.episode is not None})
    where = f" in {episodes} episodes" if episodes else ""
    yield f"  {kind:<22}{len(findings):>4} ×{where}: {KINDS[kind][1]}"
    for finding in findings[:SHOWN]:
        place = f"{finding.place}: " if finding.place else ""
        yield f"      {place}expected {finding.expected}; came {finding.came}"
    if len(findings) > SHOWN:
        yield f"      … and {len(findings) - SHOWN} more"

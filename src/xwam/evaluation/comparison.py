"""A dream held against what then came: numbers by camera and frame, what standing still would score, and words."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from xwam.evaluation.departure import conclusion, departures, on_commands
from xwam.evaluation.error_plot import Line, plot_errors
from xwam.evaluation.future_errors import FutureErrors
from xwam.evaluation.future_metrics import METRICS
from xwam.evaluation.tables import jsonable, markdown_table, shown
from xwam.export.files import json_format, replacing_folder
from xwam.export.future_sheet import future_sheet
from xwam.export.images import write_image
from xwam.futures.future import Future
from xwam.robots.states import RobotState

FORMAT = "xwam.comparison"
FILES = {"comparison.json", "comparison.md", "comparison.png", "frames.png", "depths.png"}


@dataclass(frozen=True, eq=False)
class Comparison:
    """A dream against reality.

    Args:
        dream (`Future`): What was imagined.
        reality (`Future`): What came.
        errors (`FutureErrors`): Of the dream.
        still (`FutureErrors`): Of the forecast that nothing moves, which gives the numbers their meaning.
        led (`tuple[Mapping[str, ArmState | JointState], ...]`): States at the frames if the robot had followed its commands
            exactly; empty where that cannot be told.
    """

    dream: Future
    reality: Future
    errors: FutureErrors
    still: FutureErrors
    led: tuple[RobotState, ...] = ()

    @property
    def findings(self) -> tuple[str, ...]:
        """In plain words: where video, depth and robot part from the dream, and what that says about the action."""
        found = departures(self.errors, self.still, self.reality.frame_period)
        more = []
        if "abs_rel" not in self.errors.values:
            kinds = f"{self.dream.depth_kind!r} in the dream, {self.reality.depth_kind!r} in reality"
            more.append(f"Depth was not compared: it is {kinds}.")
        if self.led and self.dream.states:
            more.append(on_commands(self.dream, self.reality, self.led))
        return (*(own.sentence for own in found), *more, conclusion(found))

    @property
    def table(self) -> str:
        """Every metric with its mean over the frames after frame 0, then frame by frame, in Markdown."""
        steps = [f"{frame * self.reality.frame_period:.2g} s" for frame in range(1, self.reality.num_frames)]
        rows = [["metric", "dream", "frame 0 repeated", *steps]]
        for metric in self.errors.values:
            facts, own = METRICS[metric], self.errors
            still = self.still.total(metric) if metric in self.still.values else float("nan")
            cells = [shown(value, facts.digits) for value in (own.total(metric), still, *own.over_frames(metric)[1:])]
            rows.append([facts.label, *cells])
        return markdown_table(rows)

    def to_dict(self) -> dict[str, Any]:
        """All numbers and words, JSON-able: NaN is `null`, infinity `"Infinity"`."""
        return {
            "format": FORMAT,
            "robot": self.reality.robot,
            "instruction": self.dream.instruction,
            "frame_period": float(self.reality.frame_period),
            "depth_kind": {"dream": self.dream.depth_kind, "reality": self.reality.depth_kind},
            "findings": list(self.findings),
            "metrics": {
                metric: {
                    "unit": METRICS[metric].unit,
                    "definition": METRICS[metric].definition,
                    "dream": _facts(self.errors, metric),
                    "frame_0_repeated": _facts(self.still, metric) if metric in self.still.values else None,
                }
                for metric in self.errors.values
            },
        }

    def plot(self, path: str | Path) -> None:
        """Write a PNG with one panel for each metric: the dream and frame 0 repeated, over the seconds ahead.

        Args:
            path (`str` or `Path`): File to make.

        Raises:
            ImportError: If Matplotlib is not installed.
        """
        panels = {}
        for metric in self.errors.values:
            lines = {"dream": Line(self.errors.over_frames(metric), parts=self.errors.values[metric])}
            if metric in self.still.values:
                lines["frame 0 repeated"] = Line(self.still.over_frames(metric))
            panels[METRICS[metric].label] = lines
        plot_errors(path, panels, self._seconds, title=f"dream against reality: {self.dream.instruction}")

    def write(self, folder: str | Path) -> None:
        """Write `comparison.json`, `comparison.md`, `comparison.png`, and the frames below each other; all or nothing.

        Where nothing was measured, there is no `comparison.png`.

        Args:
            folder (`str` or `Path`): Folder to make; one that was written before is replaced.

        Raises:
            ValueError: If the folder holds files of somebody else.
            ImportError: If Matplotlib is not installed.
        """
        with replacing_folder(folder, own_files=_own_files) as temporary:
            pictures = []
            if self.errors.values:
                self.plot(temporary / "comparison.png")
                pictures.append("![errors](comparison.png)")
            write_image(temporary / "frames.png", self._sheet("frames"))
            pictures.append("![frames](frames.png)")
            if self._depth_cameras:
                write_image(temporary / "depths.png", self._sheet("depths"))
                pictures.append("![depth](depths.png)")
            text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
            (temporary / "comparison.json").write_text(text, encoding="utf-8")
            words = "\n".join(f"- {sentence}" for sentence in self.findings)
            page = ["# Dream against reality", f"“{self.dream.instruction}”", words, self.table, *pictures]
            (temporary / "comparison.md").write_text("\n\n".join(page) + "\n", encoding="utf-8")

    @property
    def _seconds(self) -> list[float]:
        return [frame * self.reality.frame_period for frame in range(self.reality.num_frames)]

    @property
    def _depth_cameras(self) -> list[str]:
        return [camera for camera in self.dream.depths if camera in self.reality.depths]

    def _sheet(self, kind: Literal["frames", "depths"]) -> np.ndarray:
        """Every camera as it was imagined and, below, as it came."""
        cameras = self.dream.cameras if kind == "frames" else self._depth_cameras
        futures, title = {"dream": self.dream, "reality": self.reality}, self.dream.instruction
        return future_sheet(futures, cameras={name: name for name in cameras}, kinds=(kind,), title=title)


def _own_files(folder: Path) -> set[str]:
    """Files of an earlier comparison in a folder; none where it is not one of ours."""
    return FILES if json_format(folder / "comparison.json") == FORMAT else set()


def _facts(errors: FutureErrors, metric: str) -> dict[str, Any]:
    return {
        "mean_after_frame_0": jsonable(errors.total(metric)),
        "by_frame": jsonable(errors.over_frames(metric)),
        "by_subject": {subject: jsonable(values) for subject, values in errors.values[metric].items()},
    }

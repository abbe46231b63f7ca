"""Score a folder of predicted futures against what came: `python -m xwam.evaluation.video PREDICTIONS TRUTH --output DIR`.

The numbers come from `xwam.metrics`, the folders from `xwam.export.future_folder.save_future`, by any model.
"""

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tqdm import tqdm

from xwam.checkpoints.json_files import read_json
from xwam.errors import XWAMError
from xwam.evaluation.future_errors import ErrorOptions, ImageDistance
from xwam.evaluation.future_metrics import GROUPS
from xwam.evaluation.provenance import code_version
from xwam.evaluation.scored_folders import match_folders, score_folders
from xwam.evaluation.video_report import VideoReport, own_files
from xwam.export.future_files import MAX_JSON_BYTES
from xwam.export.future_folder import JSON_NAME
from xwam.metrics.depth import ALIGNMENTS
from xwam.metrics.images import lpips
from xwam.metrics.perceptual import LPIPSNetwork
from xwam.robots.registry import list_robots, read_robot
from xwam.utils.options import require_writable

DELAY = 0.5  # seconds until the bar appears


def main(arguments: Sequence[str] | None = None, *, program: str = "python -m xwam.evaluation.video") -> int:
    """Score a folder.

    Args:
        arguments (`Sequence[str]`, *optional*): What follows the program's name; the process's own by default.
        program (`str`, *optional*, defaults to `"python -m xwam.evaluation.video"`): Its name in messages.

    Returns:
        `int`: 0 when the report is written, 1 if it could not be, 2 if something impossible was asked for.
    """
    asked = _parser(program).parse_args(arguments)
    has_plot = importlib.util.find_spec("matplotlib") is not None
    try:
        names = match_folders(asked.predictions, asked.truth)
        _check_output(asked)
        options = ErrorOptions(
            groups=tuple(asked.metrics),
            lpips=_lpips(asked.lpips),
            depth_alignment=asked.depth_alignment,
            voxel_size=asked.voxel_size,
            robot=None if asked.robot is None else read_robot(asked.robot),
        )
        told = _of_unknown_robots(asked, names)
    except (XWAMError, ValueError, OSError, ImportError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    try:
        with tqdm(total=len(names), unit="window", desc="scoring", delay=DELAY, disable=None) as bar:
            windows = score_folders(asked.predictions, asked.truth, options, on_window=lambda _: bar.update())
        report = VideoReport(windows, _settings(asked))
        report.write(asked.output, plot=has_plot)
    except (XWAMError, ValueError, OSError, ImportError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    print(f"{report.table}\n\n{report.other_table}\n\nwrote {asked.output}/report.md")
    if asked.lpips is None and "images" in asked.metrics:
        print("no LPIPS, since --lpips names no weights")
    if told:
        print(told)
    if not has_plot:
        print("no plot, for want of Matplotlib: pip install 'xwam[export]'")
    return 0


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Score predicted futures against what came: a folder for each window in both, under the same names.",
    )
    add = parser.add_argument
    add("predictions", type=Path, help="folder with a folder of future.json and future.npz for each prediction")
    add("truth", type=Path, help="folder with what came, under the same names")
    add("--output", type=Path, required=True, help="folder of report.json, report.md and report.png")
    add(
        "--metrics", nargs="+", choices=GROUPS, default=list(GROUPS), help="what to measure (default: all that can be)"
    )
    add("--lpips", metavar="WEIGHTS", help="converted LPIPS weights: a file, a folder, or a hub id; without, no LPIPS")
    add(
        "--depth-alignment",
        choices=ALIGNMENTS,
        default="none",
        help="fit predicted depth first (default: %(default)s)",
    )
    add("--robot", help="JSON file or name of the robot, to score commands of one that is not known by its name")
    add("--voxel-size", type=float, default=0.005, metavar="METRES", help="of the clouds (default: %(default)s)")
    return parser


def _lpips(weights: str | None) -> ImageDistance | None:
    return None if weights is None else partial(lpips, network=LPIPSNetwork.from_pretrained(weights))


def _of_unknown_robots(asked: argparse.Namespace, names: Sequence[str]) -> str:
    """Why commands are not scored; empty where they are.

    Raises:
        ValueError: If nothing else is asked for.
    """
    if asked.robot is not None or "commands" not in asked.metrics:
        return ""
    robots = {str(read_json(asked.truth / name / JSON_NAME, max_bytes=MAX_JSON_BYTES).get("robot")) for name in names}
    unknown = sorted(robots - set(list_robots()))
    told = f"Commands are not scored: no robot {unknown[0]!r} is known; give --robot." if unknown else ""
    if told and set(asked.metrics) == {"commands"}:
        raise ValueError(told)
    return told


def _check_output(asked: argparse.Namespace) -> None:
    """Find out now, and not after hours, that nothing can be written."""
    for folder in (asked.predictions, asked.truth):
        if asked.output.resolve() in (folder.resolve(), *folder.resolve().parents):
            raise ValueError(f"--output must be a folder of its own, but {folder} lies in it.")
    require_writable(asked.output)
    if not 0 < asked.voxel_size < float("inf"):
        raise ValueError(f"--voxel-size must be positive metres, but is {asked.voxel_size}.")
    there_already = {path.name for path in asked.output.iterdir()} if asked.output.is_dir() else set()
    if foreign := sorted(there_already - own_files(asked.output)):
        raise ValueError(
            f"--output {asked.output} must be a new folder, an empty one, or one of an earlier report, but holds {foreign[0]}."
        )


def _settings(asked: argparse.Namespace) -> dict[str, object]:
    return {
        "predictions": str(asked.predictions),
        "truth": str(asked.truth),
        "metrics": list(asked.metrics),
        "lpips": asked.lpips,
        "depth_alignment": asked.depth_alignment,
        "voxel_size": asked.voxel_size,
        "code": code_version(),
    }


if __name__ == "__main__":
    sys.exit(main())

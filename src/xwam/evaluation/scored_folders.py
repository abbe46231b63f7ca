"""Two folders of futures, predictions and what came, matched by name and measured window by window."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xwam.checkpoints.json_files import read_json
from xwam.evaluation.future_errors import ErrorOptions, FutureErrors, future_errors, still_errors
from xwam.export.future_files import FORMAT, MAX_JSON_BYTES
from xwam.export.future_folder import JSON_NAME, NPZ_NAME, load_future

SHOWN = 5  # names in a message
EPISODE_MARK = "@"  # a window is named `<episode>@<first row>`


@dataclass(frozen=True, eq=False)
class ScoredWindow:
    """One prediction, measured.

    Args:
        name (`str`): Name of its folder.
        errors (`FutureErrors`): Of the prediction.
        still (`FutureErrors`): Of the forecast that nothing moves.
        frame_period (`float`): Seconds between frames.
    """

    name: str
    errors: FutureErrors
    still: FutureErrors
    frame_period: float

    @property
    def episode(self) -> str:
        """What stands before `@` in the name, else the whole name: windows of one episode are drawn together."""
        return self.name.partition(EPISODE_MARK)[0]


def match_folders(predictions: str | Path, truth: str | Path) -> list[str]:
    """Names of the futures that lie in both folders, after all checks that need no pixels.

    Args:
        predictions (`str` or `Path`): Holds a folder of `save_future` for each prediction.
        truth (`str` or `Path`): Holds what came, under the same names.

    Raises:
        ValueError: If a folder is missing or holds nothing, a name has no partner, or two partners do not belong together:
            one message for all of them.
    """
    names = [set(_names(Path(folder), label)) for folder, label in ((predictions, "predictions"), (truth, "truth"))]
    problems = []
    for own, other, words in ((0, 1, "predictions without truth"), (1, 0, "truth without predictions")):
        if lonely := sorted(names[own] - names[other]):
            problems.append(f"{len(lonely)} {words}: {_some(lonely)}")
    for name in sorted(names[0] & names[1]):
        facts = [_facts(Path(folder) / name) for folder in (predictions, truth)]
        problems += [f"{name}: {problem}" for problem in _mismatches(*facts)]
    if problems:
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise ValueError(f"{predictions} does not match {truth}: {'; '.join(problems[:SHOWN])}{more}.")
    return sorted(names[0])


def score_folders(
    predictions: str | Path,
    truth: str | Path,
    options: ErrorOptions | None = None,
    *,
    on_window: Callable[[ScoredWindow], None] | None = None,
) -> list[ScoredWindow]:
    """Measure every prediction in a folder.

    Args:
        predictions (`str` or `Path`): Holds a folder of `save_future` for each prediction.
        truth (`str` or `Path`): Holds what came, under the same names.
        options (`ErrorOptions`, *optional*): What to measure; everything by default.
        on_window (`Callable[[ScoredWindow], None]`, *optional*): Called after each.

    Raises:
        ValueError: If the folders do not match, before anything is measured; or a future turns out to be damaged.
    """
    scored = []
    for name in match_folders(predictions, truth):
        prediction, came = load_future(Path(predictions) / name), load_future(Path(truth) / name)
        try:
            errors = future_errors(prediction, came, options)
            still = still_errors(prediction, came, options)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        scored.append(ScoredWindow(name, errors, still, float(came.frame_period)))
        if on_window is not None:
            on_window(scored[-1])
    return scored


def _names(folder: Path, label: str) -> list[str]:
    if not folder.is_dir():
        raise ValueError(f"There is no folder of {label} at {folder}.")
    if (folder / JSON_NAME).exists():
        raise ValueError(
            f"{folder} is itself a future; give the folder above, which holds one folder for each future."
        )
    names = [path.parent.name for path in folder.glob(f"*/{JSON_NAME}") if not path.parent.name.startswith(".")]
    if not names:
        raise ValueError(f"{folder} holds no {label}: there is no */{JSON_NAME} in it, as `save_future` writes it.")
    if lacking := [name for name in names if not (folder / name / NPZ_NAME).exists()]:
        raise ValueError(
            f"{folder} holds futures without {NPZ_NAME}: {_some(lacking)}; save them with the format 'npz'."
        )
    return names


def _facts(folder: Path) -> Mapping[str, Any]:
    facts = read_json(folder / JSON_NAME, max_bytes=MAX_JSON_BYTES)
    if facts.get("format") != FORMAT:
        raise ValueError(f"{folder / JSON_NAME} must be of format {FORMAT!r}, but says {facts.get('format')!r}.")
    if not isinstance(facts.get("cameras"), dict):
        raise ValueError(f"{folder / JSON_NAME} must hold the cameras by name, but holds {facts.get('cameras')!r}.")
    return facts


def _mismatches(prediction: Mapping[str, Any], truth: Mapping[str, Any]) -> list[str]:
    problems = []
    for field in ("robot", "num_frames", "image_size", "frame_period"):
        own, expected = prediction.get(field), truth.get(field)
        is_close = isinstance(own, float) and isinstance(expected, float) and math.isclose(own, expected, rel_tol=0.01)
        if own != expected and not is_close:
            problems.append(f"`{field}` is {own!r}, but {expected!r} in truth")
    seen, known = (list(facts["cameras"]) for facts in (prediction, truth))
    if extra := [camera for camera in seen if camera not in known]:
        problems.append(f"cameras {extra} are not in truth, which has {known}")
    return problems


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")

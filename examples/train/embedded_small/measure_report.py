"""Measurements as tables in Markdown, and into the card of a model. Where a simpler forecast wins, the table says so."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from measure_dreams import CODEC, DREAM, STILL

from xwam.evaluation.tables import markdown_table, shown
from xwam.export.files import replacing

HEADING = "## Measured"

# Name, title, decimals, factor, whether more is better.
Row = tuple[str, str, int, float, bool]
_LAST: tuple[Row, ...] = (
    ("last_psnr", "last frame: PSNR (dB)", 2, 1, True),
    ("last_psnr_moved", "last frame, moved pixels: PSNR (dB)", 2, 1, True),
    ("last_ssim", "last frame: SSIM", 4, 1, True),
    ("last_abs_rel", "last frame: AbsRel", 4, 1, False),
    ("last_abs_rel_moved", "last frame, moved pixels: AbsRel", 4, 1, False),
    ("last_delta1", "last frame: δ1", 4, 1, True),
    ("last_delta1_moved", "last frame, moved pixels: δ1", 4, 1, True),
    ("last_chamfer", "last frame: Chamfer distance of the fused cloud (mm)", 2, 1000, False),
)
_ALL: tuple[Row, ...] = (
    ("psnr", "all frames: PSNR (dB)", 2, 1, True),
    ("psnr_moved", "all frames, moved pixels: PSNR (dB)", 2, 1, True),
    ("ssim", "all frames: SSIM", 4, 1, True),
    ("abs_rel", "all frames: AbsRel", 4, 1, False),
    ("abs_rel_moved", "all frames, moved pixels: AbsRel", 4, 1, False),
    ("delta1", "all frames: δ1", 4, 1, True),
    ("delta1_moved", "all frames, moved pixels: δ1", 4, 1, True),
    ("chamfer", "all frames: Chamfer distance of the fused cloud (mm)", 2, 1000, False),
    ("position", "tool position (mm)", 1, 1000, False),
    ("rotation", "tool orientation (rad)", 3, 1, False),
    ("gripper", "opening (1 is the whole way)", 3, 1, False),
)
_ACTIONS: tuple[Row, ...] = (
    ("rms", "all channels, root mean square, normalised", 3, 1, False),
    ("position", "translation, distance, controller units", 3, 1, False),
    ("rotation", "rotation, distance, controller units", 3, 1, False),
    ("gripper", "gripper command, difference", 3, 1, False),
    ("path", "where the commands lead: tool position (mm)", 1, 1000, False),
)
_DYNAMICS: tuple[Row, ...] = (
    ("path", "path of the tool (mm)", 1, 1000, False),
    ("wrist squared_error", "wrist video: squared error of colours (× 10⁻³)", 2, 1000, False),
    ("wrist abs_rel", "wrist depth: AbsRel", 4, 1, False),
    ("all views squared_error", "all video: squared error of colours (× 10⁻³)", 2, 1000, False),
    ("all views abs_rel", "all depth: AbsRel", 4, 1, False),
)


def markdown(measurements: Mapping[str, Any]) -> str:
    """All tables of what was measured, each with its command, machine, date and commit."""
    parts = []
    for stage, tables in _TABLES.items():
        if stage in measurements:
            parts += [
                *tables(measurements[stage]["numbers"], measurements[stage]["settings"]),
                _source(measurements[stage]),
            ]
    return "\n\n".join(parts) + "\n"


def write_card(folder: Path, measurements: Mapping[str, Any]) -> None:
    """Put the tables into the section “Measured” of a model's README.md; what stands in the others stays.

    Raises:
        ValueError: If the folder has no README.md.
    """
    path = folder / "README.md"
    if not path.is_file():
        raise ValueError(f"There is no model card at {path}.")
    text = path.read_text(encoding="utf-8")
    section = f"{HEADING}\n\n{markdown(measurements)}"
    old = re.search(rf"^{HEADING}$.*?(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)
    if old is None:
        text = f"{text.rstrip()}\n\n{section}"
    else:
        after = text[old.end() :]
        text = text[: old.start()] + section + (f"\n{after}" if after else "")
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _success(numbers: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    policies = numbers["policies"]
    rows = [["task", *policies]]
    for environment in next(iter(policies.values()))["environments"]:
        rates = [own["environments"][environment] for own in policies.values()]
        rows.append([environment.partition("/")[2], *map(rate, rates)])
    rows.append(["all", *(rate(own["overall"]) for own in policies.values())])
    last = settings["first_seed"] + settings["episodes"] - 1
    return [
        "### Closed loop",
        f"Success with Wilson's 95 % interval, in percent: {settings['episodes']} episodes of every task, seeds "
        f"{settings['first_seed']} to {last}, {settings['instructions']} phrasings; of a chunk {settings['executed']} commands are "
        "executed before the policy is asked again. Behaviour cloning is a network on the robot's state and the words of the "
        "recorded instructions, without images, and is asked in such words; the mean action is that of all demonstrations; the scripted expert knows the state of the simulator.",
        markdown_table(rows),
    ]


def _dreams(numbers: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    futures, actions = numbers["futures"], numbers["actions"]
    return [
        "### Dreams",
        f"{numbers['num_windows']} windows of {numbers['num_episodes']} episodes of the expert, evenly from the first one of each "
        f"on, but not the last, seeds from {settings['held_out_seed']}, {settings['instructions']} phrasings, none of them recorded "
        "for training. The dream is one "
        "sample of what the model itself would do. A pixel moves where a colour differs from frame 0 by more than a tenth of the "
        "range; PSNR and depth errors are of all views of a frame together, and means over windows. In brackets: 95 % bootstrap "
        "intervals over episodes. “Better” is decided window by window, and open where the interval of the difference holds zero.",
        _forecast_table((*_LAST, *_ALL), futures, (DREAM, STILL, CODEC), (STILL,)),
        "### Actions",
        "The first chunk of every policy at the same windows, against what the expert then did. A sampled action is punished for "
        "being one of several good ones; a mean is not, whether it leads anywhere or not.",
        _forecast_table(_ACTIONS, actions, tuple(actions["forecasts"]), tuple(actions["dream_minus"])),
    ]


def _dynamics(numbers: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    parts = [
        "### Forward dynamics",
        f"The model is given the true commands of {numbers['num_windows']} windows, or those of another episode's window, and the "
        "same noise. Means over the frames after frame 0, with 95 % bootstrap intervals over episodes; the ratio says how much of "
        "the error remains with the true commands. Where the tool stands in the video was not measured: that would need a "
        "detector.",
    ]
    words = {
        "denoise": "States denoised: the model itself must say where the commands lead.",
        "integrate": "States integrated from the commands and given to the model, as in training: the path is not its own, "
        "only the pictures tell whether it follows.",
    }
    for way, sentence in words.items():
        own = numbers[way]
        rows = [["error", "true commands", "shuffled commands", "true / shuffled"]]
        for name, title, digits, factor, _ in _DYNAMICS:
            if name in own["ratio"]:
                cells = [_cell(own[kind][name], digits, factor) for kind in ("true", "shuffled")]
                rows.append([title, *cells, _cell(own["ratio"][name], 2, 1)])
        parts += [sentence, markdown_table(rows)]
    without = "; ".join(f"{name}: {_cell(own, 1, 1000)} mm" for name, own in numbers["without a model"].items())
    return [*parts, f"Without a model, {without}."]


def _latency(numbers: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    rows = [["", "median (ms)", "95 % quantile (ms)"]]
    rows += [
        [f"chunk of {numbers['num_commands']} commands, T_a = {steps}", *_milliseconds(own)]
        for steps, own in numbers["chunk"].items()
    ]
    rows.append([f"whole future, T_O = {numbers['num_inference_steps']}", *_milliseconds(numbers["future"])])
    return ["### Latency", f"One observation, {numbers['runs']} runs of each chunk in turn.", markdown_table(rows)]


_TABLES = {"success": _success, "dreams": _dreams, "dynamics": _dynamics, "latency": _latency}


def _forecast_table(
    titles: Sequence[Row], numbers: Mapping[str, Any], forecasts: Sequence[str], rivals: Sequence[str]
) -> str:
    """One row per metric, one column per forecast, and after them who is better than whom."""
    rows = [["", *forecasts, *(f"better: dream or {name}?" for name in rivals)]]
    for name, title, digits, factor, more_is_better in titles:
        own = [numbers["forecasts"][forecast].get(name) for forecast in forecasts]
        if own[0] is not None and own[0]["mean"] is not None:
            winners = [_winner(numbers["dream_minus"][rival][name], rival, more_is_better) for rival in rivals]
            rows.append([title, *(_cell(one, digits, factor) for one in own), *winners])
    return markdown_table(rows)


def _winner(difference: Mapping[str, float | None], rival: str, more_is_better: bool) -> str:
    low, high = difference["low"], difference["high"]
    if low is None or high is None or low <= 0 <= high:
        return "open"
    return DREAM if (low > 0) == more_is_better else rival


def _cell(found: Mapping[str, float | None] | None, digits: int, factor: float) -> str:
    mean, low, high = (
        math.nan if found is None or found[part] is None else found[part] for part in ("mean", "low", "high")
    )
    bounds = "" if math.isnan(low) else f" [{shown(factor * low, digits)}, {shown(factor * high, digits)}]"
    return shown(factor * mean, digits) + bounds


def rate(rates: Mapping[str, Any]) -> str:
    """A success rate and its interval, in percent."""
    low, high = rates["interval_95"]
    return f"{100 * rates['success_rate']:.0f} [{100 * low:.0f}, {100 * high:.0f}]"


def _milliseconds(found: Mapping[str, float]) -> list[str]:
    return [f"{found[name]:.0f}" for name in ("p50_ms", "p95_ms")]


def _source(stage: Mapping[str, Any]) -> str:
    facts, code = stage["machine"], stage["code"]
    commit = f"commit {code['commit']}" if code["commit"] else f"xwam {code['xwam']}, files {code['files'][:12]}"
    return (
        f"`{stage['command']}`; {facts['processor'] or facts['system']}, {facts['num_cores']} cores, {facts['threads']} threads, "
        f"PyTorch {facts['torch']}; {stage['date']}; {commit}; model {stage['settings']['model'][:12]}."
    )

"""Measuring the embedded model, from nothing to its card; and the statistics on cases whose answer is known."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "train" / "embedded_small"
sys.path.insert(0, str(FOLDER))

import measure  # noqa: E402
from measure_dreams import CODEC, DREAM, STILL, _compared, action_numbers, future_numbers  # noqa: E402
from measure_dynamics import compared, shuffled  # noqa: E402
from measure_report import markdown, write_card  # noqa: E402
from measure_windows import Window, differences, summary  # noqa: E402
from recipe import SIZES, record  # noqa: E402
from seen_world import as_clip, see  # noqa: E402
from tiny import make_pipeline  # noqa: E402

from xwam.evaluation.future_errors import stand_still  # noqa: E402
from xwam.futures.reality import clip_future  # noqa: E402
from xwam.pipelines.pipeline_xwam_4d import XWAM4DPipeline  # noqa: E402
from xwam.robots.clip_observation import clip_observation  # noqa: E402
from xwam.schedulers.scheduling_xwam import XWAMScheduler  # noqa: E402

SIZE = replace(SIZES["tiny"], tasks=("press_button",), episodes=2, appearances=(False,), held_out=1)
WORDS = (
    "--size",
    "tiny",
    "--episodes",
    "1",
    "--held-out",
    "2",
    "--parts",
    "1",
    "--runs",
    "1",
    "--cloning-steps",
    "20",
    "--card",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A recording of two experts and an untrained model of few steps."""
    folder = tmp_path_factory.mktemp("measured")
    see()  # skips where the world does not run
    record(folder / "data", SIZE, 1)
    pipeline = make_pipeline(XWAM4DPipeline)
    pipeline.register_modules(scheduler=XWAMScheduler(num_inference_steps=2, num_action_steps=1))
    pipeline.save_pretrained(folder / "model")
    return folder


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """What the command line answers, in a world of one task."""
    monkeypatch.setitem(SIZES, "tiny", SIZE)
    places = [f"--{name}={folder / place}" for name, place in (("model", "model"), ("data", "data"), ("work", "work"))]
    monkeypatch.setattr(sys, "argv", ["measure.py", *places, *WORDS, *words])
    return measure.main()


@pytest.fixture(scope="module")
def measured(folder) -> dict:
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert run(folder, monkeypatch) == 0
    return json.loads((folder / "work" / "measurements.json").read_text(encoding="utf-8"))


def cells(text: str, title: str) -> list[str]:
    row = next(line for line in text.splitlines() if line.startswith(f"| {title} "))
    return [cell.strip() for cell in row.strip("|").split("|")][1:]


def test_every_figure_of_the_card_is_that_of_the_json(folder, measured):
    card = (folder / "model" / "README.md").read_text(encoding="utf-8")
    assert card.endswith("## Measured\n\n" + markdown(measured))
    assert (folder / "work" / "measurements.md").read_text(encoding="utf-8") == markdown(measured) + "\n"
    futures = measured["dreams"]["numbers"]["futures"]["forecasts"]
    for title, name, digits, factor in (
        ("last frame, moved pixels: PSNR (dB)", "last_psnr_moved", 2, 1),
        ("all frames: Chamfer distance of the fused cloud (mm)", "chamfer", 2, 1000),
    ):
        for cell, forecast in zip(cells(card, title), (DREAM, STILL, CODEC), strict=False):
            own = futures[forecast][name]
            mean, low, high = (f"{factor * own[part]:.{digits}f}" for part in ("mean", "low", "high"))
            assert cell == f"{mean} [{low}, {high}]"
    policies = measured["success"]["numbers"]["policies"]
    assert list(policies) == ["X-WAM", "behaviour cloning", "mean action", "random", "still", "scripted expert"]
    for cell, own in zip(cells(card, "press_button"), policies.values(), strict=True):
        assert int(cell.split()[0]) == 100 * own["overall"]["num_successes"]
    ratio = measured["dynamics"]["numbers"]["denoise"]["ratio"]["path"]["mean"]
    assert cells(card, "path of the tool (mm)")[2].startswith(f"{ratio:.2f} [")
    chunk = measured["latency"]["numbers"]["chunk"]
    assert list(chunk) == ["2", "1"]
    assert cells(card, "chunk of 32 commands, T_a = 2") == [f"{chunk['2'][name]:.0f}" for name in ("p50_ms", "p95_ms")]


def test_figures_say_how_to_make_them_again(measured):
    for stage, own in measured.items():
        options = "--size tiny --episodes 1 --held-out 2 --parts 1 --runs 1 --cloning-steps 20"
        assert own["command"] == f"{measure.COMMAND} {options} --stages {stage}"
        assert own["settings"]["tasks"] == ["press_button"]
        assert own["machine"]["threads"] >= 1
        assert own["code"]["files"]
    assert measured["success"]["settings"]["first_seed"] == 100_000
    assert measured["dreams"]["settings"]["held_out_seed"] == 200_000
    assert measured["success"]["settings"]["instructions"] == "unseen"


def test_an_untrained_dream_is_worse_than_a_still_picture_and_the_card_says_so(folder, measured):
    card = (folder / "model" / "README.md").read_text(encoding="utf-8")
    numbers = measured["dreams"]["numbers"]
    assert (numbers["num_windows"], numbers["num_episodes"]) == (2, 2)
    assert cells(card, "all frames: PSNR (dB)")[-1] == STILL
    assert numbers["futures"]["dream_minus"][STILL]["psnr"]["high"] < 0
    still = measured["success"]["numbers"]["policies"]["still"]["overall"]
    assert still["num_successes"] == 0
    assert measured["success"]["numbers"]["policies"]["scripted expert"]["overall"]["num_successes"] == 1
    actions = numbers["actions"]["forecasts"]
    assert actions["mean action"]["rms"]["mean"] < actions["still"]["rms"]["mean"]


def test_a_second_run_measures_nothing_again_and_other_settings_are_refused(folder, measured, monkeypatch, capsys):
    card = (folder / "model" / "README.md").read_bytes()
    assert run(folder, monkeypatch) == 0
    assert "begun" not in capsys.readouterr().out
    assert json.loads((folder / "work" / "measurements.json").read_text(encoding="utf-8")) == measured
    assert (folder / "model" / "README.md").read_bytes() == card, "the card changes no fingerprint, and only once"
    assert run(folder, monkeypatch, "--instructions", "seen") == 1
    assert "was begun with instructions 'unseen', but now it is 'seen'" in capsys.readouterr().err


@pytest.fixture(scope="module")
def window() -> Window:
    clip, robot = as_clip(see()), see().robot
    return Window("one", clip_observation(robot, clip), clip_future(robot, clip))


def test_a_dream_that_is_frame_0_repeated_is_no_better_and_no_worse(window):
    still = stand_still(window.truth)
    own = [{"futures": {DREAM: row, STILL: row}} for row in [future_numbers(still, window.truth)] * 2]
    found = _compared(own, "futures", ["a", "b"])
    assert {part for values in found["dream_minus"][STILL].values() for part in values.values()} == {0.0}
    assert found["forecasts"][DREAM]["last_psnr_moved"]["mean"] < 20
    facts = {"numbers": {"num_windows": 2, "num_episodes": 2, "futures": found, "actions": found}, **_facts()}
    facts["numbers"]["futures"]["forecasts"][CODEC] = found["forecasts"][DREAM]
    assert cells(markdown({"dreams": facts}), "last frame: PSNR (dB)")[-1] == "open"


def _facts() -> dict:
    settings = {"held_out_seed": 5, "instructions": "unseen", "model": "0" * 64}
    machine = {"processor": "one", "system": "", "num_cores": 1, "threads": 1, "torch": "2"}
    return {
        "settings": settings,
        "machine": machine,
        "date": "2026-01-01",
        "command": "run",
        "code": {"commit": "abc"},
    }


def test_the_truth_is_without_error(window):
    found = future_numbers(window.truth, window.truth)
    assert found["last_psnr"] == found["psnr_moved"] == 100
    assert found["last_ssim"] == pytest.approx(1)
    assert found["last_delta1_moved"] == 1
    for name in ("abs_rel", "last_abs_rel_moved", "chamfer", "position", "gripper"):
        assert found[name] == pytest.approx(0, abs=1e-6)


def test_actions_are_measured_against_what_was_done(window):
    pipeline, commands = make_pipeline(XWAM4DPipeline), 0.5 * window.commands.commands
    calm = replace(window.truth, actions=replace(window.commands, commands=commands))  # no sum below is cut off
    window = replace(window, truth=calm)
    right = action_numbers(pipeline, window.commands, window)
    assert all(value == pytest.approx(0, abs=1e-6) for value in right.values())
    shift = np.array([0.3, 0, 0, 0, 0, 0, 0])
    found = action_numbers(pipeline, replace(window.commands, commands=commands + shift), window)
    assert found["rms"] == pytest.approx(0.3 / np.sqrt(7))
    assert (found["position"], found["rotation"], found["gripper"]) == pytest.approx((0.3, 0, 0), abs=1e-6)
    assert found["path"] == pytest.approx(0.3 * 0.0125 * np.mean(range(4, 33, 4)), rel=0.01), (
        "the raw scale per command"
    )
    one = replace(window.commands, commands=np.zeros((1, 7)))
    many = replace(window.commands, commands=np.zeros((32, 7)))
    assert action_numbers(pipeline, one, window) == action_numbers(pipeline, many, window)


def test_every_window_lends_its_commands_once_and_to_another_episode():
    episodes = ["a", "a", "b", "c", "c", "d"]
    partners = shuffled(episodes)
    assert sorted(partners) == list(range(6))
    assert all(episodes[own] != episodes[other] for own, other in enumerate(partners))
    assert partners == shuffled(episodes)
    with pytest.raises(ValueError, match="more than half of the windows are of one episode"):
        shuffled(["a", "a", "b"])


def test_the_ratio_of_planted_errors_is_found():
    def numbers(error: float) -> dict:
        way = {"true": {"path": error, "depth": None}, "shuffled": {"path": 4 * error, "depth": None}}
        return {"denoise": way, "integrate": way, "without a model": {"still": 0.1}}

    found = compared([{"episode": str(place), **numbers(error)} for place, error in enumerate((0.01, 0.03, 0.02))])
    assert found["denoise"]["ratio"]["path"] == pytest.approx({"mean": 0.25, "low": 0.25, "high": 0.25})
    assert found["denoise"]["true"]["path"]["mean"] == pytest.approx(0.02)
    assert found["integrate"]["ratio"]["depth"]["mean"] is None
    assert found["num_windows"] == found["num_episodes"] == 3


def test_means_leave_out_what_is_unknown():
    rows = [{"x": 1.0, "y": None}, {"x": 3.0, "y": 5.0}]
    assert summary(rows, ["a", "b"])["x"] == {"mean": 2.0, "low": 1.0, "high": 3.0}
    assert summary(rows, ["a", "b"])["y"] == {"mean": 5.0, "low": None, "high": None}
    assert differences(rows, [{"x": 0.5, "y": 1.0}, {"x": None, "y": 7.0}]) == [
        {"x": 0.5, "y": None},
        {"x": None, "y": -2.0},
    ]


@pytest.mark.parametrize(
    ("more", "difference", "winner"), [(True, 1, DREAM), (True, -1, STILL), (False, 1, STILL), (False, -1, DREAM)]
)
def test_the_table_names_who_wins(more, difference, winner):
    name = "last_psnr" if more else "last_abs_rel"
    title = "last frame: PSNR (dB)" if more else "last frame: AbsRel"
    value = {name: {"mean": 1.0, "low": 0.5, "high": 1.5}}
    sure = {name: {"mean": difference, "low": difference - 0.5, "high": difference + 0.5}}
    compared = {"forecasts": dict.fromkeys((DREAM, STILL, CODEC), value), "dream_minus": {STILL: sure}}
    numbers = {"num_windows": 2, "num_episodes": 2, "futures": compared, "actions": compared}
    digits = 2 if more else 4
    expected = f"{1:.{digits}f} [{0.5:.{digits}f}, {1.5:.{digits}f}]"
    text = markdown({"dreams": {"numbers": numbers, **_facts()}})
    assert cells(text, title) == [expected, expected, expected, winner]


def test_a_card_keeps_its_other_sections(tmp_path):
    path = tmp_path / "README.md"
    with pytest.raises(ValueError, match="There is no model card"):
        write_card(tmp_path, {})
    path.write_text("# A\n\nwords\n\n## Measured\n\nnothing\n\n### Old\n\n## Licence\n\nfree\n", encoding="utf-8")
    write_card(tmp_path, {})
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# A\n\nwords\n\n## Measured\n\n")
    assert text.endswith("## Licence\n\nfree\n")
    assert "nothing" not in text
    assert "### Old" not in text
    write_card(tmp_path, {})
    assert path.read_text(encoding="utf-8") == text
    path.write_text("# A\n", encoding="utf-8")
    write_card(tmp_path, {})
    assert path.read_text(encoding="utf-8").startswith("# A\n\n## Measured\n\n")

"""Predictions are matched with what came by name, and everything that does not fit is said at once, before any work."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from future_samples import make_future

from xwam.evaluation import scored_folders
from xwam.evaluation.future_errors import ErrorOptions, future_errors
from xwam.evaluation.scored_folders import match_folders, score_folders
from xwam.evaluation.video_report import VideoReport
from xwam.export.future_folder import save_future

DEPTH_ONLY = ErrorOptions(groups=("depth",))


def _save(folder: Path, name: str, future=None) -> None:
    save_future(folder / name, make_future() if future is None else future, formats=("npz",))


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    """Predictions and truth of two windows."""
    for seed, name in enumerate(("a@000000", "b@000032")):
        _save(tmp_path / "predictions", name, make_future(seed + 10))
        _save(tmp_path / "truth", name, make_future(seed))
    return tmp_path / "predictions", tmp_path / "truth"


def test_windows_are_measured_in_the_order_of_their_names(folders):
    seen = []
    windows = score_folders(*folders, DEPTH_ONLY, on_window=lambda window: seen.append(window.name))
    assert [window.name for window in windows] == seen == ["a@000000", "b@000032"]
    assert [window.episode for window in windows] == ["a", "b"]
    expected = future_errors(make_future(11), make_future(1), DEPTH_ONLY)
    for camera, values in expected.values["abs_rel"].items():
        np.testing.assert_array_equal(windows[1].errors.values["abs_rel"][camera], values)
    assert windows[0].still.values["abs_rel"]["left"][0] == 0
    assert windows[0].frame_period == 0.2


def test_fewer_cameras_than_the_truth_are_scored(folders):
    for name in ("a@000000", "b@000032"):
        _save(folders[0], name, make_future().with_cameras(["wrist"]))
    window = score_folders(*folders, DEPTH_ONLY)[0]
    assert list(window.errors.values["abs_rel"]) == list(window.still.values["abs_rel"]) == ["wrist"]


def test_everything_that_does_not_fit_is_in_one_message(folders):
    predictions, truth = folders
    _save(predictions, "c@000000")
    _save(truth, "d@000000")
    _save(predictions, "a@000000", make_future(frame_period=0.1))
    _save(predictions, "b@000032", make_future(robot="droid", actions=None))
    with pytest.raises(ValueError, match="does not match") as caught:
        match_folders(predictions, truth)
    assert str(caught.value) == (
        f"{predictions} does not match {truth}: 1 predictions without truth: c@000000; 1 truth without predictions: d@000000; "
        "a@000000: `frame_period` is 0.1, but 0.2 in truth; b@000032: `robot` is 'droid', but 'mujoco_panda' in truth."
    )


def test_other_frames_sizes_and_cameras_are_told(folders):
    predictions, truth = folders
    whole = make_future()
    renamed = {
        field: {"head": getattr(whole, field)["left"]}
        for field in ("frames", "depths", "intrinsics", "base_from_camera")
    }
    _save(predictions, "a@000000", replace(whole, **renamed))
    _save(predictions, "b@000032", make_future(
        frames={"left": np.zeros((3, 12, 32, 3), np.uint8)}, depths={}, depth_kind="none", intrinsics={}, base_from_camera={},
        states=(), actions=None,
    ))  # fmt: skip
    with pytest.raises(ValueError, match="does not match") as caught:
        match_folders(predictions, truth)
    for words in (
        "a@000000: cameras ['head'] are not in truth, which has ['left', 'wrist']",
        "b@000032: `num_frames` is 3, but 5 in truth",
        "b@000032: `image_size` is [12, 32], but [24, 32] in truth",
    ):
        assert words in str(caught.value)


def test_nothing_is_measured_before_all_fits(folders, monkeypatch):
    predictions, truth = folders
    _save(predictions, "z@000000")
    monkeypatch.setattr(scored_folders, "load_future", lambda folder: pytest.fail("a future was read"))
    with pytest.raises(ValueError, match="1 predictions without truth: z@000000"):
        score_folders(predictions, truth)


def test_folders_that_are_none(folders, tmp_path):
    predictions, truth = folders
    empty = tmp_path / "empty"
    empty.mkdir()
    for pair, words in (
        ((tmp_path / "nowhere", truth), f"There is no folder of predictions at {tmp_path / 'nowhere'}."),
        (
            (predictions, empty),
            f"{empty} holds no truth: there is no */future.json in it, as `save_future` writes it.",
        ),
        (
            (predictions / "a@000000", truth),
            f"{predictions / 'a@000000'} is itself a future; give the folder above, which holds one folder for each future.",
        ),
    ):
        with pytest.raises(ValueError, match=r"folder|holds") as caught:
            match_folders(*pair)
        assert str(caught.value) == words


def test_folders_of_another_program_and_without_arrays(folders):
    predictions, truth = folders
    (predictions / "a@000000" / "future.npz").unlink()
    with pytest.raises(
        ValueError, match=r"holds futures without future.npz: a@000000; save them with the format 'npz'"
    ):
        match_folders(predictions, truth)
    _save(predictions, "a@000000")
    path = predictions / "a@000000" / "future.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps({"format": "theirs"}))
    with pytest.raises(ValueError, match=r"must be of format 'xwam.future', but says 'theirs'"):
        match_folders(predictions, truth)
    path.write_text(json.dumps({**whole, "cameras": 2}))
    with pytest.raises(ValueError, match="must hold the cameras by name, but holds 2"):
        match_folders(predictions, truth)


def test_a_damaged_window_is_named(folders):
    predictions, truth = folders
    path = truth / "b@000032" / "future.npz"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"b@000032"):
        score_folders(predictions, truth, DEPTH_ONLY)


def test_depth_of_some_cameras_makes_a_report(folders):
    for name in ("a@000000", "b@000032"):
        future = make_future(7)
        _save(folders[0], name, replace(future, depths={"left": future.depths["left"]}))
    report = VideoReport(score_folders(*folders, DEPTH_ONLY), {})
    assert report.values("abs_rel").shape == report.values("abs_rel", of_still=True).shape == (2, 1, 5)
    assert not np.isnan(report.total("abs_rel", of_still=True).mean)

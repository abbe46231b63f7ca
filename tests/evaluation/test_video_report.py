"""A report's numbers are those of its windows, its intervals those of its episodes."""

import json

import numpy as np
import pytest
from PIL import Image

from xwam.evaluation.future_errors import FutureErrors
from xwam.evaluation.scored_folders import ScoredWindow
from xwam.evaluation.video_report import FILES, VideoReport
from xwam.metrics.bootstrap import confidence_interval

CAMERAS, NUM_FRAMES = ("left", "wrist"), 4


def _errors(rng: np.random.Generator, level: float) -> FutureErrors:
    noise = rng.normal(level, 1.0, (len(CAMERAS), NUM_FRAMES))
    psnr = dict(zip(CAMERAS, noise, strict=True))
    depth = np.abs(noise[0]) / 100
    return FutureErrors(
        {
            "psnr": psnr,
            "abs_rel": {"left": np.array([0, *depth[1:]])},
            "chamfer": {"all views": np.array([np.nan, *depth[1:]])},
            "position": {"arm": depth},
        }
    )


def _windows() -> list[ScoredWindow]:
    rng = np.random.default_rng(0)
    names = [f"{episode}@{row:06d}" for episode in "abcde" for row in (0, 32)]
    return [ScoredWindow(name, _errors(rng, 20 + 3 * "abcde".index(name[0])), _errors(rng, 15), 0.2) for name in names]


@pytest.fixture(scope="module")
def report() -> VideoReport:
    return VideoReport(_windows(), {"truth": "there"})


def _by_hand(metric: str, *, frames: slice = slice(1, None)) -> np.ndarray:
    """One number for each window."""
    return np.array(
        [np.mean([values[frames].mean() for values in own.errors.values[metric].values()]) for own in _windows()]
    )


@pytest.mark.parametrize("metric", ["psnr", "abs_rel", "chamfer", "position"])
def test_totals_leave_out_what_was_observed_and_draw_whole_episodes(report, metric):
    found, rows = report.total(metric), _by_hand(metric)
    expected = confidence_interval(rows, episodes=[own.name[0] for own in _windows()])
    for part in ("mean", "low", "high"):
        assert getattr(found, part) == pytest.approx(getattr(expected, part))
    assert found.mean == pytest.approx(rows.mean())
    alone = confidence_interval(rows)
    assert found.num_episodes == 5
    if metric == "psnr":
        assert found.high - found.low > 1.1 * (alone.high - alone.low), "windows of an episode resemble each other"


def test_numbers_by_view_and_by_step(report):
    facts = report.to_dict()["metrics"]["psnr"]
    windows = _windows()
    every = np.array([[own.errors.values["psnr"][camera] for camera in CAMERAS] for own in windows])
    np.testing.assert_allclose(facts["by_frame"]["mean"], every.mean(axis=(0, 1)))
    for index, camera in enumerate(CAMERAS):
        own = facts["by_subject"][camera]
        assert own["mean"] == pytest.approx(every[:, index, 1:].mean())
        np.testing.assert_allclose(own["by_frame"]["mean"], every[:, index].mean(axis=0))
        np.testing.assert_array_less(own["by_frame"]["low"], own["by_frame"]["mean"])
        np.testing.assert_array_less(own["by_frame"]["mean"], own["by_frame"]["high"])
    assert facts["frame_0_repeated"]["mean"] == pytest.approx(
        np.mean([[own.still.values["psnr"][camera][1:] for camera in CAMERAS] for own in windows])
    )


def test_json_is_strict_and_says_what_was_measured(report):
    facts = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert (facts["num_windows"], facts["num_episodes"], facts["num_frames"]) == (10, 5, NUM_FRAMES)
    assert facts["settings"] == {"truth": "there"}
    assert facts["metrics"]["chamfer"]["by_frame"]["mean"][0] is None
    assert facts["metrics"]["chamfer"]["unit"] == "m"
    assert facts["windows"]["a@000000"]["psnr"] == pytest.approx(_by_hand("psnr")[0])


def test_the_table_has_the_papers_columns(report):
    lines = report.table.splitlines()
    assert [cell.strip() for cell in lines[0].split("|")[1:-1]] == ["view", "PSNR ↑ (dB)", "AbsRel ↓", "CD ↓ (m)"]
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["left", "wrist", "all", "frame 0 repeated"]
    found = report.total("psnr")
    assert f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]" in lines[4]
    assert lines[3].split("|")[3].strip() == "", "the wrist has no depth"
    assert "position ↓ (m)" in report.other_table


def test_equal_pictures_are_infinitely_good_and_have_no_interval():
    windows = _windows()
    perfect = FutureErrors({"psnr": {camera: np.full(NUM_FRAMES, np.inf) for camera in CAMERAS}})
    report = VideoReport([ScoredWindow("z@000000", perfect, windows[0].still, 0.2), *windows], {})
    found = report.total("psnr")
    assert found.mean == np.inf
    assert np.isnan(found.low)
    assert report.to_dict()["metrics"]["psnr"]["mean"] == "Infinity"
    assert report.to_dict()["metrics"]["psnr"]["low"] is None
    assert "∞" in report.table
    assert np.isfinite(report.total("abs_rel").mean), "the others are as they were"


def test_one_episode_has_no_interval():
    found = VideoReport(_windows()[:2], {}).total("psnr")
    assert np.isfinite(found.mean)
    assert np.isnan(found.low)


def test_reports_of_nothing_and_of_other_instants_are_refused():
    with pytest.raises(ValueError, match="at least one window"):
        VideoReport([], {})
    first, second, *_ = _windows()
    other = ScoredWindow(second.name, second.errors, second.still, 0.1)
    with pytest.raises(ValueError, match=r"frames at the same instants, but have .*\(4, 0.1\), \(4, 0.2\)"):
        VideoReport([first, other], {})
    with pytest.raises(ValueError, match="Nothing could be measured"):
        VideoReport([ScoredWindow("a", FutureErrors({}), FutureErrors({}), 0.2)], {})


def test_files_are_whole_or_not_there(report, tmp_path, monkeypatch):
    report.write(tmp_path / "scores")
    assert {path.name for path in (tmp_path / "scores").iterdir()} == FILES
    assert min(Image.open(tmp_path / "scores" / "report.png").size) > 300
    page = (tmp_path / "scores" / "report.md").read_text()
    assert report.table in page
    assert "10 windows of 5 episodes, 3 frames 0.2 s apart" in page
    before = (tmp_path / "scores" / "report.json").read_bytes()

    def stop(*_: object) -> None:
        raise RuntimeError("power cut")

    monkeypatch.setattr(VideoReport, "plot", stop)
    with pytest.raises(RuntimeError, match="power cut"):
        report.write(tmp_path / "scores")
    with pytest.raises(RuntimeError, match="power cut"):
        report.write(tmp_path / "new")
    assert (tmp_path / "scores" / "report.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["scores"]


def test_without_matplotlib_there_is_no_plot(report, tmp_path):
    report.write(tmp_path / "scores", plot=False)
    assert {path.name for path in (tmp_path / "scores").iterdir()} == FILES - {"report.png"}
    assert "report.png" not in (tmp_path / "scores" / "report.md").read_text()


def test_files_of_another_evaluation_are_not_replaced(report, tmp_path):
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(ValueError, match=r"report\.json"):
        report.write(tmp_path, plot=False)
    assert (tmp_path / "report.json").read_text() == "{}"

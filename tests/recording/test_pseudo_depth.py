"""A data set with estimated depth is the source, and what the model says: read back, whole, gone on with, and refused in words."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from depth_models import save_depth_anything

sys.path.append(str(Path(__file__).parents[1] / "data"))

from array_reader import ArrayReader
from synthetic_episodes import ROBOT, contents, write_episode

from xwam.data.readers.base import Calibration, Episode, EpisodeReader, Numbers
from xwam.data.readers.open import open_dataset
from xwam.data.readers.selection import Selection
from xwam.data.streams.windows import WindowShape, read_clip
from xwam.data.writers.dataset_card import write_card
from xwam.data.writers.lerobot_writer import LeRobotWriter
from xwam.errors import DamagedVideoError, DataError
from xwam.models.depth_estimation import DepthEstimator
from xwam.policies.replay import stored_seeds
from xwam.recording.depth_labels import LabelOptions
from xwam.recording.pseudo_depth import label_depth
from xwam.recording.stored_episodes import list_stored_episodes
from xwam.robots.processor import RobotProcessor
from xwam.robots.registry import get_robot, read_robot

SEEDS = range(3)
RANGE = (0.3, 3.0)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("label") / "source"
    with LeRobotWriter(folder) as writer:
        for seed in SEEDS:
            write_episode(writer, seed, is_success=seed != 1)
        writer.finish()
    return folder


@pytest.fixture(scope="module")
def relative(tmp_path_factory: pytest.TempPathFactory) -> DepthEstimator:
    return DepthEstimator.from_pretrained(save_depth_anything(tmp_path_factory.mktemp("label") / "relative"))


@pytest.fixture(scope="module")
def metric(tmp_path_factory: pytest.TempPathFactory) -> DepthEstimator:
    folder = save_depth_anything(tmp_path_factory.mktemp("label") / "metric", "metric", max_depth=3)
    return DepthEstimator.from_pretrained(folder)


def label(source: Path, folder: Path, estimator: DepthEstimator, alignment: str, **options):
    output_format = options.pop("output_format", "lerobot")
    with open_dataset(source) as reader:
        return label_depth(reader, folder, estimator, LabelOptions(alignment, **options), output_format=output_format)


def depths_of(reader: EpisodeReader) -> dict[tuple[int, str], np.ndarray]:
    return {
        (number, camera): reader.read_depths(number, camera, range(entry.length))
        for number, entry in enumerate(reader.episodes)
        for camera in reader.depth_cameras
    }


def alignments_of(folder: Path) -> list[dict]:
    table = pq.read_table(next((folder / "meta/episodes").rglob("*.parquet")), columns=["options"])
    return [json.loads(row["options"])["estimated_depth"] for row in table.to_pylist()]


def test_everything_but_depth_is_the_source(source: Path, metric: DepthEstimator, tmp_path: Path):
    result = label(source, tmp_path / "new", metric, "metric")
    assert (result.num_episodes, result.num_rows, result.skipped) == (3, 12, {})
    with open_dataset(source) as old, open_dataset(tmp_path / "new") as new:
        assert (new.rate, new.cameras, new.robot) == (old.rate, old.cameras, old.robot)
        for number, (before, after) in enumerate(zip(old.episodes, new.episodes, strict=True)):
            assert (after.length, after.instructions) == (before.length, before.instructions)
            assert after.key == f"{number:06d}-{before.key}"
            assert all(
                after.facts[name] == before.facts[name] for name in ("environment", "seed", "success", "expert")
            )
            rows = range(before.length)
            for read in ("read_states", "read_commands"):
                expected = getattr(old, read)(number, 0, before.length).values
                np.testing.assert_array_equal(getattr(new, read)(number, 0, before.length).values, expected)
            for camera in old.cameras:
                images, expected = (reader.read_images(number, camera, rows) for reader in (new, old))
                error = np.mean((images.astype(float) - expected) ** 2)
                assert 10 * np.log10(255**2 / error) > 44  # dB
                calibration, expected = (reader.read_calibration(number, camera, rows) for reader in (new, old))
                np.testing.assert_array_equal(calibration.intrinsics, expected.intrinsics)
                np.testing.assert_array_equal(calibration.base_from_camera, expected.base_from_camera)


def test_depth_is_what_a_metric_model_says_within_a_step_of_the_code(
    source: Path, metric: DepthEstimator, tmp_path: Path
):
    label(source, tmp_path / "new", metric, "metric", depth_range=RANGE)
    with open_dataset(source) as old, open_dataset(tmp_path / "new") as new:
        assert new.depth_is_metric
        assert {camera.depth_range for camera in new.robot.cameras} == {RANGE}
        for (number, camera), depth in depths_of(new).items():
            said = metric(old.read_images(number, camera, range(len(depth))))
            inside = (said > RANGE[0]) & (said < RANGE[1] - 0.01)
            assert inside.mean() > 0.2
            np.testing.assert_allclose(depth[inside], said[inside], atol=1e-3)
            assert (depth[said >= RANGE[1]] == 0).all()


def test_levels_keep_one_scale_and_shift_per_episode_and_camera(
    source: Path, relative: DepthEstimator, tmp_path: Path
):
    label(source, tmp_path / "new", relative, "relative")
    with open_dataset(source) as old, open_dataset(tmp_path / "new") as new:
        assert not new.depth_is_metric
        assert new.robot.depth_encoding == "relative"
        assert [camera.depth_range for camera in new.robot.cameras] == [None] * 3
        for (number, camera), levels in depths_of(new).items():
            own = alignments_of(tmp_path / "new")[number][camera]
            said = relative(old.read_images(number, camera, range(len(levels))))
            expected = 255 * (own["scale"] * said + own["shift"]).clip(0, 1)
            assert levels.dtype == np.uint8
            assert np.abs(levels - expected).max() <= 0.51  # lossless, frame by frame with the same two numbers
            assert np.ptp(levels) == 255


def test_training_reads_levels_and_metres(
    source: Path, relative: DepthEstimator, metric: DepthEstimator, tmp_path: Path
):
    for estimator in (relative, metric):
        is_metric = estimator is metric
        folder = tmp_path / estimator.answer
        label(source, folder, estimator, "metric" if is_metric else "relative")
        robot = replace(read_robot(str(folder / "meta/xwam_robot.json")), num_frames=5, actions_per_frame=1)
        with open_dataset(folder, robot) as reader:
            clip = read_clip(reader, 2, 0, WindowShape.of(robot))
        assert list(clip.depths) == (list(reader.cameras) if is_metric else [])
        assert list(clip.relative_depths) == ([] if is_metric else list(reader.cameras))
        encoded = RobotProcessor(robot).encode_clip(clip)
        assert encoded.depth_mask.float().mean() > 0.3
        assert encoded.depth_images[0, 0, 0].std() > 0.1


def test_measured_depth_of_the_source_gives_scale_and_shift_back(
    source: Path, relative: DepthEstimator, tmp_path: Path
):
    planted, found = tmp_path / "planted", tmp_path / "found"
    label(source, planted, relative, "range", depth_range=RANGE)
    assert label(planted, found, relative, "measured").skipped == {}
    for before, after in zip(alignments_of(planted), alignments_of(found), strict=True):
        for camera, own in before.items():
            assert after[camera]["scale"] == pytest.approx(own["scale"], rel=0.05)
            assert after[camera]["calibration"]["inlier_share"] > 0.7  # the frames were encoded twice
    with open_dataset(planted) as first, open_dataset(found) as second:
        expected = depths_of(first)
        for place, depth in depths_of(second).items():
            known = (depth > 0) & (expected[place] > 0)
            assert np.median(np.abs(depth / expected[place] - 1)[known]) < 0.03


def test_a_known_median(source: Path, relative: DepthEstimator, tmp_path: Path):
    label(source, tmp_path / "new", relative, "median", median_depth=0.8, depth_range=(0.2, 20.0))
    with open_dataset(tmp_path / "new") as new:
        for depth in depths_of(new).values():
            assert np.median(np.where(depth > 0, depth, np.inf)) == pytest.approx(0.8, rel=0.05)


@pytest.mark.parametrize("alignment", ["relative", "metric"])
def test_the_layout_of_the_release(source: Path, alignment: str, request: pytest.FixtureRequest, tmp_path: Path):
    estimator = request.getfixturevalue(alignment)
    options = {"depth_range": RANGE} if alignment == "metric" else {}
    label(source, tmp_path / "release", estimator, alignment, output_format="release", **options)
    label(source, tmp_path / "lerobot", estimator, alignment, **options)
    with open_dataset(tmp_path / "release", ROBOT) as lossy, open_dataset(tmp_path / "lerobot") as exact:
        assert lossy.depth_is_metric == exact.depth_is_metric == (alignment == "metric")
        expected = depths_of(exact)
        for place, depth in depths_of(lossy).items():
            known = (depth > 0) & (expected[place] > 0)
            pair = [1 / own[known] if alignment == "metric" else own[known] for own in (depth, expected[place])]
            assert np.corrcoef(*pair)[0, 1] > 0.95
            assert depth.dtype == expected[place].dtype
    assert "**Depth was not measured.**" in (tmp_path / "release/README.md").read_text()


def test_the_card_says_that_depth_is_estimated(source: Path, relative: DepthEstimator, tmp_path: Path):
    for alignment, words in {"relative": "16 · level", "range": "lie at the ends of its range"}.items():
        label(source, tmp_path / alignment, relative, alignment)
        card = write_card(tmp_path / alignment).read_text()
        assert "**Depth was not measured.** It is estimated from RGB by `relative` (revision unknown" in card
        assert words in card
        assert "- depth\n" in card
        assert (tmp_path / alignment / "preview.jpg").stat().st_size > 1000
    assert "not measured" not in write_card(shutil.copytree(source, tmp_path / "plain")).read_text()


def test_what_was_stopped_is_gone_on_with(source: Path, relative: DepthEstimator, tmp_path: Path):
    class Stopped(Exception):
        pass

    def stop_at(rows: int):
        done = 0

        def count(number: int) -> None:
            nonlocal done
            done += number
            if done >= rows:
                raise Stopped

        return count

    options, folder = LabelOptions("relative"), tmp_path / "new"
    with open_dataset(source) as reader, pytest.raises(Stopped):
        label_depth(reader, folder, relative, options, on_rows=stop_at(6))
    assert not (folder / "meta").exists()
    with open_dataset(source) as reader:
        assert label_depth(reader, folder, relative, options).num_episodes == 2
        assert label_depth(reader, folder, relative, options).num_episodes == 0
        label_depth(reader, tmp_path / "at_once", relative, options)
    assert contents(folder) == contents(tmp_path / "at_once")


def test_two_models_do_not_mix_in_one_folder(
    source: Path, relative: DepthEstimator, metric: DepthEstimator, tmp_path: Path
):
    with open_dataset(source) as reader:
        label_depth(Selection(reader, [0]), tmp_path / "new", relative, LabelOptions("range"))
        with pytest.raises(ValueError, match=r"holds episodes of another form: `depth_source` is '.*range.*' there"):
            label_depth(reader, tmp_path / "new", metric, LabelOptions("metric"))
        with pytest.raises(ValueError, match="holds episodes of another form: `depth_source` is"):
            label_depth(Selection(reader, [0]), tmp_path / "new", metric, LabelOptions("metric"))  # all is done
        with open_dataset(tmp_path / "new") as new:
            assert len(new.episodes) == 1


def test_one_model_that_is_read_in_two_ways_does_not_mix_in_one_folder(
    source: Path, relative: DepthEstimator, tmp_path: Path
):
    with open_dataset(source) as reader:
        label_depth(Selection(reader, [0]), tmp_path / "new", relative, LabelOptions("range"))
        other = DepthEstimator(relative.model, relative.processor, answer="relative", name=relative.name)
        for estimator, options in ((other, LabelOptions("range")), (relative, LabelOptions("range", num_fitted=2))):
            with pytest.raises(ValueError, match="holds episodes of another form: `depth_source` is"):
                label_depth(reader, tmp_path / "new", estimator, options)


def test_labelled_episodes_can_be_run_again(source: Path, relative: DepthEstimator, tmp_path: Path):
    """How depth was made stands among the options of an episode, but no environment takes it."""
    with open_dataset(source) as reader:
        label_depth(Selection(reader, [0]), tmp_path / "new", relative, LabelOptions("range"))
    (labelled,), (before, *_) = list_stored_episodes(tmp_path / "new"), list_stored_episodes(source)
    assert (labelled.environment, labelled.options) == (before.environment, before.options)
    seeds = [stored_seeds(folder, before.environment, options=before.options) for folder in (source, tmp_path / "new")]
    assert set(seeds[1].values()) == {before.seed} < set(seeds[0].values())


class FaultyReader(ArrayReader):
    """Rows of tiny images; what is wrong is told by its arguments."""

    def __init__(self, *, damaged=(), invalid=None, has_last_command=True, rate=20.0, depth_size=(28, 42), **options):
        super().__init__((6, 5), **options)
        self.damaged, self.invalid, self.has_last_command = damaged, invalid, has_last_command
        self.rate, self.depth_size = rate, depth_size

    depth_cameras = property(lambda self: self.cameras)

    def read_images(self, episode, camera, rows):
        if episode in self.damaged:
            raise DamagedVideoError("Frame 3 is damaged.", dataset=self.name, episode=self.episodes[episode].key)
        picture = np.random.default_rng(0).integers(0, 256, (28, 42, 3), dtype=np.uint8)
        return np.stack([np.roll(picture, row, axis=1) for row in rows])

    def read_depths(self, episode, camera, rows):
        return np.ones((len(rows), *self.depth_size), np.float32)

    def read_states(self, episode, start, stop):
        found = super().read_states(episode, start, stop)
        found.values[:] = (0.3, 0, 0.5, 1, 0, 0, 0, 1)
        if self.invalid is not None:
            found.is_valid[:, self.invalid] = False
        return found

    def read_commands(self, episode, start, stop):
        found = super().read_commands(episode, start, stop)
        found.is_valid[-1:] = self.has_last_command or stop < self.episodes[episode].length
        return Numbers(found.values, found.is_valid)

    def read_calibration(self, episode, camera, rows):
        return Calibration()


def test_a_last_row_without_a_command_is_left_out(relative: DepthEstimator, tmp_path: Path):
    assert label_depth(FaultyReader(), tmp_path / "all", relative, LabelOptions("relative")).num_rows == 11
    reader = FaultyReader(has_last_command=False)
    assert label_depth(reader, tmp_path / "new", relative, LabelOptions("relative")).num_rows == 9
    with open_dataset(tmp_path / "new") as new:
        assert [entry.length for entry in new.episodes] == [5, 4]
    short = FaultyReader(has_last_command=False)
    short.episodes = [Episode("000", 5, ()), Episode("001", 1, ("wait",)), Episode("002", 0, ())]
    result = label_depth(short, tmp_path / "short", relative, LabelOptions("relative"))
    assert (result.num_episodes, result.num_rows) == (1, 4)
    assert result.skipped == dict.fromkeys(("001", "002"), "There is no row with a command.")


def test_damaged_episodes_are_skipped_and_tried_again(relative: DepthEstimator, tmp_path: Path):
    options = LabelOptions("relative")
    result = label_depth(FaultyReader(damaged={1}), tmp_path / "new", relative, options)
    assert (result.num_episodes, list(result.skipped)) == (1, ["001"])
    assert "Frame 3 is damaged" in result.skipped["001"]
    result = label_depth(FaultyReader(), tmp_path / "new", relative, options)
    assert (result.num_episodes, result.skipped) == (1, {})
    result = label_depth(FaultyReader(damaged={0}), tmp_path / "first", relative, options)
    assert (result.num_episodes, list(result.skipped)) == (1, ["000"])
    with pytest.raises(DataError, match="Frame 3 is damaged"):
        label_depth(FaultyReader(damaged={0, 1}), tmp_path / "none", relative, options)


@pytest.mark.parametrize(
    ("reader", "options", "message"),
    [
        ({"rate": 15.0}, {}, "15 rows per second, but 'mujoco_panda' has a control period of 0.05 s"),
        ({"invalid": 2}, {}, r"The states lack \['left_z'\], which a copy would have to invent"),
        (
            {"depth_size": (14, 21)},
            {"alignment": "measured"},
            r"Measured depth has size \(14, 21\), but the images have",
        ),
        ({"is_metric": False}, {"alignment": "measured"}, "needs depth in metres .* but the data set has levels of"),
        ({}, {"alignment": "measured"}, "No episode could be labelled: .*almost the same everywhere"),
        ({"robot": get_robot("droid")}, {"alignment": "range"}, "has none for cameras .*: give one"),
        ({}, {"alignment": "metric"}, "which has no unit; align it"),
    ],
)
def test_a_source_that_cannot_be_labelled_is_refused(
    reader: dict, options: dict, message: str, relative: DepthEstimator, tmp_path: Path
):
    if "robot" in reader:
        reader = {**reader, "rate": 1 / reader["robot"].control_period}
    with pytest.raises(ValueError, match=message):
        label_depth(
            FaultyReader(**reader), tmp_path / "new", relative, LabelOptions(**{"alignment": "relative", **options})
        )
    assert not (tmp_path / "new/meta").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alignment": "mean"}, "`alignment` must be one of"),
        ({"alignment": "median"}, "`median_depth` must be given for the alignment 'median'"),
        ({"alignment": "range", "median_depth": 1.0}, "`median_depth` belongs .* 'median', but that is 'range'"),
        ({"alignment": "median", "median_depth": -1.0}, "must be positive metres, but is -1"),
        ({"alignment": "range", "depth_range": (2.0, 1.0)}, "0 < near < far"),
        ({"alignment": "relative", "depth_range": (1.0, 2.0)}, "no meaning for the alignment 'relative'"),
        ({"alignment": "range", "num_fitted": 0}, "`num_fitted` must be at least 1"),
        ({"alignment": "range", "crf": 60}, "`crf` must be from 0 to 51"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        LabelOptions(**options)

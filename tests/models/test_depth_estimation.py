"""Depth models of transformers around RGB: loaded safely, answers of the images' size, futures in metres."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from depth_models import save_depth_anything, save_dpt
from loopback_hub import LoopbackHub
from safetensors.torch import load_file, save_file
from transformers import (
    AutoImageProcessor,
    AutoModelForDepthEstimation,
    Dinov2Config,
    Dinov2Model,
    PromptDepthAnythingConfig,
    PromptDepthAnythingForDepthEstimation,
)

from xwam.errors import CheckpointError, CheckpointMismatchError, DepthCalibrationError, UnsafeFileError
from xwam.futures.future import Future
from xwam.models.depth_estimation import DepthEstimator, with_estimated_depth

SIZE = (44, 60)
INVERSE = "inverse_relative"


@pytest.fixture(scope="module")
def relative(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_depth_anything(tmp_path_factory.mktemp("depth") / "relative")


@pytest.fixture(scope="module")
def metric(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_depth_anything(tmp_path_factory.mktemp("depth") / "metric", "metric", max_depth=4)


@pytest.fixture(scope="module")
def dpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_dpt(tmp_path_factory.mktemp("depth") / "dpt")


def pictures(count: int = 5, size: tuple[int, int] = SIZE, seed: int = 0) -> np.ndarray:
    """Slopes with a moving square, RGB."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    frames = np.stack([np.stack([5 * rows, 4 * columns, 40 + 0 * rows], axis=-1)] * count).astype(np.uint8)
    for number, frame in enumerate(frames):
        frame[8:24, 6 * number + seed : 6 * number + seed + 16] = (200, 30 * number, 20)
    return frames


def future(**changes) -> Future:
    fields = {"frames": {"left": pictures(), "wrist": pictures(seed=7)}, "instruction": "lift", "frame_period": 0.2}
    return Future(**{"robot": "mujoco_panda", **fields, **changes})


def test_answers_are_those_of_transformers_itself(relative: Path):
    estimator, frames = DepthEstimator.from_pretrained(relative, batch_size=2), pictures()
    model, processor = (
        AutoModelForDepthEstimation.from_pretrained(relative),
        AutoImageProcessor.from_pretrained(relative),
    )
    with torch.no_grad():
        outputs = model(**processor(images=list(frames), return_tensors="pt"))
    expected = processor.post_process_depth_estimation(outputs, target_sizes=[SIZE] * len(frames))
    answers = estimator(frames)
    assert answers.shape == (5, *SIZE)
    assert answers.dtype == np.float32
    assert answers.std() > 0.1
    np.testing.assert_allclose(answers, np.stack([one["predicted_depth"].numpy() for one in expected]), atol=1e-4)


def test_each_frame_is_answered_for_itself(dpt: Path):
    estimator, frames = DepthEstimator.from_pretrained(dpt, answer=INVERSE, batch_size=3), pictures(7)
    together = estimator(frames)
    np.testing.assert_allclose(together[4:5], estimator(frames[4:5]), atol=1e-4)
    assert np.abs(together[4] - together[0]).max() > 0.1


def test_a_processor_without_post_processing_is_enough(relative: Path):
    class Plain:
        def __init__(self) -> None:
            self._processor = AutoImageProcessor.from_pretrained(relative)

        def __call__(self, **inputs):
            return self._processor(**inputs)

    estimator = DepthEstimator(AutoModelForDepthEstimation.from_pretrained(relative), Plain())
    answers, expected = estimator(pictures()), DepthEstimator.from_pretrained(relative)(pictures())
    assert np.corrcoef(answers.ravel(), expected.ravel())[0, 1] > 0.98  # bilinear against bicubic


def test_half_precision_answers_nearly_the_same(relative: Path):
    exact = DepthEstimator.from_pretrained(relative)(pictures())
    half = DepthEstimator.from_pretrained(relative, dtype=torch.bfloat16)
    assert next(half.model.parameters()).dtype == torch.bfloat16
    assert np.corrcoef(half(pictures()).ravel(), exact.ravel())[0, 1] > 0.99


def test_the_config_says_what_a_model_answers_or_the_caller_must(relative: Path, metric: Path, dpt: Path):
    assert DepthEstimator.from_pretrained(relative).answer == INVERSE
    assert DepthEstimator.from_pretrained(metric).answer == "metric"
    assert DepthEstimator.from_pretrained(metric, answer="relative").answer == "relative"
    with pytest.raises(
        ValueError, match="'dpt' model does not say what it answers; give `answer`: 'inverse_relative'"
    ):
        DepthEstimator.from_pretrained(dpt)
    config = json.loads((relative / "config.json").read_text())
    del config["model_type"]  # the same fields, which mean something else here
    prompted = PromptDepthAnythingForDepthEstimation(PromptDepthAnythingConfig(**config))
    with pytest.raises(ValueError, match="'prompt_depth_anything' model does not say what it answers"):
        DepthEstimator(prompted, AutoImageProcessor.from_pretrained(relative))
    with pytest.raises(ValueError, match=r"`answer` must be one of .* but is 'disparity'"):
        DepthEstimator.from_pretrained(dpt, answer="disparity")
    with pytest.raises(ValueError, match="`batch_size` must be at least 1"):
        DepthEstimator.from_pretrained(relative, batch_size=0)


def test_from_the_hub_with_the_commit_it_came_from(relative: Path, loopback_hub: LoopbackHub):
    commit = loopback_hub.commit_folder("tester/depth", relative)
    estimator = DepthEstimator.from_pretrained("tester/depth")
    assert (estimator.name, estimator.revision) == ("tester/depth", commit)
    assert estimator.facts["architecture"] == "DepthAnythingForDepthEstimation"
    np.testing.assert_array_equal(estimator(pictures()), DepthEstimator.from_pretrained(relative)(pictures()))


def test_pickles_are_not_loaded(relative: Path, tmp_path: Path, loopback_hub: LoopbackHub):
    folder = tmp_path / "pickled"
    folder.mkdir()
    for name in ("config.json", "preprocessor_config.json"):
        (folder / name).write_bytes((relative / name).read_bytes())
    torch.save(load_file(relative / "model.safetensors"), folder / "pytorch_model.bin")
    with pytest.raises(UnsafeFileError, match=r"pytorch_model\.bin"):
        DepthEstimator.from_pretrained(folder)
    loopback_hub.commit_folder("tester/pickled-depth", folder)
    with pytest.raises(UnsafeFileError, match="no safetensors beside them"):
        DepthEstimator.from_pretrained("tester/pickled-depth")


def test_a_missing_tensor_is_not_replaced_by_a_random_one(relative: Path, dpt: Path, tmp_path: Path):
    def copy_without(source: Path, ending: str) -> Path:
        folder = tmp_path / ending
        folder.mkdir()
        tensors = {name: own for name, own in load_file(source / "model.safetensors").items() if ending not in name}
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        for name in ("config.json", "preprocessor_config.json"):
            (folder / name).write_bytes((source / name).read_bytes())
        return folder

    with pytest.raises(CheckpointMismatchError, match=r"missing: head\.conv3\.weight"):
        DepthEstimator.from_pretrained(copy_without(relative, "head.conv3.weight"))
    unused = copy_without(dpt, "fusion_stage.layers.0.residual_layer1")  # as the published DPT checkpoints
    expected = DepthEstimator.from_pretrained(dpt, answer=INVERSE)(pictures())
    np.testing.assert_array_equal(DepthEstimator.from_pretrained(unused, answer=INVERSE)(pictures()), expected)


def test_other_models_and_no_models_are_refused(relative: Path, tmp_path: Path):
    Dinov2Model(Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2)).save_pretrained(
        tmp_path / "other"
    )
    with pytest.raises(CheckpointError, match="'dinov2' model, which transformers has no depth head for"):
        DepthEstimator.from_pretrained(tmp_path / "other")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="holds no model of transformers"):
        DepthEstimator.from_pretrained(tmp_path / "empty")
    lacking = tmp_path / "lacking"
    lacking.mkdir()
    for name in ("config.json", "model.safetensors"):
        (lacking / name).write_bytes((relative / name).read_bytes())
    with pytest.raises(CheckpointError, match=r"cannot be loaded as a depth model: .*processor"):
        DepthEstimator.from_pretrained(lacking)
    config = json.loads((relative / "config.json").read_text())
    (lacking / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "code.Model"}}))
    with pytest.raises(UnsafeFileError, match="asks for code"):
        DepthEstimator.from_pretrained(lacking)


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="torchvision is installed")
def test_a_processor_that_needs_torchvision_says_so(relative: Path):
    from transformers import ZoeDepthImageProcessorPil

    with pytest.raises(ImportError, match="`torchvision` is needed for ZoeDepthImageProcessorPil"):
        DepthEstimator(AutoModelForDepthEstimation.from_pretrained(relative), ZoeDepthImageProcessorPil())


def test_bad_images_and_answers_are_named(relative: Path):
    estimator = DepthEstimator.from_pretrained(relative)
    for wrong in (pictures()[0], pictures().astype(np.float32), pictures()[..., :1], pictures()[:0]):
        with pytest.raises(ValueError, match=r"must be uint8 of shape \(F, H, W, 3\), but are"):
            estimator(wrong)
    with torch.no_grad():
        estimator.model.head.conv3.bias.fill_(float("nan"))
    with pytest.raises(ValueError, match="not finite at image 0; try dtype float32"):
        estimator(pictures())


def test_a_future_gets_the_metres_of_a_metric_model(metric: Path):
    estimator, seen = (
        DepthEstimator.from_pretrained(metric),
        future(depth_kind="metric", depths={"left": np.ones((5, *SIZE), np.float32)}),
    )
    estimated = with_estimated_depth(seen, estimator)
    assert estimated.depth_kind == "estimated"
    assert list(estimated.depths) == ["left", "wrist"]
    answers = estimator(seen.frames["wrist"])
    np.testing.assert_allclose(estimated.depths["wrist"], np.where(answers > 0, answers, 0), rtol=1e-5)
    assert estimated.depths["wrist"].dtype == np.float32
    assert estimated.depth_calibrations == {}
    assert estimated.frames is seen.frames
    assert seen.depth_kind == "metric"
    assert list(with_estimated_depth(seen, estimator, cameras=["wrist"]).depths) == ["wrist"]


def test_a_measured_first_frame_gives_metres_to_all_frames(relative: Path):
    estimator, seen = DepthEstimator.from_pretrained(relative), future()
    truth = {name: 1 / (0.3 + 0.02 * estimator(video)) for name, video in seen.frames.items()}
    truth = {name: np.where((depth > 0) & (depth < 20), depth, 0).astype(np.float32) for name, depth in truth.items()}
    measured = {name: depth[0].copy() for name, depth in truth.items()}
    measured["left"][:20] = 0  # the sensor saw nothing there
    measured["wrist"][::4] = 1.0  # or something else
    for given in (
        measured,
        future(depths={name: np.stack([depth] * 5) for name, depth in measured.items()}, depth_kind="measured"),
    ):
        estimated = with_estimated_depth(seen, estimator, measured=given)
        for name, depth in truth.items():
            known = depth > 0
            np.testing.assert_allclose(estimated.depths[name][known], depth[known], rtol=5e-3)
        assert estimated.depth_calibrations["left"].scale == pytest.approx(0.02, rel=1e-3)
        assert estimated.depth_calibrations["wrist"].inlier_share < 0.9


def test_a_range_or_a_median_is_for_all_cameras_or_by_camera(relative: Path):
    estimator, seen = DepthEstimator.from_pretrained(relative), future()
    one = with_estimated_depth(seen, estimator, depth_range=(0.4, 2.0))
    two = with_estimated_depth(seen, estimator, depth_range={"left": (0.4, 2.0), "wrist": (0.1, 0.5)})
    np.testing.assert_array_equal(one.depths["left"], two.depths["left"])
    assert np.quantile(two.depths["wrist"], (0.005, 0.995)) == pytest.approx((0.1, 0.5), rel=0.02)
    middle = with_estimated_depth(seen, estimator, median_depth={"left": 0.7, "wrist": 0.2})
    assert np.median(middle.depths["wrist"]) == pytest.approx(0.2, rel=0.02)


def test_what_a_future_cannot_be_given_is_refused(relative: Path):
    estimator, seen = DepthEstimator.from_pretrained(relative), future()
    with pytest.raises(ValueError, match="`measured`: `depths` must be empty where `depth_kind` is 'none'"):
        with_estimated_depth(seen, estimator, measured=future(depths={"left": np.ones((5, *SIZE), np.float32)}))
    depth = np.full(SIZE, 0.8, np.float32)
    with pytest.raises(ValueError, match="which has no unit; align it with measured depth"):
        with_estimated_depth(seen, estimator)
    with pytest.raises(
        ValueError, match=r"At most one alignment must be given, but \['depth_range', 'median_depth'\]"
    ):
        with_estimated_depth(seen, estimator, depth_range=(0.1, 1), median_depth=0.5)
    with pytest.raises(
        ValueError, match=r"`measured` must have cameras \['left', 'wrist'\], but \['wrist'\] are missing"
    ):
        with_estimated_depth(seen, estimator, measured={"left": depth})
    with pytest.raises(ValueError, match=r"`cameras` must be some of \['left', 'wrist'\], but none is given"):
        with_estimated_depth(seen, estimator, median_depth=1, cameras=[])
    with pytest.raises(ValueError, match=r"`cameras` must be of \['left', 'wrist'\], but \['top'\] are not"):
        with_estimated_depth(seen, estimator, median_depth=1, cameras=["top"])
    with pytest.raises(
        ValueError, match=r"`measured` must have the frames' size \(44, 60\), but has shape \(22, 30\)"
    ):
        with_estimated_depth(seen, estimator, measured={"left": depth[::2, ::2], "wrist": depth})
    with pytest.raises(DepthCalibrationError, match="camera 'left': the measured depth is almost the same everywhere"):
        with_estimated_depth(seen, estimator, measured={"left": depth, "wrist": depth})

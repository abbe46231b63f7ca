"""Validation measures what it says, the same however the clips are batched."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from moving_squares import MovingSquares, mixture_of, squares_pipeline
from PIL import Image

import xwam.training.validation as validation
from xwam.data.streams.stream import Samples, read_batch
from xwam.robots.processor import RobotProcessor
from xwam.training.objective import LossWeights
from xwam.training.validation import Futures, evaluate

STEPS = {"num_inference_steps": 3, "num_action_steps": 2}


@pytest.fixture(scope="module")
def pipeline():
    return squares_pipeline()


def clips(*sizes, **options):
    """Batches of the given sizes over the same clips."""
    samples, start, batches = Samples(mixture_of(MovingSquares(**options)), seed=3), 0, []
    for size in sizes:
        batches.append(read_batch(samples, range(start, start + size)))
        start += size
    return batches


def test_batches_change_nothing(pipeline):
    whole = evaluate(pipeline, clips(4), **STEPS).numbers()
    parts = evaluate(pipeline, clips(1, 3), **STEPS).numbers()
    assert whole.keys() == parts.keys()
    for name, value in whole.items():
        assert parts[name] == pytest.approx(value, rel=1e-4), name
    assert whole["num_clips"] == whole["num_sampled"] == 4


def test_the_seed_counts(pipeline):
    first, second = (evaluate(pipeline, clips(2), seed=seed, with_samples=False) for seed in (0, 1))
    assert first.losses["video"] != second.losses["video"]
    assert first.to_dict() == evaluate(pipeline, clips(2), seed=0, with_samples=False).to_dict()


def test_without_samples_there_are_only_losses(pipeline):
    report = evaluate(pipeline, clips(2), with_samples=False, weights=LossWeights(actions=0))
    assert report.psnr is None
    assert report.loss == pytest.approx(sum(report.losses[name] for name in ("video", "states", "depth")))
    assert set(report.numbers()) == {
        "num_clips", "num_sampled", "loss", "loss_video", "loss_actions", "loss_states", "loss_depth",
    }  # fmt: skip


def told(monkeypatch, make):
    """Let the sampled futures be what `make` says of the clips."""
    monkeypatch.setattr(validation, "sample_futures", lambda pipeline, encoded, *rest: make(encoded))


def test_a_perfect_future_is_perfect(pipeline, monkeypatch):
    batches = clips(2)
    truth = batches[0]
    told(monkeypatch, lambda own: Futures(truth.frames, truth.depth_images, own.clean.actions, own.clean.states))
    report = evaluate(pipeline, batches)
    assert report.psnr == report.psnr_moving == 100
    assert report.depth_error == report.action_error == report.state_error == 0


def test_psnr_is_that_of_all_frames_but_the_first_and_motion_is_what_changes(pipeline, monkeypatch):
    batches = clips(2)
    frames = batches[0].frames
    wrong = frames + 0.2
    wrong[:, :, 0] = 9
    told(monkeypatch, lambda own: Futures(wrong, None, own.clean.actions + 0.3, own.clean.states))
    report = evaluate(pipeline, batches)
    truth = ((frames + 1) / 2).clamp(0, 1).numpy()
    error = (((wrong + 1) / 2).clamp(0, 1).numpy() - truth)[:, :, 1:] ** 2
    moves = np.broadcast_to(np.abs(truth[:, :, 1:] - truth[:, :, :1]).max(axis=3, keepdims=True) > 0.1, error.shape)
    copy = (truth[:, :, 1:] - truth[:, :, :1]) ** 2
    assert 0.01 < moves.mean() < 0.5
    assert report.psnr == pytest.approx(-10 * np.log10(error.mean()), abs=1e-3)
    assert report.psnr_moving == pytest.approx(-10 * np.log10(error[moves].mean()), abs=1e-3)
    assert report.copy_psnr == pytest.approx(-10 * np.log10(copy.mean()), abs=1e-3)
    assert report.copy_psnr_moving == pytest.approx(-10 * np.log10(copy[moves].mean()), abs=1e-3)
    assert report.depth_error is None
    assert report.action_error == pytest.approx(0.3, rel=1e-5)
    actions = batches[0].actions[..., :7].numpy()
    assert report.mean_action_error == pytest.approx(actions.std(axis=(0, 1)).__pow__(2).mean() ** 0.5, rel=1e-4)


def test_depth_is_compared_in_metres_where_it_was_measured(pipeline, monkeypatch):
    batches = clips(1)
    planes = torch.tensor([camera.depth_range for camera in pipeline.robot_processor.spec.cameras])
    near, far = (planes[:, side].view(1, 3, 1, 1, 1, 1) for side in (0, 1))
    level = (batches[0].depth_images + 1) / 2 * (1 / near - 1 / far) + 1 / far  # inverse metres
    farther = 2 * (level / 1.25 - 1 / far) / (1 / near - 1 / far) - 1
    farther = torch.where(batches[0].depth_mask[:, :, :, None], farther, 1.0)
    told(monkeypatch, lambda own: Futures(batches[0].frames, farther, own.clean.actions, own.clean.states))
    report = evaluate(pipeline, batches)
    assert report.depth_error == pytest.approx(0.25, rel=1e-4)
    assert 0 < report.copy_depth_error < 0.2


def test_linear_depth_is_compared_in_metres_too(monkeypatch):
    pipeline = squares_pipeline()
    spec = replace(pipeline.robot_processor.spec, depth_encoding="linear")
    pipeline.robot_processor = RobotProcessor(spec)
    planes = torch.tensor([camera.depth_range for camera in spec.cameras])
    near, far = (planes[:, side].view(1, 3, 1, 1, 1, 1) for side in (0, 1))
    batches = clips(1)
    depth = far - (batches[0].depth_images + 1) / 2 * (far - near)
    nearer = 2 * (far - depth / 1.25) / (far - near) - 1
    nearer = torch.where(depth / 1.25 > near, nearer, batches[0].depth_images)
    mask = batches[0].depth_mask & (depth / 1.25 > near)[:, :, :, 0]
    told(monkeypatch, lambda own: Futures(batches[0].frames, nearer, own.clean.actions, own.clean.states))
    report = evaluate(pipeline, [replace(batches[0], depth_mask=mask)])
    assert report.depth_error == pytest.approx(0.2, rel=1e-4)


def test_depth_without_a_unit_has_no_error_in_metres(monkeypatch):
    pipeline = squares_pipeline()
    pipeline.robot_processor = RobotProcessor(replace(pipeline.robot_processor.spec, depth_encoding="relative"))
    truth = clips(1)[0]
    told(monkeypatch, lambda own: Futures(truth.frames, truth.depth_images, own.clean.actions, own.clean.states))
    report = evaluate(pipeline, [truth])
    assert report.depth_error is report.copy_depth_error is None
    assert report.losses["depth"] > 0


def test_views_that_were_not_recorded_are_left_out(pipeline, monkeypatch):
    batches = clips(2)
    wrong = batches[0].frames.clone()
    wrong[0, 1] += 0.5
    view_mask = batches[0].view_mask.clone()
    view_mask[0, 1] = False
    told(monkeypatch, lambda own: Futures(wrong, None, own.clean.actions, own.clean.states))
    assert evaluate(pipeline, batches).psnr < 40
    assert evaluate(pipeline, [replace(batches[0], view_mask=view_mask)]).psnr == 100


@pytest.mark.parametrize("branch", ["none", "interleaved", "sequence", "channel"])
def test_every_depth_branch_can_be_validated(branch, tmp_path):
    report = evaluate(squares_pipeline(branch=branch), clips(1), folder=tmp_path, noise_draws=1, **STEPS)
    assert (report.depth_error is None) == (branch == "none")
    assert all(np.isfinite(value) for value in report.numbers().values())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip-000.mp4", "clip-000.png"]
    picture = Image.open(tmp_path / "clip-000.png")
    assert picture.height > 3 * 32 * (2 if branch == "none" else 4)


def test_recordings_without_depth_can_be_validated(pipeline):
    report = evaluate(pipeline, clips(1, has_depth=False), noise_draws=1, **STEPS)
    assert report.depth_error is None
    assert "depth" not in report.losses


@pytest.mark.parametrize("branch", ["sequence", "channel"])
def test_depth_that_must_be_there_may_be_unmeasured(branch):
    report = evaluate(squares_pipeline(branch=branch), clips(1, has_depth=False), noise_draws=1, **STEPS)
    assert report.depth_error is None
    assert report.losses["depth"] == 0
    assert np.isfinite(report.loss)


def test_only_so_many_clips_are_written(pipeline, tmp_path):
    evaluate(pipeline, clips(2, 2), folder=tmp_path, max_pictures=3, noise_draws=1, **STEPS)
    assert len(list(tmp_path.glob("*.png"))) == 3


def test_no_clips_are_an_error(pipeline):
    with pytest.raises(ValueError, match="at least one clip"):
        evaluate(pipeline, [])

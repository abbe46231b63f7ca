"""The VAE learns, and goes on where it stopped, to the bit."""

import re
import shutil
from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderKLWan
from moving_squares import MovingSquares, mixture_of

from xwam.data.streams.stream import make_stream
from xwam.errors import TrainingError
from xwam.models.video_codec import encode_frames
from xwam.training.video_codec_training import (
    VideoCodecConfig,
    VideoCodecObjective,
    codec_losses,
    draw_clips,
    measure_latents,
    pixel_weights,
    train_video_codec,
)

CONFIG = VideoCodecConfig(steps=6, clips_per_step=2, warmup_steps=2, save_interval=2)


def tiny_vae(channels=4):
    torch.manual_seed(0)
    return AutoencoderKLWan(
        base_dim=4, decoder_base_dim=4, z_dim=channels, dim_mult=[1, 2, 2], num_res_blocks=1, temperal_downsample=[True, True],
        is_residual=True, in_channels=12, out_channels=12, patch_size=2, latents_mean=[0.0] * channels, latents_std=[1.0] * channels,
        scale_factor_spatial=8, scale_factor_temporal=4,
    )  # fmt: skip


def batches(start):
    return make_stream(mixture_of(MovingSquares()), seed=1, batch_size=1, start_batch=start)


def test_it_learns(tmp_path):
    vae, losses = tiny_vae(), []
    config = replace(CONFIG, steps=32, clips_per_step=1, save_interval=32)
    train_video_codec(vae, batches, config, tmp_path, lambda step, found: losses.append(found["squared_error"]))
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])


def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path):
    whole = tiny_vae()
    train_video_codec(whole, batches, CONFIG, tmp_path / "whole")

    class Stop(Exception):
        pass

    def stop(step, losses):
        if step == 5:
            raise Stop

    with pytest.raises(Stop):
        train_video_codec(tiny_vae(), batches, CONFIG, tmp_path / "parts", stop)
    resumed, steps = tiny_vae(), []
    train_video_codec(resumed, batches, CONFIG, tmp_path / "parts", lambda step, losses: steps.append(step))
    assert steps == [5, 6]
    for name, tensor in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name


def test_no_step_is_left_out_after_a_damaged_checkpoint(tmp_path):
    whole = tiny_vae()

    def keep(step, losses):
        if step == 5:
            shutil.copytree(tmp_path / "step-00000004", tmp_path / "kept")

    train_video_codec(whole, batches, CONFIG, tmp_path, keep)
    (tmp_path / "kept").rename(tmp_path / "step-00000004")
    newest = tmp_path / "step-00000006" / "state.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    resumed, steps = tiny_vae(), []
    train_video_codec(resumed, batches, CONFIG, tmp_path, lambda step, losses: steps.append(step))
    assert steps == [5, 6]
    for name, tensor in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name


@pytest.mark.parametrize(
    ("changes", "channels", "field"),
    [({"seed": 1}, 4, "config.seed"), ({"steps": 7}, 4, "config.steps"), ({}, 5, "vae.z_dim"),
     ({"objective": VideoCodecObjective(colour=1.0)}, 4, "config.objective.colour")],
)  # fmt: skip
def test_what_was_begun_otherwise_is_not_trained_on(changes, channels, field, tmp_path):
    train_video_codec(tiny_vae(), batches, replace(CONFIG, steps=1), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    config = replace(CONFIG, **{"steps": 1, **changes})
    with pytest.raises(TrainingError, match=f"step-00000001 was trained with `{re.escape(field)}` = "):
        train_video_codec(tiny_vae(channels), batches, config, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_other_data_are_not_trained_on(tmp_path):
    train_video_codec(tiny_vae(), batches, replace(CONFIG, steps=1), tmp_path, data={"0: squares": {"windows": 3}})
    with pytest.raises(TrainingError, match=r"`data\.0: squares\.windows` = 3, not 4"):
        train_video_codec(tiny_vae(), batches, replace(CONFIG, steps=1), tmp_path, data={"0: squares": {"windows": 4}})


def test_the_interval_of_saves_may_change(tmp_path):
    train_video_codec(tiny_vae(), batches, replace(CONFIG, steps=1), tmp_path)
    train_video_codec(tiny_vae(), batches, replace(CONFIG, steps=1, save_interval=7), tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [("steps", 0, "at least 1"), ("clips_per_step", 0, "at least 1"), ("short_frames", 0, "at least 1"),
     ("save_interval", 0, "at least 1"), ("warmup_steps", 0, "at least 1"),
     ("learning_rate", float("nan"), "finite and above 0"), ("max_gradient_norm", 0.0, "finite and above 0")],
)  # fmt: skip
def test_numbers_out_of_range_are_named(name, value, expected):
    with pytest.raises(ValueError, match=f"`{name}` must be {expected}, but is {value}"):
        replace(CONFIG, **{name: value})


def test_colour_and_motion_weigh_more():
    clips = torch.zeros(1, 3, 2, 1, 3)
    clips[:, 0, :, 0, 1], clips[:, 1:, :, 0, 1] = 1, -1  # a red pixel that stands still
    clips[:, :, 1, 0, 2] = 0.4  # a grey one that changes
    weights = pixel_weights(clips, VideoCodecObjective(colour=4, motion=2, motion_range=0.4))
    assert weights[0, 0, :, 0].tolist() == [[1, 5, 2], [1, 5, 2]]


def test_the_losses_are_the_formula():
    vae, clips = tiny_vae(), torch.rand(1, 3, 5, 16, 16) * 2 - 1
    objective = VideoCodecObjective(squared=3, divergence=0.1)
    found = codec_losses(vae, clips, objective, torch.Generator().manual_seed(4))
    posterior = vae.encode(clips).latent_dist
    error = vae.decode(posterior.sample(torch.Generator().manual_seed(4))).sample - clips
    weights = pixel_weights(clips, objective)
    expected = (weights * (error.abs() + 3 * error**2)).sum() / (3 * weights.sum())
    own = torch.distributions.Normal(posterior.mean, posterior.std)
    expected = expected + 0.1 * torch.distributions.kl_divergence(own, torch.distributions.Normal(0, 1)).mean()
    assert found["loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert found["squared_error"].item() == pytest.approx(error.square().mean().item(), rel=1e-5)


def test_measured_latents_have_mean_zero_and_deviation_one():
    vae, windows = tiny_vae(), [next(iter(batches(number))).frames for number in range(3)]
    mean, std = measure_latents(vae, [own.flatten(0, 1).transpose(1, 2) for own in windows])
    vae.register_to_config(latents_mean=mean, latents_std=std)
    with torch.no_grad():
        latents = torch.cat([encode_frames(vae, own) for own in windows])
    flat = latents.transpose(0, 1).flatten(1)
    torch.testing.assert_close(flat.mean(dim=1), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(flat.std(dim=1), torch.ones(4), atol=1e-2, rtol=0)
    with pytest.raises(ValueError, match="no clips"):
        measure_latents(vae, [])


def test_clips_are_drawn_by_step_of_colours_and_depth_in_turn():
    batch = next(iter(batches(0)))
    first, again, other = (draw_clips(batch, CONFIG, step) for step in (4, 4, 5))
    assert torch.equal(first, again)
    assert first.shape == (2, 3, 9, 32, 64)
    assert other.shape == (2, 3, 5, 32, 64)
    is_grey = [bool((clip[0] == clip[1]).all() and (clip[0] == clip[2]).all()) for clip in first]
    assert sorted(is_grey) == [False, True]


def test_what_was_not_recorded_is_not_drawn():
    batch = next(iter(batches(0)))
    dark = replace(
        batch, view_mask=torch.tensor([[True, False, False]]), depth_mask=torch.zeros_like(batch.depth_mask)
    )
    for step in range(8):
        clips = draw_clips(dark, replace(CONFIG, short_frames=9), step).transpose(1, 2)
        assert all(torch.equal(clip, batch.frames[0, 0]) for clip in clips)

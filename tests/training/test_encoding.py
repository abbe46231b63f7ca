"""Pixels and words to latents: holes in depth, views and depth that are missing, text once per instruction."""

from dataclasses import replace

import pytest
import torch
from moving_squares import MovingSquares, mixture_of, squares_pipeline

from xwam.data.streams.stream import Samples, read_batch
from xwam.models.video_codec import encode_frames
from xwam.schedulers.scheduling_xwam import XWAMScheduler
from xwam.training.encoding import UNMEASURED, TextEncoding, cell_mask, drop_prompts, encode_batch, needs_depth
from xwam.training.noise import dropped_prompts, noise_for
from xwam.training.step import loss_terms


@pytest.fixture(scope="module")
def pipeline():
    return squares_pipeline()


@pytest.fixture(scope="module")
def text(pipeline):
    return TextEncoding(pipeline.text_encoder, pipeline.tokenizer, 64)


def batch_of(indices=(0, 1), **options):
    return read_batch(Samples(mixture_of(MovingSquares(**options)), seed=3), list(indices))


def test_everything_of_a_batch_is_there(pipeline, text):
    batch = batch_of()
    encoded = encode_batch(batch, pipeline.vae, text, dtype=torch.bfloat16)
    assert torch.equal(encoded.clean.video, encode_frames(pipeline.vae, batch.frames))
    assert encoded.clean.depth.shape == encoded.clean.video.shape
    assert torch.equal(encoded.clean.actions, batch.actions)
    assert encoded.prompt_embeds.dtype == torch.bfloat16
    assert encoded.indices.tolist() == [0, 1]
    assert encoded.view_mask.tolist() == [[1.0] * 3] * 2
    assert not encoded.clean.video.requires_grad


def test_a_cell_counts_if_half_of_its_pixels_were_measured(pipeline):
    mask = torch.zeros(1, 1, 9, 32, 64, dtype=torch.bool)
    mask[0, 0, 0, :8, :16] = True  # half of the first cell of the first frame
    mask[0, 0, 0, :7, 16:32] = True  # less than half of the next
    mask[0, 0, 1:3, :16, :16] = True  # half of the frames of the second latent frame
    mask[0, 0, 5, 16:, :] = True  # one frame of four
    found = cell_mask(mask, pipeline.vae)
    expected = torch.zeros(1, 3, 1, 2, 4)
    expected[0, 0, 0, 0, 0] = expected[0, 1, 0, 0, 0] = 1
    assert torch.equal(found, expected)
    assert torch.equal(cell_mask(mask[:, :, :1], pipeline.vae), expected[:, :1])


@pytest.mark.parametrize("branch", ["interleaved", "sequence", "channel"])
def test_holes_may_hold_anything(branch, text):
    """reliability B7: losses and gradients do not change by a bit when pixels that were not measured are altered."""
    own, results = squares_pipeline(branch=branch), []
    batch = batch_of()
    assert not batch.depth_mask.all()
    for value in (UNMEASURED, 7.0, float("nan")):
        images = torch.where(batch.depth_mask[:, :, :, None], batch.depth_images, value)
        encoded = encode_batch(replace(batch, depth_images=images), own.vae, text)
        own.transformer.train().zero_grad()
        pairs, noise = noise_for([0, 1], 1, XWAMScheduler(), encoded.clean, with_depth=branch != "interleaved")
        terms = loss_terms(own.transformer, XWAMScheduler(), encoded, pairs, noise)
        sum(term.mean for term in terms.values()).backward()
        results.append([term.mean for term in terms.values()] + [p.grad.clone() for p in own.transformer.parameters()])
    for first, *others in zip(*results, strict=True):
        assert first.isfinite().all()
        assert all(torch.equal(first, other) for other in others)


def test_without_depth_there_is_a_mask_of_zeros(pipeline, text):
    encoded = encode_batch(batch_of(has_depth=False), pipeline.vae, text)
    assert encoded.clean.depth.shape == encoded.clean.video.shape
    assert encoded.clean.depth.abs().max() == 0
    assert encoded.depth_mask.max() == 0


def test_depth_of_one_sample_does_not_depend_on_the_others(pipeline, text):
    batch = batch_of((0, 1))
    half = replace(batch, depth_mask=batch.depth_mask.clone())
    half.depth_mask[0] = False
    half.depth_mask[1, 2] = False
    encoded, whole = encode_batch(half, pipeline.vae, text), encode_batch(batch, pipeline.vae, text)
    assert encoded.depth_mask[0].max() == 0
    assert encoded.clean.depth[0].abs().max() == 0
    torch.testing.assert_close(encoded.clean.depth[1, :, :, :2], whole.clean.depth[1, :, :, :2])
    assert encoded.depth_mask[1, :, 2].max() == 0


def test_depth_may_be_left_out(pipeline, text):
    encoded = encode_batch(batch_of(), pipeline.vae, text, with_depth=False)
    assert encoded.clean.depth is None
    assert encoded.depth_mask is None


@pytest.mark.parametrize(
    ("branch", "always", "where_of_use"),
    [("none", False, False), ("interleaved", False, True), ("sequence", True, True), ("channel", True, True)],
)
def test_depth_is_encoded_where_the_branch_cannot_do_without(branch, always, where_of_use):
    assert needs_depth(branch, False) is always
    assert needs_depth(branch, True) is where_of_use


def test_each_instruction_is_encoded_once(pipeline, monkeypatch):
    calls = []
    monkeypatch.setattr("xwam.training.encoding.encode_prompt", lambda *a: calls.append(a[2]) or torch.ones(1, 2, 3))
    encode = TextEncoding(pipeline.text_encoder, pipeline.tokenizer, 64)
    assert encode(["a", "b", "a"]).shape == (3, 2, 3)
    encode(["b"])
    assert calls == [["a"], ["b"]]


def test_text_is_that_of_the_pipeline(pipeline, text):
    words = ["lift it", "push it"]
    torch.testing.assert_close(text(words), pipeline.encode_prompt(words))


def test_text_is_dropped_where_the_number_says_so(pipeline, text):
    encoded = encode_batch(batch_of(range(12)), pipeline.vae, text, with_depth=False)
    empty = text([""])
    found = drop_prompts(encoded, empty, seed=9, probability=0.5).prompt_embeds
    dropped = dropped_prompts(range(12), 9, 0.5)
    assert 0 < dropped.sum() < 12
    for row, is_dropped in enumerate(dropped):
        assert torch.equal(found[row], empty[0] if is_dropped else encoded.prompt_embeds[row])


def test_dropping_needs_numbers(pipeline, text):
    encoded = replace(encode_batch(batch_of(), pipeline.vae, text), indices=None)
    with pytest.raises(ValueError, match="needs `indices`"):
        drop_prompts(encoded, text([""]), 0, 0.1)

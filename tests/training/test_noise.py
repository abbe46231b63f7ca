"""Noise and text dropout depend on the seed and the sample's number alone."""

import pytest
import torch

from xwam.models.joint_latents import JointLatents
from xwam.schedulers.scheduling_xwam import XWAMScheduler
from xwam.training.noise import dropped_prompts, noise_for

SCHEDULER = XWAMScheduler()


def latents(count):
    return JointLatents(
        video=torch.zeros(count, 2, 3, 1, 2, 2),
        actions=torch.zeros(count, 4, 3),
        states=torch.zeros(count, 2, 3),
        depth=torch.zeros(count, 2, 3, 1, 2, 2),
    )


def draw(indices, seed=5, mode="ans", **options):
    return noise_for(indices, seed, SCHEDULER, latents(len(indices)), mode, **options)


def rows_of(drawn, row):
    pairs, noise = drawn
    return [part[row] for structure in (pairs, noise) for part in vars(structure).values() if part is not None]


@pytest.mark.parametrize("mode", ["ans", "decoupled", "sync"])
def test_an_example_has_its_noise_whatever_batch_it_is_in(mode):
    together = draw([3, 11, 2**40], mode=mode, with_depth=True)
    alone = draw([11], mode=mode, with_depth=True)
    turned = draw(torch.tensor([2**40, 11, 3]), mode=mode, with_depth=True)
    for first, second, third in zip(rows_of(together, 1), rows_of(alone, 0), rows_of(turned, 1), strict=True):
        assert torch.equal(first, second)
        assert torch.equal(first, third)


def test_seed_and_number_both_count():
    known = rows_of(draw([3]), 0)
    for other in (draw([4]), draw([3], seed=6)):
        assert not torch.equal(known[3], rows_of(other, 0)[3])


def test_the_global_generator_is_neither_read_nor_moved():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = draw([1, 2])
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert torch.equal(rows_of(first, 1)[4], rows_of(draw([1, 2]), 1)[4])


def test_the_levels_of_many_examples_have_the_distribution_of_the_mode():
    pairs, noise = draw(range(4000))
    given = pairs.action_is_given
    assert given.float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert (pairs.video[~given] >= pairs.action[~given]).all()
    assert pairs.video.mean().item() == pytest.approx(0.842, abs=0.02)  # measured on draws of the release
    assert pairs.action.mean().item() == pytest.approx(0.373, abs=0.02)
    assert noise.video.mean().item() == pytest.approx(0, abs=0.02)
    assert noise.video.std().item() == pytest.approx(1, abs=0.02)
    assert noise.depth is None


def test_there_must_be_one_number_per_example():
    with pytest.raises(ValueError, match="`indices` must name 2 samples, one per example, but names 1"):
        noise_for([1], 0, SCHEDULER, latents(2))


def test_depth_noise_needs_depth():
    clean = latents(1)
    bare = JointLatents(clean.video, clean.actions, clean.states)
    with pytest.raises(ValueError, match="`with_depth` needs depth latents"):
        noise_for([1], 0, SCHEDULER, bare, with_depth=True)


def test_text_is_dropped_by_number():
    dropped = dropped_prompts(range(5000), seed=1, probability=0.1)
    assert dropped.float().mean().item() == pytest.approx(0.1, abs=0.015)
    assert torch.equal(dropped_prompts([17, 4], 1), dropped[[17, 4]])
    assert not torch.equal(dropped_prompts(range(5000), 2), dropped)
    assert not dropped_prompts(range(100), 1, 0.0).any()
    assert dropped_prompts(range(100), 1, 1.0).all()


def test_a_share_of_text_lies_between_none_and_all():
    with pytest.raises(ValueError, match=r"`probability` must lie in \[0, 1\], but is 10"):
        dropped_prompts([1], 0, 10)

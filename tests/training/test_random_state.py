"""Generators go on where they were."""

import random

import numpy as np
import torch

from xwam.training.random_state import random_state, seed_generators, set_random_state


def drawn():
    return [random.random(), random.gauss(0, 1), *np.random.rand(3), np.random.randn(), *torch.rand(3).tolist()]


def test_the_same_numbers_come_again():
    seed_generators(3, 0)
    drawn()  # an odd number of normal draws: both libraries keep one back
    state = random_state()
    expected = drawn()
    drawn()
    set_random_state(state)
    assert drawn() == expected
    assert all(isinstance(tensor, torch.Tensor) for tensor in state.values())


def test_the_shapes_do_not_depend_on_what_was_kept_back():
    seed_generators(3, 0)
    shapes = {name: tensor.shape for name, tensor in random_state().items()}
    drawn()
    assert {name: tensor.shape for name, tensor in random_state().items()} == shapes


def test_processes_draw_differently_and_seeds_repeat():
    def of(seed, rank):
        seed_generators(seed, rank)
        return drawn()

    assert of(1, 0) == of(1, 0)
    assert of(1, 0) != of(1, 1) != of(2, 0)

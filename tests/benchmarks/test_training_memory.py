"""The computed memory is that of the real network: counts by closed form, activations that grow as they must."""

import pytest
from memory import activation_bytes, build, frozen_bytes
from sizes import SIZES

SMALL = SIZES["small"]
WIDTH, FFN, BLOCKS = 512, 2048, 12 + 4


@pytest.fixture(scope="module")
def adapted():
    return build(SMALL, 8)


def test_lora_by_closed_form(adapted):
    _, trained = adapted
    assert trained.lora == 8 * BLOCKS * (8 * 2 * WIDTH + 2 * (WIDTH + FFN))
    networks = 2 * (8 * WIDTH + WIDTH + WIDTH * WIDTH + WIDTH) + 2 * (WIDTH * WIDTH + WIDTH + WIDTH * 8 + 8)
    assert trained.robot == networks + 3 * WIDTH


def test_the_released_size_by_closed_form():
    """docs/how_to/fine_tune_with_lora.md states these."""
    _, trained = build(SIZES["5b"], 16)
    assert (trained.lora, trained.robot) == (53_739_520, 37_874_704)
    assert f"{100 * trained.share:.2f}" == "1.36"


def test_few_bits_shrink_the_matrices_of_the_blocks_alone(adapted):
    transformer, _ = adapted
    matrices = BLOCKS * (8 * WIDTH * WIDTH + 2 * WIDTH * FFN)
    assert frozen_bytes(transformer, None) - frozen_bytes(transformer, 4) == pytest.approx(matrices * 1.5)


def test_activations_grow_with_the_batch_and_shrink_with_checkpointing(adapted):
    transformer, _ = adapted
    one, two = (activation_bytes(SMALL, transformer, batch, checkpointing=False) for batch in (1, 2))
    assert one < two < 2.01 * one
    assert two > 1.95 * one
    assert activation_bytes(SMALL, transformer, 1, checkpointing=True) < one / 5

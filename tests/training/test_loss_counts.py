"""The counts that are known before the forward pass are those of the losses after it."""

import pytest
import torch
from tiny_run import example, joined, tiny_pipeline

from xwam.training.loss_counts import NoisyExamples, loss_counts
from xwam.training.noise import noise_for
from xwam.training.step import loss_terms


@pytest.mark.parametrize("branch", ["interleaved", "sequence", "channel"])
def test_the_counts_are_those_of_the_terms(branch):
    pipeline = tiny_pipeline(branch)
    examples = []
    for first in (0, 3):
        batch = joined([example(index) for index in range(first, first + 3)])
        pairs, noise = noise_for(batch.indices, 1, pipeline.scheduler, batch.clean, with_depth=branch != "interleaved")
        examples.append(NoisyExamples(batch, pairs, noise))
    counts = loss_counts(examples, with_spectral=True)
    summed: dict[str, float] = {}
    with torch.no_grad():
        for own in examples:
            terms = loss_terms(
                pipeline.transformer, pipeline.scheduler, own.batch, own.pairs, own.noise, with_spectral=True
            )
            for name, term in terms.items():
                summed[name] = summed.get(name, 0.0) + term.count.item()
    assert counts == summed
    assert set(counts) == {"video", "actions", "states", "depth", "spectral"}
    assert 0 < counts["actions"] < 6 * 32 * 7

"""The weighted sum of the losses."""

import pytest
import torch

from xwam.training.objective import LossWeights, weighted_sum


def test_each_loss_has_its_weight():
    losses = {"video": torch.tensor(1.0), "actions": torch.tensor(10.0), "depth": torch.tensor(100.0)}
    assert weighted_sum(losses, LossWeights(video=2, actions=0.5, depth=0.1)).item() == pytest.approx(17)


def test_a_loss_of_weight_zero_is_left_out():
    losses = {"video": torch.tensor(1.0), "spectral": torch.tensor(float("nan"))}
    assert weighted_sum(losses, LossWeights()).item() == 1


def test_an_unknown_loss_is_named():
    with pytest.raises(ValueError, match=r"no weight for the losses \['speed'\]"):
        weighted_sum({"speed": torch.tensor(1.0)}, LossWeights())


def test_something_must_be_left():
    with pytest.raises(ValueError, match=r"No loss of .*'video'.* has a weight above 0"):
        weighted_sum({"video": torch.tensor(1.0)}, LossWeights(video=0))


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_is_finite_and_not_negative(weight):
    with pytest.raises(ValueError, match="The weight `depth` must be finite and not negative"):
        LossWeights(depth=weight)

"""A device that is not there is named before anything is read."""

import pytest
import torch

from xwam.utils.devices import check_device_name, require_device


@pytest.mark.parametrize("name", ["cpu", "mps", "cuda", "cuda:3", "xpu:0"])
def test_names_of_devices_are_known(name: str):
    check_device_name(name)


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cpu:0", "", "cuda:-1", "CUDA"])
def test_another_form_is_refused(name: str):
    with pytest.raises(ValueError, match=f"`--device` must be such as 'cpu', 'cuda' or 'cuda:1', but is '{name}'"):
        require_device(name, name="--device")


def test_a_device_that_is_not_there_is_refused():
    require_device("cpu")
    count = torch.cuda.device_count()
    with pytest.raises(ValueError, match=f"`device` is 'cuda:{count}', but PyTorch .* sees {count} CUDA devices"):
        require_device(f"cuda:{count}")

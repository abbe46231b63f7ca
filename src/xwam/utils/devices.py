"""Names of devices, checked before gigabytes are read for one that is not there."""

import re

_FORM = re.compile(r"cpu|mps|(cuda|xpu)(:\d+)?")


def check_device_name(device: str, *, name: str = "device") -> None:
    """Check the form of a device's name; needs no torch.

    Args:
        device (`str`): Such as `"cpu"` or `"cuda:1"`.
        name (`str`, *optional*, defaults to `"device"`): What the message calls it.

    Raises:
        ValueError: If the name has another form.
    """
    if not _FORM.fullmatch(device):
        raise ValueError(f"`{name}` must be such as 'cpu', 'cuda' or 'cuda:1', but is {device!r}.")


def require_device(device: str, *, name: str = "device") -> None:
    """Check that PyTorch has a device; of CUDA devices, that there are so many.

    Args:
        device (`str`): Such as `"cpu"` or `"cuda:1"`.
        name (`str`, *optional*, defaults to `"device"`): What the message calls it.

    Raises:
        ValueError: If the name has another form, or there is no such device.
    """
    check_device_name(device, name=name)
    import torch

    kind, _, index = device.partition(":")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"`{name}` is {device!r}, but PyTorch {torch.__version__} sees {torch.cuda.device_count()} CUDA devices."
        )

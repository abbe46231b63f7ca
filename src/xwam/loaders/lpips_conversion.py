"""The published weights of LPIPS as one safetensors file: AlexNet's convolutions and the learned weights of its channels."""

import re
from pathlib import Path

import torch
from safetensors.torch import save_file

from xwam.checkpoints.manifest import sha256_of_files
from xwam.errors import CheckpointMismatchError, CorruptFileError
from xwam.export.files import replacing
from xwam.loaders.tensor_files import read_state_dict
from xwam.metrics.perceptual import CONVOLUTIONS, LPIPSNetwork, default_weights_path

# Places of the convolutions in torchvision's `AlexNet.features`; its classifier is not used.
ALEXNET_PLACES = (0, 3, 6, 8, 10)


def convert_lpips(alexnet: str | Path, heads: str | Path, output: str | Path | None = None) -> Path:
    """Write the weights that `xwam.metrics.images.lpips` reads.

    Where a file name ends in a dash and eight hexadecimal digits, as those of PyTorch do, the content must have that hash.

    Args:
        alexnet (`str` or `Path`): `alexnet-owt-7be5be79.pth` of PyTorch, or another state dict of torchvision's AlexNet.
        heads (`str` or `Path`): `alex.pth` of version 0.1 of the `lpips` package.
        output (`str` or `Path`, *optional*): Safetensors file to make; by default the place where `lpips` looks.

    Returns:
        `Path`: The file.

    Raises:
        CheckpointError: If a file does not exist.
        UnsafeFileError: If a file holds anything but tensors and plain values; nothing of it is executed.
        CorruptFileError: If a file is damaged, or is not the one its name says.
        CheckpointMismatchError: If a file lacks a tensor or has one of another shape.
    """
    tensors = {}
    _check_named_hash(Path(alexnet))
    own = read_state_dict(Path(alexnet))
    for index, place in enumerate(ALEXNET_PLACES):
        for kind in ("weight", "bias"):
            tensors[f"convolutions.{index}.{kind}"] = _taken(own, f"features.{place}.{kind}", alexnet)
    own = read_state_dict(Path(heads))
    for index, (_, channels, *_) in enumerate(CONVOLUTIONS):
        name = f"lin{index}.model.1.weight"
        weight = _taken(own, name, heads)
        if weight.shape != (1, channels, 1, 1):
            raise CheckpointMismatchError(str(heads), misshapen=[f"{name}: {tuple(weight.shape)}"])
        tensors[f"heads.{index}"] = weight.flatten()
    expected = LPIPSNetwork().state_dict()
    wrong = [f"{name}: {tuple(own.shape)}" for name, own in tensors.items() if own.shape != expected[name].shape]
    if wrong:
        raise CheckpointMismatchError(f"{alexnet} and {heads}", misshapen=wrong)
    path = default_weights_path() if output is None else Path(output)
    with replacing(path) as temporary:
        save_file({name: own.float().contiguous() for name, own in tensors.items()}, temporary)
    return path


def _taken(tensors: dict[str, torch.Tensor], name: str, path: str | Path) -> torch.Tensor:
    if name not in tensors:
        raise CheckpointMismatchError(str(path), missing=[name])
    return tensors[name]


def _check_named_hash(path: Path) -> None:
    match = re.search(r"-([0-9a-f]{8})\.pth$", path.name)
    if match and path.is_file():
        digest = sha256_of_files(path.parent, [path.name])[path.name]
        if not digest.startswith(match[1]):
            raise CorruptFileError(f"{path} should have the SHA-256 {match[1]}… but has {digest}; download it again.")

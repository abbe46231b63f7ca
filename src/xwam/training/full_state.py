"""Weights and optimizer of a run as whole tensors by name, however they are spread over processes.

A checkpoint does not know whether it was written by one process, by DDP or by FSDP2, and each can read it.
All functions are collective: every process calls them; the first one gets and brings the tensors.
"""

import hashlib
from typing import Any

import torch
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from xwam.errors import CheckpointMismatchError
from xwam.utils.plain_tensors import plain_tensors

Tensors = dict[str, torch.Tensor]

_FINGERPRINT_ENTRIES = 64  # read of each frozen tensor


def full_weights(model: Any) -> Tensors:
    """Trained weights by name, copied to the CPU; empty but in the first process.

    Args:
        model (`nn.Module`): Not wrapped by DDP; sharded by FSDP2 or not.
    """
    found: dict[str, Any] = get_model_state_dict(model, options=_options(ignore_frozen_params=True))
    is_shared = next(model.parameters()).device.type == "cpu"  # else these are copies already
    return {name: tensor.detach().clone() if is_shared else tensor.detach() for name, tensor in found.items()}


def whole_state(model: Any) -> Tensors:
    """All tensors of a model by name, on the CPU; empty but in the first process.

    Args:
        model (`nn.Module`): Not wrapped by DDP; sharded by FSDP2 or not.
    """
    found: dict[str, Any] = get_model_state_dict(model, options=_options())
    return {name: tensor.detach() for name, tensor in found.items()}


def load_full_weights(model: Any, weights: Tensors) -> None:
    """Inverse of `full_weights`.

    Args:
        model (`nn.Module`): Not wrapped by DDP.
        weights (`dict[str, torch.Tensor]`): Trained weights; only those of the first process are read.

    Raises:
        CheckpointMismatchError: If names or shapes differ from those of the trained parameters.
    """
    if _is_first():
        _compare({name: tuple(p.shape) for name, p in model.named_parameters() if p.requires_grad}, weights)
    whole: dict[str, Any] = dict(weights)
    set_model_state_dict(model, whole, options=_options(strict=False, broadcast_from_rank0=_is_distributed()))


def full_optimizer(model: Any, optimizer: torch.optim.Optimizer) -> dict[str, Tensors]:
    """State of the optimizer by parameter and quantity, on the CPU; empty but in the first process.

    Args:
        model (`nn.Module`): Not wrapped by DDP.
        optimizer (`torch.optim.Optimizer`): Not wrapped by accelerate.
    """
    if not _has_state(optimizer):
        return {}
    state: dict[str, Any] = get_optimizer_state_dict(model, optimizer, options=_options())
    return {
        name: {key: torch.as_tensor(value).detach() for key, value in own.items()}
        for name, own in state.get("state", {}).items()
    }


def load_full_optimizer(
    model: Any, optimizer: torch.optim.Optimizer, state: dict[str, Tensors], *, is_empty: bool = False
) -> None:
    """Inverse of `full_optimizer`; rates and decays stay those of the optimizer.

    Args:
        model (`nn.Module`): Not wrapped by DDP.
        optimizer (`torch.optim.Optimizer`): Not wrapped by accelerate.
        state (`dict[str, dict[str, torch.Tensor]]`): Only that of the first process is read.
        is_empty (`bool`, *optional*, defaults to `False`): Whether no step was done, which every process must know.

    Raises:
        CheckpointMismatchError: If the optimizer trains other parameters.
    """
    if is_empty:
        return
    name_of = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = [
        {**group, "params": [name_of[id(parameter)] for parameter in group["params"]]}
        for group in optimizer.param_groups
    ]
    if _is_first():
        trained = {name for group in groups for name in group["params"]}
        if trained != state.keys():
            raise CheckpointMismatchError(
                "the optimizer", missing=trained - state.keys(), unexpected=state.keys() - trained
            )
    whole: dict[str, Any] = {"state": state, "param_groups": groups if _is_first() else []}
    set_optimizer_state_dict(
        model,
        optimizer,
        whole,
        options=_options(broadcast_from_rank0=_is_distributed()),
    )


def frozen_fingerprint(model: Any) -> str:
    """Hash of the parameters that are not trained, of a few entries of each: enough to tell another base; `""` for none."""
    digest, is_any = hashlib.sha256(), False
    for name, parameter in sorted(model.named_parameters()):
        if parameter.requires_grad:
            continue
        is_any = True
        digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}".encode())
        for tensor in plain_tensors(parameter.detach()):
            flat = tensor.reshape(-1)
            stride = max(1, flat.numel() // _FINGERPRINT_ENTRIES)
            digest.update(flat[::stride][:_FINGERPRINT_ENTRIES].float().cpu().numpy().tobytes())
    return digest.hexdigest() if is_any else ""


def _options(**more: Any) -> StateDictOptions:
    return StateDictOptions(full_state_dict=True, cpu_offload=True, **more)


def _is_distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _is_first() -> bool:
    return not _is_distributed() or torch.distributed.get_rank() == 0


def _has_state(optimizer: torch.optim.Optimizer) -> bool:
    return any(optimizer.state.values())


def _compare(expected: dict[str, tuple[int, ...]], weights: Tensors) -> None:
    misshapen = [
        f"{name} is {tuple(weights[name].shape)}, expected {shape}"
        for name, shape in expected.items()
        if name in weights and tuple(weights[name].shape) != shape
    ]
    missing, unexpected = expected.keys() - weights.keys(), weights.keys() - expected.keys()
    if missing or unexpected or misshapen:
        raise CheckpointMismatchError("the checkpoint", missing=missing, unexpected=unexpected, misshapen=misshapen)

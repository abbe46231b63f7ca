"""Memory of training, computed: nothing is measured, no weights are made, no GPU is asked.

Usage:
    python benchmarks/memory.py [--size 5b] [--output results]

Parameters are counted on the meta device, in the dtype in which each is kept. Activations are what autograd keeps for the backward pass of
the real network on the meta device, with an attention that keeps no matrix of weights, as on a GPU.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from sizes import SIZES, Size, build_pipeline
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from xwam.models.block_xwam import KeyValue
from xwam.models.embodiment import empty_embodiment, set_embodiment
from xwam.models.transformer_xwam import XWAMTransformer3DModel
from xwam.robots.registry import get_robot
from xwam.training.lora import LoraSettings, TrainedParameters, lora_config, trained_parameters

GB = 1e9
ROBOT = get_robot("mujoco_panda")  # with depth, so that the depth branch is adapted
TRAINED_BYTES = 16  # float32: weight, gradient, two moments of AdamW
COPY_BYTES = 2  # autocast's bfloat16 copy of a trained weight, kept for the backward pass
BITS = {"8-bit": 8 + 32 / 3072, "4-bit": 4 + 32 / 64}  # with a float32 scale per row of 3,072, or per 64 weights (NF4)
META = torch.device("meta")


@dataclass(frozen=True)
class Run:
    """One way to train.

    Args:
        name (`str`): In words.
        rank (`int`, *optional*): Rank of the LoRA; `None` for a full fine-tuning.
        bits (`float`, *optional*): Bits of each frozen matrix of the blocks; `None` for the base's own dtypes.
    """

    name: str
    rank: int | None
    bits: float | None = None


RUNS = (
    Run("full fine-tuning", None),
    Run("LoRA, rank 16", 16),
    Run("LoRA, rank 64", 64),
    Run("LoRA, rank 16, 8-bit base", 16, BITS["8-bit"]),
    Run("LoRA, rank 16, 4-bit base", 16, BITS["4-bit"]),
)


def build(size: Size, rank: int | None) -> tuple[XWAMTransformer3DModel, TrainedParameters]:
    """The transformer on the meta device in bfloat16, with what is trained in it."""
    with META:
        transformer: Any = XWAMTransformer3DModel(**size.transformer)
        for name, parameter in transformer.named_parameters():
            parameter.data = parameter.data.to(transformer._storage_dtype(name, torch.bfloat16))
        if rank is not None:
            transformer.requires_grad_(False)
            parts = empty_embodiment(
                transformer, action_dim=8, state_dim=8, num_views=3, actions_per_frame=ROBOT.actions_per_frame
            )  # fmt: skip
            set_embodiment(transformer, parts)
            transformer.add_adapter(lora_config(ROBOT, LoraSettings(rank=rank)))
            for parameter in parts.parameters():
                parameter.requires_grad_(True)
    transformer.train()
    return transformer, trained_parameters(transformer)


def frozen_bytes(transformer: nn.Module, bits: float | None) -> float:
    """Bytes of what is not trained."""
    total = 0.0
    for name, parameter in transformer.named_parameters():
        if not parameter.requires_grad:
            is_matrix = name.endswith("weight") and parameter.ndim == 2 and "blocks." in name and "norm" not in name
            total += parameter.numel() * (bits / 8 if bits and is_matrix else parameter.element_size())
    return total


def inputs_of(size: Size, transformer: XWAMTransformer3DModel, batch_size: int) -> dict[str, torch.Tensor]:
    """What the transformer is given: three views, nine frames."""
    config, stride = transformer.config, 16 if size.image_size[0] > 128 else 8
    height, width = (side // stride for side in size.image_size)
    time = torch.empty(batch_size, device=META)
    return {
        "hidden_states": torch.empty(batch_size, config.in_channels, 3, 3, height, width, device=META),
        "action_hidden_states": torch.empty(batch_size, 32, config.action_dim, device=META),
        "state_hidden_states": torch.empty(batch_size, 9, config.state_dim, device=META),
        "timestep": time,
        "action_timestep": time,
        "state_timestep": time,
        "encoder_hidden_states": torch.empty(
            batch_size, size.text_length, config.text_dim, device=META, dtype=torch.bfloat16
        ),
    }


class Kept:
    """Bytes that autograd keeps, without parameters; every storage once."""

    def __init__(self, model: nn.Module) -> None:
        self._weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
        self.storages: dict[int, torch.UntypedStorage] = {}

    @property
    def bytes(self) -> int:
        return sum(storage.nbytes() for storage in self.storages.values())

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._weights:
            self.storages[storage._cdata] = storage
        return tensor


@contextmanager
def flash_attention() -> Iterator[None]:
    """Attention keeps queries, keys, values, the result and one number per row, as the GPU's kernels do."""
    plain = nn.functional.scaled_dot_product_attention

    def flash(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)[0]

    nn.functional.scaled_dot_product_attention = flash
    try:
        yield
    finally:
        nn.functional.scaled_dot_product_attention = plain


def activation_bytes(size: Size, transformer: XWAMTransformer3DModel, batch_size: int, *, checkpointing: bool) -> int:
    """What is kept of one forward pass; with checkpointing also what the largest block keeps while it is computed again."""
    kept, inputs = Kept(transformer), inputs_of(size, transformer, batch_size)
    again, held = [0], []

    def block_again(block: nn.Module, *args: Any) -> torch.Tensor:
        own = Kept(transformer)
        with saved_tensors_hooks(own.pack, lambda tensor: tensor):
            result = block(*args)
        again.append(own.bytes)
        for value in args:  # what a checkpoint holds is what it is given
            parts = (value.key, value.value) if isinstance(value, KeyValue) else (value,)
            held.extend(part for part in parts if isinstance(part, torch.Tensor))
        return result

    transformer.gradient_checkpointing = checkpointing
    if checkpointing:
        transformer._gradient_checkpointing_func = block_again
    with flash_attention(), saved_tensors_hooks(kept.pack, lambda tensor: tensor):
        transformer(**inputs)
    for tensor in held:
        kept.pack(tensor)
    return kept.bytes + max(again)


def row(run: Run, size: Size) -> tuple[str, TrainedParameters]:
    """One line of the table."""
    transformer, trained = build(size, run.rank)
    weights = frozen_bytes(transformer, run.bits)
    states = trained.trained * (TRAINED_BYTES + COPY_BYTES)
    plain, checkpointed = (
        activation_bytes(size, transformer, 1, checkpointing=checkpointing) for checkpointing in (False, True)
    )
    least = (weights + states + checkpointed) / GB
    return (
        f"| {run.name} | {trained.trained / 1e6:,.1f} M ({100 * trained.share:.2f} %) | {weights / GB:.1f} | {states / GB:.1f} | "
        f"{plain / GB:.1f} | {checkpointed / GB:.2f} | {least:.1f} |"
    ), trained


def encoders(size: str) -> str:
    """What the frozen encoders take while they are resident."""
    pipeline = build_pipeline(size, META, torch.bfloat16)
    vae, text = (
        sum(parameter.numel() * parameter.element_size() for parameter in part.parameters()) / GB
        for part in (pipeline.vae, pipeline.text_encoder)
    )
    return (
        f"Besides, while windows are encoded on the fly: VAE in float32 {vae:.2f} GB, text encoder in bfloat16 {text:.2f} GB, and what "
        "they need while they run. Encoded ahead: none of it."
    )


def main() -> None:
    """Print the tables; write them where asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=sorted(SIZES), default="5b")
    parser.add_argument("--output", type=Path, help="folder for memory-<size>_computed.md")
    args = parser.parse_args()
    size = SIZES[args.size]
    lines = [
        f"# Memory of training, size {args.size}: computed, not measured",
        "",
        "GB = 10^9 bytes. One window: three views, nine frames. Command: `python benchmarks/memory.py --size "
        + args.size
        + "`.",
        "",
        "| run | trained | frozen weights | trained weights, gradients, AdamW | activations per window | with checkpointing | sum, "
        "checkpointing, one window |",
        "| --- | --: | --: | --: | --: | --: | --: |",
    ]
    adapters = []
    for run in RUNS:
        line, trained = row(run, size)
        lines.append(line)
        if run.rank is not None and run.bits is None:
            adapters.append((run.rank, trained))
    lines += [
        "",
        "| rank | LoRA | robot's networks | share | file, float32 | file, bfloat16 |",
        "| --: | --: | --: | --: | --: | --: |",
    ]
    lines += [
        f"| {rank} | {trained.lora:,} | {trained.robot:,} | {100 * trained.share:.2f} % | {trained.megabytes():.0f} MB | "
        f"{trained.megabytes(2):.0f} MB |"
        for rank, trained in adapters
    ]
    lines += ["", encoders(args.size)]
    text = "\n".join(lines) + "\n"
    print(text)
    if args.output is not None:
        args.output.mkdir(parents=True, exist_ok=True)
        (args.output / f"memory-{args.size}_computed.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

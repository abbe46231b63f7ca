"""A frozen base in few bits, through diffusers' quantization configurations."""

import importlib.metadata
from typing import Any

import torch
from diffusers import BitsAndBytesConfig, PipelineQuantizationConfig, TorchAoConfig

QUANTIZATIONS = ("int8", "8bit", "4bit")
_KEPT = ("condition_embedder",)  # by full name: prefixes would be passed over in silence


def quantization(kind: str) -> PipelineQuantizationConfig:
    """Quantization of the transformer's matrices, for `from_pretrained(..., quantization_config=quantization("4bit"))`.

    The matrices of the blocks are quantized; embeddings, heads and the networks of the robot stay as they are. LoRA is trained
    beside them, and `save_robot` writes a robot that fits the full base as well.

    Args:
        kind (`str`): `"int8"`: torchao's weight-only int8, on any device. `"8bit"` and `"4bit"`: bitsandbytes' LLM.int8() and
            NF4, which need a GPU.

    Raises:
        ValueError: If there is no such kind.
        ImportError: If its package is not installed.
        RuntimeError: If it needs a GPU and there is none.
    """
    if kind not in QUANTIZATIONS:
        raise ValueError(f"`kind` must be one of {list(QUANTIZATIONS)}, but is {kind!r}.")
    _require("torchao" if kind == "int8" else "bitsandbytes", kind)
    if kind == "int8":
        from torchao.quantization import Int8WeightOnlyConfig

        config: Any = TorchAoConfig(Int8WeightOnlyConfig(version=2), modules_to_not_convert=list(_KEPT))
        return PipelineQuantizationConfig(quant_mapping={"transformer": config})
    if not torch.cuda.is_available():
        raise RuntimeError(f"{kind!r} needs a CUDA device, which is not there; 'int8' runs on any device.")
    if kind == "8bit":
        config = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(_KEPT))
    else:
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=torch.bfloat16,
            llm_int8_skip_modules=list(_KEPT),
        )
    return PipelineQuantizationConfig(quant_mapping={"transformer": config})


def _require(package: str, kind: str) -> None:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise ImportError(f"`{package}` is needed for {kind!r}; install it with `pip install {package}`.") from None

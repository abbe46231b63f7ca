"""Which base an adapter belongs to: sizes of its network and fingerprints of its weights."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from xwam.errors import CheckpointConfigError, CheckpointError
from xwam.models.transformer_xwam import XWAMTransformer3DModel

_FIELDS = (
    "patch_size", "num_attention_heads", "attention_head_dim", "in_channels", "out_channels", "text_dim", "freq_dim", "ffn_dim",
    "num_layers", "cross_attn_norm", "qk_norm", "eps", "depth_branch", "num_depth_layers",
)  # fmt: skip
_TRUNK = ("blocks.", "condition_embedder.")
_PROBE_SIZE = 64  # elements of every tensor that are compared
_COMPARABLE = (torch.float32, torch.bfloat16)  # dtypes in which a checkpoint of either has the same bfloat16 values


@dataclass(frozen=True)
class BaseIdentity:
    """What an adapter remembers of the base that it was trained on.

    Args:
        config (`Mapping[str, Any]`): Sizes of the network, without those that belong to the robot.
        vectors (`str`): Fingerprint of biases, norms and tables of the trunk, which no quantization changes.
        matrices (`str` or `None`): Fingerprint of the matrices of the trunk; `None` where they are quantized.
    """

    config: Mapping[str, Any]
    vectors: str
    matrices: str | None

    @classmethod
    def of(cls, transformer: XWAMTransformer3DModel) -> Self:
        """Identity of a transformer; adapters that are not fused into its weights change nothing.

        Args:
            transformer (`XWAMTransformer3DModel`): The base, with or without adapters.
        """
        module: Any = transformer
        vectors: list[tuple[str, torch.Tensor]] = []
        matrices: list[tuple[str, torch.Tensor]] = []
        for name, parameter in module.named_parameters():
            if name.startswith(_TRUNK) and ".lora_" not in name:
                is_matrix = parameter.ndim > 1 and not name.endswith("scale_shift_table")
                (matrices if is_matrix else vectors).append((name.replace(".base_layer.", "."), parameter))
        comparable = all(_is_plain(parameter) for _, parameter in matrices)
        config = {name: transformer.config[name] for name in _FIELDS}
        config["patch_size"] = list(config["patch_size"])
        return cls(config, _fingerprint(vectors), _fingerprint(matrices) if comparable else None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Any, where: object) -> Self:
        """Inverse of `to_dict`.

        Args:
            data (`Any`): What `json.loads` gives.
            where (`object`): File, for the message.

        Raises:
            CheckpointConfigError: If it is anything else.
        """
        is_right = (
            isinstance(data, Mapping)
            and data.keys() == {"config", "vectors", "matrices"}
            and isinstance(data["config"], Mapping)
            and data["config"].keys() == set(_FIELDS)
            and isinstance(data["vectors"], str)
            and isinstance(data["matrices"], str | None)
        )
        if not is_right:
            raise CheckpointConfigError(f"{where}: `embodiment.base` does not say which base the adapter belongs to.")
        return cls(**data)

    def check(self, transformer: XWAMTransformer3DModel, where: object, *, weights: bool = True) -> None:
        """Refuse a transformer that is not this base.

        An interleaved depth branch may have been left out of either: the trunk does not depend on it.

        Args:
            transformer (`XWAMTransformer3DModel`): The base that an adapter shall be loaded onto.
            where (`object`): The adapter, for the message.
            weights (`bool`, *optional*, defaults to `True`): Compare the weights too, not only the sizes.

        Raises:
            CheckpointError: If sizes or weights differ; the message names the field.
        """
        came = self.of(transformer)
        ignored = set()
        if {self.config["depth_branch"], came.config["depth_branch"]} == {"none", "interleaved"}:
            ignored = {"depth_branch", "num_depth_layers"}
        if self.config["depth_branch"] != "interleaved":
            ignored |= {"num_depth_layers"}
        for name in _FIELDS:
            if name not in ignored and self.config[name] != came.config[name]:
                raise CheckpointError(
                    f"{where} is an adapter for a base with `{name}` = {self.config[name]!r}, but this base has "
                    f"{came.config[name]!r}."
                )
        if not weights:
            return
        both_plain = self.matrices is not None and came.matrices is not None
        if self.vectors != came.vectors or (both_plain and self.matrices != came.matrices):
            raise CheckpointError(
                f"{where} is an adapter for a base of the same size but with other weights (unfuse LoRA, if any is fused). If "
                "you know that it fits this base, pass `allow_other_base=True`."
            )


def _is_plain(parameter: torch.Tensor) -> bool:
    return parameter.dtype in _COMPARABLE and not is_traceable_wrapper_subclass(parameter)


def _fingerprint(tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
    """Hash of the first elements of every tensor, rounded to bfloat16 so that the dtype does not count."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors, key=lambda pair: pair[0]):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        if not tensor.is_meta:
            values = tensor.detach().flatten()[:_PROBE_SIZE].to("cpu", torch.bfloat16)
            digest.update(values.contiguous().view(torch.int16).numpy().tobytes())
    return digest.hexdigest()

"""Refuse configurations that no model can have, before a model is built from them."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xwam.checkpoints.json_files import MAX_DEPTH
from xwam.errors import CheckpointConfigError, UnsafeFileError


@dataclass(frozen=True)
class Field:
    """What a configuration field may be.

    Args:
        kind (`type`): `int`, `float` (an int will do), `bool` or `str`.
        low (`float`): Smallest value.
        high (`float`): Largest value.
        length (`int`, *optional*): The field is a list of this many values.
        choices (`tuple[str, ...]`): The only strings accepted.
    """

    kind: type
    low: float = 1
    high: float = 1
    length: int | None = None
    choices: tuple[str, ...] = ()

    def fault(self, value: Any) -> str | None:
        """What is wrong with a value, or `None`."""
        if self.length is not None:
            if not isinstance(value, list | tuple) or len(value) != self.length:
                return f"a list of {self.length} {self.kind.__name__}"
            return next((fault for item in value if (fault := self._scalar_fault(item))), None)
        return self._scalar_fault(value)

    def _scalar_fault(self, value: Any) -> str | None:
        if self.kind is str:
            return None if value in self.choices else f"one of {list(self.choices)}"
        if self.kind is bool:
            return None if isinstance(value, bool) else "true or false"
        is_number = type(value) is int or (self.kind is float and type(value) is float and math.isfinite(value))
        if not is_number or not self.low <= value <= self.high:
            return f"{'a whole number' if self.kind is int else 'a number'} from {self.low:g} to {self.high:g}"
        return None


# Bounds leave room above the released model (24 heads of 128, 30 blocks) and stop what could only be a mistake.
SCHEMAS: Mapping[str, Mapping[str, Field]] = {
    "XWAMTransformer3DModel": {
        "patch_size": Field(int, 1, 16, length=3),
        "num_attention_heads": Field(int, 1, 256),
        "attention_head_dim": Field(int, 6, 1024),
        "in_channels": Field(int, 1, 4096),
        "out_channels": Field(int, 1, 4096),
        "text_dim": Field(int, 1, 65_536),
        "freq_dim": Field(int, 2, 65_536),
        "ffn_dim": Field(int, 1, 262_144),
        "num_layers": Field(int, 1, 512),
        "cross_attn_norm": Field(bool),
        "qk_norm": Field(str, choices=("rms_norm_across_heads",)),
        "eps": Field(float, 1e-12, 0.1),
        "num_views": Field(int, 1, 256),
        "action_dim": Field(int, 1, 4096),
        "state_dim": Field(int, 1, 4096),
        "actions_per_frame": Field(int, 1, 4096),
        "depth_branch": Field(str, choices=("none", "interleaved", "sequence", "channel")),
        "num_depth_layers": Field(int, 0, 512),
    },
    "XWAMScheduler": {
        "num_train_timesteps": Field(int, 2, 1_000_000),
        "shift": Field(float, 1e-3, 1e3),
        "num_inference_steps": Field(int, 1, 10_000),
        "num_action_steps": Field(int, 1, 10_000),
    },
}
MAX_PARAMETERS = 100e9  # the released model has 6.7e9

_BOOKKEEPING = frozenset(
    [
        "_class_name",
        "_diffusers_version",
        "_name_or_path",
        "_use_default_values",
        "_commit_hash",
        "quantization_config",
    ]
)
_CODE_KEYS = frozenset(["auto_map", "custom_pipeline", "custom_pipelines", "custom_components", "trust_remote_code"])
_KERNEL_KEYS = frozenset(
    ["_attn_implementation", "attn_implementation", "_attn_implementation_internal", "kernel_config"]
)
_SIZE_NAME = re.compile(
    r"^(num|n|d|max)_|_(dim|dims|size|channels|layers|heads|steps|timesteps|frames|rank|order)$|^(rank|r)$"
)
_ANY_SIZE = frozenset({"model_max_length", "max_length"})  # T5's tokenizer says 1e30 for "no limit"
_MAX_SIZE = 10_000_000
_MAX_NUMBER = 1e12
_MAX_STRING = 200_000
_MAX_ITEMS = 100_000


def check_config(config: Mapping[str, Any], *, where: object, class_name: str | None = None) -> None:
    """Check a configuration against the schema of its class, or by the general rules where it has none.

    Args:
        config (`Mapping[str, Any]`): Parsed JSON.
        where (`object`): File, for the message.
        class_name (`str`, *optional*): Class that reads it; else its own `_class_name`.

    Raises:
        CheckpointConfigError: If a value has the wrong type, is outside its bounds, or a key is unknown to the class.
        UnsafeFileError: If it asks for code to be imported.
    """
    _check_values(config, where)
    name = class_name or config.get("_class_name")
    schema = SCHEMAS.get(name) if isinstance(name, str) else None
    if schema is None:
        _check_sizes(config, where)
        return
    unknown = sorted(config.keys() - schema.keys() - _BOOKKEEPING)
    if unknown:
        raise CheckpointConfigError(f"{where}: {name} has no field {unknown[:10]}; known are {sorted(schema)}.")
    for key in config.keys() & schema.keys():
        fault = schema[key].fault(config[key])
        if fault is not None:
            raise CheckpointConfigError(f"{where}: `{key}` must be {fault} but is {_short(config[key])}.")
    if name == "XWAMTransformer3DModel":
        _check_transformer(config, where)


def _check_transformer(config: Mapping[str, Any], where: object) -> None:
    """Bounds that need more than one field; the defaults are those of the released model."""
    layers, width = (
        config.get("num_layers", 30),
        config.get("num_attention_heads", 24) * config.get("attention_head_dim", 128),
    )
    depth_layers = config.get("num_depth_layers", 10) if config.get("depth_branch") in (None, "interleaved") else 0
    if depth_layers > layers:
        raise CheckpointConfigError(f"{where}: `num_depth_layers` = {depth_layers} exceeds `num_layers` = {layers}.")
    parameters = (layers + depth_layers) * (8 * width + 2 * config.get("ffn_dim", 14_336)) * width
    if parameters > MAX_PARAMETERS:
        raise CheckpointConfigError(
            f"{where}: the sizes make a model of {parameters:.0e} parameters; at most {MAX_PARAMETERS:.0e} are built."
        )


def _check_values(config: Mapping[str, Any], where: object) -> None:
    """Finite numbers, sane lengths, bounded depth, and no key that makes a library import code."""
    todo: list[tuple[str, Any, int]] = [("", config, 0)]
    seen = 0
    while todo:
        key, value, depth = todo.pop()
        seen += 1
        if seen > _MAX_ITEMS or depth > MAX_DEPTH:
            raise CheckpointConfigError(f"{where}: more than {_MAX_ITEMS} values or {MAX_DEPTH} levels.")
        if value is not None and not isinstance(value, bool | int | float | str | list | tuple | Mapping):
            raise CheckpointConfigError(f"{where}: `{key}` is a {type(value).__name__}, which JSON does not have.")
        _check_value(key, value, where)
        if isinstance(value, Mapping):
            todo += [(str(name), item, depth + 1) for name, item in value.items()]
        elif isinstance(value, list | tuple):
            todo += [(key, item, depth + 1) for item in value]


def _check_value(key: str, value: Any, where: object) -> None:
    if value and (key in _CODE_KEYS or (key in _KERNEL_KEYS and "/" in str(value))):
        raise UnsafeFileError(
            f"{where}: `{key}` = {_short(value)} asks for code to be imported; checkpoints hold none."
        )
    if isinstance(value, str) and len(value) > _MAX_STRING:
        raise CheckpointConfigError(f"{where}: `{key}` is a text of {len(value)} characters.")
    if isinstance(value, int | float) and key not in _ANY_SIZE and not abs(value) < _MAX_NUMBER:
        raise CheckpointConfigError(
            f"{where}: `{key}` = {_short(value)} is not a finite number below {_MAX_NUMBER:g}."
        )


def _check_sizes(config: Mapping[str, Any], where: object) -> None:
    """What is named like a size, at the top level, is a number that memory can hold."""
    for key, value in config.items():
        if not _SIZE_NAME.search(key) or key in _ANY_SIZE:
            continue
        for item in value if isinstance(value, list | tuple) else [value]:
            if isinstance(item, str) or (isinstance(item, int | float) and not 0 <= item <= _MAX_SIZE):
                raise CheckpointConfigError(
                    f"{where}: `{key}` must be a size up to {_MAX_SIZE} but is {_short(item)}."
                )


def _short(value: Any) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**30 else "an enormous number"
    return text if len(text) <= 80 else text[:79] + "…"

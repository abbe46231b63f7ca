"""What a LoRA file may say about its adapter: data only, and only of the kind that this library applies rightly."""

from collections.abc import Mapping
from typing import Any

from peft import LoraConfig

_KEPT: dict[str, Any] = {
    "r": int, "lora_alpha": (int, float), "use_rslora": bool, "lora_dropout": (int, float), "rank_pattern": Mapping,
    "alpha_pattern": Mapping, "target_modules": (str, list, tuple, set), "bias": str,
}  # fmt: skip
_BOOKKEEPING = frozenset(
    {
        "base_model_name_or_path",
        "inference_mode",
        "peft_type",
        "peft_version",
        "revision",
        "task_type",
        "runtime_config",
    }
)
_INITIALIZATIONS = (True, False, "gaussian", "orthogonal")  # the others change the weights of the base as well


def lora_config_fields(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `peft.LoraConfig` that shape an adapter, taken from a file's metadata.

    Whatever else peft can do, such as importing a module by name or changing the base's weights at the start, is refused.

    Args:
        metadata (`Mapping[str, Any]`): Fields as `LoraConfig.to_dict` writes them.

    Raises:
        ValueError: If a field is of another kind than expected, or asks for a kind of adapter that is not supported.
    """
    defaults = LoraConfig().to_dict()
    fields: dict[str, Any] = {}
    for name, value in metadata.items():
        if name in _KEPT:
            fields[name] = _checked(name, value)
        elif name == "init_lora_weights":
            if value not in _INITIALIZATIONS:
                raise ValueError(f"A LoRA that starts as `init_lora_weights={value!r}` is not supported.")
        elif name not in _BOOKKEEPING and value and value != defaults.get(name):
            raise ValueError(f"A LoRA with `{name}` = {str(value)[:80]!r} is not supported.")
    if not {"r", "lora_alpha"} <= fields.keys():
        raise ValueError(
            "The metadata of a LoRA must hold `r` and `lora_alpha`, without which it would act differently."
        )
    if fields.get("bias", "none") != "none":
        raise ValueError(f"A LoRA with `bias` = {fields['bias']!r} is not supported.")
    return fields


def _checked(name: str, value: Any) -> Any:
    if not isinstance(value, _KEPT[name]) or (isinstance(value, bool) and name != "use_rslora"):
        raise ValueError(f"The metadata of a LoRA has `{name}` = {str(value)[:80]!r}, which is of the wrong kind.")
    if name in ("r", "lora_alpha") and value <= 0:
        raise ValueError(f"The metadata of a LoRA has `{name}` = {value}, which is not positive.")
    if name.endswith("_pattern") and not all(isinstance(number, int | float) for number in value.values()):
        raise ValueError(f"The metadata of a LoRA has a `{name}` that holds other things than numbers.")
    return value

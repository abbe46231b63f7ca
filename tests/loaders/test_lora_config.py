"""Metadata of a LoRA file are data: what shapes the adapter is taken, everything else is refused or ignored."""

import pytest
from peft import LoraConfig

from xwam.loaders.lora_config import lora_config_fields


def test_what_shapes_an_adapter_is_kept():
    config = LoraConfig(
        r=3, lora_alpha=7, use_rslora=True, lora_dropout=0.1, target_modules="a", alpha_pattern={"b": 2}
    )
    fields = lora_config_fields(config.to_dict())
    again = LoraConfig(**fields)
    for name in ("r", "lora_alpha", "use_rslora", "lora_dropout", "target_modules", "alpha_pattern", "rank_pattern"):
        assert getattr(again, name) == getattr(config, name)
    assert "megatron_core" not in fields


@pytest.mark.parametrize("start", [True, "gaussian"])
def test_how_it_started_does_not_matter(start):
    assert "init_lora_weights" not in lora_config_fields({"r": 1, "lora_alpha": 1, "init_lora_weights": start})


def test_what_a_newer_peft_writes_empty_is_ignored():
    assert lora_config_fields({"r": 1, "lora_alpha": 1, "new": None, "newer": {}}).keys() == {"r", "lora_alpha"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("r", 0), ("r", "4"), ("r", True), ("lora_alpha", -1), ("use_rslora", 1), ("rank_pattern", []), ("alpha_pattern", {"a": "b"}),
        ("bias", "all"), ("use_dora", True), ("modules_to_save", ["a"]), ("init_lora_weights", "pissa"), ("layer_replication", [[0, 1]]),
        ("megatron_core", "os"), ("loftq_config", {"a": 1}), ("fan_in_fan_out", True), ("new", 1),
    ],
)  # fmt: skip
def test_the_rest_is_refused(field, value):
    with pytest.raises(ValueError, match=field):
        lora_config_fields({"r": 4, "lora_alpha": 4, field: value})


@pytest.mark.parametrize("field", ["r", "lora_alpha"])
def test_what_is_needed(field):
    with pytest.raises(ValueError, match="`r` and `lora_alpha`"):
        lora_config_fields({name: 1 for name in ("r", "lora_alpha") if name != field})

"""A configuration goes to JSON and back, is overridden by the command line and refuses what is impossible."""

import argparse
import dataclasses
import json
import math

import pytest

from xwam.training.config import TrainConfig
from xwam.training.recipes import RECIPES, get_recipe


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    TrainConfig.add_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_goes_to_json_and_back(name):
    config = dataclasses.replace(get_recipe(name), max_gradient_norm=math.inf, betas=(0.8, 0.95))
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict(), allow_nan=False))) == config


def test_the_release_and_the_paper_are_what_they_say():
    release, paper, pretraining = get_recipe("robocasa"), get_recipe("robocasa_paper"), get_recipe("pretraining")
    assert (release.learning_rate, release.warmup_steps, release.batch_size, release.steps) == (1e-5, 200, 4, 20_000)
    assert (paper.learning_rate, paper.steps, paper.batch_size) == (3e-5, 20_000, 4)
    assert (pretraining.learning_rate, pretraining.warmup_steps, pretraining.steps) == (1e-4, 1000, 40_000)
    for config in (release, paper, pretraining):
        assert (config.weight_decay, config.max_gradient_norm, config.precision) == (0.01, 1.0, "bf16")
        assert (config.noise_mode, config.text_dropout, config.final_learning_rate_ratio) == ("ans", 0.1, 0.0)
    with pytest.raises(ValueError, match="known recipes are"):
        get_recipe("best")


def test_the_command_line_overrides_only_what_it_says():
    recipe = get_recipe("embedded")
    config = recipe.overridden(
        parsed("--steps", "7", "--no-augmentation", "--betas", "0.8", "0.9", "--noise_mode", "sync")
    )
    changed = {name for name, value in vars(config).items() if value != getattr(recipe, name)}
    assert changed == {"steps", "augmentation", "betas", "noise_mode"}
    assert recipe.overridden(parsed()) == recipe
    assert recipe.overridden(parsed("--max_gradient_norm", "inf")).max_gradient_norm == math.inf


def test_every_field_is_an_option_with_its_description(capsys):
    with pytest.raises(SystemExit):
        parsed("--help")
    said = " ".join(capsys.readouterr().out.split())
    for field in dataclasses.fields(TrainConfig):
        assert f"--{field.name}" in said
    assert "Steps between checkpoints." in said
    assert "Also keep a moving average of the weights" in said


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0), ("steps", 1.5), ("steps", True), ("batch_size", 0), ("accumulation", 0), ("warmup_steps", -1),
        ("learning_rate", 0.0), ("learning_rate", math.inf), ("learning_rate", math.nan), ("weight_decay", -0.1),
        ("betas", (0.9, 1.0)), ("betas", (0.9,)), ("betas", 0.9), ("betas", (False, 0.9)), ("betas", (0.9, math.nan)), ("weight_decay", math.inf),
        ("video_weight", math.inf), ("rank_timeout", 0), ("save_interval", 0), ("epsilon", 0.0), ("max_gradient_norm", 0.0),
        ("precision", "fp16"), ("optimizer", "sgd"), ("matrix_learning_rate", 0.0), ("matrix_learning_rate", math.inf), ("noise_mode", "none"), ("ema_decay", 1.0), ("ema_decay", 0.0), ("text_dropout", 1.1),
        ("video_weight", -1.0), ("spectral_weight", math.nan), ("final_learning_rate_ratio", 2.0), ("num_workers", -1),
        ("augmentation", 1), ("tracker", "wandb"), ("on_save_error", "ignore"), ("keep_checkpoints", 0), ("seed", "a"),
    ],
)  # fmt: skip
def test_what_is_impossible_is_refused_by_its_name(field, value):
    name = "video" if field == "video_weight" else field
    with pytest.raises(ValueError, match=name.removesuffix("_weight")):
        TrainConfig(**{field: value})


def test_a_run_without_any_loss_is_refused():
    with pytest.raises(ValueError, match="At least one of the weights"):
        TrainConfig(video_weight=0.0, action_weight=0.0, state_weight=0.0, depth_weight=0.0)


def test_an_unknown_field_is_named():
    with pytest.raises(ValueError, match=r"no fields \['lr'\]"):
        TrainConfig.from_dict({"lr": 1e-4})

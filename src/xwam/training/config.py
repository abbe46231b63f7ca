"""Everything about a training run that is not data: one frozen dataclass, beside the checkpoint as JSON, on the command line as options."""

import argparse
import dataclasses
import inspect
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from xwam.training.objective import LossWeights

PRECISIONS = ("no", "bf16")
OPTIMIZERS = ("adamw", "muon")
NOISE_MODES = ("ans", "decoupled", "sync")
TRACKERS = ("tensorboard", "none")
ON_SAVE_ERROR = ("continue", "stop")

_AT_LEAST = {
    "steps": 1, "batch_size": 1, "accumulation": 1, "warmup_steps": 0, "num_workers": 0, "log_interval": 1,
    "save_interval": 1, "validation_interval": 1, "sample_interval": 1, "keep_checkpoints": 1, "rank_timeout": 1,
}  # fmt: skip
_FRACTIONS = ("final_learning_rate_ratio", "text_dropout")
_CHOICES = {
    "precision": PRECISIONS, "optimizer": OPTIMIZERS, "noise_mode": NOISE_MODES, "tracker": TRACKERS, "on_save_error": ON_SAVE_ERROR,
}  # fmt: skip


@dataclass(frozen=True)
class TrainConfig:
    """How to train. The defaults are those of the release's fine-tuning.

    Args:
        steps (`int`, *optional*, defaults to `20_000`): Updates of the weights.
        batch_size (`int`, *optional*, defaults to `4`): Windows per process and forward pass.
        accumulation (`int`, *optional*, defaults to `1`): Forward passes per update. A step is a mean over all its windows, so
            2 × 4 is 1 × 8.
        optimizer (`str`, *optional*, defaults to `"adamw"`): `"adamw"` as in the release; `"muon"` for a small model that is
            trained from nothing: Muon for the matrices, AdamW for the rest.
        learning_rate (`float`, *optional*, defaults to `1e-5`): Highest learning rate, with Muon that of what is no matrix.
        matrix_learning_rate (`float`, *optional*, defaults to `0.02`): Highest learning rate of Muon's matrices.
        warmup_steps (`int`, *optional*, defaults to `200`): Steps over which the rate rises from 0.
        final_learning_rate_ratio (`float`, *optional*, defaults to `0.0`): Share of the rate that is left after the cosine.
        weight_decay (`float`, *optional*, defaults to `0.01`): Of AdamW, on all parameters, as in the release.
        betas (`tuple[float, float]`, *optional*, defaults to `(0.9, 0.999)`): Of AdamW.
        epsilon (`float`, *optional*, defaults to `1e-8`): Of AdamW.
        max_gradient_norm (`float`, *optional*, defaults to `1.0`): Longer gradients are shortened to this norm; `inf` never.
        precision (`str`, *optional*, defaults to `"bf16"`): `"bf16"`: bfloat16 products around float32 weights and the
            float32 parts of the model; `"no"`: float32.
        gradient_checkpointing (`bool`, *optional*, defaults to `False`): Compute blocks twice and keep less in memory.
        compile_blocks (`bool`, *optional*, defaults to `False`): Compile the transformer's blocks; minutes at the start.
        ema_decay (`float`, *optional*): Also keep a moving average of the weights, which is what is validated and exported.
        noise_mode (`str`, *optional*, defaults to `"ans"`): `"ans"`, `"decoupled"` or `"sync"`; see
            `xwam.schedulers.noise_pairs`.
        video_weight (`float`, *optional*, defaults to `1.0`): Weight of the video loss.
        action_weight (`float`, *optional*, defaults to `1.0`): Weight of the action loss.
        state_weight (`float`, *optional*, defaults to `1.0`): Weight of the state loss.
        depth_weight (`float`, *optional*, defaults to `1.0`): Weight of the depth loss; 0 leaves an interleaved branch untrained.
        spectral_weight (`float`, *optional*, defaults to `0.0`): Weight of the loss on the spectrum of the actions.
        text_dropout (`float`, *optional*, defaults to `0.1`): Share of the windows that are shown the empty prompt.
        seed (`int`, *optional*, defaults to `42`): Of the order of the windows, their crops, their noise and new weights.
        num_workers (`int`, *optional*, defaults to `8`): Processes that read data, per process that trains.
        augmentation (`bool`, *optional*, defaults to `True`): Random crops and colours, as in the release.
        log_interval (`int`, *optional*, defaults to `20`): Steps between lines in `metrics.jsonl` and the tracker.
        validation_interval (`int`, *optional*, defaults to `2500`): Steps between validations.
        sample_interval (`int`, *optional*, defaults to `2500`): Steps between validations that also write sampled videos.
        save_interval (`int`, *optional*, defaults to `1000`): Steps between checkpoints.
        keep_checkpoints (`int`, *optional*, defaults to `3`): Newest checkpoints that are kept.
        on_save_error (`str`, *optional*, defaults to `"continue"`): When the disk is full or fails three times: go on
            training with an error in the log, or `"stop"`.
        tracker (`str`, *optional*, defaults to `"tensorboard"`): Where curves go besides `metrics.jsonl`; or `"none"`.
        rank_timeout (`int`, *optional*, defaults to `1800`): Seconds that processes wait for one another before they give up;
            longer than the slowest save.

    Raises:
        ValueError: If a value is impossible.
    """

    steps: int = 20_000
    batch_size: int = 4
    accumulation: int = 1
    optimizer: str = "adamw"
    learning_rate: float = 1e-5
    matrix_learning_rate: float = 0.02
    warmup_steps: int = 200
    final_learning_rate_ratio: float = 0.0
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    max_gradient_norm: float = 1.0
    precision: str = "bf16"
    gradient_checkpointing: bool = False
    compile_blocks: bool = False
    ema_decay: float | None = None
    noise_mode: str = "ans"
    video_weight: float = 1.0
    action_weight: float = 1.0
    state_weight: float = 1.0
    depth_weight: float = 1.0
    spectral_weight: float = 0.0
    text_dropout: float = 0.1
    seed: int = 42
    num_workers: int = 8
    augmentation: bool = True
    log_interval: int = 20
    validation_interval: int = 2500
    sample_interval: int = 2500
    save_interval: int = 1000
    keep_checkpoints: int = 3
    on_save_error: str = "continue"
    tracker: str = "tensorboard"
    rank_timeout: int = 1800

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check_kind(field.name, getattr(self, field.name), field.type)
        object.__setattr__(self, "betas", tuple(float(beta) for beta in self.betas))
        for name, least in _AT_LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be at least {least}, but is {getattr(self, name)}.")
        for name in _FRACTIONS:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"`{name}` must lie in [0, 1], but is {getattr(self, name)}.")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"`{name}` must be one of {list(choices)}, but is {getattr(self, name)!r}.")
        self._check_optimizer()
        if not any(vars(self.loss_weights).values()):  # which refuses negative weights
            raise ValueError("At least one of the weights of the losses must be above 0, but all are 0.")

    def _check_optimizer(self) -> None:
        for name in ("learning_rate", "matrix_learning_rate", "epsilon", "max_gradient_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be above 0, but is {getattr(self, name)}.")
        for name in ("learning_rate", "matrix_learning_rate", "epsilon", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"`{name}` must be finite and not negative, but is {getattr(self, name)}.")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"`betas` must lie in [0, 1), but are {self.betas}.")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"`ema_decay` must lie in (0, 1), but is {self.ema_decay}.")

    @property
    def loss_weights(self) -> LossWeights:
        """The weights by the names that the losses have."""
        return LossWeights(
            self.video_weight, self.action_weight, self.state_weight, self.depth_weight, self.spectral_weight
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, which has no word for infinity."""
        values = dataclasses.asdict(self)
        values["betas"] = list(self.betas)
        return {name: None if value == math.inf else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of `to_dict`; fields that are not given have their defaults.

        Args:
            values (`Mapping[str, Any]`): Values by field.

        Raises:
            ValueError: If a field is unknown or its value impossible.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"A training configuration has no fields {unknown}; it has {sorted(known)}.")
        given = dict(values)
        if given.get("max_gradient_norm", 1.0) is None:
            given["max_gradient_norm"] = math.inf
        if isinstance(given.get("betas"), list):
            given["betas"] = tuple(given["betas"])
        return cls(**given)

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Give a command line one option per field, described as above; what is not given stays with the recipe.

        Args:
            parser (`argparse.ArgumentParser`): Parser to extend.
        """
        descriptions = _descriptions(cls.__doc__ or "")
        group = parser.add_argument_group("training", "each overrides the value of the recipe")
        for field in dataclasses.fields(cls):
            group.add_argument(
                f"--{field.name}", default=None, help=descriptions[field.name].replace("%", "%%"), **_option(field)
            )

    def overridden(self, asked: argparse.Namespace) -> Self:
        """This configuration with what the command line says.

        Args:
            asked (`argparse.Namespace`): From a parser that `add_arguments` extended.

        Raises:
            ValueError: If a value is impossible.
        """
        given = {field.name: getattr(asked, field.name) for field in dataclasses.fields(self)}
        return dataclasses.replace(self, **{name: value for name, value in given.items() if value is not None})


def _option(field: "dataclasses.Field[Any]") -> dict[str, Any]:
    if field.type is bool:
        return {"action": argparse.BooleanOptionalAction}
    if field.name in _CHOICES:
        return {"choices": _CHOICES[field.name]}
    if field.name == "betas":
        return {"type": float, "nargs": 2, "metavar": ("BETA1", "BETA2")}
    kind = int if field.type is int else float
    return {"type": kind, "metavar": "N" if kind is int else "X"}


def _descriptions(docstring: str) -> dict[str, str]:
    """What a docstring says of every argument."""
    found = re.findall(r"^ {4}(\w+) \(`.*?\): (.*(?:\n {8}\S.*)*)", inspect.cleandoc(docstring), flags=re.MULTILINE)
    return {name: " ".join(text.split()).replace("`", "") for name, text in found}


def _check_kind(name: str, value: Any, kind: Any) -> None:
    if isinstance(kind, types.UnionType):  # such as `float | None`
        if value is None:
            return
        kind = next(option for option in typing.get_args(kind) if option is not types.NoneType)
    if kind is float:
        is_right = isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)
    elif typing.get_origin(kind) is tuple:
        is_right = isinstance(value, Sequence) and len(value) == 2 and all(type(v) in (int, float) for v in value)
    else:
        is_right = type(value) is kind
    if not is_right:
        raise ValueError(f"`{name}` must be {getattr(kind, '__name__', kind)}, but is {value!r}.")

"""Which robots a base carries, and the exchange of one for another: networks and LoRA layers together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.hooks.group_offloading import _is_group_offload_enabled
from diffusers.quantizers import DiffusersQuantizer
from peft.tuners.tuners_utils import BaseTunerLayer

from xwam.models.embodiment import MODULES, Embodiment, embodiment_of, set_embodiment
from xwam.robots.processor import RobotProcessor

_ATTRIBUTE = "_robots"


@dataclass(frozen=True, eq=False)
class Robot:
    """One robot of a base: its border and its networks. Its LoRA layers carry its name in the transformer."""

    processor: RobotProcessor
    embodiment: Embodiment


@dataclass(eq=False)
class Robots:
    """The robots of one transformer, kept on it because pipelines share it.

    Args:
        base (`Robot`): The robot of the base itself.
        loaded (`dict[str, Robot]`): The others by adapter name.
        active (`str`, *optional*): Name of the one that the transformer is now; `None` for the base.
        known (`list[RobotProcessor]`): Processors of all robots that there were, to tell a stale pipeline.
    """

    base: Robot
    loaded: dict[str, Robot] = field(default_factory=dict)
    active: str | None = None
    known: list[RobotProcessor] = field(default_factory=list)

    @property
    def current(self) -> Robot:
        """The robot that the transformer is now."""
        return self.base if self.active is None else self.loaded[self.active]

    def get(self, name: str | None) -> Robot:
        """The robot of a name; the base's for `None`.

        Raises:
            ValueError: If there is none; lists those that are loaded.
        """
        if name is not None and name not in self.loaded:
            raise ValueError(f"There is no robot {name!r} on this base; loaded are {sorted(self.loaded)}.")
        return self.base if name is None else self.loaded[name]


def robots_of(transformer: Any, processor: RobotProcessor | None = None) -> Robots | None:
    """The robots of a transformer; where there are none and a processor is given, its robot becomes that of the base."""
    robots = getattr(transformer, _ATTRIBUTE, None)
    if robots is None and processor is not None:
        robots = Robots(Robot(processor, embodiment_of(transformer)), known=[processor])
        setattr(transformer, _ATTRIBUTE, robots)
    return robots


def switch(transformer: Any, robots: Robots, name: str | None) -> None:
    """Make the transformer that of another of its robots; LoRA layers that belong to no robot stay as they are."""
    robot = robots.get(name)
    others = [adapter for adapter in active_adapters(transformer) if adapter not in robots.loaded]
    activate(transformer, [*others, *([] if name is None else [name])])
    if robots.active != name:
        set_embodiment(transformer, robot.embodiment)
        robots.active = name


def active_adapters(transformer: Any) -> list[str]:
    """Names of the LoRA adapters that take part in a forward pass."""
    for module in transformer.modules():
        if isinstance(module, BaseTunerLayer):
            return [] if module.disable_adapters else list(module.active_adapters)
    return []


def activate(transformer: Any, names: Sequence[str]) -> None:
    """Let exactly these LoRA adapters take part. None of them leaves the base's own arithmetic, bit for bit."""
    for module in transformer.modules():
        if isinstance(module, BaseTunerLayer):
            module.enable_adapters(True)
            module.set_adapter(list(names))
    transformer.train(transformer.training)  # the dropout of LoRA layers starts in the other mode


def remove_lora(transformer: Any, name: str) -> None:
    """Take the LoRA layers of one adapter out; without any left, the layers are plain again."""
    if name in getattr(transformer, "peft_config", {}):
        transformer.delete_adapters(name)
    if not getattr(transformer, "peft_config", None):
        transformer.unload_lora()


def check_can_switch(transformer: Any) -> None:
    """Refuse to exchange the parts of a network that something else has changed.

    Raises:
        ValueError: Says what to undo first.
    """
    if any(getattr(module, "fused_projections", False) for module in transformer.modules()):
        raise ValueError(
            "The attention projections are fused. Call `unfuse_qkv_projections()` before changing robots."
        )
    if any(isinstance(module, BaseTunerLayer) and module.merged_adapters for module in transformer.modules()):
        raise ValueError("LoRA adapters are fused into the weights. Call `unfuse_lora()` before changing robots.")
    parts = [module for name in MODULES for module in getattr(transformer, name).modules()]
    is_offloaded = any(hasattr(module, "_hf_hook") for module in parts) or any(
        parameter.is_meta for module in parts for parameter in module.parameters()
    )
    if is_offloaded or _is_group_offload_enabled(transformer):
        raise ValueError(
            "The layers of the transformer are offloaded one by one. Load and choose robots first, then enable offloading."
        )


def check_one_robot(transformer: Any, processor: RobotProcessor) -> None:
    """Refuse to act with the parts of two robots.

    Args:
        transformer (`XWAMTransformer3DModel`): The network of a pipeline.
        processor (`RobotProcessor`): The border of that pipeline.

    Raises:
        ValueError: If another pipeline or an adapter call has changed only a part of the robot; says what to call.
    """
    robots = robots_of(transformer)
    if robots is None:
        return
    active = [] if robots.active is None else [robots.active]
    lora = [name for name in active_adapters(transformer) if name in robots.loaded]
    if lora != active:
        raise ValueError(
            f"The transformer is that of robot {robots.active!r}, but its active LoRA adapters are those of {lora}. Call "
            f"`set_robot({robots.active!r})`; to use other adapters as well, name all in `set_adapters`."
        )
    current = robots.current.processor
    if processor is not current and processor in robots.known:
        raise ValueError(
            f"This pipeline is set up for robot {processor.spec.name!r}, but the transformer that it shares is that of "
            f"{current.spec.name!r} now. Call `set_robot({robots.active!r})` on this pipeline too."
        )


def is_quantized(transformer: Any) -> bool:
    """Whether the matrices of a transformer are kept in few bits.

    Args:
        transformer (`XWAMTransformer3DModel`): The network.
    """
    quantizer: DiffusersQuantizer | None = getattr(transformer, "hf_quantizer", None)
    return quantizer is not None or getattr(transformer.config, "quantization_config", None) is not None


def restore(transformer: Any, names: list[str], flags: Mapping[torch.nn.Parameter, bool]) -> None:
    """Bring back which adapters take part and which parameters are trained: adding an adapter changes both.

    Args:
        transformer (`XWAMTransformer3DModel`): The network.
        names (`list[str]`): Adapters that took part.
        flags (`Mapping[nn.Parameter, bool]`): Whether each parameter was trained; those that are not here stay as they are.
    """
    activate(transformer, names)
    for parameter in transformer.parameters():
        if parameter in flags:
            parameter.requires_grad_(flags[parameter])

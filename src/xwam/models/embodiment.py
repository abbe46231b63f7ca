"""The parts of a transformer that belong to one robot, and how they are exchanged for those of another one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from xwam.models.embeddings_xwam import TwoLayerNetwork
from xwam.models.initialization import new_tensor

MODULES = ("action_embedder", "action_proj_out", "state_embedder", "state_proj_out", "view_embedding")
"""Names in `XWAMTransformer3DModel` of the networks around actions and states, and of the identities of the views."""


@dataclass(frozen=True, eq=False)
class Embodiment:
    """The modules of one robot, in the transformer or waiting beside it.

    Args:
        modules (`Mapping[str, nn.Module]`): One for each name in `MODULES`.
        actions_per_frame (`int`): Actions between two RGB frames, on which the positions of the actions depend.
    """

    modules: Mapping[str, Any]
    actions_per_frame: int

    @property
    def config(self) -> dict[str, int]:
        """The fields of the transformer's configuration that follow from the robot."""
        return {
            "action_dim": self.modules["action_embedder"].linear_1.in_features,
            "state_dim": self.modules["state_embedder"].linear_1.in_features,
            "num_views": self.modules["view_embedding"].num_embeddings,
            "actions_per_frame": self.actions_per_frame,
        }

    def parameters(self) -> Iterator[nn.Parameter]:
        """All parameters of the modules."""
        for module in self.modules.values():
            yield from module.parameters()

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Tensors under the names that they have in the transformer."""
        return {
            f"{name}.{key}": tensor
            for name, module in self.modules.items()
            for key, tensor in module.state_dict().items()
        }

    def load_state_dict(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Inverse of `state_dict`; all tensors must be there and fit."""
        for name, module in self.modules.items():
            prefix = f"{name}."
            module.load_state_dict(
                {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
            )


def embodiment_of(transformer: Any) -> Embodiment:
    """The robot's parts that a transformer has now.

    Args:
        transformer (`XWAMTransformer3DModel`): The network.
    """
    modules = {name: getattr(transformer, name) for name in MODULES}
    return Embodiment(modules, transformer.config.actions_per_frame)


def set_embodiment(transformer: Any, embodiment: Embodiment) -> None:
    """Put a robot's parts in the place of those that a transformer has; nothing else of it changes.

    The parts that were there keep their weights and can be put back.

    Args:
        transformer (`XWAMTransformer3DModel`): The network.
        embodiment (`Embodiment`): Parts of the same model width.
    """
    for name, module in embodiment.modules.items():
        device = next(getattr(transformer, name).parameters()).device
        setattr(transformer, name, module.to(device).train(transformer.training))
    # diffusers takes the default of a field of this list wherever it builds another model from the configuration.
    defaults = [name for name in transformer.config.get("_use_default_values", ()) if name not in embodiment.config]
    transformer.register_to_config(**embodiment.config, _use_default_values=defaults)


def empty_embodiment(
    transformer: Any, *, action_dim: int, state_dim: int, num_views: int, actions_per_frame: int
) -> Embodiment:
    """Parts for a robot of other dimensions, without memory behind their tensors.

    Args:
        transformer (`XWAMTransformer3DModel`): Network that they shall fit.
        action_dim (`int`): Channels A of an action.
        state_dim (`int`): Channels R of a robot state.
        num_views (`int`): Views that get an identity.
        actions_per_frame (`int`): Actions between two RGB frames.
    """
    config = transformer.config
    dim = config.num_attention_heads * config.attention_head_dim
    with torch.device("meta"):
        modules: dict[str, nn.Module] = {
            "action_embedder": TwoLayerNetwork(action_dim, dim, dim, nn.GELU(approximate="tanh")),
            "action_proj_out": TwoLayerNetwork(dim, dim, action_dim, nn.GELU(approximate="tanh")),
            "state_embedder": TwoLayerNetwork(state_dim, dim, dim, nn.GELU(approximate="tanh")),
            "state_proj_out": TwoLayerNetwork(dim, dim, state_dim, nn.GELU(approximate="tanh")),
            "view_embedding": nn.Embedding(num_views, dim),
        }
    return Embodiment(modules, actions_per_frame)


def new_embodiment(
    transformer: Any, *, action_dim: int, state_dim: int, num_views: int, actions_per_frame: int, seed: int = 0
) -> Embodiment:
    r"""Parts for a new robot with the start values of a new X-WAM, in float32.

    Weights of the networks are drawn from \(N(0, 0.02^2)\), biases are zero. Views keep the identities that the transformer
    knows; those of further views are drawn.

    Args:
        transformer (`XWAMTransformer3DModel`): Network that they shall fit.
        action_dim (`int`): Channels A of an action.
        state_dim (`int`): Channels R of a robot state.
        num_views (`int`): Views that get an identity.
        actions_per_frame (`int`): Actions between two RGB frames.
        seed (`int`, *optional*, defaults to `0`): Seed of the drawn values.
    """
    embodiment = empty_embodiment(
        transformer, action_dim=action_dim, state_dim=state_dim, num_views=num_views, actions_per_frame=actions_per_frame
    )  # fmt: skip

    def trunk(name: str) -> torch.Tensor:
        raise ValueError(f"`{name}` is drawn, not copied.")

    values = {
        name: new_tensor(name, tensor.shape, trunk=trunk, config=transformer.config, seed=seed)
        for name, tensor in embodiment.state_dict().items()
    }
    known = transformer.view_embedding.weight.detach()[:num_views]
    values["view_embedding.weight"][: len(known)] = known.to("cpu", torch.float32)
    for module in embodiment.modules.values():
        module.to_empty(device="cpu")
    embodiment.load_state_dict(values)
    return embodiment

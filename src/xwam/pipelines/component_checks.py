"""Whether the components of a pipeline fit each other, found out when it is put together."""

from collections.abc import Mapping
from typing import Any

from diffusers import AutoencoderKLWan
from diffusers.utils.torch_utils import unwrap_module
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from xwam.models.token_layout import FRAMES_PER_LATENT
from xwam.models.transformer_xwam import XWAMTransformer3DModel
from xwam.robots.processor import RobotProcessor
from xwam.robots.spec import RobotSpec
from xwam.schedulers.scheduling_xwam import XWAMScheduler


def check_components(
    transformer: XWAMTransformer3DModel,
    scheduler: XWAMScheduler,
    vae: AutoencoderKLWan | None,
    robot_processor: RobotProcessor,
    text_encoder: PreTrainedModel | None,
    tokenizer: PreTrainedTokenizerBase | None,
    max_sequence_length: int,
) -> None:
    """Compare the kinds of the components, and the sizes that two of them must share.

    Raises:
        TypeError: Names the component and both kinds.
        ValueError: Names the size, both components and both values.
    """
    _check_kind("transformer", transformer, XWAMTransformer3DModel)
    _check_kind("scheduler", scheduler, XWAMScheduler)
    _check_kind("robot_processor", robot_processor, RobotProcessor)
    if vae is not None:
        _check_kind("vae", vae, AutoencoderKLWan)
    if (text_encoder is None) != (tokenizer is None):
        raise ValueError("`text_encoder` and `tokenizer` belong together: give both or neither.")
    if type(max_sequence_length) is not int or max_sequence_length < 1:
        raise ValueError(f"`max_sequence_length` must be a positive integer, but is {max_sequence_length!r}.")
    network, spec = transformer.config, robot_processor.spec
    pairs = [
        ("action_dim", "the transformer", network.action_dim, "the robot processor", spec.action_dim),
        ("state_dim", "the transformer", network.state_dim, "the robot processor", spec.state_dim),
        (
            "actions_per_frame",
            "the transformer",
            network.actions_per_frame,
            "the robot processor",
            spec.actions_per_frame,
        ),
    ]
    if vae is not None:
        pairs += [
            ("number of latent channels", "the transformer", network.in_channels, "the VAE", vae.config.z_dim),
            ("temporal stride", "the transformer", FRAMES_PER_LATENT, "the VAE", vae.config.scale_factor_temporal),
        ]
    if text_encoder is not None:
        pairs.append(
            ("text width", "the transformer", network.text_dim, "the text encoder", text_encoder.config.d_model)
        )
    for name, first, expected, second, came in pairs:
        if expected != came:
            raise ValueError(f"The {name} of {first} is {expected}, but that of {second} is {came}.")
    if len(spec.cameras) > network.num_views:
        raise ValueError(
            f"The transformer knows {network.num_views} views, but robot {spec.name!r} has {len(spec.cameras)} cameras."
        )
    check_robot_sizes(spec, network, vae)


def check_robot_sizes(spec: RobotSpec, network: Mapping[str, Any], vae: AutoencoderKLWan | None) -> None:
    """Compare the image size of a robot with the strides of VAE and patches.

    Args:
        spec (`RobotSpec`): The robot.
        network (`Mapping[str, Any]`): Config of the transformer.
        vae (`AutoencoderKLWan` or `None`): The VAE.

    Raises:
        ValueError: If they do not divide it.
    """
    if vae is not None:
        _check_image_size(spec.image_size, vae.config.scale_factor_spatial, network["patch_size"])


def _check_kind(name: str, component: Any, kind: type) -> None:
    if not isinstance(unwrap_module(component), kind):
        raise TypeError(f"`{name}` must be of type {kind.__name__}, but is {type(component).__name__}.")


def _check_image_size(image_size: tuple[int, int], stride: int, patch_size: tuple[int, ...]) -> None:
    for name, size, patch in zip(("height", "width"), image_size, patch_size[1:], strict=True):
        if size % (stride * patch):
            raise ValueError(
                f"The image {name} of the robot processor is {size}, but VAE and patches need a multiple of {stride * patch}."
            )

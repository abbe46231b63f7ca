"""An X-WAM pipeline as a policy."""

import hashlib
import json
import weakref
from collections.abc import Generator, Iterator, Mapping
from functools import cached_property
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from torch import nn

from xwam.pipelines.pipeline_output import XWAM4DOutput, XWAMPolicyOutput
from xwam.pipelines.pipeline_xwam import XWAMPipeline
from xwam.pipelines.pipeline_xwam_4d import XWAM4DPipeline
from xwam.pipelines.pipeline_xwam_policy import XWAMPolicyPipeline
from xwam.structures import ActionChunk, Observation
from xwam.utils.plain_tensors import plain_tensors

_ORIGIN = ("architectures", "dtype", "torch_dtype", "transformers_version")  # in configs of transformers
_BESIDE_ACTIONS = "depth_"  # tensors of an interleaved depth branch, on which actions do not depend


class PipelinePolicy:
    """Asks a pipeline for actions; with dreams, the rest of the future can be had until the next inference.

    Every call draws its noise from the seed on the CPU, so the same seed gives the same actions, with and without dreams.
    Instructions are encoded once, by the pipeline's own cache.

    Args:
        pipeline (`XWAMPipeline`): Of either kind; it is shared, not copied.
        dream (`bool`, *optional*, defaults to `False`): Make `imagine` possible; costs nothing until it is called.
        num_action_steps (`int`, *optional*): Denoising steps T_a of the actions; the scheduler's where not given.
        num_inference_steps (`int`, *optional*): Steps T_O of the video's schedule; the scheduler's where not given.
        guidance_scale (`float`, *optional*, defaults to `1.0`): Classifier-free guidance; 1 is off.
    """

    name = "pipeline"
    uses_images = True

    def __init__(
        self,
        pipeline: XWAMPipeline,
        *,
        dream: bool = False,
        num_action_steps: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float = 1.0,
    ) -> None:
        pipeline_class: type[XWAMPipeline] = XWAM4DPipeline if dream else XWAMPolicyPipeline
        self.pipeline: Any = pipeline_class.from_pipe(pipeline)
        self.pipeline.set_progress_bar_config(disable=True)
        self._options: dict[str, Any] = {
            "num_action_steps": num_action_steps,
            "num_inference_steps": num_inference_steps,
            "guidance_scale": guidance_scale,
        }
        self._future = _Future()
        weakref.finalize(self, self._future.let_go)  # also at exit, while there is still something to clean up with

    @property
    def num_actions(self) -> int:
        """Commands in a chunk, K."""
        return int(self.pipeline.robot_processor.num_actions)

    @cached_property
    def identity(self) -> Mapping[str, object]:
        """Everything that the actions depend on: weights by hash, the border to the robot, the schedule, the libraries.

        Read once, at the first use: load LoRA adapters before that.
        """
        pipe, spec = self.pipeline, self.pipeline.robot_processor.spec
        scheduler = {key: value for key, value in dict(pipe.scheduler.config).items() if not key.startswith("_")}
        return {
            "weights": {name: weights_hash(module) for name, module in networks(pipe).items()},
            "adapters": json.loads(json.dumps(_adapters(pipe.transformer), default=str)),
            "dtype": str(pipe.transformer.dtype).removeprefix("torch."),
            "device": pipe.transformer.device.type,
            "robot_processor": _hash_of_json(spec.to_dict()),
            "action_convention": {"command_kind": spec.command_kind, "columns": list(spec.command_columns)},
            "camera_order": [camera.name for camera in spec.cameras],
            "image_size": list(spec.image_size),
            "scheduler": json.loads(json.dumps(scheduler, default=str)),
            **self._options,
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
        }

    def reset(self, seed: int) -> None:
        """Begin an episode: what was not imagined of the last one is let go."""
        self._future.let_go()

    def infer(self, observation: Observation, *, seed: int) -> ActionChunk:
        """Actions for an observation.

        Args:
            observation (`Observation`): What the robot knows, with images.
            seed (`int`): Of the noise.

        Raises:
            ObservationError: If the observation does not fit the robot of the pipeline.
        """
        self._future.let_go()
        arguments: dict[str, Any] = {**self._options, "generator": torch.Generator().manual_seed(seed)}
        if not isinstance(self.pipeline, XWAM4DPipeline):
            return self.pipeline(observation, **arguments).actions[0]
        self._future.events = self.pipeline.stream(observation, **arguments)
        return next(self._future.events).actions[0]

    def imagine(self) -> np.ndarray | None:
        """What the robot will see if it executes the last actions.

        Returns:
            `np.ndarray` of shape `(V, F, H, W, 3)`: RGB `uint8`, the observed frame first; `None` without `dream`, before
            an inference, and when it was already asked for.
        """
        for event in self._future.events:
            if isinstance(event, XWAM4DOutput):
                return event.frames[0]
        return None


class _Future:
    """What the pipeline has not computed yet; offloaded models go back when it is let go."""

    def __init__(self) -> None:
        self.events: Iterator[XWAMPolicyOutput | XWAM4DOutput] = iter(())

    def let_go(self) -> None:
        if isinstance(self.events, Generator):
            self.events.close()


def networks(pipe: XWAMPipeline) -> dict[str, nn.Module]:
    """The networks of a pipeline by name, in the order of their names."""
    return {name: part for name, part in sorted(pipe.components.items()) if isinstance(part, nn.Module)}


def weights_hash(module: nn.Module, *, with_depth: bool = False) -> str:
    """SHA-256 over the configuration and the tensors by name.

    The configuration counts, since it holds numbers that no tensor does: means and deviations of latents, numbers of heads.

    Args:
        module (`nn.Module`): A network of a pipeline.
        with_depth (`bool`, *optional*, defaults to `False`): Whether an interleaved depth branch counts, on which no action
            depends.
    """
    branch = None if with_depth else getattr(module.config, "depth_branch", None)
    digest = hashlib.sha256(_hash_of_json(_settings(module)).encode())
    for name, tensor in sorted(module.state_dict().items()):
        if branch == "interleaved" and name.startswith(_BESIDE_ACTIONS):
            continue
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        for part in plain_tensors(tensor):
            digest.update(part.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _settings(module: Any) -> dict[str, Any]:
    """Configuration of a network without what says where it came from and what actions do not depend on."""
    config = module.config.to_dict() if hasattr(module.config, "to_dict") else dict(module.config)
    if config.get("depth_branch") in ("interleaved", "none"):
        config = {name: value for name, value in config.items() if "depth" not in name}
    return {name: value for name, value in config.items() if not name.startswith("_") and name not in _ORIGIN}


def _adapters(transformer: nn.Module) -> dict[str, Any]:
    """LoRA adapters by name, where there are any; their weights are among the tensors."""
    configs = getattr(transformer, "peft_config", {})
    active = transformer.active_adapters() if configs else []
    return {name: {"active": name in active, **config.to_dict()} for name, config in configs.items()}


def _hash_of_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()

"""What the policy and the 4D pipeline have in common: components, encoding, noise, the walk to clean latents, the border."""

import copy
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import torch
from diffusers import AutoencoderKLWan
from diffusers.utils.torch_utils import randn_tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from xwam.errors import ObservationError
from xwam.loaders.lora import XWAMLoraLoaderMixin
from xwam.models.input_checks import DENOISED_BRANCHES
from xwam.models.joint_latents import OBSERVATION_ONLY, Given, JointLatents
from xwam.models.text_codec import check_prompt_lengths, encode_prompt
from xwam.models.transformer_xwam import XWAMTransformer3DModel
from xwam.models.video_codec import encode_frames
from xwam.pipelines.call_options import CALLBACK_TENSORS, CallOptions, check_replacements
from xwam.pipelines.component_checks import check_components, check_robot_sizes
from xwam.pipelines.denoising import DenoisingStep, Prompt, denoise
from xwam.pipelines.pipeline_output import XWAMPolicyOutput
from xwam.pipelines.prompt_cache import PromptCache, autocast_state, weights_fingerprint
from xwam.pipelines.robot_storage import RobotStorage
from xwam.pipelines.storage import PipelineStorage
from xwam.robots.processor import RobotProcessor
from xwam.robots.spec import RobotSpec
from xwam.schedulers.scheduling_xwam import XWAMScheduler
from xwam.structures import Observation
from xwam.utils.timing import StageTimer


@dataclass(frozen=True)
class Conditions:
    """Everything that one call is conditioned on, on the model's side of the border.

    Args:
        noise (`JointLatents`): Standard normal start.
        observed (`JointLatents`): What is known.
        given (`Given`): Which parts of `observed` count besides the first frame and state.
        prompt (`Prompt`): Instruction of every example.
        unconditional (`Prompt` or `None`): The empty prompt, with guidance.
    """

    noise: JointLatents
    observed: JointLatents
    given: Given
    prompt: Prompt
    unconditional: Prompt | None


class XWAMPipeline(PipelineStorage, RobotStorage, XWAMLoraLoaderMixin):
    """Components of an X-WAM and the steps that every call shares. Use `XWAMPolicyPipeline` or `XWAM4DPipeline`.

    Args:
        transformer (`XWAMTransformer3DModel`): Network.
        scheduler (`XWAMScheduler`): Pairs of timesteps.
        vae (`AutoencoderKLWan`): Codec of RGB and depth images; keep it in float32.
        robot_processor (`RobotProcessor`): The border to one robot.
        text_encoder (`UMT5EncoderModel` or `None`): Not needed where `prompt_embeds` are given.
        tokenizer (`T5TokenizerFast` or `None`): That of the text encoder.
        max_sequence_length (`int`, *optional*, defaults to `512`): Text tokens N that every prompt is padded to.

    Raises:
        TypeError: If a component is of another kind.
        ValueError: If the components do not fit each other.
    """

    model_cpu_offload_seq = "text_encoder->transformer->vae"
    _optional_components = ["text_encoder", "tokenizer", "vae"]  # noqa: RUF012 - diffusers reads class attributes of these names
    _callback_tensor_inputs = list(CALLBACK_TENSORS)  # noqa: RUF012

    def __init__(
        self,
        transformer: XWAMTransformer3DModel,
        scheduler: XWAMScheduler,
        vae: AutoencoderKLWan | None,
        robot_processor: RobotProcessor,
        # No defaults: diffusers' generic loader passes over given components that have one.
        text_encoder: PreTrainedModel | None,
        tokenizer: PreTrainedTokenizerBase | None,
        max_sequence_length: int = 512,
    ) -> None:
        super().__init__()
        check_components(transformer, scheduler, vae, robot_processor, text_encoder, tokenizer, max_sequence_length)
        self.register_modules(
            transformer=transformer,
            scheduler=scheduler,
            vae=vae,
            robot_processor=robot_processor,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
        )
        self.register_to_config(max_sequence_length=max_sequence_length)
        self._prompt_cache = PromptCache()
        self._current_timestep: float | None = None

    @property
    def current_timestep(self) -> float | None:
        """Video timestep, 0 clean to 1000 noise, of the step that is being computed, for caches that ask."""
        return self._current_timestep

    def encode_prompt(self, prompts: str | Sequence[str]) -> torch.Tensor:
        """Text embeddings `(B, N, E)` of prompts, padding included; each prompt is encoded once.

        Args:
            prompts (`str` or `Sequence[str]`): One per example; `""` is the unconditional prompt.

        Raises:
            ValueError: If the pipeline has no text encoder, there is no prompt, or one has more tokens than N.
        """
        if self.text_encoder is None or self.tokenizer is None:
            raise ValueError(_NO_TEXT_ENCODER)
        prompts = [prompts] if isinstance(prompts, str) else list(prompts)
        if not prompts:
            raise ValueError("`prompts` must hold at least one prompt, but is empty.")
        max_length = self.config.max_sequence_length
        check_prompt_lengths(self.tokenizer, prompts, max_length)

        @torch.no_grad()
        def encode(missing: list[str]) -> torch.Tensor:
            return encode_prompt(self.text_encoder, self.tokenizer, missing, max_length)

        encoder = weights_fingerprint([self.text_encoder])
        device = self._execution_device
        state = None if encoder is None else (encoder, id(self.tokenizer), max_length, autocast_state(device))
        return self._prompt_cache.embeds(prompts, state, encode, device)

    def clear_prompt_cache(self) -> None:
        """Forget all embeddings, keys and values of prompts. Changed weights are noticed without this."""
        self._prompt_cache.clear()

    def _check_call(
        self,
        observation: Observation | Sequence[Observation],
        options: CallOptions,
        output_types: Sequence[str],
    ) -> list[Observation]:
        """The observations as a list, once everything about the call has been checked."""
        observations = [observation] if isinstance(observation, Observation) else observation
        if not isinstance(observations, Sequence) or isinstance(observations, str) or not observations:
            raise ValueError(
                f"`observation` must be an Observation or a non-empty list of them, but is {type(observation).__name__}."
            )
        self._check_robot()
        for index, example in enumerate(observations):
            try:
                self.robot_processor.check_observation(example)
            except ObservationError as error:
                if len(observations) == 1:
                    raise
                raise ObservationError(f"In example {index} of `observation`: {error}") from error
        if self._denoises_depth and len({bool(example.depths) for example in observations}) > 1:
            raise ValueError("`observation` must have measured `depths` in every example of the batch or in none.")
        if self.vae is None:
            raise ValueError("This pipeline has no VAE, which encodes the observed frames.")
        device = self._execution_device
        options.check(len(observations), self.transformer.config.text_dim, device, output_types)
        cameras = self.robot_processor.num_views
        if options.num_views is not None and not (
            type(options.num_views) is int and 1 <= options.num_views <= cameras
        ):
            raise ValueError(f"`num_views` must be an integer in 1…{cameras}, but is {options.num_views!r}.")
        if options.needs_text_encoder and (self.text_encoder is None or self.tokenizer is None):
            raise ValueError(_NO_TEXT_ENCODER)
        if options.prompt_embeds is None:
            instructions = [example.instruction for example in observations]
            check_prompt_lengths(self.tokenizer, instructions, self.config.max_sequence_length)
        return list(observations)

    def _check_robot_sizes(self, robot: RobotSpec) -> None:
        check_robot_sizes(robot, self.transformer.config, self.vae)

    def _schedule(self, options: CallOptions) -> XWAMScheduler:
        """A scheduler of this call's own: pipelines share theirs, and a stream may wait while another call runs."""
        scheduler = copy.copy(self.scheduler)
        scheduler.set_timesteps(options.num_inference_steps, options.num_action_steps, self._execution_device)
        return scheduler

    def _conditions(self, observations: list[Observation], options: CallOptions, timer: StageTimer) -> Conditions:
        """Encode text and observations and draw the noise."""
        device = self._execution_device
        with timer.stage("preprocess"):
            encoded = [self.robot_processor.encode_observation(observation) for observation in observations]
            views = slice(options.num_views)
            frames = torch.stack([example.frames[views] for example in encoded]).to(device)  # (B, V, 3, H, W)
            states = torch.stack([example.state for example in encoded]).to(device, torch.float32)[:, None]
        with timer.stage("encode_prompt"):
            prompt, unconditional = self._prompts([example.instruction for example in encoded], options)
        with timer.stage("encode_frames"):
            first_frame = encode_frames(self.vae, frames[:, :, None])  # (B, C, 1, V, h, w)
            measured = [None if own.depth_images is None else own.depth_images[views] for own in encoded]
            depth = self._encode_measured_depth(measured, device)
        noise = self._draw_noise(first_frame.shape, options.generators(len(observations)), device)
        return Conditions(
            noise=noise,
            observed=JointLatents(first_frame, noise.actions, states, depth),
            given=replace(OBSERVATION_ONLY, depth=depth is not None),
            prompt=prompt,
            unconditional=unconditional,
        )

    def _prompts(self, instructions: list[str], options: CallOptions) -> tuple[Prompt, Prompt | None]:
        embeds = [self.encode_prompt(instructions) if options.prompt_embeds is None else options.prompt_embeds]
        if options.is_guided:
            given = options.negative_prompt_embeds
            embeds.append(self.encode_prompt([""] * len(instructions)) if given is None else given)
        embeds = [own.to(self._execution_device) for own in embeds]
        prompts = self._prompt_cache.prompts(self.transformer, embeds, options.attention_kwargs)
        return prompts[0], prompts[1] if options.is_guided else None

    def _encode_measured_depth(
        self, depth_images: list[torch.Tensor | None], device: torch.device
    ) -> torch.Tensor | None:
        """Latents of the measured first depth frame, for the branches that denoise depth."""
        known = [images for images in depth_images if images is not None]
        if not self._denoises_depth or len(known) < len(depth_images):
            return None
        return encode_frames(self.vae, torch.stack(known).to(device)[:, :, None])

    @property
    def _denoises_depth(self) -> bool:
        return self.transformer.config.depth_branch in DENOISED_BRANCHES

    def _draw_noise(
        self, first_frame_shape: torch.Size, generators: Sequence[torch.Generator | None], device: torch.device
    ) -> JointLatents:
        """Draw video, actions and states (and depth) example by example, from the example's own generator."""
        _, channels, _, num_views, height, width = first_frame_shape
        processor = self.robot_processor
        num_latent_frames = 1 + (processor.num_frames - 1) // self.vae.config.scale_factor_temporal
        video_shape = (1, channels, num_latent_frames, num_views, height, width)
        shapes = [
            video_shape,
            (1, processor.num_actions, processor.action_dim),
            (1, processor.num_frames, processor.state_dim),
            *([video_shape] if self._denoises_depth else []),
        ]
        drawn = [
            [randn_tensor(shape, generator=own, device=device, dtype=torch.float32) for shape in shapes]
            for own in generators
        ]
        return JointLatents(*(torch.cat(parts) for parts in zip(*drawn, strict=True)))

    def _walk(
        self,
        conditions: Conditions,
        scheduler: XWAMScheduler,
        options: CallOptions,
        *,
        num_steps: int,
        predict_depth: bool,
    ) -> Iterator[DenoisingStep]:
        """Denoise with progress bar and callback; ends early when the callback interrupts."""
        self._interrupt = False
        if self.transformer.is_cache_enabled:
            self.transformer._reset_stateful_cache()
        # The noise levels are on the CPU; to ask `timesteps` would be to wait for the device.
        video_timesteps = scheduler.scale(scheduler.sigmas).tolist()
        steps = denoise(
            self.transformer,
            scheduler,
            conditions.noise,
            conditions.observed,
            conditions.prompt,
            conditions.unconditional,
            guidance_scale=float(options.guidance_scale),
            given=conditions.given,
            num_steps=num_steps,
            predict_depth=predict_depth,
            attention_kwargs=options.attention_kwargs,
            on_step=lambda step: self._call_back(step, scheduler, options),
        )
        try:
            with self.progress_bar(total=num_steps) as progress:
                for video_timestep in video_timesteps[:num_steps]:
                    self._current_timestep = video_timestep
                    step = next(steps)
                    progress.update()
                    self._current_timestep = None
                    is_interrupted = self._interrupt
                    yield step
                    if is_interrupted:
                        return
        finally:
            self._current_timestep = None

    def _call_back(self, step: DenoisingStep, scheduler: XWAMScheduler, options: CallOptions) -> JointLatents | None:
        """Show the latents of a step to the callback; those that it replaces are gone on with."""
        if options.callback is None:
            return None
        tensors = {name: getattr(step.latents, name) for name in options.callback_tensors}
        changed = options.callback(self, step.index, scheduler.timesteps[step.index], dict(tensors))
        return replace(step.latents, **check_replacements(changed, tensors))

    def _policy_output(
        self, observations: list[Observation], step: DenoisingStep, timer: StageTimer, as_tensors: bool
    ) -> XWAMPolicyOutput:
        """Clean actions and states of a batch, back over the border."""
        actions, states = step.latents.actions, step.latents.states
        if as_tensors:  # copies: the walk may go on from these latents
            return XWAMPolicyOutput(actions=actions.clone(), states=states.clone(), timings=dict(timer.seconds))
        with timer.stage("postprocess"):
            chunks = [
                self.robot_processor.decode_actions(own.float().cpu(), observation)
                for own, observation in zip(actions, observations, strict=True)
            ]
            decoded_states = [self.robot_processor.decode_states(own.float().cpu()) for own in states]
        timings = dict(timer.seconds)
        chunks = [replace(chunk, timings=timings) for chunk in chunks]
        return XWAMPolicyOutput(actions=chunks, states=decoded_states, timings=timings)

    @contextmanager
    def _call(self) -> Iterator[StageTimer]:
        """Clock of one call; offloaded models go back when it ends, however it ends."""
        device = self._execution_device
        timer = StageTimer(partial(torch.cuda.synchronize, device) if device.type == "cuda" else None)
        try:
            yield timer
        finally:
            self.maybe_free_model_hooks()


def last_step(steps: Iterator[DenoisingStep], at_most: int | None = None) -> DenoisingStep | None:
    """Take steps, so many or all that are left, and return the last one; `None` where there is none."""
    taken = deque(islice(steps, at_most), maxlen=1)
    return taken[0] if taken else None


def require_clean_actions(step: DenoisingStep | None, num_action_steps: int) -> DenoisingStep:
    """The step, if the actions are clean at it.

    Raises:
        RuntimeError: If the walk was interrupted before that.
    """
    taken = 0 if step is None else step.index + 1
    if step is None or taken < num_action_steps:
        raise RuntimeError(f"Interrupted after {taken} of {num_action_steps} steps: the actions are not clean.")
    return step


_NO_TEXT_ENCODER = "This pipeline has no text encoder and tokenizer: give `prompt_embeds` (and, with guidance, `negative_prompt_embeds`)."

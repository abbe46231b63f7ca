"""From an observation to the whole future: RGB and depth video, robot states, actions."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from PIL import Image

from xwam.futures.imagined import imagined_future
from xwam.models.joint_latents import JointLatents
from xwam.models.video_codec import decode_latents
from xwam.pipelines.call_options import CallOptions, Generators, StepCallback
from xwam.pipelines.denoising import DenoisingStep
from xwam.pipelines.forward_dynamics import GivenActions, GivenStates, encode_given
from xwam.pipelines.pipeline_output import XWAM4DOutput, XWAMPolicyOutput
from xwam.pipelines.pipeline_xwam import Conditions, XWAMPipeline, last_step, require_clean_actions
from xwam.robots.images import frames_to_uint8
from xwam.schedulers.scheduling_xwam import XWAMScheduler
from xwam.structures import Observation
from xwam.utils.timing import StageTimer

OUTPUT_TYPES = ("np", "pt", "pil", "latent")


class XWAM4DPipeline(XWAMPipeline):
    """Observation in, future out. With `actions` given it is a forward dynamics model: what would these commands lead to?

    See `XWAMPipeline` for the components.

    Example:
        ```python
        pipe = XWAM4DPipeline.from_pretrained("path-or-hub-id", dtype=torch.bfloat16).to("cuda")
        future = pipe(observation)
        for event in pipe.stream(observation):  # first the actions, then the finished future
            ...
        ```
    """

    @torch.no_grad()
    def __call__(
        self,
        observation: Observation | Sequence[Observation],
        *,
        return_dict: bool = True,
        **arguments: Any,
    ) -> XWAM4DOutput | tuple[Any, ...]:
        """Predict the future. All arguments are those of `stream`.

        Args:
            observation (`Observation` or list of them): What the robot knows; a list is one batch.
            return_dict (`bool`, *optional*, defaults to `True`): Return an output object instead of a tuple.
            arguments: See `stream`.
        """
        *_, future = self.stream(observation, **arguments)
        assert isinstance(future, XWAM4DOutput)
        return future if return_dict else future.to_tuple()

    def stream(
        self,
        observation: Observation | Sequence[Observation],
        *,
        actions: GivenActions = None,
        states: GivenStates = "integrate",
        num_inference_steps: int | None = None,
        num_action_steps: int | None = None,
        guidance_scale: float = 1.0,
        generator: Generators = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        attention_kwargs: dict[str, Any] | None = None,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("video",),
        num_views: int | None = None,
        output_type: str = "np",
    ) -> Iterator[XWAMPolicyOutput | XWAM4DOutput]:
        """Act now, dream later: yield the actions after T_a steps, then the future after T_O.

        Everything is checked at once; the work begins with the first event. Other calls may run in between. A stream that is
        not read to its end lets go of offloaded models when it is closed.

        The actions are those of `XWAMPolicyPipeline` for the same noise. With `actions` given there is nothing to act on
        early, and only the future is yielded.

        Args:
            observation (`Observation` or list of them): What the robot knows; a list is one batch.
            actions (`ActionChunk`, `np.ndarray` of shape `(K, A)` or a list of them, *optional*): Commands in physical units that
                will be executed (forward dynamics).
            states (`str` or states, *optional*, defaults to `"integrate"`): Only read with `actions`. The network was trained
                to know the future states where it knows the actions: `"integrate"` computes them from the commands,
                `"denoise"` leaves them to the network; or the F states of every example, the first one observed.
            num_inference_steps (`int`, *optional*): Steps T_O of the video; the scheduler's where not given.
            num_action_steps (`int`, *optional*): Steps T_a of actions and states; the scheduler's where not given.
            guidance_scale (`float`, *optional*, defaults to `1.0`): Classifier-free guidance u + g (c - u) of video, actions
                and states, never of an interleaved depth; 1 is off (the release writes 0 for that).
            generator (`torch.Generator` or list, *optional*): For the noise; a list has one for each observation, and each
                example then is what it would be alone.
            prompt_embeds (`torch.Tensor` of shape `(B, N, E)`, *optional*): Instead of encoding the instructions.
            negative_prompt_embeds (`torch.Tensor` of shape `(B, N, E)`, *optional*): Instead of encoding the empty prompt.
            attention_kwargs (`dict`, *optional*): `{"scale": s}` scales the LoRA layers.
            callback_on_step_end (`Callable`, *optional*): `callback(pipe, step, timestep_pair, tensors)`; may return
                replacements and set `pipe._interrupt`.
            callback_on_step_end_tensor_inputs (`Sequence[str]`, *optional*, defaults to `("video",)`): Of `"video"`,
                `"actions"`, `"states"`, `"depth"`.
            num_views (`int`, *optional*): Look at and dream of only the first so many cameras of the robot, which is faster; a
                network knows how to if it was trained so.
            output_type (`str`, *optional*, defaults to `"np"`): `"np"`, `"pt"`, `"pil"` or `"latent"`; see `XWAM4DOutput`. With
                `"pt"` and `"latent"` actions and states are normalized tensors.

        Returns:
            `Iterator[XWAMPolicyOutput | XWAM4DOutput]`: The actions, then the future.

        Raises:
            ValueError: If an argument or an observation is wrong; nothing has been computed then.
            RuntimeError: If the callback interrupted the walk before the actions were clean.
        """
        options = CallOptions(
            num_inference_steps, num_action_steps, guidance_scale, generator, prompt_embeds, negative_prompt_embeds,
            attention_kwargs, callback_on_step_end, callback_on_step_end_tensor_inputs, output_type, num_views,
        )  # fmt: skip
        observations = self._check_call(observation, options, OUTPUT_TYPES)
        given = encode_given(self.robot_processor, observations, actions, states)
        return self._events(observations, options, self._schedule(options), *given)

    @torch.no_grad()
    def _events(
        self,
        observations: list[Observation],
        options: CallOptions,
        scheduler: XWAMScheduler,
        actions: torch.Tensor | None,
        states: torch.Tensor | None,
    ) -> Iterator[XWAMPolicyOutput | XWAM4DOutput]:
        """The work of `stream`, after all checks."""
        as_tensors = options.output_type in ("pt", "latent")
        with self._call() as timer:
            # 1. Border, encode, noise
            conditions = _with_given(self._conditions(observations, options, timer), actions, states)
            num_steps, num_action_steps = scheduler.num_inference_steps, scheduler.num_action_steps
            steps = self._walk(conditions, scheduler, options, num_steps=num_steps, predict_depth=True)
            # 2. Denoise until the actions are clean, and hand them out
            step = None
            if actions is None:
                with timer.stage("denoise"):
                    step = require_clean_actions(last_step(steps, num_action_steps), num_action_steps)
                yield self._policy_output(observations, step, timer, as_tensors)
            # 3. Go on with the video
            with timer.stage("denoise"):
                step = last_step(steps) or step
            # 4. Decode, border
            yield self._future(observations, require_clean_actions(step, 1), options.output_type, timer, num_steps)

    def _future(
        self, observations: list[Observation], step: DenoisingStep, output_type: str, timer: StageTimer, num_steps: int
    ) -> XWAM4DOutput:
        """Decode the last step's latents."""
        frames: Any = step.latents.video
        depth: Any = step.depth
        if output_type != "latent":
            with timer.stage("decode_frames"):
                frames = decode_latents(self.vae, frames)
                depth = None if depth is None else decode_latents(self.vae, depth).mean(dim=3)  # (B, V, F, H, W)
        policy = self._policy_output(observations, step, timer, output_type in ("pt", "latent"))
        futures = None
        if output_type in ("np", "pil"):
            with timer.stage("postprocess"):
                frames = frames_to_uint8(frames)
                depth = None if depth is None else depth.cpu().numpy()
                spec = self.robot_processor.spec
                futures = [
                    imagined_future(
                        spec, own, frames[i], None if depth is None else depth[i], policy.states[i], policy.actions[i]
                    )
                    for i, own in enumerate(observations)
                ]
                if output_type == "pil":
                    frames = [[[Image.fromarray(f) for f in view] for view in example] for example in frames]
        return XWAM4DOutput(
            frames=frames,
            depth_images=depth,
            actions=policy.actions,
            states=policy.states,
            futures=futures,
            timings=dict(timer.seconds),
            is_finished=step.index + 1 == num_steps,
        )


def _with_given(conditions: Conditions, actions: torch.Tensor | None, states: torch.Tensor | None) -> Conditions:
    if actions is None:
        return conditions
    observed: JointLatents = conditions.observed
    device = observed.video.device
    return replace(
        conditions,
        observed=replace(
            observed,
            actions=actions.to(device, torch.float32),
            states=observed.states if states is None else states.to(device, torch.float32),
        ),
        given=replace(conditions.given, actions=True, states=states is not None),
    )

"""Pairs of timesteps for asynchronous denoising, and the three solvers that walk them together."""

from dataclasses import replace
from numbers import Integral
from typing import TypeGuard

import numpy as np
import torch
from diffusers import ConfigMixin
from diffusers.configuration_utils import register_to_config
from diffusers.schedulers import SchedulerMixin

from xwam.checkpoints.sources import NamedConfigMixin
from xwam.models.joint_latents import JointLatents
from xwam.models.modeling_outputs import XWAMTransformerOutput
from xwam.schedulers.noise_pairs import NoisePairs, check_shift, sample_noise_pairs
from xwam.schedulers.unipc import SolverState, StepWeights, solver_step, solver_weights


class XWAMScheduler(NamedConfigMixin, SchedulerMixin, ConfigMixin):
    r"""Asynchronous noise: the actions and states are clean after a few steps, the video takes many.

    Step \(i\) uses the pair (video timestep \(i\) of T_O, action timestep \(i\) of T_a); once the actions are clean their
    timestep is 0 and the video goes on alone. With T_a = T_O all parts are denoised in step.

    Source: X-WAM, arXiv 2604.26694, section 3.3; UniPC as in `xwam.schedulers.unipc`.

    Args:
        num_train_timesteps (`int`, *optional*, defaults to `1000`): Timestep of pure noise.
        shift (`float`, *optional*, defaults to `5.0`): Time shift s of \(t \leftarrow s t / (1 + (s - 1) t)\).
        num_inference_steps (`int`, *optional*, defaults to `50`): Default T_O.
        num_action_steps (`int`, *optional*, defaults to `10`): Default T_a.
    """

    order = 1

    @register_to_config
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        shift: float = 5.0,
        num_inference_steps: int = 50,
        num_action_steps: int = 10,
    ) -> None:
        if not _is_whole(num_train_timesteps) or num_train_timesteps < 2:
            raise ValueError(
                f"`num_train_timesteps` must be an integer greater than 1, but is {num_train_timesteps!r}."
            )
        check_shift(shift)
        self.set_timesteps(num_inference_steps, num_action_steps)

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        num_action_steps: int | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        """Make a schedule and forget all solver states.

        Args:
            num_inference_steps (`int`, *optional*): Steps T_O of the video; the configured number where not given.
            num_action_steps (`int`, *optional*): Steps T_a of actions and states, at most T_O; the configured number
                where not given.
            device (`torch.device`, *optional*): Where `timesteps` shall live.

        Raises:
            ValueError: If T_O is not positive or T_a does not lie in 1…T_O.
        """
        num_video = self.config.num_inference_steps if num_inference_steps is None else num_inference_steps
        num_action = self.config.num_action_steps if num_action_steps is None else num_action_steps
        for name, count in (("num_inference_steps", num_video), ("num_action_steps", num_action)):
            if not _is_whole(count) or count < 1:
                raise ValueError(f"`{name}` must be a positive integer, but is {count!r}.")
        if num_action > num_video:
            raise ValueError(
                f"`num_action_steps` must lie in 1…{num_video} (`num_inference_steps`), but is {num_action}; give both."
            )

        self.num_inference_steps, self.num_action_steps = num_video, num_action
        self.sigmas, video_timesteps = self._schedule(num_video)
        self.action_sigmas, action_timesteps = self._schedule(num_action)
        pairs = np.zeros((num_video, 2), dtype=np.int64)
        pairs[:, 0] = video_timesteps
        pairs[:num_action, 1] = action_timesteps
        self.timesteps = torch.from_numpy(pairs).to(device)
        self._video_weights = solver_weights(self.sigmas.numpy())
        self._action_weights = solver_weights(self.action_sigmas.numpy())
        self._states: dict[str, SolverState] = {}
        self._next_index = 0

    def _schedule(self, num_steps: int) -> tuple[torch.Tensor, np.ndarray]:
        """Noise levels `(N + 1,)` in float32, falling to 0, and timesteps `(N,)`, truncated to integers."""
        # The reference starts at 1 - 1 / num_train_timesteps rounded to float32, and then goes on in float64.
        highest = float(np.float32(1 - 1 / self.config.num_train_timesteps))
        levels = np.linspace(highest, 0, num_steps + 1)[:-1]
        shift = self.config.shift
        levels = shift * levels / (1 + (shift - 1) * levels)
        timesteps = (levels * self.config.num_train_timesteps).astype(np.int64)
        return torch.from_numpy(np.append(levels, 0.0).astype(np.float32)), timesteps

    def step(self, output: XWAMTransformerOutput, index: int, latents: JointLatents) -> JointLatents:
        """Advance every part by one step; actions and states rest once they are clean.

        Args:
            output (`XWAMTransformerOutput`): Velocities at `latents`; depth counts only where `latents` has depth.
            index (`int`): Step, counted from 0; step 0 starts anew, and none may be left out.
            latents (`JointLatents`): Latents at `timesteps[index]`.

        Returns:
            `JointLatents`: Latents at `timesteps[index + 1]`, clean after the last step.

        Raises:
            ValueError: If `index` does not follow the previous step or lies outside of the schedule, or depth has latents
                but no velocity.
        """
        expected = 0 if index == 0 else self._next_index
        if index != expected or index >= self.num_inference_steps:
            raise ValueError(f"`index` must be {expected} here, in 0…{self.num_inference_steps - 1}, but is {index}.")
        if latents.depth is not None and output.depth is None:
            raise ValueError("`latents.depth` is given, but `output.depth` has no velocity to step it with.")
        if index == 0:
            self._states = {}

        video_weights = self._video_weights[index]
        stepped = {"video": self._step_part("video", video_weights, output.video, latents.video)}
        if latents.depth is not None and output.depth is not None:
            stepped["depth"] = self._step_part("depth", video_weights, output.depth, latents.depth)
        if index < self.num_action_steps:
            action_weights = self._action_weights[index]
            stepped["actions"] = self._step_part("actions", action_weights, output.actions, latents.actions)
            stepped["states"] = self._step_part("states", action_weights, output.states, latents.states)
        self._next_index = index + 1
        return replace(latents, **stepped)

    def _step_part(
        self, name: str, weights: StepWeights, velocity: torch.Tensor, sample: torch.Tensor
    ) -> torch.Tensor:
        following, self._states[name] = solver_step(weights, velocity, sample, self._states.get(name, SolverState()))
        return following

    def sample_noise_pairs(self, mode: str, batch_size: int, generator: torch.Generator | None = None) -> NoisePairs:
        """Noise levels for training with this scheduler's shift; see `xwam.schedulers.noise_pairs`."""
        return sample_noise_pairs(mode, batch_size, shift=self.config.shift, generator=generator)

    def scale(self, noise_level: torch.Tensor) -> torch.Tensor:
        """Timestep, 0 to `num_train_timesteps`, that the network is fed for a noise level in [0, 1]."""
        return noise_level * self.config.num_train_timesteps

    @staticmethod
    def add_noise(clean: torch.Tensor, noise: torch.Tensor, noise_level: torch.Tensor) -> torch.Tensor:
        r"""Noisy value \(x_t = (1 - t)\,x_0 + t\,\epsilon\).

        Args:
            clean (`torch.Tensor` of shape `(B, ...)`): \(x_0\).
            noise (`torch.Tensor` of shape `(B, ...)`): \(\epsilon\), standard normal.
            noise_level (`torch.Tensor` of shape `(B,)`): \(t\) in [0, 1].
        """
        level = noise_level.view(-1, *[1] * (clean.ndim - 1))
        return (1 - level) * clean + level * noise

    @staticmethod
    def velocity(clean: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        r"""What the network learns to predict: \(v = \epsilon - x_0\)."""
        return noise - clean


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, Integral) and not isinstance(value, bool)

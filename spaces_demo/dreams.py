"""The model: loaded once for all visitors, asked by one of them at a time."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from zero_gpu import on_gpu

from xwam import Observation, RobotSpec, XWAM4DOutput, XWAM4DPipeline, XWAMPolicyOutput

MAX_STEPS = 100
OnStep = Callable[[int, int], None]

_ONE_AT_A_TIME = threading.Lock()  # the video codec keeps its cache on itself
_loaded: dict[str, XWAM4DPipeline] = {}  # a worker of ZeroGPU inherits it; an argument would be pickled


def load(model: str) -> RobotSpec:
    """Load the model that all visitors share.

    Args:
        model (`str`): Folder or hub id of an X-WAM, or `"embedded"`.

    Returns:
        `RobotSpec`: The robot that it dreams of.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    pipe = XWAM4DPipeline.from_pretrained(model, dtype=dtype)
    pipe.set_progress_bar_config(disable=True)
    _loaded["pipe"] = pipe.to(device)
    return pipe.robot_processor.spec


def default_steps() -> tuple[int, int]:
    """Steps of actions and of video that the checkpoint asks for."""
    scheduler = _loaded["pipe"].scheduler
    return int(scheduler.config.num_action_steps), int(scheduler.config.num_inference_steps)


def check(observation: Observation) -> None:
    """Check that an observation fits the robot.

    Raises:
        ObservationError: If it does not.
    """
    _loaded["pipe"].robot_processor.check_observation(observation)


@on_gpu
def dream(
    observation: Observation, *, action_steps: int, video_steps: int, seed: int, on_step: OnStep
) -> Iterator[XWAMPolicyOutput | XWAM4DOutput]:
    """First the actions, then the future. Others may be served between the two.

    Args:
        observation (`Observation`): What the robot knows.
        action_steps (`int`): Denoising steps until the actions are clean.
        video_steps (`int`): Denoising steps of the video.
        seed (`int`): Of the noise.
        on_step (`Callable`): Told how many steps are done, and of how many.

    Raises:
        ValueError: If the observation or the steps do not fit.
    """

    def after_step(pipe: Any, step: int, timesteps: Any, tensors: Any) -> dict[str, Any]:
        on_step(step + 1, video_steps)
        return {}

    events = _loaded["pipe"].stream(
        observation,
        num_action_steps=action_steps,
        num_inference_steps=video_steps,
        generator=torch.Generator().manual_seed(seed),
        callback_on_step_end=after_step,
    )
    while True:
        with _ONE_AT_A_TIME:
            event = next(events, None)
        if event is None:
            return
        yield event

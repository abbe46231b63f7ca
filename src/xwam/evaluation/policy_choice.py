"""Policies by what a person types.

`scripted`, `still`, `random`, `replay:FOLDER`, `mean:FOLDER`, `bc:FOLDER`, `embedded`, or a pipeline's folder or hub id.
"""

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xwam.checkpoints.sources import EMBEDDED, check_hub_id, check_is_pipeline, local_folder
from xwam.envs.base import Environment
from xwam.policies.base import Policy
from xwam.policies.baselines import RandomPolicy, StillPolicy
from xwam.utils.devices import check_device_name, require_device

if TYPE_CHECKING:
    from xwam.policies.pipeline_policy import PipelinePolicy
    from xwam.policies.trained_baselines import TrainedBaseline

EXPERT_OF_SIMULATOR = {  # experts read the state of their simulator
    "mujoco": "xwam.policies.scripted:ScriptedPolicy",
    "robosuite": "xwam.policies.robosuite_expert:RobosuiteExpert",
}
REPLAY = "replay:"
BASELINES = ("scripted", "still", "random")
FITTED = {
    "mean:": "mean_action",
    "bc:": "behaviour_cloning",
}  # baselines in folders, see `xwam.policies.baseline_files`


@dataclass(frozen=True)
class PolicyChoice:
    """Makes the policy of that name in any environment; picklable, so that every process makes its own.

    Args:
        text (`str`): What was typed.
        device (`str`, *optional*, defaults to `"cpu"`): Where a pipeline computes.
        dream (`bool`, *optional*, defaults to `False`): Whether a pipeline can be asked for what it imagined.
        options (`Mapping[str, Any]`): What the environment is made with, to find the stored episodes that were, too.
    """

    text: str
    device: str = "cpu"
    dream: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def check(self, environments: tuple[str, ...], seeds: Sequence[int] = ()) -> None:
        """Check everything that can be checked without loading a model or building an environment.

        Args:
            environments (`tuple[str, ...]`): Where the policy is to act.
            seeds (`Sequence[int]`, *optional*): Seeds of the episodes; a replay must have them.

        Raises:
            ValueError: If there is no such policy, or it cannot act there.
        """
        check_device_name(self.device)
        if self.text == "scripted":
            strangers = [name for name in environments if name.partition("/")[0] not in EXPERT_OF_SIMULATOR]
            if strangers:
                raise ValueError(f"`scripted` acts in {sorted(EXPERT_OF_SIMULATOR)} only, not in {strangers[0]!r}.")
        if self._is_pipeline:
            self._check_pipeline()
        elif self.dream:
            raise ValueError(f"Only a pipeline dreams, but the policy is {self.text!r}.")
        if self.text.startswith(REPLAY):
            self._check_replay(environments, seeds)
        if self._fitted is not None:
            _fitted_policy(*self._fitted)

    def __call__(self, environment: Environment) -> Policy:
        """Make the policy.

        Args:
            environment (`Environment`): Where it is to act.

        Raises:
            ValueError: If the policy is for another robot.
        """
        if self.text == "still":
            return StillPolicy(environment.robot)
        if self.text == "random":
            return RandomPolicy(environment.robot)
        if self.text == "scripted":
            module, _, class_name = EXPERT_OF_SIMULATOR[environment.name.partition("/")[0]].partition(":")
            return getattr(importlib.import_module(module), class_name)(environment)
        if self.text.startswith(REPLAY):
            from xwam.policies.replay import ReplayPolicy, stored_commands

            commands = stored_commands(self.text.removeprefix(REPLAY), environment.name, options=self.options)
            return ReplayPolicy(environment.robot, commands)
        if self._fitted is not None:
            policy: Any = _fitted_policy(*self._fitted)
            robot = policy.robot.name
        else:
            policy = _pipeline_policy(self.text, self.device, self.dream)
            robot = policy.pipeline.robot_processor.spec.name
        if robot != environment.robot.name:
            raise ValueError(
                f"{self.text} is a policy for robot {robot!r}, but {environment.name} has robot {environment.robot.name!r}."
            )
        return policy

    @property
    def _is_pipeline(self) -> bool:
        return self.text not in BASELINES and not self.text.startswith(REPLAY) and self._fitted is None

    @property
    def _fitted(self) -> tuple[str, str] | None:
        """Folder and kind of a baseline that was fitted; `None` for everything else."""
        for prefix, kind in FITTED.items():
            if self.text.startswith(prefix):
                return self.text.removeprefix(prefix), kind
        return None

    def _check_replay(self, environments: tuple[str, ...], seeds: Sequence[int]) -> None:
        folder = self.text.removeprefix(REPLAY)
        if not folder or not Path(folder).is_dir():
            raise ValueError(f"There is no dataset folder {folder!r} to replay.")
        from xwam.policies.replay import stored_seeds

        for name in environments:
            stored = set(stored_seeds(folder, name, options=self.options).values())
            if missing := [seed for seed in seeds if seed not in stored]:
                raise ValueError(
                    f"{folder} holds {len(stored)} episodes of {name} with seeds from {min(stored)} to {max(stored)}, but none "
                    f"with seed {missing[0]}: choose --first-seed and --episodes so that all are there."
                )

    def _check_pipeline(self) -> None:
        folder = local_folder(self.text)
        if folder is not None:
            check_is_pipeline(folder)
        elif not re.fullmatch(r"[\w.-]+/[\w.-]+", self.text):
            raise ValueError(
                f"There is no policy {self.text!r}: it is none of {[*BASELINES, EMBEDDED]}, begins with none of "
                f"{[REPLAY, *FITTED]}, and is neither a folder nor a hub id such as 'user/model'."
            )
        else:
            check_hub_id(self.text)


@cache
def _fitted_policy(folder: str, kind: str) -> "TrainedBaseline":
    """One per process, whatever the number of environments."""
    from xwam.policies.baseline_files import load_baseline

    return load_baseline(folder, kind)


@cache
def _pipeline_policy(source: str, device: str, dream: bool) -> "PipelinePolicy":
    """One per process, whatever the number of environments."""
    import torch

    from xwam.pipelines.pipeline_xwam_4d import XWAM4DPipeline
    from xwam.pipelines.pipeline_xwam_policy import XWAMPolicyPipeline
    from xwam.policies.pipeline_policy import PipelinePolicy

    require_device(device)
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    pipeline_class: type[Any] = XWAM4DPipeline if dream else XWAMPolicyPipeline
    pipeline = pipeline_class.from_pretrained(source, dtype=dtype, load_depth=dream).to(device)
    return PipelinePolicy(pipeline, dream=dream)

"""What is typed becomes a policy, or one clear error before any work."""

import pickle
from dataclasses import replace

import pytest
import torch
from tiny import make_pipeline

from xwam.envs.registry import make_env
from xwam.evaluation.policy_choice import PolicyChoice
from xwam.pipelines.pipeline_xwam_policy import XWAMPolicyPipeline
from xwam.recording.demonstrations import Recipe, record_demonstrations


@pytest.mark.parametrize("text", ["scripted", "still", "random"])
def test_a_name_makes_the_policy_in_any_process(text):
    choice = pickle.loads(pickle.dumps(PolicyChoice(text)))  # noqa: S301 - our own bytes
    choice.check(("mujoco/lift_cube",))
    with make_env("mujoco/lift_cube") as world:
        assert choice(world).name == text


def test_a_pipeline_folder_makes_one_policy_for_all_environments(tmp_path):
    make_pipeline(XWAMPolicyPipeline).save_pretrained(tmp_path)
    choice = PolicyChoice(str(tmp_path))
    choice.check(("mujoco/lift_cube",))
    with make_env("mujoco/lift_cube") as world:
        policy = choice(world)
        assert policy.name == "pipeline"
        assert choice(world) is policy
        world.robot = replace(world.robot, name="another")
        with pytest.raises(ValueError, match=r"is a policy for robot 'mujoco_panda', but .* has robot 'another'"):
            choice(world)


def test_a_device_that_is_not_there_is_said_in_one_line(tmp_path):
    choice = PolicyChoice(str(tmp_path), device=f"cuda:{torch.cuda.device_count()}")
    with make_env("mujoco/lift_cube") as world, pytest.raises(ValueError, match="`device` is 'cuda:"):
        choice(world)


def test_a_replay_must_have_every_seed(tmp_path):
    recipe = Recipe("mujoco/lift_cube", {"image_size": [64, 80]}, with_depth=False)
    record_demonstrations(tmp_path, [recipe], episodes=1, first_seed=3)
    choice = PolicyChoice(f"replay:{tmp_path}")
    choice.check(("mujoco/lift_cube",), (3,))
    with pytest.raises(
        ValueError, match="1 episodes of mujoco/lift_cube with seeds from 3 to 3, but none with seed 4"
    ):
        choice.check(("mujoco/lift_cube",), (3, 4))
    with pytest.raises(ValueError, match="no episode of mujoco/stack_cubes"):
        choice.check(("mujoco/lift_cube", "mujoco/stack_cubes"), (3,))


@pytest.mark.parametrize(
    ("choice", "environment", "message"),
    [
        (PolicyChoice("scriptd"), "mujoco/lift_cube", "There is no policy 'scriptd'"),
        (PolicyChoice("scripted"), "robocasa/PnPCounterToSink", "not in 'robocasa/PnPCounterToSink'"),
        (PolicyChoice("replay:/nowhere"), "mujoco/lift_cube", "no dataset folder '/nowhere'"),
        (PolicyChoice("scripted", dream=True), "mujoco/lift_cube", "Only a pipeline dreams"),
        (PolicyChoice("."), "mujoco/lift_cube", "no model_index.json"),
        (PolicyChoice("./nope"), "mujoco/lift_cube", r"There is no folder \./nope\."),
        (PolicyChoice("replay:"), "mujoco/lift_cube", "no dataset folder ''"),
        (PolicyChoice("user/model", device="gpu"), "mujoco/lift_cube", "`device`"),
        (PolicyChoice("scripted", device="gpu"), "mujoco/lift_cube", "`device`"),
    ],
)
def test_what_cannot_be_is_said_at_once(choice, environment, message):
    with pytest.raises(ValueError, match=message):
        choice.check((environment,))


def test_a_hub_id_is_accepted_without_asking_the_hub():
    PolicyChoice("user/model").check(("mujoco/lift_cube",))

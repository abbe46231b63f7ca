"""The mean is the mean, the clone learns what a line can say, and both come back from the disk bit for bit."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import make_observation

from xwam.data.readers.lerobot import LeRobotReader
from xwam.envs.registry import make_env
from xwam.errors import CheckpointError
from xwam.evaluation.policy_choice import PolicyChoice
from xwam.policies.base import Policy
from xwam.policies.baseline_files import CONFIG_NAME, WEIGHTS_NAME, load_baseline, save_baseline
from xwam.policies.closed_loop import run_episode
from xwam.policies.demonstrated_chunks import DemonstratedChunks, demonstrated_chunks
from xwam.policies.trained_baselines import ClonedPolicy, CloningConfig, MeanActionPolicy, words_of
from xwam.recording.demonstrations import Recipe, record_demonstrations
from xwam.robots.registry import get_robot

ROBOT = get_robot("mujoco_panda")
QUICK = CloningConfig(width=32, num_layers=1, steps=600, batch_size=64, learning_rate=0.01)
TASKS = (("lift the red cube",), ("press the button", "push the button"))


def _planted(seed: int = 0, count: int = 400) -> DemonstratedChunks:
    """Actions are a line of the state, in which the two tasks go opposite ways; the last row of every chunk is unknown."""
    rng = np.random.default_rng(seed)
    states = torch.zeros(count, ROBOT.state_dim)
    states[:, list(ROBOT.state_slots)] = torch.from_numpy(rng.uniform(-1, 1, (count, 8))).float()
    line = torch.from_numpy(np.random.default_rng(7).normal(size=(8, 32 * 7)) / 4).float()
    episodes = torch.arange(count) % 2
    actions = torch.zeros(count, 32, ROBOT.action_dim)
    sign = (1 - 2 * episodes)[:, None, None]
    actions[..., list(ROBOT.action_slots)] = sign * (states[:, :8] @ line).reshape(count, 32, 7) + 0.25
    mask = torch.zeros_like(actions)
    mask[:, :-1, list(ROBOT.action_slots)] = 1
    return DemonstratedChunks(states, actions * mask, mask, episodes, TASKS)


@pytest.fixture(scope="module")
def clone() -> ClonedPolicy:
    return ClonedPolicy.fit(ROBOT, _planted(), QUICK)


def _rms(policy: ClonedPolicy, chunks: DemonstratedChunks, texts: tuple[str, str]) -> float:
    words = torch.stack([policy._words(text) for text in texts])[chunks.episodes]
    with torch.no_grad():
        error = (policy._predict(chunks.states, words) - chunks.actions) * chunks.action_mask
    return float((error.square().sum() / chunks.action_mask.sum()).sqrt())


def test_the_clone_learns_a_planted_rule_of_state_and_words(clone):
    unseen, texts = _planted(seed=1), ("lift the red cube", "press the button")
    spread = float((unseen.actions[unseen.action_mask.bool()] - 0.25).square().mean().sqrt())
    assert spread > 0.3
    assert _rms(clone, unseen, texts) < 0.25 * spread
    assert _rms(clone, unseen, texts[::-1]) > spread, "the words decide which way"
    spoken = ("Please LIFT the red cube!", "now, press the button")
    assert _rms(clone, unseen, spoken) == _rms(clone, unseen, texts), (
        "case and words that it was not shown do not matter"
    )


def test_words_are_counted_once_and_strangers_not(clone):
    assert clone.vocabulary == ("button", "cube", "lift", "press", "push", "red", "the")
    assert clone._words("The the RED moon").tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert words_of("open the cabinet's drawer, 2 times") == ["open", "the", "cabinet", "s", "drawer", "2", "times"]


def test_equal_seeds_give_equal_clones_and_leave_the_callers_chance_alone(clone):
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    few = replace(QUICK, steps=3)
    one, same, other = (ClonedPolicy.fit(ROBOT, _planted(), replace(few, seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert one.identity == same.identity
    assert one.identity != other.identity


def test_the_mean_is_that_of_what_is_known():
    chunks = _planted()
    mean = MeanActionPolicy.fit(ROBOT, chunks).actions(make_observation())
    torch.testing.assert_close(mean[:-1, :7], chunks.actions[:, :-1, :7].mean(dim=0))
    assert not mean[-1].any()
    with pytest.raises(ValueError, match=r"`chunk` must have shape \(32, 14\)"):
        MeanActionPolicy(ROBOT, torch.zeros(3, 14))


def test_commands_are_the_decoded_actions_and_images_are_not_needed(clone):
    for policy in (clone, MeanActionPolicy.fit(ROBOT, _planted())):
        assert isinstance(policy, Policy)
        blind = replace(make_observation(), images={})
        chunk = policy.infer(blind, seed=0)
        assert chunk.columns == ROBOT.command_columns
        assert (chunk.start_time, len(chunk.commands)) == (1.5, policy.num_actions)
        back = policy.processor.encode_actions(chunk, blind)
        with torch.no_grad():
            torch.testing.assert_close(back, policy.actions(blind))
        np.testing.assert_array_equal(chunk.commands, policy.infer(blind, seed=1).commands)


def test_the_clone_looks_at_the_state(clone):
    one, other = (clone.infer(make_observation(seed), seed=0).commands for seed in (0, 1))
    assert np.abs(one - other).max() > 0.05


@pytest.mark.parametrize("prefix", ["mean:", "bc:"])
def test_saved_and_loaded_they_are_the_same_to_the_bit(prefix, clone, tmp_path):
    policy = clone if prefix == "bc:" else MeanActionPolicy.fit(ROBOT, _planted())
    save_baseline(tmp_path, policy, notes={"windows": 400})
    loaded = load_baseline(tmp_path, policy.name)
    assert loaded.identity == policy.identity
    observation = make_observation(4)
    np.testing.assert_array_equal(
        loaded.infer(observation, seed=0).commands, policy.infer(observation, seed=0).commands
    )
    choice = PolicyChoice(f"{prefix}{tmp_path}")
    choice.check(("mujoco/lift_cube",))
    with make_env("mujoco/lift_cube") as world:
        assert choice(world).identity == policy.identity
        world.robot = replace(world.robot, name="another")
        with pytest.raises(ValueError, match="has robot 'another'"):
            choice(world)


def _other_kind(folder):
    _change(folder, kind="mean_action")


def _no_robot(folder):
    _change(folder, robot=None)


def _strange_setting(folder):
    _change(folder, settings={"vocabulary": ["a"], "depth": 3})


def _other_width(folder):
    facts = json.loads((folder / CONFIG_NAME).read_text())
    _change(folder, settings={**facts["settings"], "width": 16})


def _no_json(folder):
    (folder / CONFIG_NAME).write_text("{")


def _cut(folder):
    path = folder / WEIGHTS_NAME
    path.write_bytes(path.read_bytes()[:-1])


def _gone(folder):
    (folder / WEIGHTS_NAME).unlink()


def _not_finite(folder):
    tensors = load_file(folder / WEIGHTS_NAME)
    tensors["0.bias"][0] = torch.nan
    save_file(tensors, folder / WEIGHTS_NAME)


def _change(folder, **changes):
    facts = json.loads((folder / CONFIG_NAME).read_text())
    (folder / CONFIG_NAME).write_text(json.dumps({**facts, **changes}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_other_kind, "kind 'behaviour_cloning', but says 'xwam.baseline' and 'mean_action'"),
        (_no_robot, "does not describe a behaviour_cloning policy: RobotSpec must be a JSON object"),
        (_strange_setting, "does not describe a behaviour_cloning policy.*'depth'"),
        (_other_width, r"0.bias \(32,\) instead of \(16,\)"),
        (_no_json, "is not strict JSON"),
        (_cut, "the file is cut"),
        (_gone, r"policy.safetensors cannot be read"),
        (_not_finite, r"must hold finite numbers, but \['0.bias'\] do not"),
    ],
)
def test_a_bad_folder_is_one_clear_error(damage, message, clone, tmp_path):
    save_baseline(tmp_path, clone)
    damage(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        load_baseline(tmp_path, "behaviour_cloning")


def test_no_folder_is_said_before_any_work(tmp_path):
    for text, kind in (
        ("bc:/nowhere", "behaviour_cloning"),
        (f"mean:{tmp_path}", "mean_action"),
        ("bc:", "behaviour_cloning"),
    ):
        with pytest.raises(ValueError, match=f"There is no {kind} policy in "):
            PolicyChoice(text).check(("mujoco/lift_cube",))


def test_from_a_real_recording_to_closed_loop(world, tmp_path):
    recipe = Recipe("mujoco/lift_cube", {"image_size": [32, 40]}, with_depth=False)
    record_demonstrations(tmp_path, [recipe], episodes=1)
    chunks = demonstrated_chunks(LeRobotReader(tmp_path, ROBOT), ROBOT)
    assert float(chunks.action_mask[..., :7].min()) == 1
    clone = ClonedPolicy.fit(ROBOT, chunks, replace(QUICK, steps=150))
    assert "the" in clone.vocabulary
    observation = world.reset(0)
    expert = chunks.actions[0]
    clone_error, mean_error = (
        float((policy.actions(observation) - expert).detach().square().mean().sqrt())
        for policy in (clone, MeanActionPolicy.fit(ROBOT, chunks))
    )
    assert clone_error < mean_error
    outcome = run_episode(world, clone, seed=0, num_executed=16)
    assert outcome.num_inferences == -(-outcome.num_steps // 16)

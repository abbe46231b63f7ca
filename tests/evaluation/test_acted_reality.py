"""A dream is acted out in the world and held against what came."""

import json
from dataclasses import replace

import numpy as np
import pytest
from future_samples import make_future
from PIL import Image
from seen_world import make_world, see, some_commands
from tiny import make_pipeline, seeded

from xwam.evaluation.comparison import FILES
from xwam.evaluation.departure import on_commands, where_commands_lead
from xwam.evaluation.future_errors import ErrorOptions
from xwam.evaluation.reality import act_out, compare
from xwam.futures.reality import observed_future
from xwam.pipelines.pipeline_xwam_4d import XWAM4DPipeline
from xwam.robots.registry import get_robot, list_robots
from xwam.structures import ActionChunk, ArmState, JointState


@pytest.fixture(scope="module")
def world():
    with make_world() as world:
        yield world


def _chunk(world, commands: np.ndarray) -> ActionChunk:
    return ActionChunk(world.robot.name, commands, world.robot.command_columns, 0.05)


@pytest.fixture(scope="module")
def reality():
    return observed_future(see().robot, see().observations, see().commands)


@pytest.fixture(scope="module")
def comparison():
    """Of a dream of the tiny untrained pipeline."""
    pipeline = make_pipeline(XWAM4DPipeline)
    with make_world() as world:
        observation = world.reset(0)
        dream = pipeline(observation, num_inference_steps=2, num_action_steps=1, generator=seeded()).future()
        return compare(dream, act_out(world, dream.actions, observation=observation), ErrorOptions(voxel_size=0.02))


def test_acting_out_sees_what_the_world_shows(world, reality):
    acted = act_out(world, _chunk(world, some_commands(0)), observation=world.reset(0))
    for name in reality.cameras:
        np.testing.assert_array_equal(acted.frames[name], reality.frames[name])
        np.testing.assert_array_equal(acted.depths[name], reality.depths[name])
        np.testing.assert_array_equal(acted.base_from_camera[name], reality.base_from_camera[name])
    np.testing.assert_array_equal(acted.states[-1]["left"].position, reality.states[-1]["left"].position)


def test_a_part_of_a_chunk_can_be_acted_out_at_the_models_own_size(world):
    spec = replace(world.robot, image_size=(64, 80))
    acted = act_out(world, _chunk(world, some_commands(0)[:8]), observation=world.reset(0), robot=spec)
    assert acted.frames["robot0_eye_in_hand"].shape == (3, 64, 80, 3)


def test_what_cannot_be_acted_out_moves_nothing(world):
    observation = world.reset(0)
    chunk = _chunk(world, some_commands(0))
    for changed, words in (
        (replace(chunk, robot="droid"), "`actions` must be of robot 'mujoco_panda', but is of 'droid'"),
        (replace(chunk, commands=chunk.commands[:6]), "must hold 4 commands for each frame, but holds 6"),
        (replace(chunk, commands=chunk.commands[:0]), "must hold 4 commands for each frame, but holds 0"),
    ):
        with pytest.raises(ValueError, match=words):
            act_out(world, changed, observation=observation)
    with pytest.raises(ValueError, match=r"must be of now, 0 s on the environment's clock, but is of 3.2 s"):
        act_out(world, chunk, observation=replace(observation, time=3.2))
    assert world.observe(with_images=False).time == 0


def test_reality_against_itself_agrees(reality):
    found = compare(reality, reality, ErrorOptions(voxel_size=0.02))
    assert found.errors.total("psnr") == np.inf
    assert found.errors.total("chamfer") == 0
    assert found.errors.total("position") == 0
    assert found.findings[-1].startswith("Dream and reality agree")
    assert found.still.total("psnr") < 30, "something moved"


def test_a_dream_of_another_ending_parts_where_it_differs(reality):
    states = list(reality.states)
    for frame in range(5, 9):
        own = states[frame]["left"]
        states[frame] = {"left": replace(own, position=own.position + np.array([0, 0, 0.05]))}
    found = compare(
        replace(reality, states=tuple(states)), reality, ErrorOptions(groups=("images", "depth", "states"))
    )
    assert "The robot leaves its dream at 1 s" in " ".join(found.findings)
    assert found.findings[-1].startswith("The robot leaves its dream first")


def test_the_embedded_pipeline_is_found_wanting(comparison):
    assert comparison.errors.total("psnr") < comparison.still.total("psnr")
    assert comparison.errors.total("command_position") == 0, "its own commands were executed"
    assert "worse than a still picture from 0.2 s on" in comparison.findings[0]


def test_what_is_written_says_what_was_measured(comparison, tmp_path):
    comparison.write(tmp_path / "comparison")
    folder = tmp_path / "comparison"
    assert {path.name for path in folder.iterdir()} == FILES
    facts = json.loads((folder / "comparison.json").read_text())
    assert facts == json.loads(json.dumps(comparison.to_dict()))
    psnr = facts["metrics"]["psnr"]
    assert psnr["dream"]["mean_after_frame_0"] == comparison.errors.total("psnr")
    assert psnr["frame_0_repeated"]["by_frame"][0] == "Infinity"
    assert facts["metrics"]["command_position"]["dream"]["by_frame"][0] is None
    page = (folder / "comparison.md").read_text()
    for words in (*comparison.findings, "| PSNR ↑ (dB)", "frame 0 repeated"):
        assert words in page
    for name in ("comparison.png", "frames.png", "depths.png"):
        assert min(Image.open(folder / name).size) > 300
    comparison.write(folder)  # again
    assert {path.name for path in folder.iterdir()} == FILES
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"thesis\.txt"):
        comparison.write(folder)
    assert (folder / "thesis.txt").read_text() == "mine"


def test_pictures_of_somebody_else_are_left_alone(tmp_path):
    (tmp_path / "frames.png").write_text("a holiday")
    with pytest.raises(ValueError, match=r"holds frames\.png; nothing was written"):
        compare(make_future(), make_future(), ErrorOptions(groups=("images",))).write(tmp_path)
    assert (tmp_path / "frames.png").read_text() == "a holiday"


def test_where_nothing_was_measured_there_are_pictures_and_no_plot(tmp_path):
    bare = make_future(depths={}, depth_kind="none")
    compare(bare, bare, ErrorOptions(groups=("depth",))).write(tmp_path / "comparison")
    files = {path.name for path in (tmp_path / "comparison").iterdir()}
    assert files == FILES - {"comparison.png", "depths.png"}
    assert "comparison.png" not in (tmp_path / "comparison" / "comparison.md").read_text()


def test_without_depth_the_findings_say_so(reality):
    found = compare(replace(reality, depths={}, depth_kind="none"), reality, ErrorOptions(groups=("images", "states")))
    assert "Depth was not compared: it is 'none' in the dream, 'measured' in reality." in found.findings


def test_who_is_further_from_where_the_commands_lead(reality):
    led = where_commands_lead(see().robot, reality)
    assert len(led) == reality.num_frames
    path = see().robot.raw_scale.translation * np.cumsum(see().commands[:, :3], axis=0)
    np.testing.assert_allclose(led[3]["left"].position, reality.states[0]["left"].position + path[11], atol=1e-9)
    lost = [{"left": replace(own["left"], position=own["left"].position + np.array([0.5, 0, 0]))} for own in led]
    few = ErrorOptions(groups=("states",))
    dreamer = " ".join(compare(replace(reality, states=tuple(lost)), reality, few).findings)
    assert "0.5 m from where it was imagined, at most: the imagined states are further off than the robot" in dreamer
    robot = " ".join(compare(replace(reality, states=led), reality, few).findings)
    assert "0 m from where it was imagined, at most: the robot does not follow its commands" in robot
    exact = replace(reality, states=led)
    assert "0 m from where it was imagined, at most: both follow them." in " ".join(
        compare(exact, exact, few).findings
    )


def test_metres_of_one_arm_are_not_held_against_radians_of_another():
    def state(x: float, turn: float) -> dict[str, ArmState | JointState]:
        pose = ArmState(np.array([x, 0, 0]), np.array([1.0, 0, 0, 0]), 0.5)
        return {"left": pose, "right": JointState(np.array([turn]), 0.5)}

    led, went, imagined = ((state(*own),) for own in ((0.0, 0.0), (0.1, 2.0), (0.3, 1.0)))
    words = on_commands(make_future(states=imagined), make_future(states=went), led)
    assert "lead 0.1 m from where the robot went and 0.3 m from where it was imagined" in words


def test_commands_that_cannot_be_integrated_lead_nowhere(reality):
    assert where_commands_lead(replace(see().robot, raw_scale=None), reality) == ()
    assert where_commands_lead(see().robot, replace(reality, actions=None)) == ()
    assert where_commands_lead(see().robot, replace(reality, states=())) == ()


@pytest.mark.parametrize("robot", list_robots())
def test_no_registered_robot_stands_in_the_way(robot):
    spec = get_robot(robot)
    future = make_future(robot=robot, actions=replace(make_future().actions, robot=robot))
    assert where_commands_lead(spec, future) == () or spec.command_columns == future.actions.columns
    assert compare(future, future, ErrorOptions(groups=("states", "commands"))).errors.total("position") == 0


def test_one_instant_without_commands_leads_nowhere():
    whole = make_future()
    first = replace(
        whole,
        **{
            field: {name: own[:1] for name, own in getattr(whole, field).items()}
            for field in ("frames", "depths", "base_from_camera")
        },
        states=whole.states[:1],
    )
    none = replace(whole, actions=replace(whole.actions, commands=whole.actions.commands[:0]))
    for future in (first, none):
        assert compare(future, future, ErrorOptions(groups=("states", "commands"))).led == ()


def test_an_instruction_may_hold_any_sign(tmp_path):
    future = make_future(instruction=r"put $\frac{ and $ into the box")
    compare(future, future, ErrorOptions(groups=("images",))).write(tmp_path / "comparison")
    assert r"$\frac{ and $" in (tmp_path / "comparison" / "comparison.md").read_text()

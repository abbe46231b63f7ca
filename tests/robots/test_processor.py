"""The border is crossed in both directions without loss, for every robot and every kind of command."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from robot_samples import complete_spec, make_commands, make_observation, make_states, with_random_quantiles
from scipy.spatial.transform import Rotation

from xwam.errors import CheckpointConfigError, ObservationError
from xwam.robots.processor import RobotProcessor
from xwam.robots.registry import get_robot, list_robots
from xwam.structures import ArmState, JointState

EVERY_ROBOT = pytest.mark.parametrize("robot", list_robots())


@EVERY_ROBOT
def test_commands_come_back(robot):
    spec = complete_spec(robot)
    processor, observation = RobotProcessor(spec), make_observation(spec)
    commands = make_commands(spec, 32)
    actions = processor.encode_actions(commands, observation, dtype=torch.float64)
    chunk = processor.decode_actions(actions, observation)
    assert actions.shape == (32, 14)
    np.testing.assert_allclose(chunk.commands, commands, atol=1e-9)
    np.testing.assert_allclose(processor.decode_actions(actions.float(), observation).commands, commands, atol=3e-6)
    again = processor.encode_actions(chunk, observation, dtype=torch.float64)
    torch.testing.assert_close(again, actions, atol=1e-9, rtol=0)


@EVERY_ROBOT
def test_actions_come_back(robot):
    spec = complete_spec(robot)
    processor, observation = RobotProcessor(spec), make_observation(spec)
    actions = torch.rand(32, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 0.5
    chunk = processor.decode_actions(actions, observation)
    again = processor.encode_actions(chunk, observation, dtype=torch.float64)
    torch.testing.assert_close(again, actions * processor.action_mask, atol=1e-9, rtol=0)
    assert (chunk.robot, chunk.period, chunk.start_time) == (robot, spec.control_period, 1.5)
    assert chunk.columns == spec.command_columns


@EVERY_ROBOT
def test_states_come_back(robot):
    spec = complete_spec(robot)
    processor, states = RobotProcessor(spec), make_states(spec, 9)
    vectors = processor.encode_states(states, dtype=torch.float64)
    assert vectors.shape == (9, 16)
    assert (vectors[:, processor.state_mask == 0] == 0).all()
    for state, decoded in zip(states, processor.decode_states(vectors), strict=True):
        assert decoded.keys() == state.keys()
        for arm, expected in state.items():
            assert type(decoded[arm]) is type(expected)
            assert decoded[arm].gripper == pytest.approx(expected.gripper, abs=1e-12)
            if isinstance(expected, JointState):
                np.testing.assert_allclose(decoded[arm].positions, expected.positions, atol=1e-12)
            else:
                np.testing.assert_allclose(decoded[arm].position, expected.position, atol=1e-12)
                np.testing.assert_allclose(decoded[arm].quaternion, expected.quaternion, atol=1e-12)
    again = processor.encode_states(processor.decode_states(vectors), dtype=torch.float64)
    torch.testing.assert_close(again, vectors, atol=1e-12, rtol=0)


@EVERY_ROBOT
def test_a_saved_processor_is_the_same_robot(robot, tmp_path):
    for spec in (get_robot(robot), complete_spec(robot)):
        RobotProcessor(spec).save_pretrained(tmp_path / "robot_processor")
        loaded = RobotProcessor.from_pretrained(tmp_path, subfolder="robot_processor")
        assert loaded.spec == spec
        assert loaded.config == RobotProcessor(spec).config


@EVERY_ROBOT
def test_an_observation_is_encoded(robot):
    spec = complete_spec(robot)
    processor, observation = RobotProcessor(spec), make_observation(spec)
    encoded = processor.encode_observation(observation)
    assert encoded.frames.shape == (processor.num_views, 3, *processor.image_size)
    assert encoded.frames.dtype == encoded.state.dtype == torch.float32
    assert encoded.frames.abs().max() <= 1
    assert encoded.instruction == observation.instruction
    state = {**observation.arms, **observation.joints}
    torch.testing.assert_close(encoded.state, processor.encode_states([state])[0])
    assert (encoded.depth_images is not None) == bool(observation.depths)


@pytest.mark.parametrize("robot", ["robocasa", "mujoco_panda"])
def test_one_arm_fills_the_left_half(robot):
    processor = RobotProcessor(complete_spec(robot))
    assert processor.state_mask.tolist() == [1.0] * 8 + [0.0] * 8
    assert processor.action_mask.tolist() == [1.0] * 7 + [0.0] * 7
    assert (processor.num_views, processor.num_frames, processor.num_actions) == (3, 9, 32)
    assert (processor.state_dim, processor.action_dim) == (16, 14)


def test_robocasa_states_agree_with_the_formula_of_the_release():
    spec = complete_spec("robocasa")
    state = make_states(spec, 1)[0]
    vector = RobotProcessor(spec).encode_states([state], dtype=torch.float64)[0].numpy()

    axes = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    rotation = Rotation.from_quat(state["left"].quaternion, scalar_first=True).as_matrix() @ axes
    quaternion = Rotation.from_matrix(rotation).as_quat(canonical=True, scalar_first=True)
    raw = np.concatenate([state["left"].position, quaternion, [state["left"].gripper]])
    low, high = np.array(spec.quantiles.state_low), np.array(spec.quantiles.state_high)
    np.testing.assert_allclose(vector, np.concatenate([2 * (raw - low) / (high - low) - 1, np.zeros(8)]), atol=1e-12)
    np.testing.assert_allclose(vector[3:7], quaternion, atol=1e-12)


def test_the_raw_gripper_of_robocasa_changes_sign_and_is_not_normalised():
    spec = complete_spec("robocasa")
    commands = np.zeros((2, 7))
    commands[:, 6] = [-1.0, 0.25]  # -1 opens
    actions = RobotProcessor(spec).encode_actions(commands, make_observation(spec))
    assert actions[:, 6].tolist() == [1.0, -0.25]


def test_droid_is_placed_clipped_and_signed_as_described():
    spec = get_robot("droid").with_quantiles([-1] * 7 + [0], [1] * 8, [-2] * 7 + [0], [2] * 7 + [1])
    observation = make_observation(spec)
    commands = np.array([[0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 9.0, 0.0], [0.0] * 7 + [1.0]])
    actions = RobotProcessor(spec).encode_actions(commands, observation, dtype=torch.float64)
    expected = [[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1.0, 1.0], [0.0] * 6 + [-1.0, 0.0]]  # slot 6: open is 1
    np.testing.assert_allclose(actions[:, :8].numpy(), expected, atol=1e-12)
    assert (actions[:, 8:] == 0).all()
    opened = {"left": JointState(np.zeros(7), 1.0)}
    assert RobotProcessor(spec).encode_states([opened])[0, 7] == 1


@pytest.mark.parametrize("kind", ["raw", "delta_end_effector", "absolute_end_effector"])
def test_every_kind_of_command_comes_back_in_every_frame(kind):
    spec = replace(complete_spec("robotwin"), command_kind=kind, quantiles=None)
    processor, observation = RobotProcessor(with_random_quantiles(spec)), make_observation(spec)
    commands = make_commands(spec, 8)
    actions = processor.encode_actions(commands, observation, dtype=torch.float64)
    np.testing.assert_allclose(processor.decode_actions(actions, observation).commands, commands, atol=1e-9)


def test_a_flat_channel_is_guarded_in_both_directions():
    spec = complete_spec("mujoco_panda")
    quantiles = replace(spec.quantiles, action_low=(0.0,) + (-1.0,) * 6, action_high=(0.0,) + (1.0,) * 6)
    processor, observation = RobotProcessor(replace(spec, quantiles=quantiles)), make_observation(spec)
    commands = make_commands(spec, 8)
    actions = processor.encode_actions(commands, observation, dtype=torch.float64)
    assert torch.isfinite(actions).all()
    np.testing.assert_allclose(processor.decode_actions(actions, observation).commands, commands, atol=1e-9)


def test_measured_depth_is_drawn_and_masked():
    spec = complete_spec("mujoco_panda")
    observation = make_observation(spec)
    depths = {name: np.full_like(depth, 0.3) for name, depth in observation.depths.items()}
    depths["robot0_eye_in_hand"][:] = np.nan
    encoded = RobotProcessor(spec).encode_observation(replace(observation, depths=depths))
    assert encoded.depth_images.shape == (3, 3, 128, 160)
    torch.testing.assert_close(encoded.depth_images[:2], torch.ones(2, 3, 128, 160))  # 0.3 m is the nearest
    assert encoded.depth_mask.flatten(1).all(1).tolist() == [True, True, False]
    assert not encoded.depth_mask[2].any()


def test_a_view_without_a_depth_sensor_is_masked_and_nothing_stands_for_it():
    spec = complete_spec("mujoco_panda")
    cameras = (*spec.cameras[:2], replace(spec.cameras[2], depth_range=None))
    spec = replace(spec, cameras=cameras)
    encoded = RobotProcessor(spec).encode_observation(make_observation(spec))
    assert encoded.depth_mask[:2].float().mean() > 0.99
    assert not encoded.depth_mask[2].any()
    assert encoded.depth_images is None


def test_measured_depth_is_drawn_as_the_robot_declares():
    spec = complete_spec("mujoco_panda")
    observation = make_observation(spec)
    depths = {name: np.full_like(depth, 1.0) for name, depth in observation.depths.items()}
    for encoding, level in (
        ("inverse", (1 / 1 - 1 / 5) / (1 / 0.3 - 1 / 5)),
        ("linear", (5 - 1) / (5 - 0.3)),
        ("relative", (1 / 1 - 1 / 5) / (1 / 0.3 - 1 / 5)),
    ):
        processor = RobotProcessor(replace(spec, depth_encoding=encoding))
        images = processor.encode_observation(replace(observation, depths=depths)).depth_images
        torch.testing.assert_close(images[0], torch.full((3, 128, 160), 2 * level - 1))


def test_depth_that_has_no_range_is_checked_but_not_drawn():
    spec = complete_spec("robotwin")
    depths = {"head_camera": np.ones((240, 320), np.float32)}
    encoded = RobotProcessor(spec).encode_observation(replace(make_observation(spec), depths=depths))
    assert encoded.depth_images is None
    assert not encoded.depth_mask.any()


@pytest.mark.parametrize("encoding", ["inverse", "linear", "relative"])
def test_the_depth_encoding_is_saved_with_the_processor(encoding, tmp_path):
    RobotProcessor(replace(complete_spec("mujoco_panda"), depth_encoding=encoding)).save_pretrained(tmp_path)
    file = tmp_path / "robot_processor_config.json"
    assert RobotProcessor.from_pretrained(tmp_path).spec.depth_encoding == encoding
    content = json.loads(file.read_text())
    assert content["spec"].pop("depth_encoding") == encoding
    file.write_text(json.dumps(content))
    assert RobotProcessor.from_pretrained(tmp_path).spec.depth_encoding == "inverse", "files of older versions"


def test_an_observation_without_depth_has_neither_images_nor_a_mask():
    spec = complete_spec("mujoco_panda")
    encoded = RobotProcessor(spec).encode_observation(replace(make_observation(spec), depths={}))
    assert (encoded.depth_images, encoded.depth_mask) == (None, None)


def test_integrated_states_are_the_states_at_the_frames():
    spec = complete_spec("robotwin")
    processor, observation = RobotProcessor(spec), make_observation(spec)
    commands = make_commands(spec, 32)
    states = processor.integrate_states(commands, observation, dtype=torch.float64)
    assert states.shape == (9, 16)
    torch.testing.assert_close(states[0], processor.encode_states([observation.arms], dtype=torch.float64)[0])
    third = {
        arm: ArmState(row[:3], row[3:7], row[7])
        for arm, row in zip(("left", "right"), commands[11].reshape(2, 8), strict=True)
    }
    torch.testing.assert_close(states[3], processor.encode_states([third], dtype=torch.float64)[0])


def test_integrating_what_cannot_be_integrated_is_refused():
    robocasa, panda = complete_spec("robocasa"), complete_spec("mujoco_panda")
    with pytest.raises(ValueError, match="declares no `raw_scale`"):
        RobotProcessor(robocasa).integrate_states(make_commands(robocasa, 32), make_observation(robocasa))
    with pytest.raises(ValueError, match="must be a multiple of 4, the commands per frame, but are 30"):
        RobotProcessor(panda).integrate_states(make_commands(panda, 30), make_observation(panda))


@pytest.mark.parametrize("robot", ["robocasa", "robotwin", "droid", "ac_one"])
def test_what_is_unknown_is_asked_for_before_any_work(robot):
    processor, observation = RobotProcessor(get_robot(robot)), make_observation(get_robot(robot))
    zeros = torch.zeros(32, 14)
    for call in (
        lambda: processor.encode_observation(observation),
        lambda: processor.decode_states(torch.zeros(9, 16)),
        lambda: processor.encode_actions(np.zeros((32, 7)), observation),
        lambda: processor.decode_actions(zeros, observation),
        lambda: processor.integrate_states(np.zeros((32, 7)), observation),
    ):
        with pytest.raises(ValueError, match=rf"of robot '{robot}': unknown is .*quantiles.*with_quantiles"):
            call()


def test_a_missing_period_is_asked_for_when_a_chunk_is_made():
    spec = replace(complete_spec("mujoco_panda"), control_period=None)
    with pytest.raises(ValueError, match="decode actions of robot 'mujoco_panda': unknown is control_period"):
        RobotProcessor(spec).decode_actions(torch.zeros(32, 14), make_observation(spec))


@pytest.mark.parametrize(
    ("actions", "text"),
    [
        (torch.zeros(32, 7), r"`actions` must have 14 = 14"),
        (torch.zeros(1, 32, 14), r"`actions` must have shape \(K 14\)"),
        (torch.zeros(0, 14), "at least one row"),
        (torch.full((32, 14), torch.nan), "must be finite"),
        (np.zeros((32, 14)), "must be a torch.Tensor"),
    ],
)
def test_broken_actions_never_reach_the_robot(actions, text):
    spec = complete_spec("mujoco_panda")
    with pytest.raises(ValueError, match=text):
        RobotProcessor(spec).decode_actions(actions, make_observation(spec))


def test_broken_states_and_observations_are_refused():
    spec = complete_spec("mujoco_panda")
    processor, observation = RobotProcessor(spec), make_observation(spec)
    with pytest.raises(ValueError, match="`states` must hold at least one state"):
        processor.encode_states([])
    with pytest.raises(ObservationError, match=r"`states\[0\]` lacks \['left'\]"):
        processor.encode_states([{}])
    with pytest.raises(ValueError, match=r"`states` must have 16 = 16"):
        processor.decode_states(torch.zeros(9, 14))
    with pytest.raises(ObservationError, match="must be an Observation, but is a dict"):
        processor.decode_actions(torch.zeros(32, 14), {})
    with pytest.raises(ObservationError, match=r"`arms` lacks \['left'\]"):
        processor.decode_actions(torch.zeros(32, 14), replace(observation, arms={}))
    stranger = replace(observation, robot="robocasa")
    for call in (
        lambda: processor.decode_actions(torch.zeros(32, 14), stranger),
        lambda: processor.encode_actions(np.zeros((32, 7)), stranger),
        lambda: processor.integrate_states(np.zeros((32, 7)), stranger),
    ):
        with pytest.raises(ObservationError, match=r"`robot` must be 'mujoco_panda', but .* from 'robocasa'"):
            call()
    broken = replace(observation.arms["left"], quaternion=np.ones(4))
    with pytest.raises(ObservationError, match="length 1"):
        processor.encode_observation(replace(observation, arms={"left": broken}))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda data: data.pop("spec"), r"must hold the field `spec`"),
        (lambda data: data.update(colour="red"), r"holds \['colour', 'spec'\]"),
        (lambda data: data.update(_class_name="XWAMScheduler"), r"of a RobotProcessor, .* XWAMScheduler"),
        (lambda data: data["spec"].update(crop_ratio=float("nan")), r"`crop_ratio` must be a finite number"),
        (lambda data: data["spec"].update(state_dim="__import__('os')"), r"`state_dim` must be a whole number"),
        (lambda data: data.update(spec=[]), r"RobotSpec must be a JSON object"),
    ],
)
def test_a_broken_file_is_refused(change, text, tmp_path):
    RobotProcessor(complete_spec("robotwin")).save_pretrained(tmp_path)
    path = tmp_path / RobotProcessor.config_name
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(CheckpointConfigError, match=text):
        RobotProcessor.from_pretrained(tmp_path)


def test_half_precision_actions_are_decoded_in_full():
    spec = complete_spec("mujoco_panda")
    actions = torch.linspace(-1, 1, 32 * 14).reshape(32, 14).bfloat16()
    commands = RobotProcessor(spec).decode_actions(actions, make_observation(spec)).commands
    assert commands.dtype == np.float64
    np.testing.assert_allclose(commands[:, :6], actions[:, :6].double().numpy(), atol=1e-12)


def test_calibration_of_the_views_is_within_reach():
    spec = complete_spec("mujoco_panda")
    processor, observation = RobotProcessor(spec), make_observation(spec)
    states = processor.decode_states(processor.integrate_states(np.zeros((32, 7)), observation))
    assert processor.view_intrinsics(observation).shape == (3, 3, 3)
    assert processor.view_poses(observation, states).shape == (9, 3, 4, 4)

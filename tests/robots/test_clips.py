"""A recorded window reaches the model as the release's reader brings it, and as the same robot's observations do."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from clip_samples import make_clip, small_spec, twin_numbers
from robot_samples import with_random_quantiles

from xwam.errors import DataError
from xwam.robots.clips import action_channels, state_channels
from xwam.robots.processor import RobotProcessor
from xwam.robots.spec import RobotSpec
from xwam.structures import ArmState, Clip, Observation

RAW, ABSOLUTE = small_spec("robocasa"), small_spec("robotwin")
JOINTS = small_spec("droid")
DELTA = replace(small_spec("mujoco_panda"), command_kind="delta_end_effector", raw_scale=None)


def _encode(spec: RobotSpec, clip: Clip):
    return RobotProcessor(spec).encode_clip(clip)


@pytest.mark.parametrize("spec", [RAW, ABSOLUTE], ids=["raw", "absolute"])
@pytest.mark.parametrize("seed", [0, 1])
def test_numbers_are_those_of_the_release(spec: RobotSpec, seed: int):
    clip = make_clip(spec, seed)
    encoded, (states, actions) = _encode(spec, clip), twin_numbers(spec, clip)
    assert encoded.states.shape == (5, 16)
    assert encoded.actions.shape == (16, 14)
    np.testing.assert_allclose(encoded.states[:, list(spec.state_slots)], states, atol=1e-6)
    np.testing.assert_allclose(encoded.actions[:, list(spec.action_slots)], actions, atol=2e-6)
    assert (encoded.states[:, len(spec.state_slots) :] == 0).all()
    assert encoded.state_mask.sum() == 5 * len(spec.state_slots)
    assert encoded.action_mask.sum() == 16 * len(spec.action_slots)


def test_the_first_state_and_frame_are_those_of_an_observation():
    clip = make_clip(ABSOLUTE)
    arms = {
        arm.name: ArmState(clip.states[0, at : at + 3], clip.states[0, at + 3 : at + 7], clip.states[0, at + 7])
        for at, arm in zip((0, 8), ABSOLUTE.arms, strict=True)
    }
    cameras = tuple(replace(camera, size=(40, 56), intrinsics=None) for camera in ABSOLUTE.cameras)
    processor = RobotProcessor(replace(ABSOLUTE, cameras=cameras))
    observed = processor.encode_observation(
        Observation(
            images={name: video[0] for name, video in clip.images.items()},
            instruction=clip.instruction,
            arms=arms,
            depths={name: video[0] for name, video in clip.depths.items()},
            robot=ABSOLUTE.name,
        )
    )
    encoded = processor.encode_clip(clip)
    assert torch.equal(observed.state, encoded.states[0])
    assert torch.equal(observed.frames, encoded.frames[:, 0])
    assert torch.equal(observed.depth_images, encoded.depth_images[:, 0])
    assert torch.equal(observed.depth_mask, encoded.depth_mask[:, 0])


def test_recorded_poses_ask_something_of_the_measured_state_and_not_of_the_pose_asked_for_before():
    clip = make_clip(ABSOLUTE)
    channels = action_channels(ABSOLUTE, clip.states, clip.commands)
    moved = clip.commands.copy()
    moved[3, :3] += 1.0
    changed = action_channels(ABSOLUTE, clip.states, moved) != channels
    assert changed[3, :3].all()
    assert not changed[4].any()


def test_deltas_turn_with_the_base_and_joints_are_joints():
    clip = make_clip(JOINTS)
    np.testing.assert_array_equal(action_channels(JOINTS, clip.states, clip.commands), clip.commands)
    turned = replace(DELTA, model_from_base=((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)))
    clip = make_clip(turned)
    channels = action_channels(turned, clip.states, clip.commands)
    np.testing.assert_allclose(channels[:, 0], -clip.commands[:, 1])
    np.testing.assert_allclose(channels[:, 4], clip.commands[:, 3])
    np.testing.assert_allclose(state_channels(turned, clip.states)[:, 1], clip.states[:, 0])


def _without(clip: Clip, field: str, row: int, column: int) -> Clip:
    values, valid = getattr(clip, f"{field}s").copy(), getattr(clip, f"{field}_is_valid").copy()
    values[row, column], valid[row, column] = 0.0, False
    return replace(clip, **{f"{field}s": values, f"{field}_is_valid": valid})


def test_a_missing_number_of_a_pose_leaves_no_pose():
    clip = _without(make_clip(ABSOLUTE), "state", 4, 1)  # y of the left arm, at the second frame
    encoded = _encode(ABSOLUTE, clip)
    lost = torch.ones(5, 16, dtype=torch.bool)
    lost[1, :3] = False
    assert torch.equal(encoded.state_mask, lost)
    assert (encoded.states[1, :3] == 0).all()
    assert not encoded.action_mask[4, :3].any()
    assert encoded.action_mask[4, 3:].all()
    assert encoded.action_mask[3].all()
    assert (encoded.actions[~encoded.action_mask] == 0).all()


def test_the_gripper_needs_two_measured_openings():
    encoded = _encode(ABSOLUTE, _without(make_clip(ABSOLUTE), "state", 6, 7))
    assert torch.nonzero(~encoded.action_mask[:, 6]).flatten().tolist() == [5, 6]


def test_columns_that_no_one_recorded_are_masked_and_finite():
    for spec in (ABSOLUTE, RAW, JOINTS, DELTA):
        clip = make_clip(spec)
        nothing = replace(
            clip,
            states=np.zeros_like(clip.states),
            commands=np.zeros_like(clip.commands),
            state_is_valid=np.zeros_like(clip.state_is_valid),
            command_is_valid=np.zeros_like(clip.command_is_valid),
        )
        encoded = _encode(spec, nothing)
        for tensor in (encoded.states, encoded.actions, encoded.state_mask, encoded.action_mask):
            assert (tensor == 0).all()


def test_one_missing_raw_number_leaves_the_others():
    for spec in (RAW, JOINTS):
        encoded = _encode(spec, _without(make_clip(spec), "command", 2, 1))
        assert torch.nonzero(~encoded.action_mask[:, list(spec.action_slots)]).tolist() == [[2, 1]]
    encoded = _encode(DELTA, _without(make_clip(DELTA), "command", 2, 1))
    assert torch.nonzero(~encoded.action_mask[:, :7]).tolist() == [[2, 0], [2, 1], [2, 2]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("field", ["state", "command"])
def test_numbers_that_are_none_are_named(value: float, field: str):
    clip = make_clip(ABSOLUTE)
    values = getattr(clip, f"{field}s").copy()
    values[7, 2] = value
    with pytest.raises(DataError, match=rf"made-up/000@0, feature left_z: A {field} is {value} in row 7"):
        _encode(ABSOLUTE, replace(clip, **{f"{field}s": values}))


def test_no_number_that_is_none_reaches_the_model_from_anywhere():
    clips, rng = [(spec, make_clip(spec)) for spec in (ABSOLUTE, RAW, JOINTS, DELTA)], np.random.default_rng(0)
    for number in range(500):
        spec, clip = clips[number % 4]
        field = ("state", "command")[int(rng.integers(2))]
        values, layout = getattr(clip, f"{field}s").copy(), getattr(spec, f"{field}_layout")
        row, column = (int(rng.integers(size)) for size in values.shape)
        values[row, column] = (np.nan, np.inf, -np.inf)[int(rng.integers(3))]
        with pytest.raises(DataError, match=f"feature {layout.columns[column]}: .* in row {row} of the window"):
            _encode(spec, replace(clip, **{f"{field}s": values}))


def test_a_quaternion_must_be_one():
    clip = make_clip(ABSOLUTE)
    states = clip.states.copy()
    states[3, 11:15] *= 1.1
    with pytest.raises(DataError, match=r"right state: The quaternion must have length 1, but has 1.1 in row 3"):
        _encode(ABSOLUTE, replace(clip, states=states))
    commands = clip.commands.copy()
    commands[2, 3:7] = 0
    with pytest.raises(DataError, match=r"left command: The quaternion must have length 1, but has 0 in row 2"):
        _encode(ABSOLUTE, replace(clip, commands=commands))


@pytest.mark.parametrize(("value", "is_refused"), [(-0.06, True), (-0.04, False), (1.04, False), (35.0, True)])
def test_a_measured_opening_is_one(value: float, is_refused: bool):
    clip = make_clip(ABSOLUTE)
    states = clip.states.copy()
    states[5, 15] = value
    changed = replace(clip, states=states)
    if is_refused:
        with pytest.raises(DataError, match=rf"feature right_gripper: The opening .* but is {value:.4g} in row 5"):
            _encode(ABSOLUTE, changed)
    assert torch.isfinite(_encode(ABSOLUTE, _without(changed, "state", 5, 15) if is_refused else changed).states).all()


@pytest.mark.parametrize("box", [(-1, 0, 32, 48), (1, 0, 32, 48), (0, 9, 32, 40), (0, 0, 0, 48)])
def test_a_box_outside_of_the_image_is_refused(box: tuple[int, int, int, int]):
    whole = (0, 0, 32, 48)
    with pytest.raises(ValueError, match=r"`boxes\[1\]` must lie in the image of size \(32, 48\)"):
        RobotProcessor(ABSOLUTE).encode_clip(make_clip(ABSOLUTE), boxes=[whole, box, whole])
    with pytest.raises(ValueError, match="one box per camera, 3 in all, but holds 1"):
        RobotProcessor(ABSOLUTE).encode_clip(make_clip(ABSOLUTE), boxes=[whole])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"robot": "droid"}, "must be of robot 'robotwin', but is of 'droid'"),
        ({"states": np.zeros((16, 16))}, r"`states` of the clip must have shape \(17, 16\), but has \(16, 16\)"),
        ({"command_is_valid": np.ones((16, 7), bool)}, r"`command_is_valid` .* shape \(16, 16\)"),
    ],
)
def test_a_clip_of_another_form_is_refused(changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        _encode(ABSOLUTE, replace(make_clip(ABSOLUTE), **changes))


def test_a_robot_without_statistics_cannot_encode():
    clip = make_clip(ABSOLUTE)
    with pytest.raises(ValueError, match="unknown is quantiles"):
        _encode(replace(ABSOLUTE, quantiles=None), clip)
    _encode(with_random_quantiles(ABSOLUTE, seed=3), clip)

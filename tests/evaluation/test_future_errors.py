"""Every number is the plain metric of the right camera and frame, and moves where the future was changed and nowhere else."""

from dataclasses import replace

import numpy as np
import pytest
from future_samples import NUM_FRAMES, PER_FRAME, make_future

from xwam.evaluation.future_errors import ErrorOptions, future_errors, mean, stand_still, still_errors
from xwam.evaluation.future_metrics import METRICS
from xwam.futures.point_clouds import point_cloud
from xwam.metrics.depth import abs_rel
from xwam.metrics.images import psnr, ssim
from xwam.metrics.points import chamfer_distance, f_score
from xwam.structures import ActionChunk, ArmState, JointState

PERFECT = {"psnr": np.inf, "ssim": 1, "delta1": 1, "coverage": 1, "f_score": 1}  # the others are 0
MEASURED = set(METRICS) - {"lpips", "joints", "command_joints"}


def _changed(field: str, camera: str, frame: int, values: np.ndarray):
    future = make_future()
    arrays = {name: own.copy() for name, own in getattr(future, field).items()}
    arrays[camera][frame] = values
    return replace(future, **{field: arrays})


def _differing(errors, metric: str) -> set[tuple[str, int]]:
    """Where a metric is not perfect."""
    return {
        (subject, frame)
        for subject, values in errors.values[metric].items()
        for frame, value in enumerate(values)
        if not np.isnan(value) and not np.isclose(value, PERFECT.get(metric, 0), atol=1e-9)
    }


def test_the_truth_against_itself_is_perfect():
    errors = future_errors(make_future(), make_future())
    assert set(errors.values) == MEASURED
    for metric in errors.values:
        assert not _differing(errors, metric), metric
        np.testing.assert_allclose(errors.total(metric), PERFECT.get(metric, 0), atol=1e-12)


def test_one_changed_picture_makes_one_entry_bad():
    errors = future_errors(_changed("frames", "wrist", 3, 255 - make_future().frames["wrist"][3]), make_future())
    for metric in ("psnr", "ssim"):
        assert _differing(errors, metric) == {("wrist", 3)}
    assert not _differing(errors, "abs_rel")


def test_one_changed_depth_map_makes_its_entry_and_its_cloud_bad():
    errors = future_errors(_changed("depths", "left", 2, 1.5 * make_future().depths["left"][2]), make_future())
    for metric in ("abs_rel", "delta1", "rmse"):
        assert _differing(errors, metric) == {("left", 2)}
    assert _differing(errors, "chamfer") == {("all views", 2)}
    assert not _differing(errors, "psnr")


def test_depth_that_was_not_predicted_is_not_scored_but_counted():
    depth = make_future().depths["left"][2].copy()
    depth[:6] = 0
    errors = future_errors(_changed("depths", "left", 2, depth), make_future())
    assert not _differing(errors, "abs_rel")
    assert errors.values["coverage"]["left"][2] == pytest.approx(18 / 24)


def test_values_are_those_of_the_plain_metrics():
    dream, truth = make_future(1), make_future(2)
    errors = future_errors(dream, truth)
    for camera in truth.cameras:
        pair = dream.frames[camera], truth.frames[camera]
        np.testing.assert_array_equal(errors.values["psnr"][camera], psnr(*pair))
        np.testing.assert_array_equal(errors.values["ssim"][camera], ssim(*pair))
        expected = abs_rel(dream.depths[camera], truth.depths[camera])
        np.testing.assert_array_equal(errors.values["abs_rel"][camera], expected)
    clouds = [point_cloud(own, 4, edge_threshold=None).points for own in (dream, truth)]
    assert errors.values["chamfer"]["all views"][4] == chamfer_distance(*clouds)
    assert errors.values["chamfer_squared"]["all views"][4] == chamfer_distance(*clouds, kind="squared")
    assert errors.values["f_score"]["all views"][4] == f_score(*clouds, threshold=0.01).f_score
    every = np.stack([errors.values["psnr"][camera] for camera in truth.cameras])
    assert errors.total("psnr") == pytest.approx(every[:, 1:].mean())


def test_states_in_metres_radians_and_openings():
    half = np.array([np.cos(0.15), np.sin(0.15), 0, 0])
    states = list(make_future().states)
    own = states[3]["left"]
    states[3] = {"left": ArmState(own.position + np.array([0.03, 0.04, 0]), half, own.gripper - 0.2)}
    errors = future_errors(make_future(states=tuple(states)), make_future())
    for metric, expected in (("position", 0.05), ("rotation", 0.3), ("gripper", 0.2)):
        assert _differing(errors, metric) == {("left", 3)}
        assert errors.values[metric]["left"][3] == pytest.approx(expected)


def test_arms_in_joints():
    def states(shift: float):
        return tuple({"left": JointState(np.full(7, 0.1 * frame + shift), 0.5)} for frame in range(NUM_FRAMES))

    errors = future_errors(make_future(states=states(0.2)), make_future(states=states(0.0)))
    np.testing.assert_allclose(errors.values["joints"]["left"], 0.2)


def test_a_command_counts_for_the_frame_that_it_leads_to():
    truth = make_future()
    commands = truth.actions.commands.copy()
    commands[PER_FRAME * 2, :3] += [0.3, 0, 0.4]  # the first after frame 2
    changed = ActionChunk(truth.robot, commands, truth.actions.columns, truth.actions.period)
    errors = future_errors(make_future(actions=changed), truth)
    assert _differing(errors, "command_position") == {("left", 3)}
    assert errors.values["command_position"]["left"][3] == pytest.approx(0.5 / PER_FRAME)
    assert np.isnan(errors.values["command_position"]["left"][0])


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        (
            {"depths": {}, "depth_kind": "none"},
            {"abs_rel", "delta1", "rmse", "coverage", "chamfer", "chamfer_squared", "f_score"},
        ),
        ({"intrinsics": {}}, {"chamfer", "chamfer_squared", "f_score"}),
        ({"states": ()}, {"position", "rotation", "gripper"}),
        ({"actions": None}, {"command_position", "command_rotation", "command_gripper"}),
    ],
)
def test_what_cannot_be_measured_is_left_out(changes, missing):
    for dream, truth in ((make_future(**changes), make_future()), (make_future(), make_future(**changes))):
        assert set(future_errors(dream, truth).values) == MEASURED - missing


def test_a_frame_in_which_nothing_was_measured_is_not_scored():
    blind = {name: depth.copy() for name, depth in make_future().depths.items()}
    for depth in blind.values():
        depth[3] = 0
    errors = future_errors(make_future(), make_future(depths=blind))
    for metric in ("abs_rel", "chamfer"):
        assert np.isnan(errors.over_frames(metric)[3])
        assert errors.total(metric) == pytest.approx(0)


def test_fewer_cameras_are_scored_on_those():
    dream = make_future().with_cameras(["wrist"])
    errors = future_errors(dream, make_future())
    assert list(errors.values["psnr"]) == ["wrist"]
    assert not _differing(errors, "chamfer"), "the cloud of the truth is of the same cameras"


def test_depth_without_metres_can_be_aligned():
    twice = {name: 2 * depth for name, depth in make_future().depths.items()}
    dream = make_future(depths=twice)
    assert future_errors(dream, make_future()).total("abs_rel") == pytest.approx(1)
    aligned = future_errors(dream, make_future(), ErrorOptions(depth_alignment="median"))
    assert aligned.total("abs_rel") == pytest.approx(0, abs=1e-6)


def test_only_what_was_asked_for_is_measured():
    def brightness(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
        return np.abs(prediction.mean(axis=(1, 2, 3)) - truth.mean(axis=(1, 2, 3)))

    options = ErrorOptions(groups=("images",), lpips=brightness)
    errors = future_errors(make_future(1), make_future(2), options)
    assert list(errors.values) == ["psnr", "ssim", "lpips"]
    expected = brightness(make_future(1).frames["left"], make_future(2).frames["left"])
    np.testing.assert_array_equal(errors.values["lpips"]["left"], expected)
    with pytest.raises(ValueError, match=r"`groups` must be of .*, but hold \['lpips'\]"):
        ErrorOptions(groups=("lpips",))
    with pytest.raises(ValueError, match="`depth_alignment` must be one of"):
        ErrorOptions(depth_alignment="best")


def test_standing_still_repeats_what_was_observed():
    truth = make_future()
    still = stand_still(truth)
    for name in truth.cameras:
        assert (still.frames[name] == truth.frames[name][0]).all()
        assert (still.depths[name] == truth.depths[name][0]).all()
    assert still.states == (truth.states[0],) * NUM_FRAMES
    errors = future_errors(still, truth)
    np.testing.assert_allclose(errors.values["position"]["left"], 0.01 * np.arange(NUM_FRAMES), atol=1e-12)
    assert errors.values["psnr"]["left"][0] == np.inf
    assert errors.values["psnr"]["left"][1] < 10


def test_the_mean_of_what_is_known():
    values = np.array([[1.0, np.nan], [3.0, np.nan]])
    np.testing.assert_array_equal(mean(values, axis=0), [2.0, np.nan])


def test_standing_still_is_measured_on_what_was_predicted_and_nothing_else():
    whole = make_future()
    partial = replace(make_future(1), depths={"left": make_future(1).depths["left"]})
    still, alone = still_errors(partial, whole), still_errors(partial.with_cameras(["left"]), whole)
    assert list(still.values["psnr"]) == ["left", "wrist"]
    assert list(still.values["abs_rel"]) == ["left"]
    np.testing.assert_array_equal(still.values["chamfer"]["all views"], alone.values["chamfer"]["all views"])
    blind = still_errors(replace(partial, depths={}, depth_kind="none"), whole)
    assert "abs_rel" not in blind.values
    assert "chamfer" not in blind.values


@pytest.mark.parametrize("num_commands", [0, PER_FRAME])
def test_one_frame_is_measured_without_its_commands(num_commands):
    whole = make_future()
    first = replace(
        whole.with_cameras(["left"]),
        frames={"left": whole.frames["left"][:1]},
        depths={"left": whole.depths["left"][:1]},
        base_from_camera={"left": whole.base_from_camera["left"][:1]},
        states=whole.states[:1],
        actions=replace(whole.actions, commands=whole.actions.commands[:num_commands]),
    )
    errors = future_errors(first, first)
    assert errors.values["abs_rel"]["left"].tolist() == [0]
    assert np.isnan(errors.total("abs_rel")), "frame 0 does not count"
    assert not any(name.startswith("command") for name in errors.values)


def test_no_commands_are_no_error():
    still = replace(make_future(), actions=replace(make_future().actions, commands=np.zeros((0, 7))))
    assert not any(name.startswith("command") for name in future_errors(still, still).values)

"""What a dream is in metres, where its cameras are, and how it becomes files."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers.utils import BaseOutput
from tiny import make_observation, make_pipeline, seeded

from xwam.envs.recorded import load_recorded_observation
from xwam.export.future_folder import load_future
from xwam.futures.depth_note import depth_note
from xwam.pipelines.pipeline_output import XWAM4DOutput
from xwam.pipelines.pipeline_xwam_4d import XWAM4DPipeline
from xwam.structures import Camera, PointCloud

FEW = {"num_inference_steps": 2, "num_action_steps": 2}
SMALL = ("json", "npz")


@pytest.fixture(scope="module")
def pipe():
    return make_pipeline(XWAM4DPipeline)


@pytest.fixture(scope="module")
def output(pipe) -> XWAM4DOutput:
    return pipe(load_recorded_observation(), generator=seeded(), **FEW)


@pytest.fixture(scope="module")
def pair(pipe) -> XWAM4DOutput:
    return pipe([make_observation(0), make_observation(1)], generator=[seeded(0), seeded(1)], **FEW)


def test_every_part_is_in_physical_units(output):
    depths, masks, (cameras,) = output.depths, output.depth_masks, output.cameras
    assert depths.shape == masks.shape == output.frames.shape[:-1] == (1, 3, 9, 128, 160)
    assert (depths.dtype, masks.dtype) == (np.float32, bool)
    np.testing.assert_array_equal(masks, depths > 0)
    assert masks.any()
    assert list(cameras) == list(output.future().cameras)
    for view, name in enumerate(cameras):
        np.testing.assert_array_equal(depths[0, view], output.future().depths[name])
        np.testing.assert_array_equal(output.frames[0, view], output.future().frames[name])
        assert len(cameras[name]) == 9
        assert isinstance(cameras[name][0], Camera)
    assert output.depth_notes == ["Metric: decoded with the depth range that the robot declares."]
    assert output.depth_notes == [depth_note(output.future())]


def test_unknown_depth_is_zero_in_the_place_of_its_camera(pair):
    first, second = pair.futures
    last = first.cameras[-1]
    only = replace(first, depths={last: first.depths[last]})
    none = replace(second, depths={}, depth_kind="none")
    depths = XWAM4DOutput(frames=pair.frames, futures=[only, none]).depths
    assert depths.shape == pair.frames.shape[:-1]
    np.testing.assert_array_equal(depths[0, -1], first.depths[last])
    assert first.depths[last].any()
    assert not depths[0, :-1].any()
    assert not depths[1].any()


def test_the_wrist_camera_moves_with_the_predicted_states(output):
    poses = [output.camera("robot0_eye_in_hand", frame).base_from_camera for frame in range(9)]
    hands = [state["left"].position for state in output.states[0]]
    moved = np.linalg.norm(poses[8][:3, 3] - poses[0][:3, 3])
    assert moved > 1e-4
    assert np.linalg.norm(hands[8] - hands[0]) > 1e-4
    still = [output.camera("robot0_agentview_left", frame).base_from_camera for frame in (0, 8)]
    np.testing.assert_array_equal(still[0], still[1])


def test_a_cloud_of_any_frame_is_one_call(output):
    cloud = output.point_cloud(3, voxel_size=0.02)
    assert isinstance(cloud, PointCloud)
    assert cloud.points.shape == cloud.colours.shape
    assert len(cloud.points) < len(output.point_cloud(3).points)


def test_one_example_is_saved_into_the_folder_itself(output, tmp_path):
    paths = output.save(tmp_path / "dream", formats=SMALL)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == ["dream/future.json", "dream/future.npz"]
    loaded = load_future(tmp_path / "dream")
    for name, frames in output.future().frames.items():
        np.testing.assert_array_equal(loaded.frames[name], frames)
    np.testing.assert_array_equal(loaded.actions.commands, output.actions[0].commands)


def test_several_examples_are_numbered_and_one_can_be_chosen(pair, tmp_path):
    pair.save(tmp_path / "dreams", formats=SMALL)
    assert sorted(path.name for path in (tmp_path / "dreams").iterdir()) == ["0000", "0001"]
    for example in (0, 1):
        assert load_future(tmp_path / "dreams" / f"{example:04d}").instruction == make_observation(example).instruction
    pair.save(tmp_path / "second", example=1, formats=SMALL)
    assert load_future(tmp_path / "second").instruction == make_observation(1).instruction
    for wrong in (2, "a", 1.0, True):
        with pytest.raises(ValueError, match=f"`example` must be a whole number from 0 to 1, but is {wrong!r}"):
            pair.future(wrong)
    with pytest.raises(ValueError, match="`example` must be a whole number from 0 to 1, but is -1"):
        pair.save(tmp_path / "none", example=-1)


def test_an_earlier_export_is_replaced_whether_of_one_or_of_several(pair, output, tmp_path):
    dreams = tmp_path / "dreams"
    for saved, expected in ((pair, ["0000", "0001"]), (output, ["future.json"]), (pair, ["0000", "0001"])):
        paths = saved.save(dreams, formats=["json"])
        assert sorted(path.name for path in dreams.iterdir()) == expected
        assert all(path.is_file() for path in paths)
    three = replace(pair, futures=[*pair.futures, pair.futures[0]])
    three.save(dreams, formats=["json"])
    pair.save(dreams, formats=["json"])
    assert not (dreams / "0002").exists()
    (dreams / "0001" / "mine.txt").touch()
    with pytest.raises(ValueError, match=r"holds 0001/mine\.txt; nothing was written"):
        three.save(dreams, formats=["json"])
    assert not (dreams / "0002").exists()


@pytest.mark.parametrize("frame", [9, -1, 1.5, True])
def test_a_camera_is_asked_for_at_a_frame_that_is_there(output, frame):
    with pytest.raises(ValueError, match=f"`frame` must be a whole number from 0 to 8, but is {frame}"):
        output.camera("robot0_eye_in_hand", frame)


@pytest.mark.parametrize("output_type", ["pt", "latent"])
def test_tensors_have_no_physical_units(pipe, tmp_path, output_type):
    output = pipe(make_observation(), output_type=output_type, **FEW)
    assert output.futures is None
    calls = [
        output.future,
        lambda: output.point_cloud(0),
        lambda: output.camera("robot0_eye_in_hand", 0),
        lambda: output.save(tmp_path / "dream"),
        lambda: output.depths,
        lambda: output.depth_masks,
        lambda: output.depth_notes,
        lambda: output.cameras,
    ]
    for call in calls:
        with pytest.raises(ValueError, match="need `output_type` 'np' or 'pil', but this output holds tensors"):
            call()
    assert not list(tmp_path.iterdir())


def test_pictures_come_with_the_same_future(pipe, output):
    pictures = pipe(load_recorded_observation(), generator=seeded(), output_type="pil", **FEW)
    for name, frames in output.future().frames.items():
        np.testing.assert_array_equal(pictures.future().frames[name], frames)


def test_it_is_still_an_output_of_diffusers(output):
    assert isinstance(output, BaseOutput)
    names = ["frames", "depth_images", "actions", "states", "timings", "is_finished", "futures"]
    assert list(output.keys()) == names
    assert [value is output[name] for name, value in zip(names, output.to_tuple(), strict=True)] == [True] * 7
    assert output[0] is output.frames


def test_the_place_of_a_part_does_not_depend_on_the_output_type(pipe, output):
    tensors = pipe(make_observation(), output_type="pt", **FEW)
    assert list(tensors.keys()) == list(output.keys())[:-1]
    assert torch.is_tensor(tensors.to_tuple()[0])
    assert tensors.to_tuple()[-1] is True

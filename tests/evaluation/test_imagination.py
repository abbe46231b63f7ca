"""Windows of a data set become predictions and truth that can be scored; a run that was stopped goes on."""

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from memory_reader import MemoryReader, Recording
from seen_world import as_clip, see
from tiny import make_pipeline

from xwam.data.readers.base import Calibration
from xwam.data.streams.clip_dataset import ClipDataset
from xwam.evaluation.future_errors import ErrorOptions
from xwam.evaluation.imagination import ImagineOptions, imagine_windows, spread
from xwam.evaluation.scored_folders import score_folders
from xwam.export.future_folder import load_future
from xwam.pipelines.pipeline_xwam_4d import XWAM4DPipeline

FEW_STEPS = {"num_inference_steps": 2, "num_action_steps": 1}
FIRST, SECOND = "000@000000", "001@000000"


def _recording(seed: int, *, halved: bool = False) -> Recording:
    """Rows of an episode; those between two frames repeat the picture before."""
    clip = as_clip(see(seed))
    step = 2 if halved else 1

    def rows(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: np.repeat(own, 4, axis=0)[: len(clip.states), ::step, ::step] for name, own in arrays.items()}

    return Recording(
        states=clip.states,
        commands=np.concatenate([clip.commands, clip.commands[-1:]]),
        images=rows(clip.images),
        depths=rows(clip.depths),
        calibrations={}
        if halved
        else {
            name: Calibration(clip.intrinsics[name], np.repeat(poses, 4, axis=0)[: len(clip.states)])
            for name, poses in clip.base_from_camera.items()
        },
    )


def _windows(**changes: bool) -> ClipDataset:
    return ClipDataset(MemoryReader(see().robot, [_recording(0, **changes), _recording(1, **changes)]), stride=32)


@pytest.fixture(scope="module")
def pipeline() -> XWAM4DPipeline:
    return make_pipeline(XWAM4DPipeline)


@pytest.fixture(scope="module")
def folder(pipeline, tmp_path_factory) -> Path:
    """Both windows, with the recorded commands given."""
    folder = tmp_path_factory.mktemp("imagined")
    assert imagine_windows(pipeline, _windows(), folder, ImagineOptions(given_actions=True, **FEW_STEPS)) == 2
    return folder


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.npz")}


def test_truth_is_what_was_recorded_and_predictions_begin_there(folder):
    for name, seed in ((FIRST, 0), (SECOND, 1)):
        truth, prediction = load_future(folder / "truth" / name), load_future(folder / "predictions" / name)
        np.testing.assert_array_equal(truth.actions.commands, see(seed).commands)
        np.testing.assert_allclose(prediction.actions.commands, see(seed).commands, atol=1e-5)
        assert (truth.depth_kind, prediction.depth_kind) == ("measured", "metric")
        np.testing.assert_allclose(prediction.states[0]["left"].position, truth.states[0]["left"].position, atol=1e-6)
        for camera in truth.cameras:
            np.testing.assert_allclose(prediction.intrinsics[camera], truth.intrinsics[camera], atol=1e-6)
            np.testing.assert_allclose(
                prediction.base_from_camera[camera][0], truth.base_from_camera[camera][0], atol=1e-4
            )


def test_they_can_be_scored(folder):
    windows = score_folders(folder / "predictions", folder / "truth", ErrorOptions(groups=("images", "commands")))
    assert [window.name for window in windows] == [FIRST, SECOND]
    assert [window.episode for window in windows] == ["000", "001"]
    assert windows[0].errors.total("command_position") == pytest.approx(0, abs=1e-5)


def test_a_stopped_run_goes_on_and_ends_as_an_uninterrupted_one(pipeline, folder, tmp_path):
    options = ImagineOptions(given_actions=True, **FEW_STEPS)
    assert imagine_windows(pipeline, _windows(), tmp_path, options, numbers=[1]) == 1
    names: list[str] = []
    assert imagine_windows(pipeline, _windows(), tmp_path, options, on_window=names.append) == 1
    assert names == [FIRST, SECOND]
    assert imagine_windows(pipeline, _windows(), tmp_path, options) == 0
    ours, theirs = _bytes(tmp_path), _bytes(folder)
    assert ours.keys() == theirs.keys()
    for name in (FIRST, SECOND):
        own, other = (load_future(root / "predictions" / name) for root in (tmp_path, folder))
        for camera in own.cameras:
            np.testing.assert_array_equal(own.frames[camera], other.frames[camera])


def test_other_settings_do_not_mix(pipeline, folder):
    before = _bytes(folder)
    with pytest.raises(ValueError, match="was begun with seed 0, but now it is 1; choose another folder"):
        imagine_windows(pipeline, _windows(), folder, ImagineOptions(seed=1, given_actions=True, **FEW_STEPS))
    other = XWAM4DPipeline.from_pipe(pipeline, transformer=deepcopy(pipeline.transformer))
    with torch.no_grad():
        next(own for name, own in other.transformer.named_parameters() if "depth" in name).add_(1)
    with pytest.raises(ValueError, match=r"was begun with weights\.transformer '\w+', but now it is"):
        imagine_windows(other, _windows(), folder, ImagineOptions(given_actions=True, **FEW_STEPS))
    own = _recording(0)
    slow = replace(
        own,
        states=np.repeat(own.states, 2, axis=0),
        commands=np.repeat(own.commands, 2, axis=0),
        images={name: np.repeat(frames, 2, axis=0) for name, frames in own.images.items()},
        depths={},
        calibrations={},
    )
    skipping = ClipDataset(MemoryReader(see().robot, [slow]), stride=32)
    skipping.shape = replace(skipping.shape, rows_per_command=2)
    with pytest.raises(ValueError, match="was begun with rows_per_command 1, but now it is 2"):
        imagine_windows(pipeline, skipping, folder, ImagineOptions(given_actions=True, **FEW_STEPS))
    other = ClipDataset(MemoryReader(see().robot, [_recording(1), _recording(1)]), stride=32)
    with pytest.raises(
        ValueError, match=r"was begun with first_window_hash '\w+', but now it is '\w+'; choose another"
    ):
        imagine_windows(pipeline, other, folder, ImagineOptions(given_actions=True, **FEW_STEPS))
    assert _bytes(folder) == before
    assert json.loads((folder / "imagine.json").read_text())["data"] == "memory"


def test_steps_that_cannot_be_leave_no_settings_behind(pipeline, tmp_path):
    with pytest.raises(ValueError, match="`num_action_steps` must lie in 1…2"):
        imagine_windows(pipeline, _windows(), tmp_path / "new", ImagineOptions(num_inference_steps=2))
    assert not (tmp_path / "new").exists()


def test_pictures_of_another_size_are_seen_with_matrices_that_follow(pipeline, folder, tmp_path):
    imagine_windows(pipeline, _windows(halved=True), tmp_path, ImagineOptions(**FEW_STEPS), numbers=[0])
    half, whole = (load_future(root / "predictions" / FIRST) for root in (tmp_path, folder))
    wrist = "robot0_eye_in_hand"
    np.testing.assert_allclose(half.intrinsics[wrist], whole.intrinsics[wrist], atol=1e-5)
    assert half.frames[wrist].shape == whole.frames[wrist].shape
    assert pipeline.robot_processor.spec == see().robot, "the pipeline is as it was"


def test_prompts_keep_their_length_where_pictures_have_another_size(pipeline, tmp_path, monkeypatch):
    made = []
    own = XWAM4DPipeline.__call__
    monkeypatch.setattr(
        XWAM4DPipeline, "__call__", lambda self, *rest, **options: (made.append(self), own(self, *rest, **options))[1]
    )
    short = XWAM4DPipeline.from_pipe(pipeline, max_sequence_length=pipeline.config.max_sequence_length - 8)
    imagine_windows(short, _windows(halved=True), tmp_path, ImagineOptions(**FEW_STEPS), numbers=[0])
    assert [each.config.max_sequence_length for each in made] == [short.config.max_sequence_length]


def test_without_windows_or_commands_nothing_is_imagined(pipeline, tmp_path):
    with pytest.raises(ValueError, match="There must be at least one window to imagine, but memory has none"):
        imagine_windows(pipeline, _windows(), tmp_path, numbers=[])
    one = _recording(0)
    one.commands[5] = np.nan
    windows = ClipDataset(MemoryReader(see().robot, [one]))
    with pytest.raises(ValueError, match="The commands of 000@000000 must all be known"):
        imagine_windows(pipeline, windows, tmp_path / "new", ImagineOptions(given_actions=True))


def test_two_windows_never_share_a_folder(pipeline, tmp_path):
    windows = _windows()
    for number, key in enumerate(("pick/red_cube", "pick_red/cube")):
        windows.reader.episodes[number] = replace(windows.reader.episodes[number], key=key)
    with pytest.raises(ValueError, match="several of memory would be 'pick_red_cube@000000'"):
        imagine_windows(pipeline, windows, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_windows_are_spread_evenly():
    assert spread(5, None) == spread(5, 9) == [0, 1, 2, 3, 4]
    assert spread(101, 3) == [0, 50, 100]
    assert spread(10, 1) == [0]

"""Recordings of real robots: what is known to be wrong with them is found, and nothing else."""

from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image
from recorded_folder import RECORDED, needs_recorded

from xwam.data.checks.dataset_check import check_reader
from xwam.data.checks.depths import depth_findings
from xwam.data.checks.frames import trace_frames
from xwam.data.dataset_map import ArmMap, CameraMap, Columns, DatasetMap
from xwam.data.readers.base import Episode, EpisodeReader, Numbers
from xwam.data.readers.rlds import RldsReader
from xwam.data.video.reader import read_frames
from xwam.robots.registry import get_robot
from xwam.robots.spec import ArmSpec, CameraSpec, GripperSpec, RobotSpec

BRIDGE, DROID, SHELF = (
    RECORDED / "data/bridge_rlds_mini",
    RECORDED / "data/droid_3view",
    RECORDED / "data/apc_rgbd_calibrated",
)
WIDOWX = RobotSpec(
    name="widowx",
    arms=(ArmSpec("left", GripperSpec(1.0, 0.0)),),
    cameras=tuple(CameraSpec(f"image_{number}", (64, 64)) for number in range(4)),
    command_kind="delta_end_effector",
    control_period=0.2,
    state_slots=tuple(range(8)),
    action_slots=tuple(range(7)),
    num_frames=5,
    actions_per_frame=2,
)


def bridge_map() -> DatasetMap:
    def arm(feature: str) -> ArmMap:
        places = (Columns(feature, (0, 1, 2)), Columns(feature, (3, 4, 5)))
        return ArmMap("left", *places, rotation_form="euler_xyz", gripper=Columns(feature, (6,)))

    cameras = tuple(CameraMap(f"image_{number}", f"observation/image_{number}") for number in range(4))
    return DatasetMap((arm("observation/state"),), (arm("action"),), cameras, ("language_instruction",))


@needs_recorded("data", "bridge_rlds_mini")
@pytest.mark.parametrize("split", ["train", "val"])
def test_bridges_black_camera_and_wrong_flags_are_all_that_is_found(split):
    with RldsReader(BRIDGE, WIDOWX, bridge_map(), split) as reader:
        report = check_reader(reader)
    found = {(one.kind, one.feature) for one in report.findings}
    flags = {("wrong_flag", f"image_{number}") for number in range(3)}
    assert found == {("dead_camera", "image_3")} | flags
    assert len(report.findings) == 25 * 4


class DroidVideos(EpisodeReader):
    """Three videos and no numbers."""

    def __init__(self) -> None:
        super().__init__("droid_3view", get_robot("droid"), 15.0, [Episode("0", 419, ("move the pan",))])

    cameras = property(lambda self: ("exterior_1_left", "exterior_2_left", "wrist_left"))
    depth_cameras = property(lambda self: ())

    def read_states(self, episode: int, start: int, stop: int) -> Numbers:
        return Numbers(np.zeros((stop - start, 8)), np.zeros((stop - start, 8), dtype=bool))

    read_commands = read_states

    def read_images(self, episode: int, camera: str, rows: Sequence[int]) -> np.ndarray:
        name = camera.replace("exterior_", "exterior_image_").replace("wrist_", "wrist_image_")
        return read_frames(DROID / f"{name}.mp4", rows)

    def read_depths(self, episode: int, camera: str, rows: Sequence[int]) -> np.ndarray:
        raise NotImplementedError


@needs_recorded("data", "droid_3view")
def test_nothing_is_wrong_with_the_videos_of_droid():
    report = check_reader(DroidVideos())
    assert report.kinds == {"missing_column"}, "the recording has no numbers, and nothing else is wrong"


@needs_recorded("data", "apc_rgbd_calibrated")
def test_holes_of_a_real_sensor_are_no_defect():
    frames = []
    for path in sorted(SHELF.rglob("*.depth.png")):
        stored = np.asarray(Image.open(path)).astype(np.uint16)
        frames.append((((stored >> 3) | (stored << 13)) / 10000).astype(np.float32))  # as SOURCE.md there says
    depth = np.stack(frames)
    assert (depth == 0).mean() > 0.5
    trace = trace_frames("shelf depth", lambda rows: depth[list(rows)], range(len(depth)), [])
    assert list(depth_findings(trace, CameraSpec("shelf", depth.shape[1:]), is_metric=True)) == []
    trace = trace_frames("shelf depth", lambda rows: 1000 * depth[list(rows)], range(len(depth)), [])
    kinds = [one.kind for one in depth_findings(trace, CameraSpec("shelf", depth.shape[1:]), is_metric=True)]
    assert kinds == ["depth_unit"]

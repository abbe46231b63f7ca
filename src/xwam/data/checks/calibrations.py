"""Camera matrices and poses that no camera has."""

from collections.abc import Iterator, Mapping

import numpy as np

from xwam.data.checks.findings import Finding, finding_of
from xwam.data.readers.base import Calibration, EpisodeReader
from xwam.errors import DataError
from xwam.geometry.matrix_checks import intrinsics_problem, rigid_problem


def calibration_findings(
    reader: EpisodeReader, episode: int, sizes: Mapping[str, tuple[int, int]]
) -> tuple[list[Finding], dict[str, np.ndarray]]:
    """What is wrong with the calibration of one episode.

    Args:
        reader (`EpisodeReader`): The data set.
        episode (`int`): Index into its episodes.
        sizes (`Mapping[str, tuple[int, int]]`): Height and width of the images of each camera.

    Returns:
        `tuple[list[Finding], dict[str, np.ndarray]]`: Defects, and rotations `(rows, 3, 3)` of sound cameras that arms
        carry, by arm.
    """
    found, rotations = [], {}
    rows = list(range(reader.episodes[episode].length))
    for camera in reader.robot.cameras:
        if camera.name not in reader.cameras or not rows:
            continue
        try:
            calibration = reader.read_calibration(episode, camera.name, rows)
        except DataError as error:
            found.append(finding_of(error, feature=camera.name))
            continue
        problems = list(_problems(camera.name, calibration, sizes.get(camera.name, camera.size)))
        found += problems
        if not problems and camera.arm is not None and calibration.base_from_camera is not None:
            rotations[camera.arm] = calibration.base_from_camera[:, :3, :3]
    return found, rotations


def _problems(camera: str, calibration: Calibration, size: tuple[int, int]) -> Iterator[Finding]:
    if calibration.intrinsics is not None and (problem := intrinsics_problem(calibration.intrinsics, size)):
        yield Finding("broken_calibration", "a camera matrix", f"it {problem}", f"{camera} intrinsics")
    if calibration.base_from_camera is not None:
        for row, pose in enumerate(calibration.base_from_camera):
            if problem := rigid_problem(pose):
                yield Finding("broken_calibration", "a rigid pose", f"it {problem}", f"{camera} base_from_camera", row)
                return

"""Calibration from ROS, whichever way it comes, follows what the camera sends."""

from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from scipy.spatial.transform import Rotation

from xwam.robots.camera_formats import pose_matrix
from xwam.robots.ros_camera_info import camera_from_ros, intrinsics_from_ros

K = np.array([[538.6, 0, 322.5], [0, 539.7, 241.2], [0, 0, 1]])
P = np.array([[500.0, 0, 330, 0], [0, 500, 250, 0], [0, 0, 1, 0]])
TURN = Rotation.from_rotvec([0.02, -0.01, 0.03]).as_matrix()
POSE = pose_matrix(np.array([0.5, -0.1, 0.7]), Rotation.from_rotvec([2.0, 0.3, -0.4]).as_matrix())

FILE = """image_width: 640
image_height: 480
camera_name: front
camera_matrix:
  rows: 3
  cols: 3
  data: [538.6, 0, 322.5, 0, 539.7, 241.2, 0, 0, 1]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [0, 0, 0, 0, 0]
rectification_matrix:
  rows: 3
  cols: 3
  data: [1, 0, 0, 0, 1, 0, 0, 0, 1]
projection_matrix:
  rows: 3
  cols: 4
  data: [500, 0, 330, 0, 0, 500, 250, 0, 0, 0, 1, 0]
"""


def message(**changes) -> dict:
    return {
        "height": 480,
        "width": 640,
        "distortion_model": "plumb_bob",
        "d": [0.0] * 5,
        "k": K.ravel().tolist(),
        "r": np.eye(3).ravel().tolist(),
        "p": P.ravel().tolist(),
        "binning_x": 0,
        "binning_y": 0,
        "roi": {"x_offset": 0, "y_offset": 0, "height": 0, "width": 0, "do_rectify": False},
        **changes,
    }


def shifted(matrix: np.ndarray) -> np.ndarray:
    return matrix + np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])


def test_file_mapping_and_message_say_the_same(tmp_path):
    path = tmp_path / "front.yaml"
    path.write_text(FILE)
    first = {key.upper() if len(key) == 1 else key: value for key, value in message().items()}  # ROS 1
    as_object = SimpleNamespace(**{**message(), "roi": SimpleNamespace(**message()["roi"]), "k": K.ravel()})
    for source in (path, str(path), yaml.safe_load(FILE), message(), first, as_object):
        matrix, size = intrinsics_from_ros(source)
        np.testing.assert_allclose(matrix, shifted(K))
        assert size == (480, 640)
        matrix, _ = intrinsics_from_ros(source, is_rectified=True)
        np.testing.assert_allclose(matrix, shifted(P[:, :3]))


def test_region_and_binning_keep_the_ray_of_every_pixel():
    """The pixel whose centre is u of the sent image averages `binning` sensor pixels beside each other, from `offset` on."""
    roi = {"x_offset": 100, "y_offset": 40, "width": 320, "height": 240}
    matrix, size = intrinsics_from_ros(message(binning_x=2, binning_y=4, roi=roi))
    assert size == (60, 160)
    for column, row in ((0, 0), (7, 3), (159, 59)):
        u = np.mean([100 + 2 * column + step for step in range(2)])  # ROS: integers are centres
        v = np.mean([40 + 4 * row + step for step in range(4)])
        ray = np.linalg.solve(K, [u, v, 1])
        np.testing.assert_allclose(matrix @ ray, [column + 0.5, row + 0.5, 1])


def test_an_undistorted_camera_needs_no_coefficients():
    for changes in ({"d": []}, {"d": None}, {"distortion_model": ""}, {"distortion_model": "rational_polynomial"}):
        np.testing.assert_allclose(intrinsics_from_ros(message(**changes))[0], shifted(K))


@pytest.mark.parametrize("model", ["equidistant", "Kannala_Brandt4"])
def test_a_fisheye_without_coefficients_is_still_no_pinhole(model):
    """Its pixels lie at f · angle; at 45° a pinhole of the same focal length is a fifth off."""
    info = message(distortion_model=model, d=[0.0] * 4)
    for source in (info, SimpleNamespace(**info)):
        with pytest.raises(ValueError, match=rf"fisheye lens, distortion_model '{model}'.*`is_rectified=True`"):
            intrinsics_from_ros(source)
        np.testing.assert_allclose(intrinsics_from_ros(source, is_rectified=True)[0], shifted(P[:, :3]))


def test_a_rectified_camera_is_turned_and_sees_the_same_rays():
    info = message(d=[0.1, -0.2, 0, 0, 0], r=TURN.ravel().tolist())
    camera = camera_from_ros(info, POSE, is_rectified=True)
    np.testing.assert_allclose(camera.intrinsics, shifted(P[:, :3]))
    point = np.array([0.1, -0.2, 1.3])  # in the optical frame
    seen = np.linalg.inv(camera.base_from_camera) @ POSE @ [*point, 1]
    np.testing.assert_allclose(seen[:3], TURN @ point)  # ROS: X_rect = R X
    raw = camera_from_ros(message(), POSE)
    np.testing.assert_array_equal(raw.base_from_camera, POSE)


MALFORMED = {
    "distortion": (message(d=[0.1, 0, 0, 0, 0]), r"lens that distorts, D = \[0.1.*rectify.*`is_rectified=True`"),
    "not calibrated": (message(k=[0.0] * 9), r"not calibrated: K begins with zero"),
    "no matrix": (
        {"width": 640, "height": 480},
        r"lacks K, in a file called `camera_matrix`; it has \['height', 'width'\]",
    ),
    "no size": ({"K": K.ravel()}, r"lacks the height of its images"),
    "eight numbers": (message(k=[1.0] * 8), r"9 finite numbers in K"),
    "words": (message(k=["f"] * 9), r"numbers in K"),
    "NaN": (message(d=[np.nan]), r"finite numbers in D"),
    "half a pixel": (message(width=640.5), r"whole number of pixels in width, but has 640.5"),
    "K of a smaller image": (message(width=300), r"principal point inside the image of size \(480, 300\)"),
    "transposed": (message(k=K.T.ravel().tolist()), r"as if transposed"),
    "region outside": (message(roi={"x_offset": 600, "y_offset": 0, "width": 100, "height": 480}), r"roi inside"),
    "something else": (3.5, r"must be a CameraInfo, its fields or a file, but is a float"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_no_camera_info_is_refused_in_words(case):
    info, text = MALFORMED[case]
    with pytest.raises(ValueError, match=text):
        intrinsics_from_ros(info)


def test_a_file_that_is_no_yaml_is_named(tmp_path):
    path = tmp_path / "opencv.yaml"
    path.write_text("%YAML:1.0\n---\nK: !!opencv-matrix\n  rows: 3\n")
    with pytest.raises(ValueError, match=r"opencv.yaml' is no YAML file of a camera"):
        intrinsics_from_ros(path)


def test_a_pose_that_is_unsure_is_refused():
    stereo = P.copy()
    stereo[0, 3] = -25.0
    with pytest.raises(
        ValueError, match=r"second camera of a stereo pair, the last column of P is \[-25.0, 0.0, 0.0\]"
    ):
        camera_from_ros(message(p=stereo.ravel().tolist()), POSE, is_rectified=True)
    np.testing.assert_allclose(
        intrinsics_from_ros(message(p=stereo.ravel().tolist()), is_rectified=True)[0], shifted(P[:, :3])
    )
    with pytest.raises(ValueError, match=r"`R` must be a rotation"):
        camera_from_ros(message(r=[2.0] * 9), POSE, is_rectified=True)
    with pytest.raises(ValueError, match=r"`base_from_optical` .* reflection"):
        camera_from_ros(message(), POSE @ np.diag([1.0, 1, -1, 1]))

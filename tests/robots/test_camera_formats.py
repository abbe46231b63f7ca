"""Foreign calibration lands in ours: each format by its own published formula, MuJoCo by what it renders."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from xwam.envs.mujoco_world import CAMERAS, MujocoWorld
from xwam.envs.opengl import RenderingUnavailableError, import_mujoco
from xwam.robots.camera_formats import (
    camera_from_mujoco,
    camera_from_opengl,
    camera_from_rlbench,
    camera_from_robosuite,
    camera_from_sapien,
    intrinsics_from_fov,
    intrinsics_from_mujoco,
    intrinsics_from_opencv,
    invert_pose,
    pose_matrix,
    turned_camera,
)
from xwam.structures import Camera

SIZE = (120, 160)
K = np.array([[150.0, 0, 78], [0, 140, 63], [0, 0, 1]])
SCENE = """<mujoco><statistic extent="1" center="0 0 0"/><visual><map znear="0.05" zfar="8"/></visual><worldbody>
<geom type="plane" size="9 9 0.1"/><geom type="box" pos="-0.2 -0.1 0.1" size="0.15 0.08 0.12"/>
<geom type="box" pos="0.25 0.1 0.05" size="0.06 0.1 0.2"/>
<body name="base" pos="0.4 -0.3 0.1" euler="10 -20 130"/>
<body pos="0.02 -0.03 1.2" euler="5 7 20">
<camera name="angle" fovy="50"/>
<camera name="sensor" resolution="160 120" sensorsize="0.006 0.004" focal="0.005 0.0045" principal="0.0006 -0.0003"/>
<camera name="pixels" resolution="160 120" sensorsize="0.006 0.004" focalpixel="140 130" principalpixel="20 -9"/>
</body></worldbody></mujoco>"""
BOXES = (
    (np.array([-0.2, -0.1, 0.1]), [0.15, 0.08, 0.12]),
    (np.array([0.25, 0.1, 0.05]), [0.06, 0.1, 0.2]),
)  # half sides


def some_pose(seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return pose_matrix(generator.uniform(-1, 1, 3), Rotation.random(random_state=seed).as_matrix())


def some_points(camera: Camera, seed: int = 0) -> np.ndarray:
    """Points in front of a camera, in the base frame, `(n, 3)`."""
    seen = np.random.default_rng(seed).uniform([-0.4, -0.4, 0.5], [0.4, 0.4, 2.0], (50, 3))
    return seen @ camera.base_from_camera[:3, :3].T + camera.base_from_camera[:3, 3]


def project(camera: Camera, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels `(n, 2)` and depths `(n,)`, plainly."""
    seen = (points - camera.base_from_camera[:3, 3]) @ camera.base_from_camera[:3, :3]
    pixels = seen @ camera.intrinsics.T
    return pixels[:, :2] / pixels[:, 2:], seen[:, 2]


def unproject(camera: Camera, depth: np.ndarray) -> np.ndarray:
    """Points `(H, W, 3)` in the base frame, plainly."""
    u, v = np.meshgrid(np.arange(depth.shape[1]) + 0.5, np.arange(depth.shape[0]) + 0.5)
    rays = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(camera.intrinsics).T
    return (rays * depth[..., None]) @ camera.base_from_camera[:3, :3].T + camera.base_from_camera[:3, 3]


def test_a_pose_times_its_inverse_is_the_identity():
    for seed in range(20):
        np.testing.assert_allclose(some_pose(seed) @ invert_pose(some_pose(seed)), np.eye(4), atol=1e-12)


def test_an_opengl_camera_sees_what_opengl_draws():
    """OpenGL: x right, y up, looking along -z, so u = cx + f x / -z and v = cy - f y / -z."""
    pose = some_pose()
    camera = camera_from_opengl(K, SIZE, pose)
    points = some_points(camera)
    x, y, z = ((points - pose[:3, 3]) @ pose[:3, :3]).T
    assert (z < 0).all()
    pixels, depth = project(camera, points)
    np.testing.assert_allclose(pixels, np.stack([78 + 150 * x / -z, 63 - 140 * y / -z], axis=1))
    np.testing.assert_allclose(depth, -z)


def test_an_rlbench_camera_sees_what_pyrep_computes():
    """PyRep: pixel · depth = K [Rᵀ | -Rᵀ t] point, with negative focal lengths in K."""
    negative = K * np.array([[-1], [-1], [1]]) + np.array([[0, 0, 2 * 78], [0, 0, 2 * 63], [0, 0, 0]])
    pose = some_pose(1)
    camera = camera_from_rlbench(negative, pose, SIZE)
    assert (np.diag(camera.intrinsics) > 0).all()
    assert np.linalg.det(camera.base_from_camera[:3, :3]) == pytest.approx(1)
    points = some_points(camera)
    scaled = points @ (negative @ pose[:3, :3].T).T - negative @ pose[:3, :3].T @ pose[:3, 3]
    pixels, depth = project(camera, points)
    np.testing.assert_allclose(pixels, scaled[:, :2] / scaled[:, 2:])
    np.testing.assert_allclose(depth, scaled[:, 2])


def test_both_poses_of_sapien_give_one_camera():
    pose = some_pose(2)
    extrinsic, rendered = np.linalg.inv(pose), pose @ np.diag([1.0, -1, -1, 1])
    for poses in (
        {"extrinsic_cv": extrinsic[:3]},
        {"extrinsic_cv": extrinsic},
        {"cam2world_gl": rendered},
        {"extrinsic_cv": extrinsic[:3].astype(np.float32), "cam2world_gl": rendered.astype(np.float32)},
    ):
        camera = camera_from_sapien(K, SIZE, **poses)
        np.testing.assert_allclose(camera.base_from_camera, pose, atol=1e-6)


def test_the_base_may_stand_anywhere_in_the_world():
    pose, base_from_world = some_pose(3), some_pose(4)
    negative = K * np.array([[-1], [-1], [1]]) + np.array([[0, 0, 2 * 78], [0, 0, 2 * 63], [0, 0, 0]])
    for make in (
        lambda **base: camera_from_robosuite(K, pose, SIZE, **base),
        lambda **base: camera_from_rlbench(negative, pose, SIZE, **base),
        lambda **base: camera_from_sapien(K, SIZE, extrinsic_cv=np.linalg.inv(pose), **base),
    ):
        moved = make(base_from_world=base_from_world).base_from_camera
        np.testing.assert_allclose(moved, base_from_world @ make().base_from_camera, atol=1e-12)


def test_opencv_counts_from_the_centre_of_the_first_pixel():
    expected = K + np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    np.testing.assert_array_equal(intrinsics_from_opencv(K, SIZE, np.zeros((1, 5))), expected)
    cv2 = pytest.importorskip("cv2")
    point = np.array([[0.1, -0.2, 1.5]])
    theirs = cv2.projectPoints(point, np.zeros(3), np.zeros(3), K, None)[0].ravel()
    ours, _ = project(Camera(expected, np.eye(4)), point)
    np.testing.assert_allclose(ours[0] - 0.5, theirs)  # their pixel (0, 0) is our (0.5, 0.5)


@pytest.mark.parametrize("turns", [0, 1, 2, 3, -1])
def test_a_turned_image_shows_the_same_points(turns):
    camera = Camera(K, some_pose(5))
    depth = np.random.default_rng(0).uniform(0.5, 2, SIZE)
    expected = np.rot90(unproject(camera, depth), turns)
    turned = turned_camera(camera, SIZE, turns)
    np.testing.assert_allclose(unproject(turned, np.rot90(depth, turns)), expected, atol=1e-12)
    assert np.linalg.det(turned.base_from_camera[:3, :3]) == pytest.approx(1)


def rendering_mujoco():
    try:
        return import_mujoco("the tests")
    except (ImportError, RenderingUnavailableError) as error:
        pytest.skip(f"this machine cannot render: {error}")


@pytest.mark.parametrize("size", [(120, 160), (100, 100), (60, 150)])
@pytest.mark.parametrize("name", ["angle", "sensor", "pixels"])
def test_what_mujoco_renders_lies_on_the_shapes_of_its_scene(name, size):
    mujoco = rendering_mujoco()
    model = mujoco.MjModel.from_xml_string(SCENE)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    with mujoco.Renderer(model, *size) as renderer:
        renderer.update_scene(data, name)
        renderer.enable_depth_rendering()
        depth = renderer.render()
    assert depth.max() < 7.9, "everything is in sight"
    camera = camera_from_mujoco(model, data, name, size, base="base")
    world_from_base = pose_matrix(data.body("base").xpos, data.body("base").xmat)
    points = unproject(camera, depth) @ world_from_base[:3, :3].T + world_from_base[:3, 3]
    outside = [np.abs(np.max(np.abs(points - centre) - half, axis=-1)) for centre, half in BOXES]
    on_a_box = np.min(outside, axis=0) < 1e-4
    assert 0.02 < on_a_box.mean() < 0.5
    assert np.max(np.abs(points[~on_a_box][:, 2])) < 1e-4, "what is no box is the floor"
    given = camera_from_mujoco(model, data, name, size, base=invert_pose(world_from_base))
    np.testing.assert_allclose(given.base_from_camera, camera.base_from_camera, atol=1e-12)


def test_the_embedded_world_reports_what_is_imported_from_it():
    rendering_mujoco()
    with MujocoWorld("stack_cubes", seed=2, randomized=True, image_size=(96, 128)) as world:
        observation = world.reset(2)
        for name in CAMERAS:
            camera = camera_from_mujoco(world.scene.model, world.scene.data, name, (96, 128), base="base")
            np.testing.assert_array_equal(camera.intrinsics, observation.cameras[name].intrinsics)
            np.testing.assert_allclose(
                camera.base_from_camera, observation.cameras[name].base_from_camera, rtol=0, atol=1e-12
            )


def test_a_camera_without_perspective_has_no_camera_matrix():
    model = SimpleNamespace(cam=lambda _: SimpleNamespace(id=1))
    for field in ("cam_projection", "cam_orthographic"):
        with pytest.raises(ValueError, match="'top' is orthographic"):
            intrinsics_from_mujoco(SimpleNamespace(**vars(model), **{field: [0, 1]}), "top", SIZE)


GOOD = some_pose(6)
MIRRORED = GOOD @ np.diag([1.0, 1, -1, 1])
FAR = GOOD.copy()
FAR[:3, 3] *= 1000
NEGATIVE = K * np.array([[-1], [-1], [1]]) + np.array([[0, 0, 2 * 78], [0, 0, 2 * 63], [0, 0, 0]])
MALFORMED = {
    "mirrored rotation": (lambda: camera_from_opengl(K, SIZE, MIRRORED), r"`base_from_opengl` .* reflection"),
    "millimetres": (lambda: camera_from_robosuite(K, FAR, SIZE), r"`extrinsic` .* as if in millimetres"),
    "transposed pose": (lambda: camera_from_opengl(K, SIZE, GOOD.T), r"`base_from_opengl` .* as if transposed"),
    "transposed K": (lambda: camera_from_opengl(K.T, SIZE, GOOD), r"`intrinsics` .* as if transposed"),
    "singular K": (lambda: camera_from_opengl(np.diag([0, 0, 1.0]), SIZE, GOOD), r"`intrinsics` .* is singular"),
    "normalised K": (
        lambda: camera_from_opengl(K / [[160], [120], [1]], SIZE, GOOD),
        r"`intrinsics` .* as if divided by the image size",
    ),
    "negative K": (lambda: camera_from_opengl(NEGATIVE, SIZE, GOOD), r"`intrinsics` .* as in RLBench"),
    "K of another size": (lambda: camera_from_opengl(K, (64, 64), GOOD), r"principal point inside the image"),
    "NaN": (lambda: camera_from_opengl(K, SIZE, GOOD * np.nan), r"`base_from_opengl` must be finite"),
    "no rotation": (lambda: camera_from_opengl(K, SIZE, np.diag([2.0, 2, 2, 1])), r"must be a rotation"),
    "ragged": (lambda: camera_from_opengl([[1, 0], [0]], SIZE, GOOD), r"`intrinsics` .* differ in length"),
    "not RLBench's": (lambda: camera_from_rlbench(K, GOOD, SIZE), r"two negative focal lengths, but has \(150, 140\)"),
    "RLBench's of another shape": (lambda: camera_from_rlbench(K[:2], GOOD, SIZE), r"`intrinsics` must have shape"),
    "no pose": (lambda: camera_from_sapien(K, SIZE), r"give `extrinsic_cv`, `cam2world_gl` or both"),
    "inverse extrinsic": (
        lambda: camera_from_sapien(K, SIZE, extrinsic_cv=GOOD, cam2world_gl=GOOD @ np.diag([1.0, -1, -1, 1])),
        r"must be one pose but differ by .*; `extrinsic_cv` is the inverse, from the camera to the world",
    ),
    "wrong axes": (
        lambda: camera_from_sapien(K, SIZE, extrinsic_cv=np.linalg.inv(GOOD), cam2world_gl=GOOD),
        r"must be one pose but differ by [\d.]+\.$",
    ),
    "extrinsic of another shape": (
        lambda: camera_from_sapien(K, SIZE, extrinsic_cv=GOOD[:, :3]),
        r"`extrinsic_cv` must have shape \(4, 4\), but has shape \(4, 3\)",
    ),
    "NaN in a short extrinsic": (
        lambda: camera_from_sapien(K, SIZE, extrinsic_cv=GOOD[:3] * np.nan),
        r"`extrinsic_cv` must be finite, but holds NaN",
    ),
    "ragged extrinsic": (
        lambda: camera_from_sapien(K, SIZE, extrinsic_cv=[[1.0], [0.0, 1.0]]),
        r"`extrinsic_cv` must have shape \(4, 4\), but its rows differ in length",
    ),
    "mirrored base": (
        lambda: camera_from_robosuite(K, GOOD, SIZE, base_from_world=MIRRORED),
        r"`base_from_world` .* reflection",
    ),
    "distortion": (
        lambda: intrinsics_from_opencv(K, SIZE, [0.1, -0.02, 0, 0, 0]),
        r"`distortion` must be zero, but is \[0.1.*: rectify the images",
    ),
    "distortion that is no number": (lambda: intrinsics_from_opencv(K, SIZE, [np.nan]), r"`distortion` must be zero"),
    "no angle": (lambda: intrinsics_from_fov(180, SIZE), r"between 0 and 180 degrees, but is 180"),
    "skewed": (
        lambda: turned_camera(Camera(K + np.eye(3, k=1) * [0, 2, 0], GOOD), SIZE, 1),
        r"must not be skewed to be turned, but has a skew of 2 pixels",
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_no_calibration_is_refused_in_words(case):
    call, text = MALFORMED[case]
    with pytest.raises(ValueError, match=text):
        call()

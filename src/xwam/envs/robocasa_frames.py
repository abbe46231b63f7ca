"""Between RoboCasa's own numbers and what crosses the robot's border. Pure functions, NumPy only.

Three frames meet here: the world; the base, which is the arm controller's origin when the episode began; and the tool, the grip
site of the gripper. The model's tool axes, turned by 90° about z, begin in `xwam.robots.processor`; only the `release_*`
functions speak of them, since the release's messages do.

The gripper has one sign on the whole way from `ActionChunk` to the simulator, -1 open and +1 closed. Only the release's model sees
the other one: its data set negates the recorded number, and its server negates the predicted one before sending it.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from xwam.structures import ArmState

COMMAND_COLUMNS = 7  # translation, axis-angle, gripper
STATE_SIZE = 16  # position, quaternion, opening, and eight numbers of an arm that is not there
RELEASE_FROM_TOOL = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # +90° about z, taken back


def check_command(command: np.ndarray) -> np.ndarray:
    """Return a command as `float64` of shape `(7,)`.

    Raises:
        ValueError: If the shape is another or a number is not finite.
    """
    values = np.asarray(command)
    if values.shape != (COMMAND_COLUMNS,) or values.dtype.kind not in "fiu":
        raise ValueError(f"`command` must be 7 real numbers but has shape {values.shape} and dtype {values.dtype}.")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"`command` must be finite but is {values.tolist()}.")
    return values


def pad_command(command: np.ndarray, size: int) -> np.ndarray:
    """The simulator's command `(size,)`: base, torso and base mode are zero, so that the robot stands and the arm moves."""
    padded = np.zeros(size)
    padded[:COMMAND_COLUMNS] = command
    return padded


def unpad_command(padded: np.ndarray) -> np.ndarray:
    """Inverse of `pad_command`.

    Raises:
        ValueError: If the base, the torso or the base mode is commanded, which seven numbers cannot say.
    """
    if np.any(padded[COMMAND_COLUMNS:]):
        raise ValueError(f"A command must leave base and torso alone but has {padded[COMMAND_COLUMNS:].tolist()}.")
    return np.array(padded[:COMMAND_COLUMNS])


def quaternion_from_matrix(rotation: np.ndarray) -> np.ndarray:
    """Quaternion (w, x, y, z) of a rotation `(3, 3)`; the first number that is not zero is positive."""
    products = _quaternion_products(rotation)
    row = products[np.argmax(np.diag(products))]
    quaternion = row / np.linalg.norm(row)
    first = quaternion[np.flatnonzero(np.abs(quaternion) > 1e-15)[0]]
    return quaternion * np.sign(first)


def matrix_from_quaternion(quaternion: np.ndarray) -> np.ndarray:
    """Rotation `(3, 3)` of a unit quaternion (w, x, y, z)."""
    w, x, y, z = quaternion
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross


def arm_state(base_from_tool: np.ndarray, finger: float, finger_limit: float) -> ArmState:
    """State of the arm as observations carry it.

    Args:
        base_from_tool (`np.ndarray` of shape `(4, 4)`): Pose of the grip site.
        finger (`float`): Position of the gripper's first joint, in metres.
        finger_limit (`float`): Where that joint is when open, in metres.
    """
    return ArmState(
        position=base_from_tool[:3, 3].copy(),
        quaternion=quaternion_from_matrix(base_from_tool[:3, :3]),
        gripper=float(finger / finger_limit),
    )


def release_state(state: ArmState) -> np.ndarray:
    """The 16 numbers that the release's client sends for a state: the tool turned by 90° about z, and eight zeros."""
    rotation = matrix_from_quaternion(state.quaternion) @ RELEASE_FROM_TOOL.T
    quaternion = quaternion_from_matrix(rotation)
    return np.concatenate([state.position, quaternion, [state.gripper], np.zeros(STATE_SIZE - 8)])


def state_from_release(numbers: np.ndarray) -> ArmState:
    """Inverse of `release_state`."""
    rotation = matrix_from_quaternion(numbers[3:7]) @ RELEASE_FROM_TOOL
    return ArmState(np.array(numbers[:3]), quaternion_from_matrix(rotation), float(numbers[7]))


def release_video(images: Mapping[str, np.ndarray], cameras: Sequence[str]) -> np.ndarray:
    """The release's message for images `(H, W, 3)`: float32 `(V, H, W, 3)` from -1 to 1, in the order of `cameras`."""
    return np.stack([images[name] for name in cameras]).astype(np.float32) / 127.5 - 1.0


def images_from_release(video: np.ndarray, cameras: Sequence[str]) -> dict[str, np.ndarray]:
    """Inverse of `release_video`."""
    pixels = np.round((video + 1.0) * 127.5).astype(np.uint8)
    return dict(zip(cameras, pixels, strict=True))


def _quaternion_products(rotation: np.ndarray) -> np.ndarray:
    """Four times the outer product `(4, 4)` of the quaternion with itself; every row is the quaternion, scaled."""
    (a, b, c), (d, e, f), (g, h, i) = rotation
    return np.array(
        [
            [1 + a + e + i, h - f, c - g, d - b],
            [h - f, 1 + a - e - i, b + d, c + g],
            [c - g, b + d, 1 - a + e - i, f + h],
            [d - b, c + g, f + h, 1 - a - e + i],
        ]
    )

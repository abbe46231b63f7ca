"""RGB, metric depth and calibration of the cameras of a MuJoCo world."""

import atexit
import functools
import weakref
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from xwam.robots.camera_formats import intrinsics_from_mujoco

MAX_SIZE = (960, 1280)  # pixels
SAMPLES = (0, 2, 4, 8)
FARTHEST = 6.0  # metres; beyond begins the box that the sky is painted on, which has a depth in OpenGL's buffer
HIDDEN_GROUP = 5  # of geoms, which MuJoCo does not draw where nothing is said
SPARE_GEOMS = 100  # beyond the model's own: whatever the simulator draws for sites and the like


class View(NamedTuple):
    """What one camera sees.

    `image` is RGB `uint8` of shape `(H, W, 3)`; `depth` is the distance along the optical axis in metres, `float32` of
    shape `(H, W)`, zero beyond `FARTHEST`.
    """

    image: np.ndarray
    depth: np.ndarray


class RGBDRenderer:
    """One off-screen renderer, shared by all cameras of one image size.

    Args:
        mujoco (`ModuleType`): The imported simulator.
        model (`mujoco.MjModel`): What to render.
        image_size (`tuple[int, int]`): Height and width, in pixels.
        shadows (`bool`, *optional*, defaults to `False`): Cast shadows. Several times slower without a GPU.
        multisampling (`int`, *optional*, defaults to `0`): Samples per pixel that smooth edges: 0, 2, 4 or 8.

    Raises:
        ValueError: If the image size is not two integers from 1 up to `MAX_SIZE`, or the number of samples is another one.
    """

    def __init__(
        self,
        mujoco: ModuleType,
        model: Any,
        image_size: tuple[int, int],
        *,
        shadows: bool = False,
        multisampling: int = 0,
    ) -> None:
        self._contexts: tuple[Any, Any] | None = None
        if not _is_size(image_size):
            raise ValueError(f"`image_size` must be (height, width) from (1, 1) to {MAX_SIZE} but is {image_size!r}.")
        if multisampling not in SAMPLES:
            raise ValueError(f"`multisampling` must be one of {SAMPLES} but is {multisampling!r}.")
        self._mujoco, self._model, self.image_size = mujoco, model, (int(image_size[0]), int(image_size[1]))
        self._is_smooth = multisampling > 0
        self._scene = mujoco.MjvScene(model, maxgeom=model.ngeom + SPARE_GEOMS)
        self._shadows = shadows
        self._flags = {mujoco.mjtRndFlag.mjRND_SHADOW: shadows, mujoco.mjtRndFlag.mjRND_REFLECTION: False}
        self._option = mujoco.MjvOption()
        self._rectangle = mujoco.MjrRect(0, 0, self.image_size[1], self.image_size[0])
        self._contexts = _make_contexts(mujoco, model, self.image_size, shadows=shadows, multisampling=multisampling)
        _open_renderers.add(self)
        _close_all_at_exit()

    def view(self, data: Any, camera: str) -> View:
        """Colours and depth of one camera."""
        image, depth = self._draw(data, camera)
        if self._is_smooth:  # depth of several samples is no surface's, so it is drawn apart
            depth = self.depth(data, camera)
        return View(image, depth)

    def colours(self, data: Any, camera: str) -> np.ndarray:
        """RGB `uint8` of shape `(H, W, 3)`."""
        return self._draw(data, camera)[0]

    def depth(self, data: Any, camera: str) -> np.ndarray:
        """Distance along the optical axis in metres, `float32` of shape `(H, W)`; zero beyond `FARTHEST`."""
        flat = {self._mujoco.mjtRndFlag.mjRND_SEGMENT: True, self._mujoco.mjtRndFlag.mjRND_IDCOLOR: True}
        return self._draw(data, camera, flat)[1]

    def intrinsics(self, camera: str) -> np.ndarray:
        """Camera matrix `(3, 3)` in pixels, centre of the first pixel at (0.5, 0.5)."""
        return intrinsics_from_mujoco(self._model, camera, self.image_size)

    def close(self) -> None:
        """Free the OpenGL context while the interpreter still can; calling it twice is harmless."""
        if self._contexts is not None:
            window, context = self._contexts
            self._contexts = None
            window.make_current()
            context.free()
            window.free()

    def __del__(self) -> None:
        self.close()

    def _draw(self, data: Any, camera: str, flags: dict[Any, bool] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Colours and metric depth of one drawing, with these flags besides the renderer's own."""
        assert self._contexts is not None, "the renderer is closed"
        mujoco, (window, context) = self._mujoco, self._contexts
        eye = mujoco.MjvCamera()
        eye.type, eye.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, self._model.cam(camera).id
        groups = self._model.geom_group.copy()
        if not self._shadows:  # what is out of view may still cast one
            self._model.geom_group[self._out_of_view(data, eye.fixedcamid)] = HIDDEN_GROUP
        mujoco.mjv_updateScene(
            self._model, data, self._option, None, eye, mujoco.mjtCatBit.mjCAT_ALL.value, self._scene
        )
        self._model.geom_group[:] = groups
        plain = self._scene.flags.copy()
        for flag, is_on in {**self._flags, **(flags or {})}.items():
            self._scene.flags[flag] = is_on
        image, buffer = np.empty((*self.image_size, 3), np.uint8), np.empty(self.image_size, np.float32)
        window.make_current()
        mujoco.mjr_render(self._rectangle, self._scene, context)
        mujoco.mjr_readPixels(image, buffer, self._rectangle, context)
        self._scene.flags[:] = plain
        return image[::-1].copy(), self._metres(buffer[::-1])

    def _out_of_view(self, data: Any, camera: int) -> np.ndarray:
        """Which geoms, by their bounding spheres, no pixel of a camera can show; never a plane, which has no bounds."""
        model, radius = self._model, self._model.geom_rbound
        seen = (data.geom_xpos - data.cam_xpos[camera]) @ data.cam_xmat[camera].reshape(3, 3)  # x right, y up, z back
        vertical = np.tan(0.5 * np.deg2rad(model.cam_fovy[camera]))
        horizontal = vertical * self.image_size[1] / self.image_size[0]
        # Distance beyond each side of the view's pyramid: along the side's normal, which is of this length.
        above = (np.abs(seen[:, 1]) + vertical * seen[:, 2]) / np.sqrt(1 + vertical**2)
        aside = (np.abs(seen[:, 0]) + horizontal * seen[:, 2]) / np.sqrt(1 + horizontal**2)
        return (radius > 0) & (np.maximum(above, aside) > radius)

    def _metres(self, buffer: np.ndarray) -> np.ndarray:
        """Undo the projection of an OpenGL depth buffer that is 1 at the near plane and 0 at the far plane.

        OpenGL holds the projection matrix in `float32`, so its two numbers are rounded in the same way here.
        """
        extent, limits = self._model.stat.extent, self._model.vis.map
        near, far, half = np.float32(limits.znear * extent), np.float32(limits.zfar * extent), np.float32(0.5)
        offset, scale = half * ((far + near) / (far - near)) - half, near * far / (far - near)
        depth = scale / (buffer.astype(np.float64) + offset)
        return np.where(depth < FARTHEST, depth, 0.0).astype(np.float32)


_open_renderers: "weakref.WeakSet[RGBDRenderer]" = weakref.WeakSet()


@functools.cache
def _close_all_at_exit() -> None:
    """Registered after the backend's own clean-up, hence run before it."""
    atexit.register(_close_all)


def _close_all() -> None:
    for renderer in list(_open_renderers):
        renderer.close()


def _make_contexts(
    mujoco: ModuleType, model: Any, image_size: tuple[int, int], *, shadows: bool, multisampling: int
) -> tuple[Any, Any]:
    """OpenGL's context and the simulator's, with buffers no larger than they are needed."""
    buffer, quality = model.vis.global_, model.vis.quality
    asked = buffer.offheight, buffer.offwidth, quality.offsamples, quality.shadowsize
    window = mujoco.GLContext(image_size[1], image_size[0])
    window.make_current()
    try:
        buffer.offheight, buffer.offwidth = image_size
        quality.offsamples = multisampling
        quality.shadowsize = quality.shadowsize if shadows else 0
        context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
    finally:
        buffer.offheight, buffer.offwidth, quality.offsamples, quality.shadowsize = asked
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, context)
    context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR.value
    return window, context


def _is_size(value: object) -> bool:
    if not isinstance(value, (tuple, list)) or len(value) != len(MAX_SIZE):
        return False
    is_whole = all(isinstance(side, (int, np.integer)) and not isinstance(side, bool) for side in value)
    return is_whole and all(1 <= side <= most for side, most in zip(value, MAX_SIZE, strict=True))

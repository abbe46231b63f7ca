"""RGB, metric depth and calibration of the cameras of a robosuite simulation.

RGB comes from robosuite, so that it is what its users see. Depth does not: robosuite reads a depth buffer that loses millimetres in
its large scenes, while `mujoco.Renderer` turns the buffer round first.
"""

from types import ModuleType
from typing import Any

import numpy as np

from xwam.robots.camera_formats import camera_from_mujoco
from xwam.structures import Camera

MAX_GEOMS = 10_000  # of a rendered scene, as robosuite has it


class RobosuiteViews:
    """Cameras of one simulation. It goes with the simulation: a reset makes another.

    Args:
        mujoco (`ModuleType`): The imported simulator.
        sim (`Any`): `env.sim` of robosuite.
        image_size (`tuple[int, int]`): Height and width, in pixels.
        with_depth (`bool`): Whether `depth` will be called; it needs an OpenGL context of its own.
    """

    def __init__(self, mujoco: ModuleType, sim: Any, image_size: tuple[int, int], *, with_depth: bool) -> None:
        self._mujoco, self._sim, self._image_size = mujoco, sim, image_size
        self._model, self._data = sim.model._model, sim.data._data
        self._option = mujoco.MjvOption()
        self._option.geomgroup[0], self._option.geomgroup[1] = 0, 1  # no collision shapes, as robosuite renders
        self._option.sitegroup[:] = 0  # robosuite hides them by a negative alpha, which a depth buffer does not see
        self._renderer: Any = mujoco.Renderer(self._model, *image_size, max_geom=MAX_GEOMS) if with_depth else None

    def colours(self, camera: str, image_size: tuple[int, int] | None = None) -> np.ndarray:
        """RGB `uint8` of shape `(H, W, 3)`, first row on top."""
        height, width = image_size or self._image_size
        picture = self._sim.render(height=height, width=width, camera_name=camera, depth=False, segmentation=False)
        return picture[::-1].copy()  # robosuite's first row is at the bottom

    def depth(self, camera: str) -> np.ndarray:
        """Distance along the optical axis in metres, `float32` of shape `(H, W)`; zero where there is only sky."""
        self._renderer.update_scene(self._data, camera, scene_option=self._option)
        self._renderer.enable_depth_rendering()
        depth = self._renderer.render()
        self._renderer.disable_depth_rendering()
        farthest = self._model.vis.map.zfar * self._model.stat.extent
        return np.where(depth < 0.999 * farthest, depth, np.float32(0)).astype(np.float32)

    def calibration(self, camera: str, base_from_world: np.ndarray) -> Camera:
        """Intrinsics of the image and the camera's pose in the base frame, OpenCV axes."""
        return camera_from_mujoco(self._model, self._data, camera, self._image_size, base=base_from_world)

    def refresh(self) -> None:
        """Recompute where everything is from the joints; nothing that the next step depends on changes.

        A robosuite step leaves positions that are one physics step older than its joints.
        """
        for stage in (self._mujoco.mj_kinematics, self._mujoco.mj_comPos, self._mujoco.mj_camlight):
            stage(self._model, self._data)

    def close(self) -> None:
        """Free the OpenGL context while the interpreter still can; calling it twice is harmless."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

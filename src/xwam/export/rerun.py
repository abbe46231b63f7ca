"""A future as one Rerun recording: cameras that move, images, depth, clouds, states and actions on one timeline in seconds."""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from xwam.export.files import replacing
from xwam.export.future_files import command_units
from xwam.export.points import check_cloud
from xwam.futures.depth_note import depth_note
from xwam.futures.future import Future
from xwam.structures import ArmState, PointCloud
from xwam.utils.optional import require

APPLICATION = "xwam"
TIMELINE = "time"  # seconds since the observation
BASE = "base"  # the robot base frame: z up, metres
AXIS_LENGTH = 0.08  # metres
POINT_SIZE = 0.005  # metres
CAMERA_SIZE = 0.08  # metres from a camera to its drawn image


def write_rrd(
    path: str | Path, future: Future, clouds: Sequence[PointCloud] = (), *, point_size: float = POINT_SIZE
) -> None:
    """Write a `.rrd` for the Rerun viewer.

    Everything lies below the entity `base`, the robot base frame, which is declared right-handed with z up. Camera poses, images,
    depth, clouds and states stand at the F frames; command k at k · `period`, when it is given.

    Args:
        path (`str` or `Path`): File to make, ending in `.rrd`; its folders are made too.
        future (`Future`): Imagined or real.
        clouds (`Sequence[PointCloud]`, *optional*): None, or one per frame.
        point_size (`float`, *optional*, defaults to `POINT_SIZE`): Diameter of the drawn points, in metres.

    Raises:
        ValueError: If there are neither no clouds nor one per frame, one is not valid, or the path has another ending.
        ImportError: If the Rerun SDK is not installed.
    """
    if Path(path).suffix != ".rrd":
        raise ValueError(f"`path` must end in .rrd but is {str(path)!r}.")
    if clouds and len(clouds) != future.num_frames:
        raise ValueError(
            f"`clouds` must hold {future.num_frames} clouds, one a frame, or none, but holds {len(clouds)}."
        )
    for frame, cloud in enumerate(clouds):
        check_cloud(cloud, name=f"clouds[{frame}]")
    rerun = require("rerun", extra="rerun", needed_for="xwam.export.rerun.write_rrd")
    with replacing(path) as temporary:
        recording = rerun.RecordingStream(APPLICATION)
        try:
            recording.set_log_time_enabled(False)
            recording.set_log_tick_enabled(False)
            recording.save(str(temporary), default_blueprint=_blueprint(rerun, future))
            _log_facts(rerun, recording, future)
            for frame in range(future.num_frames):
                recording.set_time(TIMELINE, duration=frame * future.frame_period)
                _log_views(rerun, recording, future, frame)
                _log_states(rerun, recording, future, frame)
                if clouds:
                    own = clouds[frame]
                    points = rerun.Points3D(own.points, colors=own.colours, radii=point_size / 2)
                    recording.log(f"{BASE}/cloud", points)
            _log_actions(rerun, recording, future)
            recording.flush()
        finally:
            recording.disconnect()  # else the file stays open


def _log_facts(rerun: ModuleType, recording: Any, future: Future) -> None:
    """What does not change: axes, camera matrices, the task, what the depth is."""
    recording.log(BASE, rerun.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    text = f"**{future.robot}**: {future.instruction}\n\nDepth: {depth_note(future)}"
    recording.log("about", rerun.TextDocument(text, media_type=rerun.MediaType.MARKDOWN), static=True)
    for camera, frames in future.frames.items():
        if camera in future.intrinsics:
            pinhole = rerun.Pinhole(
                image_from_camera=future.intrinsics[camera],
                resolution=[frames.shape[2], frames.shape[1]],
                camera_xyz=rerun.ViewCoordinates.RDF,
                image_plane_distance=CAMERA_SIZE,
            )
            recording.log(f"{BASE}/{camera}", pinhole, static=True)
    if future.states:
        for arm, state in future.states[0].items():
            if isinstance(state, ArmState):
                recording.log(f"{BASE}/arms/{arm}", rerun.TransformAxes3D(AXIS_LENGTH), static=True)
                path = [own[arm].position for own in future.states]  # type: ignore[union-attr]
                recording.log(f"{BASE}/paths/{arm}", rerun.LineStrips3D([np.array(path)]), static=True)


def _log_views(rerun: ModuleType, recording: Any, future: Future, frame: int) -> None:
    for camera, frames in future.frames.items():
        if camera in future.base_from_camera:
            recording.log(f"{BASE}/{camera}", _transform(rerun, future.base_from_camera[camera][frame]))
        recording.log(f"{BASE}/{camera}/rgb", rerun.Image(frames[frame]))
        if camera in future.depths:
            depth = rerun.DepthImage(
                future.depths[camera][frame], meter=1.0, colormap=rerun.components.Colormap.Viridis
            )
            recording.log(f"{BASE}/{camera}/depth", depth)


def _log_states(rerun: ModuleType, recording: Any, future: Future, frame: int) -> None:
    for arm, state in future.states[frame].items() if future.states else ():
        if isinstance(state, ArmState):
            w, x, y, z = state.quaternion
            pose = rerun.Transform3D(translation=state.position, quaternion=rerun.Quaternion(xyzw=[x, y, z, w]))
            recording.log(f"{BASE}/arms/{arm}", pose)
            numbers = dict(zip("xyz", state.position, strict=True)) | dict(
                zip(("qw", "qx", "qy", "qz"), state.quaternion, strict=True)
            )
        else:
            numbers = {f"joint_{number}": value for number, value in enumerate(state.positions, start=1)}  # as columns
        for name, value in (numbers | {"gripper": state.gripper}).items():
            recording.log(f"states/{arm}_{name}", rerun.Scalars(float(value)))


def _log_actions(rerun: ModuleType, recording: Any, future: Future) -> None:
    if future.actions is None:
        return
    units = command_units(future.actions)
    for index, column in enumerate(future.actions.columns):
        name = f"{column} [{units[column]}]" if column in units else column
        recording.log(f"actions/{column}", rerun.SeriesLines(names=name), static=True)
        for step, command in enumerate(future.actions.commands[:, index]):
            recording.set_time(TIMELINE, duration=step * future.actions.period)
            recording.log(f"actions/{column}", rerun.Scalars(float(command)))


def _transform(rerun: ModuleType, pose: np.ndarray) -> Any:
    return rerun.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3])


def _blueprint(rerun: ModuleType, future: Future) -> Any:
    """Clouds and moving cameras on the left, every view with its depth on the right, curves below."""
    blueprint = rerun.blueprint
    hidden = [f"- /{BASE}/{camera}/depth" for camera in future.cameras]  # the cloud shows it, fused
    scene = blueprint.Spatial3DView(origin=f"/{BASE}", contents=[f"+ /{BASE}/**", *hidden], name="scene")
    views = [
        blueprint.Spatial2DView(
            origin=f"/{BASE}/{camera}", contents=f"/{BASE}/{camera}/{kind}", name=f"{kind} {camera}"
        )
        for kind in ("rgb", "depth")
        for camera in future.cameras
        if kind == "rgb" or camera in future.depths
    ]
    curves = [
        blueprint.TimeSeriesView(origin="/states", name="states"),
        blueprint.TimeSeriesView(origin="/actions", name="actions"),
        blueprint.TextDocumentView(origin="/about", name="about"),
    ]
    return blueprint.Blueprint(
        blueprint.Vertical(
            blueprint.Horizontal(scene, blueprint.Grid(*views, grid_columns=len(future.cameras))),
            blueprint.Horizontal(*curves),
            row_shares=[3, 1],
        ),
        blueprint.TimePanel(timeline=TIMELINE),
        collapse_panels=True,
    )

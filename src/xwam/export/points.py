"""Coloured point clouds as PLY, and as one GLB that plays them in time. Written by trimesh."""

from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xwam.export.files import replacing
from xwam.structures import PointCloud
from xwam.utils.optional import require
from xwam.utils.shapes import expect_shapes

# A robot's base frame has z up; glTF has y up. Columns: where the axes of the base frame point.
Y_UP_FROM_BASE = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
ROOT_NODE = "y_up_from_base"
FLOAT, USHORT = 5126, 5123  # glTF's component types


def write_ply(path: str | Path, cloud: PointCloud) -> None:
    """Write a binary PLY: x y z in metres in the robot base frame, sRGB colours, normals and confidence where there are any.

    Args:
        path (`str` or `Path`): File to make, ending in `.ply`; its folders are made too.
        cloud (`PointCloud`): What to write.

    Raises:
        ValueError: If the cloud is empty, its arrays do not fit, a point is not finite, or the path has another ending.
        ImportError: If trimesh is not installed.
    """
    _check_suffix(path, ".ply")
    check_cloud(cloud)
    trimesh = require("trimesh", extra="export", needed_for="xwam.export.points.write_ply")
    written = trimesh.PointCloud(cloud.points, colors=_opaque(cloud.colours))
    if cloud.confidence is not None:
        written.vertex_attributes = {"confidence": cloud.confidence.astype("<f4")}
    if cloud.normals is not None:
        written.vertex_normals = cloud.normals
    content = trimesh.exchange.ply.export_ply(written, vertex_normal=cloud.normals is not None)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_glb(path: str | Path, clouds: Sequence[PointCloud], *, frame_period: float) -> None:
    """Write a GLB with one node per frame, and an animation that shows one at a time.

    glTF wants y up, so a node above turns the base frame: glTF's (x, y, z) is the base's (x, z, -y). Colours of glTF are
    linear light, 16 bits here, so that viewers show the sRGB bytes of `cloud.colours`. What is hidden is scaled to zero: a
    viewer that plays no animations shows frame 0 alone.

    Args:
        path (`str` or `Path`): File to make, ending in `.glb`; its folders are made too.
        clouds (`Sequence[PointCloud]`): One per frame, in the robot base frame, in metres.
        frame_period (`float`): Seconds between frames.

    Raises:
        ValueError: If there is no cloud, one is empty or not valid, the period is not positive, or the path has another
            ending.
        ImportError: If trimesh is not installed.
    """
    _check_suffix(path, ".glb")
    if not clouds:
        raise ValueError("`clouds` must hold at least one cloud, but is empty.")
    if not 0 < frame_period < float("inf"):
        raise ValueError(f"`frame_period` must be positive seconds, but is {frame_period}.")
    for frame, cloud in enumerate(clouds):
        check_cloud(cloud, name=f"clouds[{frame}]")
    trimesh = require("trimesh", extra="export", needed_for="xwam.export.points.write_glb")
    scene = trimesh.Scene(base_frame="world", metadata={"unit": "metre", "frame_period": frame_period})
    scene.graph.update(ROOT_NODE, "world", matrix=Y_UP_FROM_BASE)
    for frame, cloud in enumerate(clouds):
        written = trimesh.PointCloud(cloud.points, colors=_opaque(cloud.colours))
        scene.add_geometry(
            written, node_name=frame_name(frame), geom_name=frame_name(frame), parent_node_name=ROOT_NODE
        )

    def finish(buffers: MutableMapping[Any, bytes], tree: dict[str, Any]) -> None:
        _make_colours_linear(buffers, tree)
        _animate(buffers, tree, len(clouds), frame_period)

    content = trimesh.exchange.gltf.export_glb(scene, include_normals=False, buffer_postprocessor=finish)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def frame_name(frame: int) -> str:
    """Name of a frame's node: `"frame_0003"`."""
    return f"frame_{frame:04d}"


def linear_from_srgb(colours: np.ndarray) -> np.ndarray:
    """Linear light of sRGB values.

    Source: IEC 61966-2-1.

    Args:
        colours (`np.ndarray`): sRGB in [0, 1].

    Returns:
        `np.ndarray`: Linear light in [0, 1].
    """
    colours = np.asarray(colours, dtype=np.float64)
    return np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)


def check_cloud(cloud: PointCloud, *, name: str = "cloud") -> None:
    """Check that a cloud can be written.

    Args:
        cloud (`PointCloud`): A cloud.
        name (`str`, *optional*, defaults to `"cloud"`): What messages call it.

    Raises:
        ValueError: If it is empty, its arrays do not fit, its colours are not `uint8`, or a number is not finite.
    """
    arrays = {"points": (cloud.points, "M 3"), "colours": (cloud.colours, "M 3")}
    if cloud.normals is not None:
        arrays["normals"] = (cloud.normals, "M 3")
    if cloud.confidence is not None:
        arrays["confidence"] = (cloud.confidence, "M")
    sizes = expect_shapes(**{f"{name}.{field}": checked for field, checked in arrays.items()})
    if sizes["M"] == 0:
        raise ValueError(f"`{name}` must hold at least one point, but is empty.")
    if cloud.colours.dtype != np.uint8:
        raise ValueError(f"`{name}.colours` must be uint8, but are {cloud.colours.dtype}.")
    for field, (array, _) in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"`{name}.{field}` must be finite, but hold NaN or infinite values.")


def _check_suffix(path: str | Path, suffix: str) -> None:
    if Path(path).suffix != suffix:
        raise ValueError(f"`path` must end in {suffix} but is {str(path)!r}.")


def _opaque(colours: np.ndarray) -> np.ndarray:
    return np.concatenate([colours, np.full((len(colours), 1), 255, np.uint8)], axis=1)


def _make_colours_linear(buffers: MutableMapping[Any, bytes], tree: dict[str, Any]) -> None:
    """Replace trimesh's sRGB bytes `(M, 4)` by linear light in 16 bits."""
    accessors, keys = list(tree["accessors"].values()), list(buffers)
    table = np.round(linear_from_srgb(np.arange(256) / 255) * 65535).astype("<u2")
    for index in {mesh["primitives"][0]["attributes"]["COLOR_0"] for mesh in tree["meshes"]}:
        accessor = accessors[index]
        key = keys[accessor["bufferView"]]
        colours = np.frombuffer(buffers[key], np.uint8).reshape(-1, 4)[: accessor["count"]]
        linear = np.concatenate([table[colours[:, :3]], np.full((len(colours), 1), 65535, "<u2")], axis=1)
        buffers[key] = linear.tobytes()
        accessor |= {
            "componentType": USHORT,
            "min": linear.min(axis=0).tolist(),
            "max": linear.max(axis=0).tolist(),
        }


def _animate(buffers: MutableMapping[Any, bytes], tree: dict[str, Any], num_frames: int, frame_period: float) -> None:
    """Give the node of frame f the scale 1 from f to f + 1 frame periods, and 0 else, in steps."""
    times = (np.arange(num_frames + 1) * frame_period).astype("<f4")
    shown = np.concatenate([np.eye(num_frames), np.eye(num_frames)[-1:]])  # the last frame stays for one period
    time_index = _append(buffers, tree, times, "SCALAR")
    nodes = {node.get("name"): index for index, node in enumerate(tree["nodes"])}
    samplers, channels = [], []
    for frame in range(num_frames):
        scales = np.repeat(shown[:, frame, None], 3, axis=1).astype("<f4")
        samplers.append(
            {"input": time_index, "output": _append(buffers, tree, scales, "VEC3"), "interpolation": "STEP"}
        )
        node = nodes[frame_name(frame)]
        channels.append({"sampler": frame, "target": {"node": node, "path": "scale"}})
        tree["nodes"][node]["scale"] = [float(frame == 0)] * 3
        tree["nodes"][node]["extras"] = {"time": frame * frame_period}
    tree["animations"] = [{"name": "future", "samplers": samplers, "channels": channels}]


def _append(buffers: MutableMapping[Any, bytes], tree: dict[str, Any], values: np.ndarray, kind: str) -> int:
    """Add an array of float32 to the file; returns the index of its accessor."""
    index = len(tree["accessors"])
    tree["accessors"][f"xwam {index}"] = {
        "bufferView": len(buffers),
        "componentType": FLOAT,
        "type": kind,
        "count": len(values),
        "min": np.atleast_1d(values.min(axis=0)).tolist(),
        "max": np.atleast_1d(values.max(axis=0)).tolist(),
    }
    buffers[f"xwam {len(buffers)}"] = values.tobytes()
    return index

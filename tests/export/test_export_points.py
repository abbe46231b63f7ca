"""Clouds are read back by a reader of our own for PLY, by the container's definition for GLB, and by trimesh and Open3D."""

import json
import struct

import numpy as np
import pytest
import trimesh
from export_samples import make_cloud

from xwam.export.points import ROOT_NODE, linear_from_srgb, write_glb, write_ply
from xwam.structures import PointCloud

PERIOD = 0.2
PLY_TYPES = {"float": "<f4", "uchar": "u1"}
COMPONENTS = {5126: "<f4", 5123: "<u2"}
WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}


def read_ply(path) -> np.ndarray:
    """Vertices of a binary PLY, by its header alone."""
    header, data = path.read_bytes().split(b"end_header\n", 1)
    lines = header.decode("ascii").splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    elements = [line.split()[1:] for line in lines if line.startswith("element")]
    assert [name for name, _ in elements] == ["vertex"]
    kinds = [line.split()[1:] for line in lines if line.startswith("property")]
    vertices = np.frombuffer(data, [(name, PLY_TYPES[kind]) for kind, name in kinds])
    assert len(vertices) == int(elements[0][1])
    return vertices


def columns(vertices: np.ndarray, *names: str) -> np.ndarray:
    return np.stack([vertices[name] for name in names], axis=1)


def read_glb(path) -> tuple[dict, bytes]:
    """JSON and binary chunk of a GLB, with every length checked."""
    data = path.read_bytes()
    magic, container, length, json_length, json_kind = struct.unpack_from("<4sIII4s", data)
    assert (magic, container, length, json_kind) == (b"glTF", 2, len(data), b"JSON")
    tree = json.loads(data[20 : 20 + json_length])
    size, kind = struct.unpack_from("<I4s", data, 20 + json_length)
    binary = data[28 + json_length :]
    assert (kind, len(binary)) == (b"BIN\0", size)
    assert tree["buffers"] == [{"byteLength": size}]
    return tree, binary


def accessor(tree: dict, binary: bytes, index: int) -> np.ndarray:
    """Values of an accessor; its bounds must be those of its values."""
    own = tree["accessors"][index]
    view = tree["bufferViews"][own["bufferView"]]
    start, kind, width = (
        view["byteOffset"] + own.get("byteOffset", 0),
        COMPONENTS[own["componentType"]],
        WIDTHS[own["type"]],
    )
    assert start % 4 == 0
    num_bytes = own["count"] * width * np.dtype(kind).itemsize
    assert num_bytes <= view["byteLength"]
    assert view["byteOffset"] + view["byteLength"] <= len(binary)
    values = np.frombuffer(binary[start : start + num_bytes], kind).reshape(own["count"], width)
    np.testing.assert_allclose(own["min"], values.min(axis=0), rtol=1e-6)
    np.testing.assert_allclose(own["max"], values.max(axis=0), rtol=1e-6)
    return values


def srgb_from_linear(light: np.ndarray) -> np.ndarray:
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def test_a_ply_holds_the_cloud_as_it_is(tmp_path):
    cloud = make_cloud()
    write_ply(tmp_path / "new" / "cloud.ply", cloud)
    vertices = read_ply(tmp_path / "new" / "cloud.ply")
    np.testing.assert_array_equal(columns(vertices, "x", "y", "z"), cloud.points)
    np.testing.assert_array_equal(columns(vertices, "red", "green", "blue"), cloud.colours)
    np.testing.assert_array_equal(columns(vertices, "nx", "ny", "nz"), cloud.normals)
    np.testing.assert_array_equal(vertices["confidence"], cloud.confidence)
    np.testing.assert_array_equal(vertices["alpha"], 255)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["cloud.ply"]


def test_a_plain_ply_has_points_and_colours_only(tmp_path):
    write_ply(tmp_path / "cloud.ply", make_cloud(is_full=False))
    assert read_ply(tmp_path / "cloud.ply").dtype.names == ("x", "y", "z", "red", "green", "blue", "alpha")


@pytest.mark.parametrize("is_full", [True, False])
def test_open3d_and_trimesh_read_the_ply(tmp_path, is_full):
    cloud = make_cloud(is_full=is_full)
    write_ply(tmp_path / "cloud.ply", cloud)
    read = trimesh.load(tmp_path / "cloud.ply")
    np.testing.assert_array_equal(read.vertices, cloud.points)
    open3d = pytest.importorskip("open3d", reason="Open3D is not installed")
    read = open3d.io.read_point_cloud(str(tmp_path / "cloud.ply"))
    np.testing.assert_array_equal(np.asarray(read.points), cloud.points)
    np.testing.assert_allclose(np.asarray(read.colors) * 255, cloud.colours, atol=1e-9)
    assert read.has_normals() == is_full


def test_a_glb_has_one_node_per_frame_with_its_points_and_linear_colours(tmp_path):
    clouds = [make_cloud(seed, 40 + seed) for seed in range(3)]
    write_glb(tmp_path / "clouds.glb", clouds, frame_period=PERIOD)
    tree, binary = read_glb(tmp_path / "clouds.glb")
    root = next(node for node in tree["nodes"] if node["name"] == ROOT_NODE)
    named = {tree["nodes"][index]["name"]: tree["nodes"][index] for index in root["children"]}
    assert sorted(named) == ["frame_0000", "frame_0001", "frame_0002"]
    for frame, cloud in enumerate(clouds):
        node = named[f"frame_{frame:04d}"]
        assert node["extras"]["time"] == pytest.approx(frame * PERIOD)
        (primitive,) = tree["meshes"][node["mesh"]]["primitives"]
        assert primitive["mode"] == 0, "points"
        np.testing.assert_array_equal(accessor(tree, binary, primitive["attributes"]["POSITION"]), cloud.points)
        assert tree["accessors"][primitive["attributes"]["COLOR_0"]]["normalized"] is True
        light = accessor(tree, binary, primitive["attributes"]["COLOR_0"]) / 65535
        np.testing.assert_array_equal(light[:, 3], 1)
        shown = srgb_from_linear(light[:, :3]) * 255
        np.testing.assert_allclose(shown, cloud.colours, atol=0.06)  # half a step of 16 bits, where sRGB is steepest


def test_the_root_turns_z_up_to_y_up(tmp_path):
    write_glb(tmp_path / "clouds.glb", [make_cloud()], frame_period=PERIOD)
    tree, _ = read_glb(tmp_path / "clouds.glb")
    root = next(node for node in tree["nodes"] if node["name"] == ROOT_NODE)
    matrix = np.array(root["matrix"]).reshape(4, 4).T  # glTF counts column by column
    np.testing.assert_array_equal(matrix @ [1, 2, 3, 1], [1, 3, -2, 1])
    assert np.linalg.det(matrix[:3, :3]) == pytest.approx(1)


def test_the_animation_shows_each_frame_for_its_time(tmp_path):
    write_glb(tmp_path / "clouds.glb", [make_cloud(seed) for seed in range(3)], frame_period=PERIOD)
    tree, binary = read_glb(tmp_path / "clouds.glb")
    (animation,) = tree["animations"]
    assert [node["scale"][0] for node in tree["nodes"] if node["name"].startswith("frame_")] == [1, 0, 0]
    scale = {}
    for channel in animation["channels"]:
        sampler = animation["samplers"][channel["sampler"]]
        assert (channel["target"]["path"], sampler["interpolation"]) == ("scale", "STEP")
        times = accessor(tree, binary, sampler["input"])[:, 0]
        np.testing.assert_allclose(times, [0, 0.2, 0.4, 0.6], rtol=1e-6)
        values = accessor(tree, binary, sampler["output"])
        name = tree["nodes"][channel["target"]["node"]]["name"]
        for time in (0.1, 0.3, 0.5):
            scale[name, time] = values[np.searchsorted(times, time, side="right") - 1].tolist()
    assert {key for key, value in scale.items() if value == [1, 1, 1]} == {
        ("frame_0000", 0.1),
        ("frame_0001", 0.3),
        ("frame_0002", 0.5),
    }
    assert {tuple(value) for value in scale.values()} == {(1, 1, 1), (0, 0, 0)}


def test_trimesh_reads_the_glb(tmp_path):
    clouds = [make_cloud(0), make_cloud(1)]
    write_glb(tmp_path / "clouds.glb", clouds, frame_period=PERIOD)
    scene = trimesh.load(tmp_path / "clouds.glb")
    assert set(scene.geometry) == {"frame_0000", "frame_0001"}
    for name, cloud in zip(("frame_0000", "frame_0001"), clouds, strict=True):
        np.testing.assert_array_equal(scene.geometry[name].vertices, cloud.points)
    turned, _ = scene.graph.get("frame_0000")
    np.testing.assert_allclose((turned @ [0, 0, 1, 1])[:3], [0, 1, 0], atol=1e-12)


def test_linear_light_is_that_of_the_standard():
    """Values of IEC 61966-2-1: black, the joint of the two pieces, middle grey, white."""
    np.testing.assert_allclose(
        linear_from_srgb(np.array([0, 0.04045, 0.5, 1])), [0, 0.0031308, 0.2140411, 1], atol=1e-7
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"points": np.zeros((0, 3), np.float32), "colours": np.zeros((0, 3), np.uint8)},
            "must hold at least one point",
        ),
        ({"points": np.full((2, 3), np.nan)}, r"`cloud.points` must be finite"),
        ({"points": np.zeros((3, 3))}, r"`cloud.colours` must have M = 3"),
        ({"colours": np.zeros((2, 3))}, "`cloud.colours` must be uint8, but are float64"),
        ({"normals": np.zeros((1, 3))}, r"`cloud.normals` must have M = 2"),
        ({"confidence": np.zeros((2, 1))}, r"`cloud.confidence` must have shape \(M\)"),
    ],
)
def test_what_is_no_cloud_is_refused(tmp_path, change, message):
    fields = {"points": np.zeros((2, 3)), "colours": np.zeros((2, 3), np.uint8), **change}
    with pytest.raises(ValueError, match=message):
        write_ply(tmp_path / "cloud.ply", PointCloud(**fields))
    with pytest.raises(ValueError, match=message.replace("cloud.", r"clouds\[0\].")):
        write_glb(tmp_path / "clouds.glb", [PointCloud(**fields)], frame_period=PERIOD)
    assert not list(tmp_path.iterdir())


def test_wrong_arguments_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must end in .ply"):
        write_ply(tmp_path / "cloud.glb", make_cloud())
    with pytest.raises(ValueError, match=r"must end in .glb"):
        write_glb(tmp_path / "cloud.ply", [make_cloud()], frame_period=PERIOD)
    with pytest.raises(ValueError, match="at least one cloud, but is empty"):
        write_glb(tmp_path / "clouds.glb", [], frame_period=PERIOD)
    with pytest.raises(ValueError, match="must be positive seconds, but is 0"):
        write_glb(tmp_path / "clouds.glb", [make_cloud()], frame_period=0)

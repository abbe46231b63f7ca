"""Fusion — three RGB-D views to one coloured voxel cloud, against Open3D; Chamfer distance against SciPy's k-d tree.

All sides run in turn, in one process, each with the threads it takes by itself, on views of the table-top world. Open3D and SciPy
must be installed; a side that is missing is left out and said so.

Usage:
    python benchmarks/fusion.py --rounds 40 --output benchmarks/results
"""

import argparse
import datetime
import importlib.util
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import Contestant, commit_of, describe_machine, interleave

from xwam.envs.mujoco_world import MujocoWorld
from xwam.geometry.fusion import fuse_views
from xwam.policies.scripted import ScriptedPolicy

ROOT = Path(__file__).resolve().parents[1]
FAR = 50.0  # metres: nothing is cut off, on any side
LIMITS = {"fusion over Open3D": 0.5, "Chamfer over SciPy": 1.2}  # of issue 5, G5
OURS, OPEN3D, OPEN3D_TENSOR = "ours", "Open3D, legacy", "Open3D, tensor"
CHAMFER, SCIPY = "chamfer_distance", "SciPy, all cores"


@dataclass(frozen=True)
class Views:
    """One instant: depth `(V, H, W)` float32, colours `(V, H, W, 3)` uint8, matrices and poses float64."""

    depth: np.ndarray
    colours: np.ndarray
    intrinsics: np.ndarray
    base_from_camera: np.ndarray

    def tensors(self) -> tuple[torch.Tensor, ...]:
        return tuple(torch.from_numpy(own) for own in vars(self).values())

    def moved(self, shift: np.ndarray) -> "Views":
        """With another origin of the base frame."""
        poses = self.base_from_camera.copy()
        poses[:, :3, 3] += shift
        return Views(self.depth, self.colours, self.intrinsics, poses)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    asked = parse_arguments(arguments)
    torch.set_num_threads(asked.threads)
    cpu = torch.device("cpu")
    first, later = expert_views(tuple(asked.size), steps=asked.steps)
    fusions = fusion_contestants(first, asked.voxel_size)
    chamfers = chamfer_contestants(*(random_points(own, asked.points) for own in (first, later)))
    fusion_times = interleave(cpu, fusions, asked.rounds, asked.report)
    chamfer_times = interleave(cpu, chamfers, max(asked.rounds // 4, 1), asked.report)
    result = {
        "benchmark": "fusion",
        "command": " ".join(["python benchmarks/fusion.py", *(sys.argv[1:] if arguments is None else arguments)]),
        "date": datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
        "commit": commit_of(ROOT),
        "machine": describe_machine(cpu),
        "versions": {name: version_of(name) for name in ("open3d", "scipy")},
        "views": list(first.depth.shape),
        "pixels with depth": int((first.depth > 0).sum()),
        "voxel_size_m": asked.voxel_size,
        "points": asked.points,
        "fusion": summary(fusion_times, (OPEN3D, OPEN3D_TENSOR)),
        "chamfer": summary(chamfer_times, (SCIPY,)),
        "agreement": agreement(first, asked.voxel_size) | chamfer_agreement(chamfers),
    }
    result["acceptance"] = acceptance(result)
    print(render(result))
    if asked.output:
        write(result, asked.output)
    return result


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(256, 320), help="height and width (default: 256 320)")
    parser.add_argument("--voxel-size", type=float, default=0.005, help="metres (default: %(default)s)")
    parser.add_argument("--points", type=int, default=100_000, help="of each Chamfer cloud (default: %(default)s)")
    parser.add_argument(
        "--steps", type=int, default=20, help="control steps between the clouds (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=40, help="timed runs of each side (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="folder to write the result to; else it is only shown")
    parser.add_argument("--verbose", action="store_true", help="tell every run")
    asked = parser.parse_args(arguments)
    for name in ("voxel_size", "points", "steps", "rounds", "threads"):
        if getattr(asked, name) <= 0:
            parser.error(f"--{name.replace('_', '-')} must be positive")
    asked.report = (lambda text: print(text, file=sys.stderr)) if asked.verbose else (lambda text: None)
    return asked


def expert_views(size: tuple[int, int], steps: int) -> tuple[Views, Views]:
    """What the cameras see before an expert begins and some control steps later."""
    world = MujocoWorld("stack_cubes", seed=0, image_size=size)
    expert = ScriptedPolicy(world)
    observations = [world.observe()]
    for _ in range(steps):
        world.step(expert.infer(world.observe(with_images=False), seed=0).commands[0])
    observations.append(world.observe())
    world.close()
    names = list(observations[0].images)
    first, later = (
        Views(
            np.stack([own.depths[name] for name in names]),
            np.stack([own.images[name] for name in names]),
            np.stack([own.cameras[name].intrinsics for name in names]),
            np.stack([own.cameras[name].base_from_camera for name in names]),
        )
        for own in observations
    )
    return first, later


def random_points(views: Views, count: int) -> np.ndarray:
    """So many of the pixels' points, drawn at random without putting any back."""
    points = fuse_views(*views.tensors(), voxel_size=None, edge_threshold=None).points.numpy()
    return np.random.default_rng(0).choice(points, count, replace=len(points) < count)


def fusion_contestants(views: Views, voxel_size: float) -> list[Contestant]:
    tensors = views.tensors()
    sides = {
        OURS: lambda _: fuse_views(*tensors, voxel_size=voxel_size, edge_threshold=None),
        "ours, depth edges masked": lambda _: fuse_views(*tensors, voxel_size=voxel_size),
        "ours, masked, with normals": lambda _: fuse_views(*tensors, voxel_size=voxel_size, with_normals=True),
        "ours, masked, with confidence": lambda _: fuse_views(*tensors, voxel_size=voxel_size, with_confidence=True),
    }
    if importlib.util.find_spec("open3d"):
        sides[OPEN3D] = lambda _: open3d_legacy(views, voxel_size)
        sides[OPEN3D_TENSOR] = lambda _: open3d_tensor(views, voxel_size)
    return [Contestant(name, run) for name, run in sides.items()]


def open3d_legacy(views: Views, voxel_size: float) -> Any:
    """Its pipeline of 2018: RGB-D image, cloud in the base frame, sum, voxels."""
    import open3d

    geometry, (height, width) = open3d.geometry, views.depth.shape[1:]
    cloud = geometry.PointCloud()
    for depth, colours, matrix, pose in zip(*vars(views).values(), strict=True):
        image = geometry.RGBDImage.create_from_color_and_depth(
            geometry.Image(colours), geometry.Image(depth), 1.0, FAR, convert_rgb_to_intensity=False
        )
        # its pixel centres are whole numbers
        camera = open3d.camera.PinholeCameraIntrinsic(
            width, height, matrix[0, 0], matrix[1, 1], matrix[0, 2] - 0.5, matrix[1, 2] - 0.5
        )
        cloud += geometry.PointCloud.create_from_rgbd_image(image, camera, np.linalg.inv(pose))
    return cloud.voxel_down_sample(voxel_size)


def open3d_tensor(views: Views, voxel_size: float) -> Any:
    """The same with its tensor classes."""
    import open3d

    geometry, tensor = open3d.t.geometry, open3d.core.Tensor
    parts = []
    for depth, colours, matrix, pose in zip(*vars(views).values(), strict=True):
        image = geometry.RGBDImage(geometry.Image(tensor(colours)), geometry.Image(tensor(depth)))
        corner = matrix - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
        parts.append(
            geometry.PointCloud.create_from_rgbd_image(image, tensor(corner), tensor(np.linalg.inv(pose)), 1.0, FAR)
        )
    cloud = parts[0]
    for part in parts[1:]:
        cloud = cloud.append(part)
    return cloud.voxel_down_sample(voxel_size)


def chamfer_contestants(first: np.ndarray, later: np.ndarray) -> list[Contestant]:
    if not importlib.util.find_spec("scipy"):
        return []
    from scipy.spatial import cKDTree

    from xwam.metrics.points import chamfer_distance

    def scipy_chamfer(_: Any) -> float:
        there = cKDTree(later).query(first, workers=-1)[0]
        back = cKDTree(first).query(later, workers=-1)[0]
        return float((there.mean() + back.mean()) / 2)

    return [Contestant(CHAMFER, lambda _: chamfer_distance(first, later)), Contestant(SCIPY, scipy_chamfer)]


def agreement(views: Views, voxel_size: float) -> dict[str, Any]:
    """Voxels of each library on a grid of the same origin, and how far their means lie apart, position by position."""
    if not importlib.util.find_spec("open3d"):
        return {}
    lowest = fuse_views(*views.tensors(), voxel_size=None, edge_threshold=None).points.amin(dim=0).numpy()
    compared: dict[str, Any] = {}
    aside = voxel_size * np.array([0.31, 0.17, 0.23])  # lest the table lies just where cells meet
    rules: dict[str, tuple[Callable[[Views, float], Any], np.ndarray]] = {
        OPEN3D: (open3d_legacy, -lowest.astype(np.float64)),  # cells are centred on the lowest corner
        OPEN3D_TENSOR: (open3d_tensor, aside - voxel_size / 2),  # cells begin at the origin
    }
    for name, (run, shift) in rules.items():
        theirs = run(views.moved(aside), voxel_size)
        points = theirs.point.positions.numpy() if name == OPEN3D_TENSOR else np.asarray(theirs.points)
        points = points - aside
        own = (
            fuse_views(*views.moved(shift).tensors(), voxel_size=voxel_size, edge_threshold=None).points.numpy()
            - shift
        )
        compared[name] = {"voxels, ours": len(own), "voxels, theirs": len(points)} | differences(own, points)
    return compared


def differences(own: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """Distances of our means to the nearest of theirs: the median, and the share within a micrometre."""
    from scipy.spatial import cKDTree

    distances = cKDTree(theirs).query(own, workers=-1)[0]
    return {"median_m": float(np.median(distances)), "within_1um": float((distances < 1e-6).mean())}


def chamfer_agreement(contestants: Sequence[Contestant]) -> dict[str, Any]:
    return {"Chamfer distances, m": {own.name: own.run(None) for own in contestants}} if contestants else {}


def summary(times: dict[str, Any], references: Sequence[str]) -> dict[str, Any]:
    """Medians of wall-clock and CPU time in milliseconds, and ratios to each reference."""
    medians = {
        name: {
            "wall_ms": 1000 * float(np.median([own.wall for own in runs])),
            "processor_ms": 1000 * float(np.median([own.processor for own in runs])),
            "runs": len(runs),
        }
        for name, runs in times.items()
    }
    for own in medians.values():
        own["ratios"] = {name: own["wall_ms"] / medians[name]["wall_ms"] for name in references if name in medians}
    return medians


def acceptance(result: dict[str, Any]) -> dict[str, Any]:
    """What issue 5 asks for, against the faster of Open3D's two pipelines."""
    values = {
        "fusion over Open3D": max(result["fusion"][OURS]["ratios"].values(), default=None),
        "Chamfer over SciPy": result["chamfer"].get(CHAMFER, {"ratios": {}})["ratios"].get(SCIPY),
    }
    return {
        name: {"value": value, "limit": LIMITS[name], "is_met": value is not None and value <= LIMITS[name]}
        for name, value in values.items()
    }


def version_of(package: str) -> str | None:
    """Installed version; `None` where it is missing."""
    if importlib.util.find_spec(package) is None:
        return None
    return importlib.import_module("importlib.metadata").version(package)


def render(result: dict[str, Any]) -> str:
    """The whole result in Markdown."""
    commit, machine = result["commit"], result["machine"]
    changed = " with changes" if commit["has_changes"] else ""
    facts = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in {**machine, **result["versions"]}.items())
    views, height, width = result["views"]
    lines = [
        f"# Fusion, {machine['processor']}, {result['date']}\n",
        f"`{result['command']}`  \ncommit {str(commit['commit'])[:12]}{changed}; {facts}\n",
        f"{views}×{height}×{width} views of the table-top world, {result['pixels with depth']:,} pixels with depth, voxels of "
        f"{1000 * result['voxel_size_m']:g} mm. All sides in turn in one process. Not run on a GPU.\n",
        *_table("fusion to coloured voxels", result["fusion"]),
        *_table(f"Chamfer distance of two clouds of {result['points']:,} points, 20 control steps apart", result["chamfer"]),
        "| asked for | limit | measured | met |\n| --- | --: | --: | --- |",
        *(
            f"| {name} | {own['limit']} | {'missing' if own['value'] is None else format(own['value'], '.2f')} | "
            f"{'yes' if own['is_met'] else 'no'} |"
            for name, own in result["acceptance"].items()
        ),
        "\n## Do they agree?\n",
        *(f"- {name}: " + ", ".join(f"{key} {_number(own)}" for key, own in values.items()) for name, values in result["agreement"].items()),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _table(title: str, sides: dict[str, Any]) -> list[str]:
    if not sides:
        return []
    references = list(next(iter(sides.values()))["ratios"])
    head = [title, "wall ms, median", "CPU ms, median", "runs", *(f"wall over {name}" for name in references)]
    rows = [
        [name, f"{own['wall_ms']:.1f}", f"{own['processor_ms']:.1f}", str(own["runs"])]
        + [f"{own['ratios'][reference]:.2f}" for reference in references]
        for name, own in sides.items()
    ]
    lines = [head, ["---", *("--:" for _ in head[1:])], *rows]
    return [*("| " + " | ".join(line) + " |" for line in lines), ""]


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def write(result: dict[str, Any], folder: Path) -> None:
    """Write the result as Markdown and JSON; the file name says what was measured where and when."""
    hardware = re.sub(r"[^a-z0-9]+", "-", result["machine"]["processor"].lower()).strip("-")
    table = folder / f"fusion_{hardware}_{result['date'][:10]}.md"
    folder.mkdir(parents=True, exist_ok=True)
    table.write_text(render(result), encoding="utf-8")
    table.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

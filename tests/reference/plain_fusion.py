"""Fusion one pixel after the other, in plain Python and float64: the twin of `xwam.geometry.fusion`."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class PlainPoint:
    """What one pixel, or one voxel, says."""

    point: np.ndarray
    colour: np.ndarray
    normal: np.ndarray
    confidence: float


class PlainViews:
    """Views of one instant, asked one pixel at a time."""

    def __init__(self, depth: Any, colours: Any, intrinsics: Any, base_from_camera: Any) -> None:
        self.depth, self.colours = np.asarray(depth, np.float64), np.asarray(colours)
        self.intrinsics, self.poses = np.asarray(intrinsics, np.float64), np.asarray(base_from_camera, np.float64)
        self.num_views, self.height, self.width = self.depth.shape
        self.valid = np.zeros(self.depth.shape, bool)

    def point(self, view: int, row: int, column: int) -> np.ndarray:
        ray = np.linalg.solve(self.intrinsics[view], [column + 0.5, row + 0.5, 1.0])
        return (self.poses[view] @ [*(ray * self.depth[view, row, column]), 1.0])[:3]

    def neighbours(self, row: int, column: int) -> list[tuple[int, int]]:
        around = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
        return [(r, c) for r, c in around if 0 <= r < self.height and 0 <= c < self.width]

    def is_in_range(self, view: int, row: int, column: int, limits: Any) -> bool:
        depth = self.depth[view, row, column]
        if not (math.isfinite(depth) and depth > 0):
            return False
        return limits is None or limits[view][0] <= depth <= limits[view][1]

    def is_edge(self, view: int, row: int, column: int, limits: Any, threshold: float) -> bool:
        own = self.depth[view, row, column]
        for r, c in self.neighbours(row, column):
            other = self.depth[view, r, c]
            if self.is_in_range(view, r, c, limits) and abs(own - other) > threshold * min(own, other):
                return True
        return False

    def normal(self, view: int, row: int, column: int) -> np.ndarray:
        point, differences = self.point(view, row, column), []
        for axis in ((1, 0), (0, 1)):
            total = np.zeros(3)
            for sign in (1, -1):
                r, c = row + sign * axis[0], column + sign * axis[1]
                if (r, c) in self.neighbours(row, column) and self.valid[view, r, c]:
                    total += sign * (self.point(view, r, c) - point)
            differences.append(total)
        normal = np.cross(*differences)
        length = np.linalg.norm(normal)
        if length == 0:
            return np.zeros(3)
        towards = self.poses[view][:3, 3] - point
        return math.copysign(1, normal @ towards) * normal / length

    def verdict(self, view: int, point: np.ndarray, tolerance: float) -> str:
        """What another view says: agreed, contradicted or nothing."""
        rotation, position = self.poses[view][:3, :3], self.poses[view][:3, 3]
        u, v, z = self.intrinsics[view] @ rotation.T @ (point - position)
        if z <= 0:
            return "nothing"
        column, row = math.floor(u / z), math.floor(v / z)
        if not (0 <= row < self.height and 0 <= column < self.width and self.valid[view, row, column]):
            return "nothing"
        if abs(self.depth[view, row, column] - z) <= tolerance * z:
            return "agreed"
        for r in range(max(row - 1, 0), min(row + 2, self.height)):
            for c in range(max(column - 1, 0), min(column + 2, self.width)):
                if self.valid[view, r, c] and self.depth[view, r, c] <= (1 + tolerance) * z:
                    return "nothing"
        return "contradicted"

    def confidence(self, view: int, point: np.ndarray, tolerance: float) -> float:
        verdicts = [self.verdict(other, point, tolerance) for other in range(self.num_views) if other != view]
        agreed, contradicted = verdicts.count("agreed"), verdicts.count("contradicted")
        return (agreed + 1) / (agreed + contradicted + 2)


def plain_fusion(
    depth: Any,
    colours: Any,
    intrinsics: Any,
    base_from_camera: Any,
    *,
    voxel_size: float | None,
    depth_range: Any = None,
    edge_threshold: float | None = None,
    tolerance: float = 0.02,
) -> list[PlainPoint]:
    """Points in the order of `fuse_views`, always with normals and confidence; colours are means before rounding."""
    views = PlainViews(depth, colours, intrinsics, base_from_camera)
    limits = depth_range
    if depth_range is not None and np.ndim(depth_range) == 1:
        limits = [depth_range] * views.num_views
    pixels = list(np.ndindex(views.depth.shape))
    for pixel in pixels:
        views.valid[pixel] = views.is_in_range(*pixel, limits) and not (
            edge_threshold is not None and views.is_edge(*pixel, limits, edge_threshold)
        )
    points = []
    for pixel in pixels:
        if views.valid[pixel]:
            point = views.point(*pixel)
            confidence = views.confidence(pixel[0], point, tolerance)
            points.append(PlainPoint(point, views.colours[pixel].astype(float), views.normal(*pixel), confidence))
    return points if voxel_size is None else plain_voxels(points, voxel_size)


def plain_voxels(points: list[PlainPoint], voxel_size: float) -> list[PlainPoint]:
    """Means of the points in each cell, cells centred on the multiples of their size, by x, then y, then z."""
    cells: dict[tuple[int, ...], list[PlainPoint]] = {}
    for own in points:
        cells.setdefault(tuple(math.floor(p / voxel_size + 0.5) for p in own.point), []).append(own)
    merged = []
    for _, members in sorted(cells.items()):
        normal = np.mean([own.normal for own in members], axis=0)
        length = np.linalg.norm(normal)
        merged.append(
            PlainPoint(
                np.mean([own.point for own in members], axis=0),
                np.mean([own.colour for own in members], axis=0),
                normal / length if length > 0 else normal,
                float(np.mean([own.confidence for own in members])),
            )
        )
    return merged

"""A whole future as a folder: files to look at, files to measure with, and one pair that reads back exactly."""

import importlib.util
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from xwam.checkpoints.json_files import read_json
from xwam.errors import CheckpointConfigError
from xwam.export.depth_images import MILLIMETRE, depth_levels, write_depth_png
from xwam.export.files import replacing_folder
from xwam.export.future_files import FORMAT, MAX_JSON_BYTES, future_arrays, future_facts, read_future
from xwam.export.images import colour_depth, write_image
from xwam.export.points import check_cloud, frame_name, write_glb, write_ply
from xwam.export.video import side_by_side, write_video
from xwam.futures.checks import check_future
from xwam.futures.future import Future
from xwam.robots.spec_checks import name_problems
from xwam.structures import PointCloud
from xwam.utils.optional import require

JSON_NAME, NPZ_NAME = "future.json", "future.npz"
FORMATS = ("json", "npz", "mp4", "png", "ply", "glb", "rrd")
LIBRARIES = {"ply": ("trimesh", "export"), "glb": ("trimesh", "export"), "rrd": ("rerun", "rerun")}
CLOUD_FORMATS = ("ply", "glb")

Progress = Callable[[float, str], None]


def save_future(
    folder: str | Path,
    future: Future,
    *,
    formats: Sequence[str] | None = None,
    cloud_options: Mapping[str, Any] | None = None,
    metres_per_level: float = MILLIMETRE,
    progress: Progress | None = None,
) -> list[Path]:
    """Write a future into a folder of its own, completely or not at all. docs/how_to/export_a_future.md describes each file.

    Args:
        folder (`str` or `Path`): Folder to make. One that an earlier export wrote is replaced.
        future (`Future`): Imagined or real.
        formats (`Sequence[str]`, *optional*): Of `FORMATS`; `future.json` is always written. Without it, all that can be: what
            cannot, for want of a library or of calibrated depth, is left out, and `future.json` says why. `"rrd"` is written
            without clouds where there are none, and `future.json` says why.
        cloud_options (`Mapping[str, Any]`, *optional*): Arguments of `xwam.futures.point_clouds.point_cloud`, such as
            `{"voxel_size": 0.01, "depth_range": (0.1, 1.5), "with_normals": True}`.
        metres_per_level (`float`, *optional*, defaults to `MILLIMETRE`): Step of the 16-bit depth images.
        progress (`Callable[[float, str], None]`, *optional*): Called with the share that is done and what comes next.

    Returns:
        `list[Path]`: The files, `future.json` first.

    Raises:
        ValueError: If the future or an argument is not valid, a format was asked for that this future cannot have, or the
            folder holds files of somebody else. Nothing has been written then.
        ImportError: If a format was asked for whose library is not installed.
    """
    check_future(future)
    for camera in future.cameras:
        for problem in name_problems(camera):
            raise ValueError(f"A camera of `future` cannot be a file name: {problem}.")
    _check_cloud_options(cloud_options or {})
    if not 0 < metres_per_level < float("inf"):
        raise ValueError(f"`metres_per_level` must be positive, but is {metres_per_level}.")
    export = _Export(future, dict(cloud_options or {}), metres_per_level, progress or (lambda share, what: None))
    wanted = _wanted(export, formats)
    with replacing_folder(folder, own_files=_own_files) as temporary:
        names: list[str] = []
        for index, name in enumerate(wanted):
            export.progress(index / len(wanted), name)
            names += [path.relative_to(temporary).as_posix() for path in export.write(name, temporary)]
        facts = {
            **future_facts(future),
            "metres_per_level": metres_per_level,
            "cloud_options": export.cloud_options,
            "files": names,
            "left_out": export.left_out,
        }
        text = json.dumps(facts, indent=1, allow_nan=False, default=str)
        (temporary / JSON_NAME).write_text(text + "\n", encoding="utf-8")
    export.progress(1.0, "done")
    return [Path(folder) / name for name in (JSON_NAME, *names)]


def save_futures(folder: str | Path, futures: Sequence[Future], **options: Any) -> list[Path]:
    """Write several futures into folders `0000`, `0001`, … of one, all of them or none.

    Args:
        folder (`str` or `Path`): Folder to make. One that an earlier export wrote, of one future or of several, is replaced.
        futures (`Sequence[Future]`): Imagined or real.
        options (`Any`): Passed to `save_future`.

    Returns:
        `list[Path]`: The files, each future's `future.json` first.

    Raises:
        ValueError: As `save_future`. Nothing has been written then.
        ImportError: The same.
    """
    with replacing_folder(folder, own_files=_own_files) as temporary:
        paths = [
            path.relative_to(temporary)
            for index, future in enumerate(futures)
            for path in save_future(temporary / f"{index:04d}", future, **options)
        ]
    return [Path(folder) / path for path in paths]


def load_future(folder: str | Path) -> Future:
    """Read what `save_future` wrote: the same values in every array and number.

    Args:
        folder (`str` or `Path`): The folder, written with the formats `"json"` and `"npz"`.

    Raises:
        ValueError: If a file is missing, damaged or of another format.
    """
    return read_future(Path(folder) / JSON_NAME, Path(folder) / NPZ_NAME)


def _check_cloud_options(options: Mapping[str, Any]) -> None:
    """Raise what is out of range, which must not pass for a future that has no clouds."""
    if not options:
        return
    from xwam.geometry.fusion_checks import check_options  # needs torch

    ranges = options.get("depth_range")
    for own in ranges.values() if isinstance(ranges, Mapping) else (ranges,):
        check_options(
            options.get("voxel_size"), own, options.get("edge_threshold"), options.get("agreement_tolerance", 1.0)
        )


class _Export:
    """One future and how to write it. What several formats need is computed once."""

    def __init__(
        self, future: Future, cloud_options: dict[str, Any], metres_per_level: float, progress: Progress
    ) -> None:
        self.future, self.cloud_options, self.metres_per_level = future, cloud_options, metres_per_level
        self.progress = progress
        self.left_out: dict[str, str] = {}  # and why

    @cached_property
    def clouds(self) -> list[PointCloud]:
        """The fused cloud of every frame."""
        from xwam.futures.point_clouds import point_cloud  # needs torch

        if not self.future.depths:
            raise ValueError(f"Clouds need depth in metres, but `depth_kind` is {self.future.depth_kind!r}.")
        self.progress(0.0, "clouds")
        clouds = []
        for frame in range(self.future.num_frames):
            clouds.append(point_cloud(self.future, frame, **self.cloud_options))
            check_cloud(clouds[-1], name=f"clouds[{frame}]")
        return clouds

    def check(self, name: str) -> None:
        """Raise what would stop a format: a missing library, or something that the future lacks."""
        if name in LIBRARIES:
            module, extra = LIBRARIES[name]
            if importlib.util.find_spec(module) is None:
                require(module, extra=extra, needed_for=f"the format {name!r} of save_future")
        if name in CLOUD_FORMATS:
            _ = self.clouds
        if name == "mp4":
            height, width = next(iter(self.future.frames.values())).shape[1:3]
            if height % 2 or width % 2:
                raise ValueError(f"Videos need frames of even height and width, but these have {(height, width)}.")
        if name == "png":
            for camera, depth in self.future.depths.items():
                for frame in depth:
                    depth_levels(frame, metres_per_level=self.metres_per_level, name=f"depths[{camera!r}]")

    def write(self, name: str, folder: Path) -> list[Path]:
        """Write one format; returns its files."""
        return list(getattr(self, f"_write_{name}")(folder))

    def _write_npz(self, folder: Path) -> Iterator[Path]:
        path = folder / NPZ_NAME
        # No `allow_pickle`: NumPy 1 would save it as an array. `future_arrays` has no objects.
        np.savez_compressed(path, **future_arrays(self.future))  # type: ignore[arg-type]
        yield path

    def _write_mp4(self, folder: Path) -> Iterator[Path]:
        future, fps = self.future, 1 / self.future.frame_period
        depths = {camera: colour_depth(depth) for camera, depth in future.depths.items()}
        videos = {f"{camera}_rgb.mp4": frames for camera, frames in future.frames.items()}
        videos |= {f"{camera}_depth.mp4": frames for camera, frames in depths.items()}
        videos["views.mp4"] = side_by_side(future.frames, depths)
        for name, frames in videos.items():
            write_video(folder / name, frames, fps=fps)
            yield folder / name

    def _write_png(self, folder: Path) -> Iterator[Path]:
        for camera, frames in self.future.frames.items():
            for index, frame in enumerate(frames):
                path = folder / "rgb" / camera / f"{frame_name(index)}.png"
                write_image(path, frame)
                yield path
        for camera, depths in self.future.depths.items():
            for index, depth in enumerate(depths):
                path = folder / "depth" / camera / f"{frame_name(index)}.png"
                write_depth_png(path, depth, metres_per_level=self.metres_per_level, name=f"depths[{camera!r}]")
                yield path

    def _write_ply(self, folder: Path) -> Iterator[Path]:
        for index, cloud in enumerate(self.clouds):
            path = folder / "clouds" / f"{frame_name(index)}.ply"
            write_ply(path, cloud)
            yield path

    def _write_glb(self, folder: Path) -> Iterator[Path]:
        path = folder / "clouds.glb"
        write_glb(path, self.clouds, frame_period=self.future.frame_period)
        yield path

    def _write_rrd(self, folder: Path) -> Iterator[Path]:
        from xwam.export.rerun import POINT_SIZE, write_rrd

        clouds: list[PointCloud] = []  # without depth or calibration a recording still has images, states and actions
        try:
            clouds = self.clouds
        except ValueError as error:
            self.left_out["clouds of rrd"] = str(error)
        path = folder / "future.rrd"
        write_rrd(path, self.future, clouds, point_size=self.cloud_options.get("voxel_size") or POINT_SIZE)
        yield path


def _wanted(export: _Export, formats: Sequence[str] | None) -> list[str]:
    """Formats to write besides JSON; those left out go to `export.left_out`, each with the reason."""
    unknown = [formats] if isinstance(formats, str) else [name for name in formats or () if name not in FORMATS]
    if unknown:
        raise ValueError(f"`formats` must be a list of some of {list(FORMATS)}, but has {unknown}.")
    wanted = []
    for name in FORMATS[1:] if formats is None else dict.fromkeys(formats):
        if name == "json":
            continue
        try:
            export.check(name)
            wanted.append(name)
        except (ImportError, ValueError) as error:
            if formats is not None:
                raise
            export.left_out[name] = str(error)
    return wanted


def _own_files(folder: Path) -> set[str]:
    """Files of earlier exports, of one future or of several, which are numbered without a gap."""
    numbered = (folder / f"{index:04d}" for index in itertools.count())
    below = list(itertools.takewhile(Path.is_dir, numbered))
    return _files_of_one(folder) | {f"{path.name}/{name}" for path in below for name in _files_of_one(path)}


def _files_of_one(folder: Path) -> set[str]:
    """Files that `save_future` wrote into a folder, as its JSON tells; none where it tells nothing."""
    try:
        facts: Mapping[str, object] = read_json(folder / JSON_NAME, max_bytes=MAX_JSON_BYTES)
    except CheckpointConfigError:
        return set()
    files = facts.get("files")
    if facts.get("format") != FORMAT or not isinstance(files, list):
        return set()
    return {JSON_NAME, *(name for name in files if isinstance(name, str))}

"""`xwam gallery`: one picture of every embedded task, all its cameras, RGB and depth."""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from xwam.envs.opengl import RenderingUnavailableError
from xwam.envs.registry import list_envs, make_env
from xwam.export.images import FONT_SIZE, GAP, INK, PAPER, colour_depth, write_image
from xwam.structures import Observation

EMBEDDED = "mujoco/"
LINE = FONT_SIZE + 2 * GAP  # pixels, height of a line of text
FAINT = (120, 120, 120)
NEAR_QUANTILE, NEAR_SHARE = 0.3, 0.85  # the brightest colour of a camera: this share of this quantile of its depth


def main(arguments: Sequence[str]) -> int:
    """Render the first view of every embedded task into one PNG and say how long it took.

    Args:
        arguments (`Sequence[str]`): What follows `xwam gallery`.

    Returns:
        `int`: 0, or 1 if nothing can be rendered here or the file cannot be written.
    """
    started = time.perf_counter()
    options = _parse(arguments)
    names = [name for name in list_envs() if name.startswith(EMBEDDED)]
    looks = {"randomized": options.randomized, "shadows": options.shadows}
    looks["multisampling"] = 4 if options.shadows else 0
    seen: dict[str, Observation] = {}
    try:
        for seed, name in enumerate(names, start=options.seed):
            with make_env(name, seed=seed, **looks) as world:
                seen[name] = world.reset()
            if len(seen) == 1:
                print(f"first frames after {time.perf_counter() - started:.1f} s")
        write_image(options.output, gallery_sheet({name.removeprefix(EMBEDDED): look for name, look in seen.items()}))
    except (ImportError, RenderingUnavailableError, OSError) as error:
        print(f"xwam gallery: {error}", file=sys.stderr)
        return 1
    print(f"{len(seen)} tasks after {time.perf_counter() - started:.1f} s: {options.output}")
    return 0


def gallery_sheet(observations: Mapping[str, Observation]) -> np.ndarray:
    """Lay out observations as a table: a task per row with its instruction above, RGB and depth of each camera.

    The depth of a camera has one scale in all rows, which leaves out what is nearest: the fingers before the wrist camera.

    Args:
        observations (`Mapping[str, Observation]`): By name of the task; all with the same cameras and image sizes.

    Returns:
        `np.ndarray` of shape `(H', W', 3)`: The sheet, RGB `uint8`.
    """
    cameras = list(next(iter(observations.values())).images)
    columns: list[tuple[str, list[np.ndarray]]] = []
    for camera in cameras:
        depths = np.stack([observation.depths[camera] for observation in observations.values()])
        near = NEAR_SHARE * float(np.quantile(depths[depths > 0], NEAR_QUANTILE)) if (depths > 0).any() else None
        columns.append((camera, [observation.images[camera] for observation in observations.values()]))
        columns.append(("depth", list(colour_depth(depths, near=near))))
    height, width = columns[0][1][0].shape[:2]
    row_height = LINE + height + GAP
    size = (GAP + len(columns) * (width + GAP), LINE + len(observations) * row_height)
    sheet = Image.new("RGB", size, PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT_SIZE)
    for column, (label, images) in enumerate(columns):
        left = GAP + column * (width + GAP)
        draw.text((left, GAP), label, FAINT, font=font)
        for row, image in enumerate(images):
            sheet.paste(Image.fromarray(image), (left, LINE + row * row_height + LINE))
    for row, (task, observation) in enumerate(observations.items()):
        top = LINE + row * row_height + GAP
        draw.text((GAP, top), task, INK, font=font)
        draw.text((GAP + width + GAP, top), f"“{observation.instruction}”", INK, font=font)
    return np.array(sheet)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="xwam gallery", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("gallery.png"), help="PNG to write (default: gallery.png)")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the first task; each further one adds 1 (default: 0)"
    )
    parser.add_argument("--randomized", action="store_true", help="vary distractors, cameras, light and colours")
    parser.add_argument("--shadows", action="store_true", help="shadows and smooth edges, which models do not see")
    options = parser.parse_args(arguments)
    if options.output.suffix != ".png":
        parser.error(f"--output must end in .png but is {str(options.output)!r}")
    if options.seed < 0:
        parser.error(f"--seed must be from 0 but is {options.seed}")
    return options

"""Sampled futures beside what came: a video and a picture of each clip."""

from pathlib import Path

import numpy as np
import torch

from xwam.data.streams.collate import TrainBatch
from xwam.export.images import contact_sheet, write_image
from xwam.export.video import write_video
from xwam.pipelines.pipeline_xwam import XWAMPipeline


def write_pictures(
    folder: Path,
    pipeline: XWAMPipeline,
    batch: TrainBatch,
    frames: torch.Tensor,
    depth_images: torch.Tensor | None,
    first: int,
    at_most: int,
) -> None:
    """Write `clip-000.png` and `clip-000.mp4` of the clips of a batch whose numbers are below `at_most`.

    Args:
        folder (`Path`): Where they go.
        pipeline (`XWAMPipeline`): Names the cameras and the time between frames.
        batch (`TrainBatch`): What came.
        frames (`torch.Tensor` of shape `(B, V, F, 3, H, W)`): Sampled RGB in [-1, 1].
        depth_images (`torch.Tensor` of shape `(B, V, F, 3, H, W)` or `None`): Sampled depth images in [-1, 1].
        first (`int`): Number of the first clip of the batch.
        at_most (`int`): Clips to write in all.
    """
    spec = pipeline.robot_processor.spec
    period = (spec.control_period or 0.25 / spec.actions_per_frame) * spec.actions_per_frame
    for row in range(min(len(batch), max(at_most - first, 0))):
        kinds = {"true": batch.frames[row], "sampled": frames[row]}
        if depth_images is not None and batch.depth_mask[row].any():
            kinds |= {"true depth": batch.depth_images[row], "sampled depth": depth_images[row]}
        pictures = {name: _pictures(kind) for name, kind in kinds.items()}  # (V, F, H, W, 3)
        rows = {
            f"{camera.name}: {name}": views[number]
            for number, camera in enumerate(spec.cameras)
            for name, views in pictures.items()
        }
        labels = [f"{number * period:.1f} s" for number in range(batch.frames.shape[2])]
        name = f"clip-{first + row:03d}"
        sheet = contact_sheet(rows, column_labels=labels, title=f"{batch.instructions[row]} ({batch.sources[row]})")
        write_image(folder / f"{name}.png", sheet)
        tiles = np.concatenate([np.concatenate(list(views), axis=2) for views in pictures.values()], axis=1)
        write_video(
            folder / f"{name}.mp4", tiles[:, : tiles.shape[1] // 2 * 2, : tiles.shape[2] // 2 * 2], fps=1 / period
        )


def _pictures(images: torch.Tensor) -> np.ndarray:
    """Images `(V, F, 3, H, W)` in [-1, 1] as `uint8` `(V, F, H, W, 3)`."""
    scaled = ((images.float().cpu() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(scaled.movedim(2, -1).numpy())

"""The voxel grid: points that share a cell become one."""

import math
import numbers
from collections.abc import Sequence

import torch

MOST_CELLS = 2**20  # from the origin in each direction: the box fits into 63 bits
MOST_SUMMED = 2**12  # float32 numbers; the sum of more drifts, by a tenth of a millimetre and soon by centimetres


def check_voxel_size(voxel_size: float) -> None:
    """Check that this is a length.

    Raises:
        ValueError: If it is not a positive finite number.
    """
    if not (isinstance(voxel_size, numbers.Real) and math.isfinite(voxel_size) and voxel_size > 0):
        raise ValueError(f"`voxel_size` must be a positive number of metres, or None, but is {voxel_size!r}.")


def voxel_keys(points: torch.Tensor, voxel_size: float) -> torch.Tensor:
    r"""One number per voxel: the cell \(\lfloor p / size + 1/2 \rfloor\), counted within the box of the points.

    Cells are centred on the multiples of the voxel size, so that a table or a floor at height zero does not fall in two, and lie
    where they lie whatever the cloud, so that the clouds of several frames can be merged.

    Args:
        points (`torch.Tensor` of shape `(M, 3)`): Metres.
        voxel_size (`float`): Edge of a cell, in metres.

    Returns:
        `torch.Tensor` of shape `(M,)`: Not negative, ordered as the cells by x, then y, then z; int32 where that is enough,
        since sorting is what takes time, else int64.

    Raises:
        ValueError: If `voxel_size` is no length, a point is not finite, or the points reach beyond 2^20 cells from the origin.
    """
    check_voxel_size(voxel_size)
    if len(points) == 0:
        return torch.zeros(0, dtype=torch.int32, device=points.device)
    axes, lowest, extents = [], [], []
    for own in points.detach().unbind(dim=1):
        cells = (own / voxel_size).add_(0.5).floor_()
        low, high = (float(end) for end in torch.aminmax(cells))
        if not max(-low, high) < MOST_CELLS:
            reach = float(points.detach().abs().amax())
            if not math.isfinite(reach):
                raise ValueError("`points` must be finite, but hold NaN or infinity.")
            raise ValueError(
                f"`voxel_size` must be at least {reach / MOST_CELLS:.3g} m for points that are {reach:.3g} m away, but is "
                f"{voxel_size:g}; or leave out what is so far, as `depth_range` does."
            )
        axes.append(cells)
        lowest.append(int(low))
        extents.append(int(high - low) + 1)
    dtype = torch.int32 if math.prod(extents) < 2**31 else torch.int64
    x, y, z = (cells.to(dtype).sub_(low) for cells, low in zip(axes, lowest, strict=True))
    return x.mul_(extents[1]).add_(y).mul_(extents[2]).add_(z)


def merge_voxels(points: torch.Tensor, attributes: Sequence[torch.Tensor], voxel_size: float) -> list[torch.Tensor]:
    """Mean position and mean attributes of the points in each voxel, ordered as `voxel_keys`.

    The order of the points does not decide which voxels come out nor their order. On a CPU the same points in the same order
    give the same bits.

    Args:
        points (`torch.Tensor` of shape `(M, 3)`): Metres.
        attributes (`Sequence[torch.Tensor]`): Each of shape `(M, C)`, of any dtype; taken to that of the points.
        voxel_size (`float`): Edge of a voxel, in metres.

    Returns:
        `list[torch.Tensor]`: Points and attributes of the voxels, all in the dtype of `points`.

    Raises:
        ValueError: If `voxel_size` is no length or too small for the reach of the points, or a point is not finite.
    """
    keys, order = torch.sort(voxel_keys(points, voxel_size), stable=True)
    is_first = torch.ones_like(keys, dtype=torch.bool)
    torch.ne(keys[1:], keys[:-1], out=is_first[1:])
    values = [own.to(points.dtype) for own in (points, *attributes)]
    if len(points) == 0:
        return values
    starts = is_first.nonzero().squeeze(1)
    most = int(starts.diff(append=starts.new_tensor([len(points)])).amax())
    exact = torch.float64 if most > MOST_SUMMED else points.dtype
    return [
        torch.nn.functional.embedding_bag(order, own.to(exact), starts, mode="mean").to(points.dtype) for own in values
    ]

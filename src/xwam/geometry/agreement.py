"""What the other views say of a point: that it is there, or that they look past it."""

from dataclasses import dataclass

import torch

from xwam.geometry.transforms import invert_transform

MOST_POINTS = 2**18  # projected at a time, to bound memory


@dataclass(frozen=True, eq=False)
class Agreement:
    """How many views spoke for a point and against it; the others do not look there, or see something in front of it.

    Args:
        agreed (`torch.Tensor` of shape `(M,)`): Views that measured the same depth, within the tolerance.
        contradicted (`torch.Tensor` of shape `(M,)`): Views that look past the point to something behind it.
        unknown (`torch.Tensor` of shape `(M,)`): Views that look there and know no depth.
    """

    agreed: torch.Tensor
    contradicted: torch.Tensor
    unknown: torch.Tensor

    @property
    def score(self) -> torch.Tensor:
        r"""Confidence \((agreed + 1) / (agreed + contradicted + 2)\) of shape `(M,)`, in (0, 1).

        The mean of a coin's bias after as many heads and tails (Laplace's rule of succession): 1/2 where no other view says
        anything, 2/3 and 3/4 after one and two that agree, 1/3 after one that contradicts.
        """
        return (self.agreed + 1) / (self.agreed + self.contradicted + 2)


def view_agreement(
    points: torch.Tensor,
    depth: torch.Tensor,
    is_valid: torch.Tensor,
    intrinsics: torch.Tensor,
    base_from_camera: torch.Tensor,
    *,
    point_view: torch.Tensor | None = None,
    tolerance: float = 0.02,
) -> Agreement:
    r"""Project points into views and compare with the depth measured there.

    A point at depth \(z\) of a view falls into a pixel of depth \(d\). The view agrees if \(|d - z| \le tolerance · z\). It
    contradicts if \(d > (1 + tolerance)\,z\) in that pixel and in all valid ones of the eight around it, so that a silhouette that is
    half a pixel off says nothing. It is silent if the pixel is not valid, the point is not in the picture, or \(d\) is smaller:
    something is in front.

    Args:
        points (`torch.Tensor` of shape `(M, 3)`): Points in the base frame, in metres.
        depth (`torch.Tensor` of shape `(V, H, W)`): Metres.
        is_valid (`torch.Tensor` of shape `(V, H, W)`): Pixels that may speak.
        intrinsics (`torch.Tensor` of shape `(V, 3, 3)`): Camera matrices, in pixels.
        base_from_camera (`torch.Tensor` of shape `(V, 4, 4)`): Camera poses, in metres.
        point_view (`torch.Tensor` of shape `(M,)`, *optional*): View that each point comes from, which is not asked.
        tolerance (`float`, *optional*, defaults to `0.02`): Share of the depth by which views may differ.

    Returns:
        `Agreement`: Counts, in the dtype of `points`.
    """
    known = torch.where(is_valid, depth, torch.inf)
    # Least depth of a pixel and those around it.
    nearest = -torch.nn.functional.max_pool2d(-known[:, None], 3, stride=1, padding=1)[:, 0]
    camera_from_base = invert_transform(base_from_camera)[:, :3]
    pixel_from_base = (intrinsics @ camera_from_base).to(points.dtype)  # (V, 3, 4)
    agreed, contradicted, unknown = (torch.zeros_like(points[:, 0]) for _ in range(3))
    for part in (slice(first, first + MOST_POINTS) for first in range(0, len(points), MOST_POINTS)):
        for view in range(len(depth)):
            z, pixel, is_inside = _pixels(points[part], pixel_from_base[view], depth.shape[-2:])
            if point_view is not None:
                is_inside &= point_view[part] != view
            measured = known[view].flatten()[pixel]
            agreed[part] += is_inside & ((measured - z).abs() <= tolerance * z)
            is_past = (nearest[view].flatten()[pixel] > (1 + tolerance) * z) & measured.isfinite()
            contradicted[part] += is_inside & is_past
            unknown[part] += is_inside & measured.isinf()
    return Agreement(agreed, contradicted, unknown)


def _pixels(
    points: torch.Tensor, pixel_from_base: torch.Tensor, size: torch.Size
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Depths, flat pixel numbers (zero outside) and which points are in the picture."""
    height, width = size
    u, v, z = (points @ pixel_from_base[:, :3].T + pixel_from_base[:, 3]).unbind(dim=1)
    column, row = (u / z).floor(), (v / z).floor()
    is_inside = (z > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return z, torch.where(is_inside, row * width + column, 0).long(), is_inside

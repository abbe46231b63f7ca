"""Points of one cell become their mean; cells do not depend on the cloud."""

import numpy as np
import pytest
import torch

from xwam.geometry.voxels import MOST_CELLS, merge_voxels, voxel_keys


def _points(count: int = 500) -> torch.Tensor:
    return torch.rand(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 0.5


def test_a_cell_is_centred_on_a_multiple_of_its_size():
    heights = torch.tensor([-0.0051, -0.0049, -1e-7, 0.0, 1e-7, 0.0049, 0.0051], dtype=torch.float64)
    keys = voxel_keys(torch.stack([heights * 0, heights * 0, heights], dim=1), 0.01)
    assert (keys - keys[3]).tolist() == [-1, 0, 0, 0, 0, 0, 1]


def test_keys_grow_with_x_before_y_before_z():
    steps = torch.tensor([[0, 0, 0], [0, 0, 1], [0, 1, -9], [1, -9, -9], [9, 9, 9]], dtype=torch.float64)
    keys = voxel_keys(steps, 1.0)
    assert (keys[1:] > keys[:-1]).all()
    assert (keys >= 0).all()


def test_means_are_those_of_the_members_in_the_order_of_the_keys():
    points = _points()
    values = torch.arange(len(points), dtype=torch.int32)[:, None]
    merged, means = merge_voxels(points, [values], 0.2)
    keys = voxel_keys(points, 0.2)
    expected = [
        (points[keys == key].mean(0), values[keys == key].double().mean(0)) for key in sorted(set(keys.tolist()))
    ]
    torch.testing.assert_close(merged, torch.stack([own[0] for own in expected]))
    torch.testing.assert_close(means, torch.stack([own[1] for own in expected]))


def test_the_order_of_the_points_does_not_decide_the_voxels():
    points = _points()
    shuffled = points[torch.randperm(len(points), generator=torch.Generator().manual_seed(1))]
    torch.testing.assert_close(
        merge_voxels(points, [], 0.1)[0], merge_voxels(shuffled, [], 0.1)[0], rtol=0, atol=1e-12
    )


def test_the_same_points_give_the_same_bits():
    points = _points(100_000).float()
    first, second = (merge_voxels(points, [points], 0.02) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_merging_two_clouds_later_gives_the_voxels_of_both_at_once():
    points = _points()
    parts = [merge_voxels(half, [], 0.1)[0] for half in points.chunk(2)]
    assert len(merge_voxels(torch.cat(parts), [], 0.1)[0]) == len(merge_voxels(points, [], 0.1)[0])


def test_no_points_are_no_voxels():
    merged, colours = merge_voxels(torch.zeros(0, 3), [torch.zeros(0, 3, dtype=torch.uint8)], 0.1)
    assert merged.shape == colours.shape == (0, 3)


def test_means_of_a_crowded_voxel_do_not_drift():
    """The running sum of a million whites in float32 gains 256 for every 255, and of 0.7 m it loses 7 mm."""
    count = 900_000
    points, colours = torch.full((count, 3), 0.7), torch.full((count, 3), 255, dtype=torch.uint8)
    merged, means = merge_voxels(points, [colours], 10.0)
    torch.testing.assert_close(merged, points[:1], rtol=0, atol=1e-6)
    assert merged.dtype == means.dtype == torch.float32
    assert means.tolist() == [[255.0] * 3]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_point_that_is_nowhere_is_refused(value):
    with pytest.raises(ValueError, match="`points` must be finite"):
        voxel_keys(torch.tensor([[0.0, value, 0.0], [1, 1, 1]]), 0.1)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
def test_numbers_of_numpy_are_lengths_too(kind):
    assert torch.equal(voxel_keys(_points(), kind(1)), voxel_keys(_points(), 1.0))


@pytest.mark.parametrize("size", [0, -0.005, float("nan"), float("inf"), "5 mm", None])
def test_what_is_no_length_is_refused(size):
    with pytest.raises(ValueError, match=r"`voxel_size` must be a positive number of metres"):
        voxel_keys(_points(), size)


def test_cells_that_are_too_many_to_count_are_refused():
    for sign in (-1, 1):
        with pytest.raises(ValueError, match=r"`voxel_size` must be at least .* but is 1e-07"):
            voxel_keys(sign * _points().abs(), 1e-7)
    reach = (MOST_CELLS - 1) * 0.25
    keys = voxel_keys(torch.tensor([[-reach] * 3, [0.0, 0, 0], [reach] * 3]), 0.25)
    assert keys.dtype == torch.int64
    assert keys[0] == 0 < keys[1] < keys[2] == (2 * MOST_CELLS - 1) ** 3 - 1


def test_the_smallest_integers_that_suffice_give_the_same_voxels():
    points = _points()
    far = torch.cat([points, torch.full((1, 3), 400.0, dtype=torch.float64)])
    assert voxel_keys(points, 0.1).dtype == torch.int32
    assert voxel_keys(far, 0.1).dtype == torch.int64
    torch.testing.assert_close(merge_voxels(far, [], 0.1)[0][:-1], merge_voxels(points, [], 0.1)[0])

"""Other views agree with a point, contradict it or are silent."""

import pytest
import torch

from xwam.geometry.agreement import Agreement, view_agreement

SIZE = (12, 16)
INTRINSICS = torch.tensor([[10.0, 0, 8], [0, 10.0, 6], [0, 0, 1]])


def _asked(point: tuple[float, float, float], wall: torch.Tensor, **options) -> tuple[float, float, float]:
    """Verdict on one point of a view at the origin that sees `wall`."""
    points = torch.tensor([point])
    is_valid = (wall > 0) & wall.isfinite()
    own = view_agreement(points, wall[None], is_valid[None], INTRINSICS[None], torch.eye(4)[None], **options)
    return float(own.agreed), float(own.contradicted), float(own.unknown)


WALL = torch.full(SIZE, 2.0)


@pytest.mark.parametrize(
    ("point", "agreed", "contradicted"),
    [
        ((0, 0, 2.0), 1, 0),
        ((0, 0, 1.97), 1, 0),  # within two per cent
        ((0, 0, 1.9), 0, 1),  # the view looks past it
        ((0, 0, 2.1), 0, 0),  # behind the wall
        ((0, 0, -2.0), 0, 0),  # behind the camera
        ((1.65, 0, 2.0), 0, 0),  # beside the picture
        ((1.55, 0, 2.0), 1, 0),
    ],
)
def test_a_view_speaks_of_what_it_sees(point, agreed, contradicted):
    assert _asked(point, WALL) == (agreed, contradicted, 0)


def test_the_tolerance_decides_who_agrees():
    assert _asked((0, 0, 1.97), WALL, tolerance=0.001)[:2] == (0, 1)


@pytest.mark.parametrize("hole", [0.0, torch.nan, torch.inf])
def test_a_hole_knows_nothing(hole):
    wall = WALL.clone()
    wall[5:8, 7:10] = hole
    assert _asked((0, 0, 1.5), wall) == (0, 0, 1)
    assert _asked((0, 0, 2.0), wall) == (0, 0, 1)


def test_a_silhouette_that_is_a_pixel_off_is_silent():
    wall = WALL.clone()
    wall[:, :8] = 1.0  # something in front, left of the pixel that the point falls into
    assert _asked((0.01, 0, 1.0), wall)[:2] == (0, 0)
    assert _asked((0.12, 0, 1.0), wall)[:2] == (0, 1)


def test_the_view_that_a_point_comes_from_is_not_asked():
    depth = WALL.expand(2, *SIZE)
    views = depth, depth > 0, INTRINSICS.expand(2, 3, 3), torch.eye(4).expand(2, 4, 4)
    points = torch.tensor([[0, 0, 2.0], [0, 0, 2.0]])
    both = view_agreement(points, *views)
    others = view_agreement(points, *views, point_view=torch.tensor([0, 1]))
    assert both.agreed.tolist() == [2, 2]
    assert others.agreed.tolist() == [1, 1]


def test_the_score_is_laplaces():
    score = Agreement(torch.tensor([0.0, 1, 2, 0, 1]), torch.tensor([0.0, 0, 0, 1, 1]), torch.zeros(5)).score
    torch.testing.assert_close(score, torch.tensor([1 / 2, 2 / 3, 3 / 4, 1 / 3, 1 / 2]))


def test_many_points_are_asked_in_parts(monkeypatch):
    points = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) * 2
    arguments = (WALL[None], WALL[None] > 0, INTRINSICS[None], torch.eye(4)[None])
    whole = view_agreement(points, *arguments)
    monkeypatch.setattr("xwam.geometry.agreement.MOST_POINTS", 7)
    parts = view_agreement(points, *arguments)
    assert torch.equal(whole.agreed, parts.agreed)
    assert torch.equal(whole.contradicted, parts.contradicted)
    assert whole.contradicted.sum() > 0

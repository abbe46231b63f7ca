"""The depth image keeps metric depth where it is valid and says where it is not."""

import numpy as np
import pytest
import torch

from xwam.geometry.depth import (
    HALF_LEVEL,
    depth_error_bound,
    depth_to_image,
    image_to_depth,
    known_pixels,
    valid_depth,
)

NEAR, FAR = torch.tensor([0.1, 0.3]), torch.tensor([3.0, 5.0])
NAN, INF = float("nan"), float("inf")
ENCODINGS = ("inverse", "linear")
PLANES = [(0.3, 5.0), (0.015, 2.0), (0.1, 0.11), (0.01, 10.0), (0.5, 100.0)]

every_encoding = pytest.mark.parametrize("encoding", ENCODINGS)
every_range = pytest.mark.parametrize("planes", PLANES)


def random_depth(planes: tuple[float, float], dtype: torch.dtype, *, even_in: str = "inverse") -> torch.Tensor:
    """20 000 depths with both ends, spread evenly over the levels of an encoding."""
    near, far = planes
    share = torch.rand(100, 200, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    share[0, 0], share[0, 1] = 0, 1
    depth = far - share * (far - near) if even_in == "linear" else 1 / (share * (1 / near - 1 / far) + 1 / far)
    return depth.to(dtype).clamp(*torch.tensor(planes, dtype=dtype))


def in_8_bits(image: torch.Tensor) -> torch.Tensor:
    """As a video keeps it."""
    return ((image + 1) / 2 * 255).round() / 255 * 2 - 1


@every_encoding
@every_range
def test_depth_comes_back_exactly(planes, encoding):
    depth = random_depth(planes, torch.float64)
    image, mask = depth_to_image(depth, *planes, encoding)
    assert image.shape == (3, *depth.shape)
    assert mask.all()
    # An image of inverse depth rounds levels, which weighs far / near times at the far end, as linear depth at the near end.
    torch.testing.assert_close(image_to_depth(image, *planes, encoding), depth, rtol=1e-12, atol=0)


@every_encoding
@every_range
def test_in_float32_depth_comes_back_as_exactly_as_the_numbers_allow(planes, encoding):
    depth = random_depth(planes, torch.float32)
    image, mask = depth_to_image(depth, *planes, encoding)
    assert mask.all()
    again = image_to_depth(image, *planes, encoding)
    assert again.dtype == torch.float32
    torch.testing.assert_close(again, depth, rtol=4 * planes[1] / planes[0] * 2**-24, atol=0)


@every_encoding
def test_the_image_comes_back_exactly(encoding):
    image = torch.rand(2, 1, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    image = image.expand(2, 3, 4, 6)
    again, mask = depth_to_image(image_to_depth(image, NEAR, FAR, encoding), NEAR, FAR, encoding)
    assert mask.all()
    torch.testing.assert_close(again, image, rtol=0, atol=1e-12)


def test_near_is_one_and_far_is_minus_one_and_the_scale_is_inverse_depth():
    middle = 2 / (1 / 0.1 + 1 / 3.0)
    image, _ = depth_to_image(torch.tensor([[[0.1, 3.0, middle]]]), NEAR[:1], FAR[:1])
    torch.testing.assert_close(image[0, :, 0], torch.tensor([1.0, -1.0, 0.0]).expand(3, 3), atol=1e-5, rtol=0)


def test_the_scale_of_a_linear_image_is_depth():
    image, _ = depth_to_image(torch.tensor([[[0.1, 3.0, 1.55]]]), NEAR[:1], FAR[:1], "linear")
    torch.testing.assert_close(image[0, :, 0], torch.tensor([1.0, -1.0, 0.0]).expand(3, 3), atol=1e-5, rtol=0)


@every_encoding
@pytest.mark.parametrize("num_levels", [256, 65536])
@every_range
def test_rounding_to_levels_keeps_the_bound_and_the_bound_is_reached(planes, num_levels, encoding):
    depth = random_depth(planes, torch.float64, even_in=encoding)
    image, _ = depth_to_image(depth, *planes, encoding)
    rounded = ((image + 1) / 2 * (num_levels - 1)).round() / (num_levels - 1) * 2 - 1
    error = (image_to_depth(rounded, *planes, encoding) - depth).abs()
    bound = depth_error_bound(depth, *planes, encoding, num_levels)
    assert (error <= bound * (1 + 1e-9) + 1e-12).all()
    assert (error / bound).max() > 0.99


@pytest.mark.parametrize("depth", [0.4, 0.8, 1.5, 4.0])
def test_the_bound_is_the_formula(depth):
    near, far = 0.3, 5.0
    half = (1 / near - 1 / far) / 255 / 2
    at = torch.full((1, 1), depth, dtype=torch.float64)
    assert depth_error_bound(at, near, far).item() == pytest.approx(depth**2 * half / (1 - depth * half), rel=1e-12)
    assert depth_error_bound(at, near, far, "linear").item() == pytest.approx((far - near) / 255 / 2, rel=1e-12)
    assert depth_error_bound(at, near, far).item() == pytest.approx(
        depth**2 * half, rel=0.03
    )  # d² h where d h is small


@every_encoding
@every_range
def test_rounding_to_8_bits_has_no_bias(planes, encoding):
    """The mean error is zero within four standard errors: of the level, and of the depth, less what its curvature makes."""
    depth = random_depth(planes, torch.float64, even_in=encoding)
    image, _ = depth_to_image(depth, *planes, encoding)
    again, _ = depth_to_image(image_to_depth(in_8_bits(image), *planes, encoding), *planes, encoding)
    error = (again - image)[0] / 2
    assert error.mean().abs() < 4 / 255 / 12**0.5 / error.numel() ** 0.5
    metres = (image_to_depth(in_8_bits(image), *planes, encoding) - depth)[image[0] > -0.5]
    # Over a level of inverse depth the mean of 1 / i is above 1 over its middle by the share (d h)² / 3.
    half = (1 / planes[0] - 1 / planes[1]) / 255 / 2
    curvature = (depth**3 * half**2 / 3)[image[0] > -0.5].mean() if encoding == "inverse" else 0
    assert (metres.mean() + curvature).abs() < 4 * metres.std() / metres.numel() ** 0.5


@pytest.mark.parametrize(
    ("depth", "drawn"),
    [
        (0.0, -1.0),
        (NAN, -1.0),
        (INF, -1.0),
        (-INF, -1.0),
        (-1.0, -1.0),
        (3.5, -1.0),
        (65.535, -1.0),
        (0.05, 1.0),
        (1e-45, 1.0),
    ],
)
@every_encoding
def test_what_was_not_measured_is_masked_and_drawn(depth, drawn, encoding):
    image, mask = depth_to_image(torch.full((1, 1, 1), depth), NEAR[:1], FAR[:1], encoding)
    assert not mask.any()
    assert image.flatten().tolist() == [drawn] * 3


@every_encoding
def test_a_pixel_at_the_far_end_tells_nothing(encoding):
    """Half an 8-bit level: what a video rounds to black, no more."""
    levels = torch.tensor([0.0, 0.49, 0.51, 1.0, 255.0, 300.0, -5.0, NAN]) / 255
    image = (2 * levels - 1).expand(3, 1, 8)
    assert known_pixels(image).tolist() == [[False, False, True, True, True, True, False, False]]
    holes, _ = depth_to_image(torch.tensor([[0.0, NAN, INF, 7.0]]), 0.3, 5.0, encoding)
    assert not known_pixels(in_8_bits(holes)).any()
    limit = image_to_depth(torch.full((3, 1, 1), 2 * HALF_LEVEL - 1, dtype=torch.float64), 0.3, 5.0, encoding)
    depth = limit * torch.tensor([[0.999, 1.001]], dtype=torch.float64)
    drawn, mask = depth_to_image(depth, 0.3, 5.0, encoding)
    assert mask.all()
    assert known_pixels(drawn).tolist() == known_pixels(in_8_bits(drawn)).tolist() == [[True, False]]


@every_encoding
def test_images_beyond_their_ends_give_the_planes(encoding):
    image = torch.tensor([1.5, -1.5]).expand(3, 1, 2)
    torch.testing.assert_close(image_to_depth(image, 0.3, 5.0, encoding), torch.tensor([[0.3, 5.0]]))


def test_the_channels_of_an_image_are_averaged():
    image = torch.tensor([0.1, 0.2, 0.6]).reshape(3, 1, 1)
    mean = torch.full((1, 1, 1), 0.3)
    torch.testing.assert_close(image_to_depth(image, 0.3, 5.0), image_to_depth(mean, 0.3, 5.0))


def test_every_view_has_its_own_range():
    depth = torch.full((2, 1, 1), 4.0)
    assert valid_depth(depth, NEAR, FAR).flatten().tolist() == [False, True]
    image, _ = depth_to_image(torch.ones(2, 1, 1), NEAR, FAR)
    for view in range(2):
        alone, _ = depth_to_image(torch.ones(1, 1), float(NEAR[view]), float(FAR[view]))
        torch.testing.assert_close(image[view], alone)


@every_encoding
def test_gradients_are_those_of_the_formula_and_zero_for_missing_pixels(encoding):
    holes = [0.0, NAN, INF, -INF, -1.0, 1e-45, 0.05, 7.0]
    depth = torch.tensor([[*holes, 0.3, 1.0, 5.0]], dtype=torch.float64, requires_grad=True)
    depth_to_image(depth, 0.3, 5.0, encoding)[0].sum().backward()
    assert (depth.grad[0, :8] == 0).all()
    slope = (
        -3 * 2 / depth[0, 8:] ** 2 / (1 / 0.3 - 1 / 5)
        if encoding == "inverse"
        else torch.full((3,), -6 / 4.7, dtype=torch.float64)
    )
    torch.testing.assert_close(depth.grad[0, 8:], slope.detach(), rtol=1e-12, atol=0)


@every_encoding
def test_gradients_of_decoding_are_finite(encoding):
    image = torch.tensor([-1.0, 1.0, 0.2, 3.0, -3.0, NAN, INF, -INF]).expand(3, 1, 8).clone().requires_grad_()
    depth = image_to_depth(image, 0.01, 10.0, encoding)
    torch.where(known_pixels(image), depth, 0).sum().backward()
    assert torch.isfinite(image.grad).all()
    assert (image.grad[:, 0, 2] != 0).all()


@pytest.mark.parametrize("planes", [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0), (1.0, 1.0), (0.1, INF), (NAN, 1.0)])
@pytest.mark.parametrize("function", [valid_depth, depth_to_image, image_to_depth, depth_error_bound])
def test_planes_out_of_order_are_refused(function, planes):
    with pytest.raises(ValueError, match=r"0 < near < far in metres, but are"):
        function(torch.ones(3, 2, 2), *planes)


@pytest.mark.parametrize("function", [depth_to_image, image_to_depth, depth_error_bound])
def test_unknown_encodings_are_refused(function):
    with pytest.raises(ValueError, match=r"must be one of \['inverse', 'linear'\], but is 'relative'"):
        function(torch.ones(3, 2, 2), 0.3, 5.0, "relative")


def test_millimetres_are_refused():
    millimetres = torch.from_numpy(np.full((2, 2), 800, np.int32))
    with pytest.raises(ValueError, match=r"`depth` must be floating point, metres and not millimetres"):
        depth_to_image(millimetres, 0.3, 5.0)

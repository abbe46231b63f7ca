"""What every metric asks of its arrays, and how values of many views and frames become one."""

import numpy as np

REDUCTIONS = (None, "mean")


def check_pair(prediction: np.ndarray, truth: np.ndarray) -> None:
    """Both are NumPy arrays of one shape with at least one element.

    Args:
        prediction (`np.ndarray`): What was predicted.
        truth (`np.ndarray`): What really was.

    Raises:
        TypeError: If one is no NumPy array.
        ValueError: If the shapes differ or an array is empty.
    """
    for name, array in (("prediction", prediction), ("truth", truth)):
        if not isinstance(array, np.ndarray):
            raise TypeError(f"`{name}` must be a NumPy array but is {type(array).__name__}.")
    if prediction.shape != truth.shape:
        raise ValueError(
            f"`prediction` and `truth` must have one shape but have {prediction.shape} and {truth.shape}."
        )
    if prediction.size == 0:
        raise ValueError(f"`prediction` and `truth` are empty: their shape is {prediction.shape}.")


def check_images(prediction: np.ndarray, truth: np.ndarray) -> None:
    """Both are RGB `uint8` of shape `(..., H, W, 3)`.

    Args:
        prediction (`np.ndarray` of shape `(..., H, W, 3)`): Predicted images.
        truth (`np.ndarray` of shape `(..., H, W, 3)`): Real images.

    Raises:
        TypeError: If one is no NumPy array of `uint8`.
        ValueError: If the shapes differ, are empty or are not those of RGB images.
    """
    check_pair(prediction, truth)
    for name, images in (("prediction", prediction), ("truth", truth)):
        if images.dtype != np.uint8:
            raise TypeError(
                f"`{name}` must be uint8 with values from 0 to 255 but is {images.dtype}; from [-1, 1] that is "
                f"`((images + 1) * 127.5).round().clip(0, 255).astype(np.uint8)`."
            )
        if images.ndim < 3 or images.shape[-1] != 3:
            raise ValueError(f"`{name}` must have shape (..., H, W, 3) but has shape {images.shape}.")


def check_floats(name: str, array: np.ndarray, last: tuple[int, ...] = ()) -> None:
    """An array of finite floating-point numbers whose last axes have the given sizes.

    Args:
        name (`str`): Name of the argument, for the message.
        array (`np.ndarray`): What came.
        last (`tuple[int, ...]`, *optional*, defaults to `()`): Sizes of the last axes.

    Raises:
        TypeError: If it is no NumPy array of floating-point numbers.
        ValueError: If a number is not finite, or the shape ends otherwise.
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"`{name}` must be a NumPy array but is {type(array).__name__}.")
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(f"`{name}` must hold floating-point numbers but is {array.dtype}.")
    if last and array.shape[-len(last) :] != last:
        wanted = ", ".join(("...", *map(str, last)))
        raise ValueError(f"`{name}` must have shape ({wanted}) but has shape {array.shape}.")
    if not np.isfinite(array).all():
        raise ValueError(
            f"`{name}` must be finite but holds {int((~np.isfinite(array)).sum())} NaN or infinite numbers."
        )


def reduced(values: np.ndarray, reduce: str | None) -> np.ndarray:
    """All values as they are, or their mean as an array of shape `()`; NaN, which is "nothing to score", is left out.

    Args:
        values (`np.ndarray` of shape `(...)`): One value per view and frame.
        reduce (`str` or `None`): `None` or `"mean"`.

    Raises:
        ValueError: If `reduce` is neither.
    """
    if reduce not in REDUCTIONS:
        raise ValueError(f"`reduce` must be one of {REDUCTIONS} but is {reduce!r}.")
    if reduce is None:
        return np.asarray(values)
    known = values[~np.isnan(values)]
    return np.asarray(known.mean() if known.size else np.nan)

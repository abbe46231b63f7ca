"""Depth from RGB alone, by any depth model of `transformers`: for robots without a sensor, and as a baseline.

The paper's baseline "without depth, with external depth" is `with_estimated_depth` on the RGB that a model without a depth
branch predicted.
"""

import importlib.util
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch.nn.functional import interpolate
from transformers import AutoConfig, AutoImageProcessor, AutoModelForDepthEstimation, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_DEPTH_ESTIMATION_MAPPING

from xwam.errors import CheckpointError, CheckpointMismatchError, DepthCalibrationError
from xwam.futures.checks import check_future
from xwam.futures.future import Future
from xwam.models.depth_alignment import (
    ANSWERS,
    DepthAlignment,
    align_as_metric,
    align_to_measured,
    align_to_median,
    align_to_range,
)
from xwam.models.model_loading import checked_root

# What the architectures of transformers answer where the config does not say it; all others must be told.
ANSWER_OF_TYPE = {"zoedepth": "metric", "depth_pro": "metric", "glpn": "metric", "tipsv2_dpt": "metric"}
# Tensors of the architectures that no forward pass uses: published DPT checkpoints lack the first.
_UNUSED = re.compile(r"fusion_stage\.layers\.0\.residual_layer1\.|mask_token$")
_ANSWER_OF_CONFIG = {"relative": "inverse_relative", "metric": "metric"}  # `depth_estimation_type`


class DepthEstimator:
    """A depth model with its image processor.

    Args:
        model (`PreTrainedModel`): A depth-estimation model of `transformers`.
        processor (`Any`): Its image processor.
        answer (`str`, *optional*): What the model answers, one of `ANSWERS`; else what its config says.
        name (`str`, *optional*, defaults to `"a depth model"`): Where it comes from, for notes.
        revision (`str`, *optional*): Commit on the hub, for notes.
        batch_size (`int`, *optional*, defaults to `8`): Images at once.

    Raises:
        ValueError: If it is unknown what the model answers, or an argument is out of range.
        ImportError: If the processor needs torchvision, as ZoeDepth's does.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        processor: Any,
        *,
        answer: str | None = None,
        name: str = "a depth model",
        revision: str | None = None,
        batch_size: int = 8,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1, but is {batch_size}.")
        self.answer = _known_answer(model.config, answer)
        if _takes_source_sizes(processor) and importlib.util.find_spec("torchvision") is None:
            raise ImportError(f"`torchvision` is needed for {type(processor).__name__}; install it beside torch.")
        self.model, self.processor = model.eval().requires_grad_(False), processor
        self.name, self.revision, self.batch_size = name, revision, batch_size

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        answer: str | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        batch_size: int = 8,
        **download_options: Any,
    ) -> Self:
        """Load from a folder or from the Hugging Face Hub; safetensors only, and no code.

        Args:
            source (`str` or `Path`): Folder or hub id, such as `"depth-anything/Depth-Anything-V2-Small-hf"`.
            revision (`str`, *optional*): Branch, tag or commit on the hub.
            answer (`str`, *optional*): What the model answers, one of `ANSWERS`; else what its config says.
            device (`str` or `torch.device`, *optional*, defaults to `"cpu"`): Where it computes.
            dtype (`torch.dtype`, *optional*, defaults to `torch.float32`): In which it computes.
            batch_size (`int`, *optional*, defaults to `8`): Images at once.
            download_options (`Any`): `token`, `cache_dir`, `local_files_only`.

        Raises:
            CheckpointError: If the files must not or cannot be loaded, or are not those of a depth model.
            CheckpointMismatchError: If a tensor that is used is missing or of another shape.
            ValueError: If it is unknown what the model answers.
        """
        if not Path(source).is_dir() and not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(source)):
            raise CheckpointError(f"{source} is neither a folder nor a name on the hub, such as 'user/model'.")
        root = checked_root(source, None, revision=revision, **download_options)
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        config = _depth_config(root, options)
        _known_answer(config, answer)  # rather now than after gigabytes
        try:
            model, found = AutoModelForDepthEstimation.from_pretrained(
                root, config=config, use_safetensors=True, dtype=dtype, output_loading_info=True, **options
            )
            processor = AutoImageProcessor.from_pretrained(root, **options)
        except (OSError, ValueError, ImportError) as error:
            raise CheckpointError(f"{source} cannot be loaded as a depth model: {_one_line(error)}") from error
        _expect_all_tensors(str(source), found)
        commit = root.name if re.fullmatch("[0-9a-f]{40}", root.name) else revision
        name = root.resolve().name if Path(source).is_dir() else str(source)  # a card need not tell local paths
        return cls(model.to(device), processor, answer=answer, name=name, revision=commit, batch_size=batch_size)

    @torch.no_grad()
    def __call__(self, images: np.ndarray) -> np.ndarray:
        """The model's numbers, resized to the images.

        Args:
            images (`np.ndarray` of shape `(F, H, W, 3)`): RGB `uint8`.

        Returns:
            `np.ndarray` of shape `(F, H, W)`: float32, in the terms of `answer`.

        Raises:
            ValueError: If the images have another form, or the answer is not finite.
        """
        if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8 or 0 in images.shape:
            raise ValueError(
                f"`images` must be uint8 of shape (F, H, W, 3), but are {images.dtype} of shape {images.shape}."
            )
        found = np.empty(images.shape[:3], dtype=np.float32)
        for start in range(0, len(images), self.batch_size):
            batch = images[start : start + self.batch_size]
            found[start : start + len(batch)] = self._answer(batch)
        if not np.isfinite(found).all():
            frame = int(np.argwhere(~np.isfinite(found))[0, 0])
            raise ValueError(f"{self.name} answers numbers that are not finite at image {frame}; try dtype float32.")
        return found

    @property
    def facts(self) -> dict[str, Any]:
        """What a data set should say about where its depth comes from, in plain values."""
        return {
            "model": self.name,
            "revision": self.revision,
            "architecture": type(self.model).__name__,
            "answer": self.answer,
        }

    def _answer(self, images: np.ndarray) -> np.ndarray:
        inputs = self.processor(images=list(images), return_tensors="pt", input_data_format="channels_last")
        pixels = inputs["pixel_values"].to(self.model.device, self.model.dtype)
        outputs = self.model(pixel_values=pixels)
        for name, value in outputs.items():
            if isinstance(value, torch.Tensor):
                outputs[name] = value.float()  # half precision has no bicubic interpolation everywhere
        size, count = images.shape[1:3], len(images)
        post_process = getattr(self.processor, "post_process_depth_estimation", None)
        if post_process is None:
            numbers = interpolate(outputs.predicted_depth[:, None], size=size, mode="bilinear", align_corners=False)
            return numbers[:, 0].cpu().numpy()
        sizes = {"target_sizes": [size] * count}
        if _takes_source_sizes(self.processor):
            sizes["source_sizes"] = [size] * count
        maps = [one["predicted_depth"].reshape(size) for one in post_process(outputs, **sizes)]
        return torch.stack(maps).cpu().numpy()


def with_estimated_depth(
    future: Future,
    estimator: DepthEstimator,
    *,
    measured: Future | Mapping[str, np.ndarray] | None = None,
    depth_range: tuple[float, float] | Mapping[str, tuple[float, float]] | None = None,
    median_depth: float | Mapping[str, float] | None = None,
    cameras: Sequence[str] | None = None,
) -> Future:
    """The same future with depth estimated from its own RGB, in place of what depth it had.

    Each view gets one scale and one shift for all frames. At most one of `measured`, `depth_range` and `median_depth` says
    from what; a metric model needs none.

    Args:
        future (`Future`): With frames.
        estimator (`DepthEstimator`): The depth model.
        measured (`Future` or `Mapping[str, np.ndarray]`, *optional*): Depth of frame 0 by camera, metres `(H, W)` in pixels of
            the frames, zero where nothing was measured; or a future that begins with it.
        depth_range (`tuple[float, float]` or `Mapping`, *optional*): Nearest and farthest depth in view over all frames, in
            metres, for all cameras or by camera.
        median_depth (`float` or `Mapping[str, float]`, *optional*): Median depth over all frames, in metres, likewise.
        cameras (`Sequence[str]`, *optional*): Of which cameras; else of all.

    Returns:
        `Future`: With `depth_kind` `"estimated"`, and `depth_calibrations` where depth was aligned with measured one.

    Raises:
        ValueError: If the future is malformed, more than one alignment is given, none is though the model has no unit, or one
            lacks a camera.
        DepthCalibrationError: If the alignment cannot be found; the message names the camera.
    """
    check_future(future)
    if isinstance(measured, Future):
        check_future(measured, name="measured")
    given = {"measured": measured, "depth_range": depth_range, "median_depth": median_depth}
    chosen = [name for name, value in given.items() if value is not None]
    if len(chosen) > 1:
        raise ValueError(f"At most one alignment must be given, but {chosen} are.")
    names = list(future.cameras if cameras is None else cameras)
    if not names:
        raise ValueError(f"`cameras` must be some of {list(future.cameras)}, but none is given.")
    if strangers := [name for name in names if name not in future.frames]:
        raise ValueError(f"`cameras` must be of {list(future.cameras)}, but {strangers} are not.")
    source = measured.depths if isinstance(measured, Future) else given[chosen[0]] if chosen else None
    align = _ALIGN[chosen[0] if chosen else "model"]
    if isinstance(source, Mapping) and (lacking := [name for name in names if name not in source]):
        raise ValueError(f"`{chosen[0]}` must have cameras {names}, but {lacking} are missing.")
    depths, calibrations = {}, {}
    for name in names:
        answers = estimator(future.frames[name])
        own = source[name] if isinstance(source, Mapping) else source
        try:
            alignment = align(answers, own, estimator.answer)
        except DepthCalibrationError as error:
            raise DepthCalibrationError(f"camera {name!r}: {error.reason}") from error
        depths[name] = alignment.metres(answers)
        if alignment.calibration is not None:
            calibrations[name] = alignment.calibration
    return replace(future, depths=depths, depth_kind="estimated", depth_calibrations=calibrations)


def _to_first_frame(answers: np.ndarray, given: np.ndarray, answer: str) -> DepthAlignment:
    first = np.asarray(given)[0] if np.ndim(given) == 3 else np.asarray(given)
    if first.shape != answers.shape[1:]:
        raise ValueError(
            f"`measured` must have the frames' size {answers.shape[1:]}, but has shape {first.shape}: see `observed_future`."
        )
    return align_to_measured(answers[0], first, answer)


_ALIGN: Mapping[str, Callable[[np.ndarray, Any, str], DepthAlignment]] = {
    "model": lambda answers, given, answer: align_as_metric(answer),
    "measured": _to_first_frame,
    "depth_range": align_to_range,
    "median_depth": align_to_median,
}


def _known_answer(config: PreTrainedConfig, answer: str | None) -> str:
    """What a model answers: what the caller says, else its config, else its architecture."""
    if answer is not None:
        if answer not in ANSWERS:
            raise ValueError(f"`answer` must be one of {list(ANSWERS)}, but is {answer!r}.")
        return answer
    found = ANSWER_OF_TYPE.get(config.model_type)
    # Prompt Depth Anything has the field too, but means depth, and by its prompt.
    if config.model_type == "depth_anything":
        found = _ANSWER_OF_CONFIG.get(str(config.depth_estimation_type))
    if found is None:
        raise ValueError(
            f"The config of this {config.model_type!r} model does not say what it answers; give `answer`: "
            + "; ".join(f"{name!r}, {meaning}" for name, meaning in ANSWERS.items())
            + "."
        )
    return found


def _takes_source_sizes(processor: Any) -> bool:
    """ZoeDepth cuts off the padding that its processor put around images, and resizes with torchvision for it."""
    post_process = getattr(processor, "post_process_depth_estimation", None)
    return post_process is not None and "source_sizes" in inspect.signature(post_process).parameters


def _depth_config(root: Path, options: Mapping[str, Any]) -> PreTrainedConfig:
    try:
        config = AutoConfig.from_pretrained(root, **options)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{root} holds no model of transformers: {_one_line(error)}") from error
    if type(config) not in MODEL_FOR_DEPTH_ESTIMATION_MAPPING:
        raise CheckpointError(f"{root} holds a {config.model_type!r} model, which transformers has no depth head for.")
    return config


def _expect_all_tensors(where: str, found: Mapping[str, Any]) -> None:
    """Transformers fills what is missing with random numbers and goes on."""
    kinds = {"missing": "missing_keys", "unexpected": "unexpected_keys", "misshapen": "mismatched_keys"}
    faults = {kind: [str(key) for key in found.get(name, ())] for kind, name in kinds.items()}
    faults["missing"] = [key for key in faults["missing"] if not _UNUSED.search(key)]
    if faults["missing"] or faults["misshapen"]:
        raise CheckpointMismatchError(where, **faults)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())

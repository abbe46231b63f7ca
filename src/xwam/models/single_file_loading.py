"""Load the transformer from one file only when the file is plain data and every tensor fits."""

from pathlib import Path
from typing import Any, Self

import torch
from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES
from diffusers.loaders.single_file_utils import load_single_file_checkpoint

from xwam.checkpoints.safetensors_check import TensorInfo, check_safetensors, compare_tensors
from xwam.checkpoints.sources import local_folder
from xwam.errors import UnsafeFileError

_SUFFIXES = (".safetensors", ".gguf")
_DOWNLOAD_OPTIONS = ("force_download", "proxies", "token", "cache_dir", "local_files_only", "revision", "disable_mmap")


class CheckedSingleFileMixin:
    """`from_single_file` that runs nothing from the file and leaves no tensor unset."""

    @classmethod
    def from_single_file(
        cls,
        pretrained_model_link_or_path_or_dict: str | Path | dict[str, torch.Tensor],
        *,
        config: str | Path | None = None,
        subfolder: str | None = None,
        dtype: torch.dtype | None = None,
        **kwargs: Any,
    ) -> Self:
        """Load from one file, in this library's tensor names or in the release's.

        Args:
            pretrained_model_link_or_path_or_dict (`str`, `Path` or `dict`): A `.safetensors` file, a `.gguf` file together with
                `quantization_config=GGUFQuantizationConfig(...)`, a link to such a file on the hub, or the tensors.
            config (`str` or `Path`): Folder, hub id or `"embedded"` with the `config.json` of the transformer. A file
                of tensors does not say how many heads there are.
            subfolder (`str`, *optional*): Folder in `config`, such as `"transformer"`.
            dtype (`torch.dtype`, *optional*): Dtype of the weights; what must stay in float32 does.
            kwargs: Config fields to override, such as `depth_branch="none"`, and the arguments of
                `diffusers.loaders.FromOriginalModelMixin.from_single_file`.

        Raises:
            UnsafeFileError: If the file is of a kind that could run code.
            CorruptFileError: If it is damaged.
            CheckpointMismatchError: If a tensor is missing, unexpected or misshapen.
            CheckpointError: If `config` is `"embedded"` and this installation lacks the packaged weights.
            ValueError: If there is no `config`.
        """
        if config is None:
            raise ValueError(
                "`config` must be 'embedded', or the folder or hub id that has the transformer's config.json."
            )
        checkpoint = pretrained_model_link_or_path_or_dict
        where = "the given tensors" if isinstance(checkpoint, dict) else str(checkpoint)
        if not isinstance(checkpoint, dict):
            checkpoint = _read(where, {name: kwargs.pop(name) for name in _DOWNLOAD_OPTIONS if name in kwargs})
        registered: Any = SINGLE_FILE_LOADABLE_CLASSES["XWAMTransformer3DModel"]
        checkpoint = registered["checkpoint_mapping_fn"](checkpoint)
        overrides = {name: kwargs[name] for name in cls._get_init_keys(cls) if name in kwargs}
        if overrides.get("depth_branch") == "none":
            checkpoint = {name: tensor for name, tensor in checkpoint.items() if not name.startswith("depth_")}
        is_quantized = "quantization_config" in kwargs
        options = {"config": str(local_folder(config) or config), "subfolder": subfolder}
        _compare(cls, checkpoint, options, overrides, where=where, shapes=not is_quantized)
        model = super().from_single_file(checkpoint, dtype=dtype, **options, **kwargs)  # type: ignore[misc]
        if not is_quantized:
            _restore_float32(model, checkpoint)
        return model


def _read(path: str, options: dict[str, Any]) -> dict[str, torch.Tensor]:
    if Path(path).suffix not in _SUFFIXES:
        raise UnsafeFileError(f"{path} is not one of {list(_SUFFIXES)}; models are loaded from nothing else.")
    if path.endswith(".safetensors") and Path(path).is_file():
        check_safetensors(path)
    return load_single_file_checkpoint(path, **options)


def _compare(
    cls: Any,
    checkpoint: dict[str, torch.Tensor],
    options: dict[str, Any],
    overrides: dict[str, Any],
    *,
    where: str,
    shapes: bool,
) -> None:
    """Compare the tensors with those of the model that will be built; quantized ones have shapes of their own."""

    def described(tensors: dict[str, torch.Tensor]) -> dict[str, TensorInfo]:
        return {name: TensorInfo(tuple(tensor.shape) if shapes else ()) for name, tensor in tensors.items()}

    with torch.device("meta"):
        model = cls.from_config(cls.load_config(options["config"], subfolder=options["subfolder"]), **overrides)
    compare_tensors(described(model.state_dict()), described(checkpoint), where=where)


def _restore_float32(model: Any, checkpoint: dict[str, torch.Tensor]) -> None:
    """Diffusers casts everything to `dtype` here, also what `_keep_in_fp32_modules` names: take that as it was stored."""
    for name, parameter in model.named_parameters():
        if parameter.dtype != torch.float32 and model._storage_dtype(name, parameter.dtype) == torch.float32:
            parameter.data = checkpoint[name].to(parameter.device, torch.float32)

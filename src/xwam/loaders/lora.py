"""LoRA adapters of the transformer: load, save, fuse."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.lora_base import LoraBaseMixin, _fetch_state_dict
from diffusers.loaders.lora_conversion_utils import _convert_non_diffusers_wan_lora_to_diffusers

from xwam.errors import CheckpointMismatchError
from xwam.loaders.lora_config import lora_config_fields
from xwam.models.model_features import check_adapter_source
from xwam.models.transformer_xwam import XWAMTransformer3DModel

_PREFIX = "transformer."
_ORIGINAL_PREFIX = "diffusion_model."  # before the layer names of the Wan release
_FLAT_PREFIX = "lora_unet_"  # before those names with underscores for dots, as kohya's trainers write them
_FLAT_LAYER = re.compile(
    r"lora_unet_(?:blocks_(?P<block>\d+)_)?"
    r"(?P<part>self_attn|cross_attn|ffn|head|text_embedding|time_embedding|time_projection)_(?P<layer>[a-z0-9_]+)"
)
_DOWNLOAD_DEFAULTS = {
    "weight_name": None, "local_files_only": None, "cache_dir": None, "force_download": False, "proxies": None, "token": None,
    "revision": None, "subfolder": None,
}  # fmt: skip


class XWAMLoraLoaderMixin(LoraBaseMixin):
    """LoRA for pipelines with an X-WAM transformer; LoRA files made for Wan fit the trunk.

    `set_adapters`, `delete_adapters`, `enable_lora`, `disable_lora`, `unload_lora_weights` come from diffusers.
    """

    _lora_loadable_modules = ["transformer"]  # noqa: RUF012 - diffusers reads a class attribute of this name
    transformer_name = "transformer"

    @classmethod
    def lora_state_dict(  # type: ignore[override]
        cls, pretrained_model_name_or_path_or_dict: str | Path | dict[str, torch.Tensor], **kwargs: Any
    ) -> tuple[dict[str, torch.Tensor], dict[str, Any] | None]:
        """Read LoRA tensors and their metadata from a folder, a file, a hub id or a dictionary; safetensors only.

        Args:
            pretrained_model_name_or_path_or_dict (`str`, `Path` or `dict`): Folder, file, hub id or tensors.
            kwargs: `weight_name`, `subfolder`, `revision`, `token` and the other download arguments.

        Raises:
            UnsafeFileError: If the file is anything but safetensors.
            CorruptFileError: If it is damaged.
            ValueError: If it holds no LoRA tensors or other ones as well (DoRA, LoKr).
        """
        source = pretrained_model_name_or_path_or_dict
        unknown = kwargs.keys() - _DOWNLOAD_DEFAULTS.keys()
        if unknown:
            raise TypeError(f"Unknown arguments {sorted(unknown)}; known are {sorted(_DOWNLOAD_DEFAULTS)}.")
        if not isinstance(source, dict):
            check_adapter_source(Path(source) / (kwargs.get("subfolder") or ""), kwargs.get("weight_name"))
            source = str(source)
        state_dict, metadata = _fetch_state_dict(
            pretrained_model_name_or_path_or_dict=source,
            use_safetensors=True,
            allow_pickle=False,
            user_agent={"file_type": "attn_procs_weights", "framework": "pytorch"},
            **{**_DOWNLOAD_DEFAULTS, **kwargs},
        )
        if any(key.startswith(_FLAT_PREFIX) for key in state_dict):
            state_dict = {_unflattened(key): tensor for key, tensor in state_dict.items()}
        if any(key.startswith(_ORIGINAL_PREFIX) for key in state_dict):
            state_dict = _convert_non_diffusers_wan_lora_to_diffusers(state_dict)
        if any(key.startswith("embodiment.") for key in state_dict):
            raise ValueError("This is the adapter of a robot, with networks of its own: load it with `load_robot`.")
        foreign = [key for key in state_dict if "lora" not in key or "lora_magnitude" in key]
        if foreign or not state_dict:
            raise ValueError(f"A LoRA file holds LoRA tensors only, but this one has {foreign[:10] or 'no tensors'}.")
        return state_dict, metadata

    def load_lora_weights(  # type: ignore[override]
        self,
        pretrained_model_name_or_path_or_dict: str | Path | dict[str, torch.Tensor],
        adapter_name: str | None = None,
        hotswap: bool = False,
        **kwargs: Any,
    ) -> None:
        """Add a LoRA adapter to the transformer and make it active.

        Args:
            pretrained_model_name_or_path_or_dict (`str`, `Path` or `dict`): Folder, file, hub id or tensors.
            adapter_name (`str`, *optional*): Name to select it by; `default_0`, `default_1` … where not given.
            hotswap (`bool`, *optional*, defaults to `False`): Replace the adapter of that name in place.
            kwargs: `weight_name`, `subfolder`, `revision`, `token` and the other download arguments.

        Raises:
            UnsafeFileError: If the file is anything but safetensors.
            CorruptFileError: If it is damaged.
            CheckpointMismatchError: If a tensor belongs to no layer of the transformer or is misshapen.
            ValueError: If the file holds no LoRA tensors or other ones as well, its metadata ask for something that is not
                supported, or the adapter name is taken.
        """
        source = pretrained_model_name_or_path_or_dict
        state_dict, metadata = self.lora_state_dict(dict(source) if isinstance(source, dict) else source, **kwargs)
        state_dict = fitting_lora(_without_prefix(state_dict), self.transformer)
        self.transformer.load_lora_adapter(
            state_dict,
            prefix=None,
            adapter_name=adapter_name,
            metadata=None if metadata is None else lora_config_fields(_without_prefix(metadata)),
            _pipeline=self,
            hotswap=hotswap,
        )

    @classmethod
    def save_lora_weights(  # type: ignore[override]
        cls,
        save_directory: str | Path,
        transformer_lora_layers: Mapping[str, torch.Tensor],
        transformer_lora_adapter_metadata: Mapping[str, Any],
        is_main_process: bool = True,
        weight_name: str | None = None,
        save_function: Callable[..., None] | None = None,
    ) -> None:
        """Write one LoRA adapter as safetensors.

        Args:
            save_directory (`str` or `Path`): Folder; made where it does not exist.
            transformer_lora_layers (`Mapping[str, torch.Tensor]`): From `peft.get_peft_model_state_dict(transformer)`.
            transformer_lora_adapter_metadata (`Mapping[str, Any]`): `transformer.peft_config[name].to_dict()`. Without it the
                file would lose alpha and the kind of scaling, and the loaded adapter would act differently.
            is_main_process (`bool`, *optional*, defaults to `True`): Only the main process writes.
            weight_name (`str`, *optional*): File name.
            save_function (`Callable`, *optional*): Writes the tensors; safetensors' where not given.

        Raises:
            ValueError: If there are no layers or no metadata.
        """
        if not transformer_lora_layers or not transformer_lora_adapter_metadata:
            raise ValueError("`transformer_lora_layers` and `transformer_lora_adapter_metadata` must not be empty.")
        cls._save_lora_weights(
            save_directory=save_directory,
            lora_layers={cls.transformer_name: dict(transformer_lora_layers)},
            lora_metadata={cls.transformer_name: dict(transformer_lora_adapter_metadata)},
            is_main_process=is_main_process,
            weight_name=weight_name,  # type: ignore[arg-type]
            save_function=save_function,  # type: ignore[arg-type]
            safe_serialization=True,
        )

    def fuse_lora(
        self,
        components: Sequence[str] | None = None,
        lora_scale: float = 1.0,
        safe_fusing: bool = False,
        adapter_names: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Add the active adapters into the weights; `unfuse_lora` takes them out again."""
        super().fuse_lora(
            components=list(components or self._lora_loadable_modules),
            lora_scale=lora_scale,
            safe_fusing=safe_fusing,
            adapter_names=adapter_names,
            **kwargs,
        )

    def unfuse_lora(self, components: Sequence[str] | None = None, **kwargs: Any) -> None:
        """Take fused adapters out of the weights."""
        super().unfuse_lora(components=list(components or self._lora_loadable_modules), **kwargs)


def _unflattened(name: str) -> str:
    """`lora_unet_blocks_0_self_attn_q.alpha` is `diffusion_model.blocks.0.self_attn.q.alpha`."""
    layer, dot, rest = name.partition(".")
    match = _FLAT_LAYER.fullmatch(layer)
    if match is None:
        raise ValueError(f"The LoRA file has `{name}`, which is no layer of a Wan transformer.")
    block = "" if match["block"] is None else f"blocks.{match['block']}."
    return f"{_ORIGINAL_PREFIX}{block}{match['part']}.{match['layer']}{dot}{rest}"


def _without_prefix(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Names as the transformer has them; files of `save_lora_adapter` already do."""
    return {name.removeprefix(_PREFIX): entry for name, entry in entries.items()}


def fitting_lora(
    state_dict: Mapping[str, torch.Tensor], transformer: XWAMTransformer3DModel
) -> dict[str, torch.Tensor]:
    """The tensors, once each fits a layer; those of a depth branch that the transformer was loaded without are left out.

    Args:
        state_dict (`Mapping[str, torch.Tensor]`): LoRA tensors by their names in the transformer.
        transformer (`XWAMTransformer3DModel`): Network whose layers they shall adapt.

    Raises:
        CheckpointMismatchError: If a tensor belongs to no layer or is misshapen.
    """
    if transformer.config.depth_branch == "none":
        state_dict = {name: tensor for name, tensor in state_dict.items() if not name.startswith("depth_")}
    layers = dict(transformer.named_modules())
    unexpected, misshapen = [], []
    for name, tensor in state_dict.items():
        layer = layers.get(re.split(r"[._]lora", name)[0])
        if layer is None:
            unexpected.append(name)
        elif tensor.ndim == 2 and hasattr(layer, "in_features"):
            is_first = "lora_A" in name or "down" in name  # (rank, in); the second is (out, rank)
            came, wanted = (tensor.shape[1], layer.in_features) if is_first else (tensor.shape[0], layer.out_features)
            if came != wanted:
                misshapen.append(f"{name} {tuple(tensor.shape)} where the layer has {wanted} features")
    if unexpected or misshapen:
        raise CheckpointMismatchError("the LoRA adapter", unexpected=unexpected, misshapen=misshapen)
    if not state_dict:
        raise ValueError("The LoRA adapter has tensors for the depth branch only, and this transformer has none.")
    return dict(state_dict)

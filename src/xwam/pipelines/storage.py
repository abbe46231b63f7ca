"""Loading, saving and publishing of a whole pipeline."""

import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import DiffusionPipeline
from huggingface_hub.utils import validate_repo_id

from xwam.checkpoints.hub import fetch_snapshot
from xwam.checkpoints.origins import forget_origins
from xwam.checkpoints.publishing import HubRepository
from xwam.checkpoints.saved_files import files_of_saves, replacing_files
from xwam.checkpoints.sources import check_is_pipeline, local_folder
from xwam.checkpoints.verification import verify_folder
from xwam.models.model_features import check_can_be_saved
from xwam.models.model_loading import folder_is_verified
from xwam.models.transformer_xwam import XWAMTransformer3DModel
from xwam.pipelines.model_card import ModelCard, check_card, published_card, render_model_card

MODEL_CARD_NAME = "README.md"
COMMIT_MESSAGE = "Upload an X-WAM pipeline"
_SIZE = re.compile(r"\s*(\d*\.?\d+)\s*[KMGT]B\s*", re.IGNORECASE)  # as huggingface_hub reads it
_SAVE_ARGUMENTS = frozenset(
    {"variant", "max_shard_size", "safe_serialization", "token", "private", "create_pr", "commit_message"}
)
# What diffusers keeps of model offloading with the pipeline, not with its models.
_OFFLOADING = ("_all_hooks", "_offload_device", "_offload_gpu_id")


class PipelineStorage(DiffusionPipeline):
    """A pipeline that is loaded only from checked files, and saved with a manifest and a model card."""

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        dtype: torch.dtype | dict[str, torch.dtype] | None = None,
        load_depth: bool = True,
        verify_hashes: bool = True,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        **kwargs: Any,
    ) -> Self:
        """Load a pipeline from this package, from a folder or from the Hugging Face Hub.

        The folder is checked before anything in it is used: pickles and code are refused, every file is compared with the
        checkpoint's manifest.

        Args:
            pretrained_model_name_or_path (`str` or `Path`): Folder or hub id, or `"embedded"`: the small trained pipeline that
                comes with this package, for the robot `mujoco_panda`. A folder of that name is `"./embedded"`.
            dtype (`torch.dtype` or `dict`, *optional*): Dtype of transformer and text encoder; the VAE and what must stay in
                float32 do. By component with a dictionary. Where not given, a transformer comes in float32 and a text encoder as
                it is stored.
            load_depth (`bool`, *optional*, defaults to `True`): Load the interleaved depth branch, which the policy does not
                need. The branches `"sequence"` and `"channel"` are always loaded: their depth is denoised with the rest.
            verify_hashes (`bool`, *optional*, defaults to `True`): Compare the hash of every file, else only its size.
            revision (`str`, *optional*): Branch, tag or commit on the hub.
            token (`str` or `bool`, *optional*): Access token of the hub.
            cache_dir (`str` or `Path`, *optional*): Download cache.
            local_files_only (`bool`, *optional*, defaults to `False`): Use what has been downloaded.
            kwargs: Components to use instead of the saved ones, `variant`, `device_map` and the other arguments of
                `DiffusionPipeline.from_pretrained`.

        Raises:
            CheckpointError: If the checkpoint must not or cannot be loaded; its children say why.
            TypeError: If a dtype is none.
        """
        refused = [name for name in ("trust_remote_code", "custom_pipeline") if kwargs.get(name)]
        if refused:
            raise ValueError(f"`{refused[0]}` is not supported: nothing in a checkpoint is ever run.")
        if not load_depth and kwargs.get("quantization_config") is not None:
            raise ValueError(
                "`load_depth=False` and `quantization_config` cannot be combined: load with depth, or without it in full."
            )
        if "torch_dtype" in kwargs:  # as `dtype` is called in older code
            older = kwargs.pop("torch_dtype")
            if dtype is not None and older != dtype:
                raise ValueError(
                    f"`dtype` is {dtype} and `torch_dtype`, its older name, is {older}: give `dtype` alone."
                )
            dtype = older
        for own in dtype.values() if isinstance(dtype, dict) else [dtype]:
            if own is not None and not isinstance(own, torch.dtype):
                raise TypeError(f"`dtype` must be a dtype such as torch.bfloat16, but is {own!r}.")
        passed = [name for name in cls._component_names() if name in kwargs]
        folder = local_folder(pretrained_model_name_or_path)
        if folder is not None:
            check_is_pipeline(folder)
            verify_folder(folder, hashes=verify_hashes, passed=passed, variant=kwargs.get("variant"))
        else:
            folder = fetch_snapshot(
                str(pretrained_model_name_or_path), revision=revision, token=token, cache_dir=cache_dir,
                local_files_only=local_files_only, passed=passed, hashes=verify_hashes, variant=kwargs.get("variant"),
            )  # fmt: skip
            check_is_pipeline(folder)
        if isinstance(dtype, torch.dtype):
            dtype = {"default": dtype, "vae": torch.float32}
        with folder_is_verified(folder):
            if not load_depth and "transformer" not in kwargs and _depth_branch(folder) == "interleaved":
                by_component = dtype or {}
                kwargs["transformer"] = XWAMTransformer3DModel.from_pretrained(
                    folder, subfolder="transformer", depth_branch="none", variant=kwargs.get("variant"),
                    dtype=by_component.get("transformer", by_component.get("default")),
                )  # fmt: skip
            return super().from_pretrained(folder, dtype=dtype, use_safetensors=True, **kwargs)

    @classmethod
    def from_pipe(cls, pipeline: DiffusionPipeline, **kwargs: Any) -> Self:
        """Make another X-WAM pipeline of the same components: nothing is copied, cast or moved.

        Args:
            pipeline (`XWAMPipeline`): Pipeline to share components with.
            kwargs: Components or settings to use instead.
        """
        settings = {"max_sequence_length": pipeline.config.max_sequence_length}
        made = cls(**{**pipeline.components, **settings, **kwargs})
        for name in _OFFLOADING:
            if hasattr(pipeline, name):
                setattr(made, name, getattr(pipeline, name))
        return made

    def save_pretrained(self, save_directory: str | Path, *, card: ModelCard | None = None, **kwargs: Any) -> None:
        """Write the pipeline, a model card and a manifest of all files into a folder.

        What an earlier save of the same components wrote there is replaced, but for weights of another `variant`; other files
        stay, those of components that this pipeline does not have among them. If anything fails, the folder is as before.

        Args:
            save_directory (`str` or `Path`): Folder; made where it does not exist.
            card (`ModelCard`, *optional*): What only you know: training data, licence, measurements. A card that is already
                in the folder is kept when this is not given.
            kwargs: `variant`, `max_shard_size`, and `push_to_hub=True` with `repo_id` (the folder's name where
                it is not given), `token`, `private`, `create_pr`, `commit_message`. The folder is written first, then published.

        Raises:
            TypeError: If `card` is no `ModelCard`, or there is no such argument; nothing is written then.
            ValueError: If an argument is impossible, or the weights would be written in a form that cannot be loaded again, such
                as unfused LoRA adapters or pickles; nothing is written then.
        """
        folder = Path(save_directory)
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"`save_directory` must be a folder or not be there, but {folder} is a file.")
        is_published = kwargs.pop("push_to_hub", False)
        repo_id = kwargs.pop("repo_id", None) or folder.resolve().name
        if is_published:
            validate_repo_id(repo_id)
        self._check_can_be_saved(card, kwargs)
        readme = folder / MODEL_CARD_NAME
        own_text = readme.read_text(encoding="utf-8") if card is None and readme.exists() else None
        there = [f"{path.parent.name}/{path.name}" for path in folder.glob("*/*") if not path.is_dir()]
        with replacing_files(folder, self._files_of_earlier_save(there, kwargs.get("variant"))) as new:
            self._write(new, kwargs)
            if own_text is None:
                self._write_card(new, card or ModelCard())
        if is_published:
            self._publish(repo_id, card, own_text, **kwargs)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        card: ModelCard | None = None,
        token: str | None = None,
        private: bool | None = None,
        create_pr: bool = False,
        commit_message: str = COMMIT_MESSAGE,
        **kwargs: Any,
    ) -> str:
        """Publish the pipeline with its model card on the Hugging Face Hub, in one commit.

        What an earlier publication left there is replaced, as `save_pretrained` replaces it in a folder.

        Args:
            repo_id (`str`): Repository, such as `"user/my-robot-xwam"`; made where it does not exist.
            card (`ModelCard`, *optional*): What only you know: training data, licence, measurements. A card that is already
                there is kept when this is not given.
            token (`str`, *optional*): Access token.
            private (`bool`, *optional*): Visibility of a new repository.
            create_pr (`bool`, *optional*, defaults to `False`): Open a pull request instead.
            commit_message (`str`, *optional*, defaults to `COMMIT_MESSAGE`): Message of the commit.
            kwargs: `variant` and `max_shard_size`.

        Returns:
            `str`: Address of the commit or pull request.

        Raises:
            TypeError: If `card` is no `ModelCard`, or there is no such argument; the Hub is not asked then.
            ValueError: If an argument is impossible or the pipeline cannot be saved; the Hub is not asked then.
        """
        validate_repo_id(repo_id)
        self._check_can_be_saved(card, kwargs)
        return self._publish(
            repo_id, card, token=token, private=private, create_pr=create_pr, commit_message=commit_message, **kwargs
        )

    def _write(self, folder: Path, form: Mapping[str, Any]) -> None:
        form = {name: form[name] for name in ("variant", "max_shard_size") if name in form}
        super().save_pretrained(folder, **form)  # type: ignore[misc]
        forget_origins(folder, self.components)

    def _write_card(self, folder: Path, card: ModelCard) -> None:
        text = render_model_card(self.components, card)
        (folder / MODEL_CARD_NAME).write_text(text, encoding="utf-8")

    def _publish(
        self,
        repo_id: str,
        card: ModelCard | None,
        text: str | None = None,
        *,
        token: str | None = None,
        private: bool | None = None,
        create_pr: bool = False,
        commit_message: str = COMMIT_MESSAGE,
        **form: Any,
    ) -> str:
        """Replace what was published, with this card or this text of one; without both, a card that is there stays."""
        repository = HubRepository(repo_id, token=token, private=private)
        replaced = self._files_of_earlier_save(repository.files, form.get("variant"))
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            self._write(folder, form)
            if text is not None:
                (folder / MODEL_CARD_NAME).write_text(text, encoding="utf-8")
            elif card is not None or MODEL_CARD_NAME not in repository.files:
                self._write_card(folder, published_card(card, repository.repo_id))
            return repository.publish(folder, replaced=replaced, create_pr=create_pr, commit_message=commit_message)

    def _check_can_be_saved(self, card: ModelCard | None, form: Mapping[str, Any]) -> None:
        """Refuse before anything is written or published what would fail halfway or do nothing."""
        if unknown := sorted(form.keys() - _SAVE_ARGUMENTS):
            raise TypeError(f"There is no argument {unknown[0]!r}; known are {sorted(_SAVE_ARGUMENTS)}.")
        if not form.get("safe_serialization", True):
            raise ValueError("`safe_serialization` must be True: weights are written as safetensors only.")
        check_can_be_saved(self.transformer)
        check_card(card)
        variant, size = form.get("variant"), form.get("max_shard_size")
        if variant is not None and not (isinstance(variant, str) and re.fullmatch(r"[\w.-]+", variant)):
            raise ValueError(f"`variant` must be of letters, digits, `_`, `.` and `-`, but is {variant!r}.")
        number = _SIZE.fullmatch(size) if isinstance(size, str) else None
        is_size = float(number[1]) > 0 if number else type(size) is int and size > 0
        if size is not None and not is_size:
            raise ValueError(f"`max_shard_size` must be a size such as '5GB', or a number of bytes, but is {size!r}.")

    def _files_of_earlier_save(self, files: Iterable[str], variant: str | None) -> set[str]:
        components = [name for name in self._component_names() if getattr(self, name) is not None]
        return files_of_saves(files, components, variant)

    @classmethod
    def _component_names(cls) -> list[str]:
        return sorted(cls._get_signature_keys(cls)[0])


def _depth_branch(folder: Path) -> str | None:
    """The branch of the transformer in a pipeline's folder."""
    config: Any = XWAMTransformer3DModel.load_config(folder, subfolder="transformer")
    return config.get("depth_branch")

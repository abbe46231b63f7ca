"""The gate of every checkpoint: called by each `from_pretrained` before anything is loaded."""

import functools
import logging
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from xwam.checkpoints.config_check import check_config
from xwam.checkpoints.json_files import MAX_CONFIG_BYTES, read_json
from xwam.checkpoints.manifest import MANIFEST_NAME, verify_manifest
from xwam.checkpoints.paths import contained_path, list_files
from xwam.checkpoints.safetensors_check import check_safetensors
from xwam.checkpoints.unsafe_files import refuse_content, refuse_name
from xwam.errors import CheckpointConfigError, CheckpointError, CorruptFileError, UnsafeFileError

MODEL_INDEX_NAME = "model_index.json"

# Classes a pipeline folder may name, by library. What is not here cannot be named, whatever is installed.
ALLOWED_CLASSES: Mapping[str, frozenset[str]] = {
    "xwam": frozenset({"XWAMTransformer3DModel", "XWAMScheduler", "RobotProcessor"}),
    "diffusers": frozenset({"AutoencoderKLWan", "WanTransformer3DModel", "UniPCMultistepScheduler"}),
    "transformers": frozenset(
        {"UMT5EncoderModel", "T5Tokenizer", "T5TokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend"}
    ),
}
ALLOWED_PIPELINES = frozenset({"XWAMPolicyPipeline", "XWAM4DPipeline", "WanPipeline", "WanImageToVideoPipeline"})

# What a component cannot be loaded without: its configuration and one of these files.
_WEIGHTS_STEM: Mapping[str, str] = {
    "XWAMTransformer3DModel": "diffusion_pytorch_model",
    "WanTransformer3DModel": "diffusion_pytorch_model",
    "AutoencoderKLWan": "diffusion_pytorch_model",
    "UMT5EncoderModel": "model",
}
_CONFIG_NAME: Mapping[str, str] = {
    "XWAMScheduler": "scheduler_config.json",
    "UniPCMultistepScheduler": "scheduler_config.json",
    "RobotProcessor": "robot_processor_config.json",
}
# Without a vocabulary, transformers makes a tokenizer of four tokens.
_VOCABULARY_OF_TOKENIZER: Mapping[str, tuple[str, ...]] = {
    "T5Tokenizer": ("tokenizer.json", "spiece.model"),
    "T5TokenizerFast": ("tokenizer.json", "spiece.model"),
    "PreTrainedTokenizerFast": ("tokenizer.json",),
    "TokenizersBackend": ("tokenizer.json",),
}

_MAX_INDEX_BYTES = 16 << 20
_MAX_VOCABULARY_BYTES = 64 << 20
_VOCABULARIES = frozenset({"tokenizer.json", "vocab.json"})  # data for the tokenizers library, which parses it itself

logger = logging.getLogger(__name__)


def verify_folder(
    folder: Path | str, *, hashes: bool = True, passed: Collection[str] = (), variant: str | None = None
) -> None:
    """Check a pipeline folder on disk completely, without importing or building anything.

    Refused are pickles, archives, code and links that leave the folder; a `model_index.json` that names other classes
    than this library uses; components without a file that they need; malformed safetensors files and indices; impossible
    configurations; files that differ from `manifest.json`. Where there is no manifest, one warning per process says that
    damage inside tensors is not found.

    Args:
        folder (`Path | str`): Folder with `model_index.json`.
        hashes (`bool`, *optional*, defaults to `True`): Compare the hash of every file in the manifest, else its size.
        passed (`Collection[str]`): Components that the caller brings; their folders may be absent.
        variant (`str`, *optional*): Weights that will be loaded; components without any of that variant need the plain ones.

    Raises:
        UnsafeFileError: If something could run code or leads out of the folder.
        CorruptFileError: If a file is damaged, missing or not listed.
        CheckpointConfigError: If a configuration cannot be that of a model.
    """
    folder = Path(folder)
    check_structure(folder)
    check_components(folder, passed=passed, variant=variant)
    if not verify_manifest(folder, hashes=hashes, may_be_absent=lambda name: name.partition("/")[0] in passed):
        _warn_unverified_once()


def verify_component(folder: Path | str, *, hashes: bool = True) -> None:
    """Check the folder of one component as `verify_folder` checks a pipeline.

    The manifest is that of the folder, or of the pipeline folder around it.

    Args:
        folder (`Path | str`): Folder such as `transformer/`.
        hashes (`bool`, *optional*, defaults to `True`): Compare the hash of every file in the manifest, else its size.

    Raises:
        UnsafeFileError: If something could run code or leads out of the folder.
        CorruptFileError: If a file is damaged, missing or not listed.
        CheckpointConfigError: If a configuration cannot be that of a model.
    """
    folder = Path(folder)
    check_structure(folder)
    verified = verify_manifest(folder, hashes=hashes)
    if not verified and (folder.parent / MODEL_INDEX_NAME).is_file():
        verified = verify_manifest(folder.parent, hashes=hashes, below=folder.name)
    if not verified:
        _warn_unverified_once()


def check_adapter_file(path: Path | str) -> None:
    """Check a LoRA file, or a folder that holds one.

    Raises:
        UnsafeFileError: If it is, by name or content, anything that could run code.
        CorruptFileError: If it is not a well-formed safetensors file.
    """
    path = Path(path)
    if path.is_dir():
        check_structure(path)
        return
    refuse_name(path.name, path.parent)
    if path.suffix != ".safetensors":
        raise UnsafeFileError(f"{path} is not a safetensors file; adapters are loaded from nothing else.")
    _check_weights(path)


def check_structure(folder: Path) -> None:
    """Everything `verify_folder` checks of the files that are there, but the manifest."""
    names = list_files(folder)
    for name in names:
        refuse_name(name, folder)
    for name in names:
        _check_file(folder / name, name)
    for name in (name for name in names if ".safetensors.index." in name):
        _check_index(folder / name)
    if MODEL_INDEX_NAME in names:
        _check_model_index(folder)


def check_components(folder: Path, *, passed: Collection[str] = (), variant: str | None = None) -> None:
    """Check that every component of a pipeline folder, whose structure was checked, has the files that it is loaded from.

    Args:
        folder (`Path`): Folder with `model_index.json`.
        passed (`Collection[str]`): Components that the caller brings.
        variant (`str`, *optional*): Weights that will be loaded, as for `verify_folder`.

    Raises:
        CorruptFileError: If one is missing.
        CheckpointError: If no component has weights of the variant.
    """
    path, with_weights = folder / MODEL_INDEX_NAME, []
    for name, entry in read_json(path).items():
        if not isinstance(entry, list) or name.startswith("_") or entry[0] is None or name in passed:
            continue
        if not contained_path(folder, name).is_dir():
            raise CorruptFileError(f"{path} names the component `{name}`, but {folder / name} is missing.")
        _check_component_files(folder / name, entry[1], variant)
        with_weights += [folder / name / own for own in _weight_names(_WEIGHTS_STEM.get(entry[1]), variant)[:2]]
    if variant and with_weights and not any(file.is_file() for file in with_weights):
        raise CheckpointError(f"{folder} has weights of the variant {variant!r} for none of its components.")


def _check_file(path: Path, name: str) -> None:
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".safetensors":
        _check_weights(path)
    elif suffix != ".json":
        refuse_content(path)
    elif path.name in _VOCABULARIES:
        _check_vocabulary(path)
    elif path.name != MANIFEST_NAME:
        index = ".index." in path.name
        config = read_json(path, max_bytes=_MAX_INDEX_BYTES if index else MAX_CONFIG_BYTES)
        if not index and path.name != MODEL_INDEX_NAME:
            check_config(config, where=path)


def _check_weights(path: Path) -> None:
    """A malformed file that is a pickle or an archive under a false name gets the reason that matters."""
    try:
        check_safetensors(path)
    except CorruptFileError:
        if path.is_file():
            refuse_content(path)
        raise


def _check_vocabulary(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(64).lstrip()[:1]
    if size > _MAX_VOCABULARY_BYTES or start != b"{":
        raise CheckpointConfigError(
            f"{path} ({size} bytes) is not a JSON object of at most {_MAX_VOCABULARY_BYTES} bytes."
        )


def _check_index(path: Path) -> None:
    """Every tensor of an index is in the shard it names, and in no other; the shards hold nothing else."""
    weight_map = read_json(path, max_bytes=_MAX_INDEX_BYTES).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CorruptFileError(f"{path} has no `weight_map`.")
    if not all(isinstance(shard, str) for shard in weight_map.values()):
        raise CorruptFileError(f"{path}: `weight_map` must map tensors to file names.")
    listed: dict[str, set[str]] = {}
    for tensor, shard in weight_map.items():
        listed.setdefault(shard, set()).add(tensor)
    for shard, tensors in listed.items():
        _check_shard(path, shard)
        found = check_safetensors(path.parent / shard).keys()
        wrong = sorted(tensors ^ found)
        if wrong:
            kind = "lacks" if wrong[0] in tensors else "holds, unlisted,"
            raise CorruptFileError(f"{path}: {shard} {kind} {wrong[0]!r}; {len(wrong)} tensors differ from the index.")


def _check_shard(index: Path, shard: str) -> None:
    path = contained_path(index.parent, shard)
    if path.suffix != ".safetensors":
        raise UnsafeFileError(f"{index} names the shard {shard!r}; only safetensors are loaded.")
    if not path.is_file():
        raise CorruptFileError(f"{index} names the shard {shard!r}, which is missing.")


def _check_model_index(folder: Path) -> None:
    path = folder / MODEL_INDEX_NAME
    config = read_json(path)
    check_config({key: value for key, value in config.items() if not isinstance(value, list)}, where=path)
    class_name = config.get("_class_name")
    if not isinstance(class_name, str) or class_name not in ALLOWED_PIPELINES:
        raise UnsafeFileError(
            f"{path}: `_class_name` is {class_name!r}; known pipelines are {sorted(ALLOWED_PIPELINES)}."
        )
    for name, entry in config.items():
        if isinstance(entry, list) and not name.startswith("_"):
            _check_component_entry(path, name, entry)


def _check_component_entry(path: Path, name: str, entry: list[Any]) -> None:
    if entry in ([None, None], ["null", "null"]):
        return
    library, class_name = entry if len(entry) == 2 and all(isinstance(part, str) for part in entry) else ("", "")
    if class_name not in ALLOWED_CLASSES.get(library, ()):
        allowed = {known: sorted(classes) for known, classes in ALLOWED_CLASSES.items()}
        raise UnsafeFileError(f"{path}: component `{name}` is {entry!r}; only these classes are loaded: {allowed}.")


def _check_component_files(folder: Path, class_name: str, variant: str | None) -> None:
    """What the class reads is there; diffusers and transformers would say so in other words, or make do with nothing."""
    if class_name in _VOCABULARY_OF_TOKENIZER:
        needed = [_VOCABULARY_OF_TOKENIZER[class_name]]
    else:
        needed = [(_CONFIG_NAME.get(class_name, "config.json"),)]
    if class_name in _WEIGHTS_STEM:
        needed.append(_weight_names(_WEIGHTS_STEM[class_name], variant))
    for names in needed:
        if not any((folder / name).is_file() for name in names):
            others = sorted(path.name for path in folder.glob("*.safetensors")) if len(names) > 1 else []
            hint = f" It holds {others[0]}: weights of a variant are loaded with `variant`." if others else ""
            raise CorruptFileError(f"{folder} lacks its {' or '.join(names)}.{hint}")


def _weight_names(stem: str | None, variant: str | None) -> tuple[str, ...]:
    """Names under which weights may begin: one file, or the index of shards; those of the variant come first."""
    if stem is None:
        return ()
    infixes = [f".{variant}", ""] if variant else [""]
    return tuple(
        name for infix in infixes for name in (f"{stem}{infix}.safetensors", f"{stem}.safetensors.index{infix}.json")
    )


@functools.cache
def _warn_unverified_once() -> None:
    logger.warning(
        "Unverified load: the checkpoint has no %s, so damage inside its tensors cannot be found. "
        "`xwam.checkpoints.manifest.write_manifest` writes one. Said once per process.",
        MANIFEST_NAME,
    )

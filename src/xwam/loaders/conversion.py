"""Checkpoints of the reference release to pipeline folders of this library, and back, bit for bit.

A checkpoint of the release is `config.yaml` and a DeepSpeed file whose `module` is the whole runner: the transformer, the text
encoder, the VAE and its statistics.
"""

import json
import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import UMT5Config

from xwam.checkpoints.json_files import read_json
from xwam.checkpoints.manifest import write_manifest
from xwam.errors import CheckpointError
from xwam.loaders import components, official_config, official_runner
from xwam.loaders.key_maps import TIED_TEXT_KEY
from xwam.loaders.official_config import OfficialSizes
from xwam.loaders.official_runner import RunnerPart
from xwam.loaders.report import ConversionReport, compare, joined
from xwam.loaders.sharding import MAX_SHARD_SIZE, PlannedTensor, write_shards
from xwam.loaders.staging import staged_folder
from xwam.loaders.tensor_files import Tensors, TensorSource, open_deepspeed_module, open_safetensors_folder
from xwam.robots.registry import get_robot
from xwam.robots.spec import RobotSpec

MODEL_FILE = Path("checkpoint") / "mp_rank_00_model_states.pt"
RECORD_NAME = "conversion.json"
"""What a pipeline folder cannot express and the way back needs: the original `config.yaml` and the VAE's statistics."""


@dataclass(frozen=True)
class _Plan:
    source: TensorSource
    config_text: str
    step: str | None
    parts: tuple[RunnerPart, ...]
    spec: RobotSpec
    scheduler: Mapping[str, Any]
    max_sequence_length: int
    report: ConversionReport


@dataclass(frozen=True)
class _Located:
    file: Path
    step: str | None
    config_text: str


def convert_official_checkpoint(
    source: str | Path,
    output: str | Path,
    *,
    robot: str | RobotSpec,
    step: str | None = None,
    config: str | Path | None = None,
    tokenizer: str | Path | None = None,
    sizes: OfficialSizes | None = None,
    max_shard_size: int = MAX_SHARD_SIZE,
) -> ConversionReport:
    """Write a checkpoint of the reference release as a pipeline folder.

    Transformer and text encoder keep their bytes. The VAE and its statistics are rounded to bfloat16, as the release does
    when it runs. `output` appears complete or not at all, and memory stays below one and a half shards.

    Args:
        source (`str | Path`): Experiment folder, or the DeepSpeed file itself, wherever it lies.
        output (`str | Path`): Pipeline folder to make; must not exist.
        robot (`str | RobotSpec`): Robot of the experiment; its window and quantiles are taken from `config.yaml`.
        step (`str`, *optional*): Which `checkpoints/<step>.ckpt`; may be left out where there is one.
        config (`str | Path`, *optional*): `config.yaml`, where it is not in the experiment folder of the file.
        tokenizer (`str | Path`, *optional*): Folder of the UMT5 tokenizer to copy; without it, whoever loads the
            folder gives one as `tokenizer=`.
        sizes (`OfficialSizes`, *optional*): Sizes of the networks; the released ones where not given.
        max_shard_size (`int`, *optional*, defaults to `MAX_SHARD_SIZE`): Most bytes of a weight file.

    Returns:
        `ConversionReport`: What became of every tensor.

    Raises:
        CheckpointMismatchError: If a tensor is missing, unexpected or misshapen.
        CheckpointError: If a file is absent, unsafe, corrupt or says what cannot be.
    """
    plan = _plan(_locate(Path(source), step, config), robot, sizes or OfficialSizes())
    plan.report.raise_unless_full_match()
    with staged_folder(Path(output)) as folder:
        for part in plan.parts:
            _write_part(folder / part.folder, part, plan.source, max_shard_size)
        if tokenizer is not None:
            components.copy_plain_files(Path(tokenizer), folder / "tokenizer")
        components.save_without_weights(
            folder, plan.spec, plan.scheduler, max_sequence_length=plan.max_sequence_length
        )
        with plan.source() as module:
            statistics = official_runner.record_statistics(module)
        record = {"config_yaml": plan.config_text, "vae_statistics": statistics}
        if plan.step is not None:
            record["step"] = plan.step
        (folder / RECORD_NAME).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        write_manifest(folder)
    return plan.report


def inspect_official_checkpoint(
    source: str | Path,
    *,
    robot: str | RobotSpec,
    step: str | None = None,
    config: str | Path | None = None,
    sizes: OfficialSizes | None = None,
) -> ConversionReport:
    """What `convert_official_checkpoint` would do. Writes nothing, and reports tensors that differ instead of raising."""
    return _plan(_locate(Path(source), step, config), robot, sizes or OfficialSizes()).report


def export_official_checkpoint(
    folder: str | Path, output: str | Path, *, config: str | Path | None = None, step: str | None = None
) -> ConversionReport:
    """Write a pipeline folder as a checkpoint of the reference release; every tensor keeps its bytes.

    Args:
        folder (`str | Path`): Pipeline folder with transformer, VAE and text encoder.
        output (`str | Path`): Experiment folder to make; must not exist.
        config (`str | Path`, *optional*): `config.yaml` to put into it; the one that the folder was converted from where not given.
        step (`str`, *optional*): Name of the checkpoint; the original one, or `"last"`, where not given.

    Returns:
        `ConversionReport`: What became of every tensor.

    Raises:
        CheckpointMismatchError: If a tensor is missing, unexpected or misshapen.
        CheckpointError: If the release has no such model, or there is no `config.yaml`.
    """
    folder = Path(folder)
    record = read_json(folder / RECORD_NAME) if (folder / RECORD_NAME).is_file() else {}
    if config is None and "config_yaml" not in record:
        raise CheckpointError(f"{folder} was not converted from the release; give its config.yaml as `config`.")
    config_text = official_config.read_config_text(Path(config)) if config is not None else record["config_yaml"]
    name = str(step or record.get("step", "last"))
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._=-]*", name):
        raise CheckpointError(f"`step` must be a plain name such as '20000' or 'last', but is {name!r}.")
    transformer, vae, text_encoder = _empty_models(folder)
    parts = official_runner.runner_parts(transformer, vae, text_encoder)
    with ExitStack() as stack:
        module: dict[str, torch.Tensor] = {}
        reports = []
        for part in parts:
            stem = components.STEM_OF_FOLDER[part.folder]
            opened = stack.enter_context(open_safetensors_folder(folder / part.folder, stem))
            tensors = {f"{part.folder}/{name}": tensor for name, tensor in opened.items() if name != TIED_TEXT_KEY}
            sources = {official: f"{part.folder}/{name}" for name, official in part.official_names.items()}
            shapes = {official: part.shapes[name] for name, official in part.official_names.items()}
            reports.append(compare("module", sources, shapes, tensors))
            if part.folder == "vae":
                module |= _statistics_of(vae.config, record)
            module |= {official: tensors[name] for official, name in sources.items() if name in tensors}
        report = joined(str(folder), reports)
        report.raise_unless_full_match()
        with staged_folder(Path(output)) as staging:
            file = staging / "checkpoints" / f"{name}.ckpt" / MODEL_FILE
            file.parent.mkdir(parents=True)
            torch.save({"module": module}, file)
            (staging / "config.yaml").write_text(config_text, encoding="utf-8")
    return report


def _plan(found: _Located, robot: str | RobotSpec, sizes: OfficialSizes) -> _Plan:
    config = official_config.parse_official_config(found.config_text, "config.yaml")
    scheduler, num_tokens = official_config.scheduler_config(config), official_config.max_sequence_length(config)
    spec = official_config.robot_from_config(config, get_robot(robot) if isinstance(robot, str) else robot)
    source = partial(open_deepspeed_module, found.file)
    with source() as module:
        transformer = components.empty_transformer(official_config.transformer_config(config, sizes, spec))
        mean, std = (module.get(name, torch.ones(sizes.vae["z_dim"])) for name in official_runner.STATISTICS)
        vae = components.empty_vae(official_config.vae_config(sizes, *official_runner.latent_statistics(mean, std)))
        stored = {
            str(t.dtype).removeprefix("torch.") for name, t in module.items() if name.startswith("text_encoder.")
        }
        t5_config = official_config.text_encoder_config(sizes) | {"dtype": min(stored, default=None)}
        text_encoder = components.empty_text_encoder(UMT5Config(**t5_config))
        parts = official_runner.runner_parts(transformer, vae, text_encoder)
        reports = official_runner.compare_runner(parts, sizes.vae["z_dim"], module)
    report = joined(str(found.file), reports)
    return _Plan(source, found.config_text, found.step, parts, spec, scheduler, num_tokens, report)


def _write_part(folder: Path, part: RunnerPart, source: TensorSource, max_shard_size: int) -> None:
    folder.mkdir()
    planned = []
    with source() as module:
        for name, official in part.official_names.items():
            dtype = torch.bfloat16 if part.folder == "vae" else module[official].dtype
            planned.append(PlannedTensor(name, tuple(part.shapes[name]), dtype, partial(_read, official, dtype)))
    stem = components.STEM_OF_FOLDER[part.folder]
    write_shards(planned, source, folder, stem=stem, max_shard_size=max_shard_size)
    part.save_config(folder)


def _read(name: str, dtype: torch.dtype, tensors: Tensors) -> torch.Tensor:
    return tensors[name].to(dtype)


def _locate(source: Path, step: str | None, config: str | Path | None) -> _Located:
    """The DeepSpeed file, the step it is known by and the text of `config.yaml`."""
    file = Path(os.path.abspath(source)) if source.is_file() else _file_of_step(source, step)
    experiment, own_step = _experiment_of(file)
    if step is not None and own_step not in (None, step):
        raise CheckpointError(f"{source} is step {own_step!r}, but `step` is {step!r}.")
    if config is None:
        if experiment is None:
            raise CheckpointError(f"{source} does not lie in an experiment folder; give its config.yaml as `config`.")
        config = experiment / "config.yaml"
    return _Located(file, step or own_step, official_config.read_config_text(Path(config)))


def _file_of_step(experiment: Path, step: str | None) -> Path:
    known = sorted(path.parent.parent.stem for path in experiment.glob(f"checkpoints/*.ckpt/{MODEL_FILE}"))
    if step not in known and (step is not None or len(known) != 1):
        raise CheckpointError(f"{experiment} must hold the checkpoint named by `step`, {step!r}; it has {known}.")
    return experiment / "checkpoints" / f"{step or known[0]}.ckpt" / MODEL_FILE


def _experiment_of(file: Path) -> tuple[Path | None, str | None]:
    """Folder and step of `<experiment>/checkpoints/<step>.ckpt/checkpoint/<file>`; neither for a file elsewhere."""
    checkpoint = file.parent.parent
    is_inside = file.parent.name == "checkpoint" and checkpoint.suffix == ".ckpt"
    if not is_inside or checkpoint.parent.name != "checkpoints":
        return None, None
    return checkpoint.parent.parent, checkpoint.stem


def _empty_models(folder: Path) -> tuple[Any, Any, Any]:
    """The networks of a pipeline folder, without memory behind their tensors."""
    configs = {name: read_json(folder / name / "config.json") for name in components.STEM_OF_FOLDER}
    branch = configs["transformer"].get("depth_branch")
    if branch not in ("interleaved", "none"):
        raise CheckpointError(
            f"The release has no depth branch {branch!r}; only 'interleaved' and 'none' can go back."
        )
    return (
        components.empty_transformer(configs["transformer"]),
        components.empty_vae(configs["vae"]),
        components.empty_text_encoder(UMT5Config.from_dict(configs["text_encoder"])),
    )


def _statistics_of(config: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The release's VAE buffers: the recorded ones as long as the VAE still has them, else equivalent ones."""
    mean, std = list(config["latents_mean"]), list(config["latents_std"])
    if "vae_statistics" in record:
        recorded = official_runner.recorded_statistics(record["vae_statistics"])
        if official_runner.latent_statistics(*recorded.values()) == (mean, std):
            return recorded
    return official_runner.official_statistics(mean, std)

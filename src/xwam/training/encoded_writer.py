"""Encode a data set once, ahead of the training: VAE and text encoder then take no part in it."""

import dataclasses
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch.utils.data import DataLoader, Dataset

from xwam.checkpoints.manifest import write_manifest
from xwam.data.streams.augmentation import Augmentation, augment
from xwam.data.streams.collate import collate
from xwam.data.streams.mixture import Mixture
from xwam.data.streams.windows import read_clip
from xwam.data.writers.durable_files import write_bytes
from xwam.errors import CheckpointConfigError, DataError
from xwam.pipelines.pipeline_xwam import XWAMPipeline
from xwam.robots.clips import EncodedClip
from xwam.training.encoded_format import (
    DTYPES,
    HEADER_NAME,
    PROMPTS_NAME,
    EncodedHeader,
    data_fingerprint,
    identity_of,
    part_of,
    prompts_of,
)
from xwam.training.encoding import TextEncoding, encode_batch
from xwam.training.step import EncodedBatch
from xwam.utils.seeding import seed_from

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EncodingReport:
    """What a call wrote.

    Args:
        num_shards (`int`): Shards written by this call.
        num_entries (`int`): Entries in them.
        skipped (`list[str]`): Windows that could not be read, each with the reason.
        is_complete (`bool`): Whether all shards are there.
    """

    num_shards: int
    num_entries: int
    skipped: list[str]
    is_complete: bool


class EncodedDatasetWriter:
    """Writes an encoded data set, or goes on with one that was begun: whole shards stay.

    Args:
        folder (`Path`): New, or begun with the same settings.
        mixture (`Mixture`): What to encode.
        pipeline (`XWAMPipeline`): Its VAE, text encoder and tokenizer encode; on any device.
        augmentation (`Augmentation`, *optional*): Crops and colours; by default the centre crop.
        variants (`int`, *optional*, defaults to `1`): Crops and colours of every window, each a function of the seed, the
            variant and the window.
        stride (`int`, *optional*, defaults to `1`): Encode every so manieth window of an episode only.
        seed (`int`, *optional*, defaults to `0`): Of crops and colours.
        with_depth (`bool`, *optional*, defaults to `True`): Whether to encode depth.
        dtype (`str`, *optional*, defaults to `"float32"`): Of the stored latents, `"bfloat16"` and `"float16"` are half as large.
        shard_size (`int`, *optional*, defaults to `256`): Entries of a file.

    Raises:
        CheckpointConfigError: If the folder holds an encoded data set of other settings, encoders or data.
        ValueError: If a setting is impossible.
    """

    def __init__(
        self,
        folder: Path,
        mixture: Mixture,
        pipeline: XWAMPipeline,
        *,
        augmentation: Augmentation | None = None,
        variants: int = 1,
        stride: int = 1,
        seed: int = 0,
        with_depth: bool = True,
        dtype: str = "float32",
        shard_size: int = 256,
    ) -> None:
        for name, number in (("variants", variants), ("stride", stride), ("shard_size", shard_size)):
            if number < 1:
                raise ValueError(f"`{name}` must be at least 1, but is {number}.")
        if variants > 1 and augmentation is None:
            raise ValueError(f"`variants` is {variants}, but without an augmentation all would be the same.")
        if dtype not in DTYPES:
            raise ValueError(f"`dtype` must be one of {sorted(DTYPES)}, but is {dtype!r}.")
        if pipeline.vae is None or pipeline.text_encoder is None:
            raise ValueError("Encoding needs a pipeline with VAE and text encoder.")
        self.folder, self.mixture, self.pipeline, self.augmentation = folder, mixture, pipeline, augmentation
        self._encode_text = TextEncoding(
            pipeline.text_encoder, pipeline.tokenizer, pipeline.config.max_sequence_length
        )
        prompts = prompts_of(mixture)
        self.header = EncodedHeader(
            identity={**identity_of(pipeline), "data": data_fingerprint(mixture)},
            variants=variants,
            stride=stride,
            seed=seed,
            augmentation=None if augmentation is None else dataclasses.asdict(augmentation),
            with_depth=with_depth,
            dtype=dtype,
            shard_size=shard_size,
            prompts=prompts,
            parts=[part_of(part, prompts, stride) for part in mixture.parts],
        )
        self._begin()

    def missing(self) -> list[int]:
        """Shards that are not there yet."""
        shards = range(self.header.num_shards)
        return [shard for shard in shards if not self.header.shard_path(self.folder, shard).exists()]

    def run(
        self,
        *,
        batch_size: int = 4,
        num_workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        on_shard: Callable[[int], None] | None = None,
    ) -> EncodingReport:
        """Write the shards that are missing.

        Args:
            batch_size (`int`, *optional*, defaults to `4`): Windows that are encoded at once.
            num_workers (`int`, *optional*, defaults to `0`): Processes that read ahead.
            rank (`int`, *optional*, defaults to `0`): This process among those that share the work.
            world_size (`int`, *optional*, defaults to `1`): Processes that share the work, each a shard at a time.
            on_shard (`Callable[[int], None]`, *optional*): Told the entries of each finished shard.
        """
        shards = [shard for shard in self.missing() if shard % world_size == rank]
        chunks = [(shard, chunk) for shard in shards for chunk in _chunks(self.header.entries_of(shard), batch_size)]
        clips = iter(self._loader([chunk for _, chunk in chunks], num_workers))
        skipped: list[str] = []
        for shard in shards:
            encoded = [self._encode(next(clips), skipped) for owner, _ in chunks if owner == shard]
            self._save(shard, encoded)
            if on_shard is not None:
                on_shard(len(self.header.entries_of(shard)))
        is_complete = not self.missing()
        if is_complete:
            write_manifest(self.folder)
        num_entries = sum(len(self.header.entries_of(shard)) for shard in shards)
        return EncodingReport(len(shards), num_entries, skipped, is_complete)

    def _begin(self) -> None:
        """Write header and prompts, or compare the header that is there."""
        if (self.folder / HEADER_NAME).exists():
            known = EncodedHeader.read(self.folder)
            for field in dataclasses.fields(EncodedHeader):
                theirs, ours = getattr(known, field.name), getattr(self.header, field.name)
                if theirs != ours:
                    raise CheckpointConfigError(
                        f"{self.folder} was begun with another `{field.name}`: {_difference(theirs, ours)}. Choose an empty "
                        "folder, or the same settings."
                    )
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        embeds = self._encode_text(self.header.prompts)
        _write(self.folder / PROMPTS_NAME, {"embeds": embeds.cpu()})
        self.header.write(self.folder)

    def _loader(self, chunks: list[list[int]], num_workers: int) -> DataLoader:
        workers = {"multiprocessing_context": "spawn"} if num_workers else {}
        entries = _Entries(self.header, self.mixture, self.augmentation)
        return DataLoader(
            entries,
            batch_sampler=chunks,
            num_workers=num_workers,
            collate_fn=list,
            **workers,  # type: ignore[arg-type]
        )

    def _encode(self, found: "list[EncodedClip | str]", skipped: list[str]) -> tuple[EncodedBatch, list[bool]]:
        """A batch, and which of it could be read."""
        readable = [clip for clip in found if not isinstance(clip, str)]
        for problem in (clip for clip in found if isinstance(clip, str)):
            logger.warning("Left out: %s", problem)
            skipped.append(problem)
        stand_in = readable[0] if readable else self._any_clip()
        clips = [stand_in if isinstance(clip, str) else clip for clip in found]
        assert self.pipeline.vae is not None
        encoded = encode_batch(
            collate(clips),
            self.pipeline.vae,
            lambda words: torch.zeros(len(words), 1, 1),
            with_depth=self.header.with_depth,
        )
        return encoded, [not isinstance(clip, str) for clip in found]

    def _any_clip(self) -> EncodedClip:
        entries = _Entries(self.header, self.mixture, self.augmentation)
        for entry in range(self.header.num_entries):
            if not isinstance(clip := entries[entry], str):
                return clip
        raise DataError("Not one window can be read.", dataset=self.mixture.parts[0].reader.name)

    def _save(self, shard: int, encoded: list[tuple[EncodedBatch, list[bool]]]) -> None:
        batches = [batch for batch, _ in encoded]
        dtype = DTYPES[self.header.dtype]
        tensors = {
            "video": torch.cat([batch.clean.video for batch in batches]).to(dtype),
            "actions": torch.cat([batch.clean.actions for batch in batches]),
            "states": torch.cat([batch.clean.states for batch in batches]),
            "action_mask": torch.cat([batch.action_mask for batch in batches]).to(torch.uint8),
            "state_mask": torch.cat([batch.state_mask for batch in batches]).to(torch.uint8),
            "view_mask": torch.cat([_given(batch.view_mask) for batch in batches]).to(torch.uint8),
            "is_valid": torch.tensor([flag for _, flags in encoded for flag in flags], dtype=torch.uint8),
        }
        if self.header.with_depth:
            tensors["depth"] = torch.cat([_given(batch.clean.depth) for batch in batches]).to(dtype)
            tensors["depth_mask"] = torch.cat([_given(batch.depth_mask) for batch in batches]).to(torch.uint8)
        _write(self.header.shard_path(self.folder, shard), {name: value.cpu() for name, value in tensors.items()})


class _Entries(Dataset):
    """Entries as clips, or as words where a window cannot be read."""

    def __init__(self, header: EncodedHeader, mixture: Mixture, augmentation: Augmentation | None) -> None:
        self.header, self.mixture, self.augmentation = header, mixture, augmentation

    def __len__(self) -> int:
        return self.header.num_entries

    def __getitem__(self, entry: int) -> EncodedClip | str:
        number, episode, row, variant = self.header.locate(entry)
        part = self.mixture.parts[number]
        try:
            clip = read_clip(part.reader, episode, row, part.shape)
            if self.augmentation is None:
                return part.processor.encode_clip(clip)
            drawn = self.augmentation.draw(
                seed_from("variant", self.header.seed, variant),
                entry // self.header.variants,
                num_views=part.processor.num_views,
                image_size=part.processor.image_size,
            )
            return augment(part.processor.encode_clip(clip, boxes=drawn.boxes), drawn)
        except DataError as error:
            return str(error)


def _write(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """A file that appears whole; several processes may begin a folder together."""
    write_bytes(path, save({name: tensor.contiguous() for name, tensor in tensors.items()}))


def _difference(theirs: object, ours: object) -> str:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        names = sorted(name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name))
        return f"{', '.join(names)} differ"
    short = repr(theirs), repr(ours)
    return "they differ" if max(map(len, short)) > 80 else f"{short[0]}, not {short[1]}"


def _chunks(entries: range, size: int) -> Iterator[list[int]]:
    for start in range(0, len(entries), size):
        yield list(entries[start : start + size])


def _given(tensor: torch.Tensor | None) -> torch.Tensor:
    assert tensor is not None, "encode_batch gives every mask"
    return tensor

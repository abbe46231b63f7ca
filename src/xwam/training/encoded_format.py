"""Files of an encoded data set: windows of recordings after the frozen encoders, in shards of safetensors.

encoded.json                  what was encoded, with what, and where each window stands (`EncodedHeader`)
prompts.safetensors           `embeds` (P, N, E): text embeddings of all instructions; the first is the empty one's
shards/00000.safetensors      latents, numbers and masks of consecutive entries
manifest.json                 size and hash of every file, once all shards are there
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from xwam.checkpoints.json_files import read_json
from xwam.data.streams.mixture import Mixture, MixturePart
from xwam.data.writers.durable_files import write_json
from xwam.errors import CheckpointConfigError
from xwam.pipelines.pipeline_xwam import XWAMPipeline
from xwam.training.training_data import numbers_identity

FORMAT_VERSION = 1
HEADER_NAME, PROMPTS_NAME, SHARDS_NAME = "encoded.json", "prompts.safetensors", "shards"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_MAX_HEADER_BYTES = 256 << 20


@dataclass(frozen=True)
class EncodedPart:
    """One data set of those that were encoded.

    Args:
        name (`str`): Its name.
        share (`float` or `None`): Its share of the samples, see `MixturePart`.
        counts (`list[int]`): Windows kept of each episode.
        prompts (`list[list[int]]`): Numbers of each episode's instructions.
        robot (`dict[str, Any]`, *optional*): Its robot with quantiles, from `RobotSpec.to_dict`.
    """

    name: str
    share: float | None
    counts: list[int]
    prompts: list[list[int]]
    robot: dict[str, Any] | None = None

    @property
    def num_windows(self) -> int:
        """Windows of all episodes."""
        return sum(self.counts)


@dataclass(frozen=True)
class EncodedHeader:
    """What an encoded data set holds. Entry `(first + window) · variants + variant` is one window as one variant shows it.

    Args:
        identity (`dict[str, str]`): Fingerprints of `vae`, `text`, `robot` and `data`; see `identity_of`.
        variants (`int`): Crops and colours of every window.
        stride (`int`): Every so many rows a window begins.
        seed (`int`): Of crops and colours.
        augmentation (`dict[str, Any]` or `None`): Fields of `Augmentation`; `None` for the centre crop.
        with_depth (`bool`): Whether depth was encoded.
        dtype (`str`): Of the stored latents.
        shard_size (`int`): Entries of a shard; the last may have fewer.
        prompts (`list[str]`): All instructions; the first is empty.
        parts (`list[EncodedPart]`): The data sets.
    """

    identity: dict[str, str]
    variants: int
    stride: int
    seed: int
    augmentation: dict[str, Any] | None
    with_depth: bool
    dtype: str
    shard_size: int
    prompts: list[str]
    parts: list[EncodedPart]

    @property
    def num_windows(self) -> int:
        """Windows of all parts."""
        return sum(part.num_windows for part in self.parts)

    @property
    def num_entries(self) -> int:
        """Windows times variants."""
        return self.num_windows * self.variants

    @property
    def num_shards(self) -> int:
        """Files."""
        return -(-self.num_entries // self.shard_size)

    def shard_path(self, folder: Path, shard: int) -> Path:
        """File of a shard."""
        return folder / SHARDS_NAME / f"{shard:05d}.safetensors"

    def entries_of(self, shard: int) -> range:
        """Entries of a shard."""
        return range(shard * self.shard_size, min((shard + 1) * self.shard_size, self.num_entries))

    def first_window(self, part: int) -> int:
        """Windows of the parts before."""
        return sum(before.num_windows for before in self.parts[:part])

    def locate(self, entry: int) -> tuple[int, int, int, int]:
        """Part, episode, row and variant of an entry."""
        window, variant = divmod(entry, self.variants)
        for number, part in enumerate(self.parts):
            if window < part.num_windows:
                ends = np.cumsum(part.counts)
                episode = int(np.searchsorted(ends, window, side="right"))
                return number, episode, (window - int(ends[episode]) + part.counts[episode]) * self.stride, variant
            window -= part.num_windows
        raise IndexError(f"There are {self.num_entries} entries, but number {entry} was asked for.")

    def write(self, folder: Path) -> None:
        """Write `encoded.json`."""
        write_json(folder / HEADER_NAME, {"version": FORMAT_VERSION, **dataclasses.asdict(self)}, indent=None)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read `encoded.json`.

        Raises:
            CheckpointConfigError: If it is of another version or not complete.
        """
        content = read_json(folder / HEADER_NAME, max_bytes=_MAX_HEADER_BYTES)
        if content.pop("version", None) != FORMAT_VERSION:
            raise CheckpointConfigError(f"{folder} is not an encoded data set of version {FORMAT_VERSION}.")
        try:
            return cls(**{**content, "parts": [EncodedPart(**part) for part in content["parts"]]})
        except (TypeError, KeyError) as error:
            raise CheckpointConfigError(f"{folder / HEADER_NAME} is not complete: {error}.") from error


def identity_of(pipeline: XWAMPipeline) -> dict[str, str]:
    """Fingerprints of what latents, text embeddings and numbers depend on; of a part that is missing there is none.

    Args:
        pipeline (`XWAMPipeline`): Its VAE, text encoder and robot are looked at.
    """
    found = {"robot": fingerprint([repr(sorted(pipeline.robot_processor.spec.to_dict().items()))])}
    if pipeline.vae is not None:
        found["vae"] = fingerprint([_config_of(pipeline.vae)], pipeline.vae)
    if pipeline.text_encoder is not None:
        words = [_config_of(pipeline.text_encoder), str(pipeline.config.max_sequence_length)]
        found["text"] = fingerprint(
            [*words, repr(sorted(pipeline.tokenizer.get_vocab().items()))], pipeline.text_encoder
        )
    return found


def fingerprint(words: Sequence[str], module: nn.Module | None = None) -> str:
    """Hash of words and of all weights of a module.

    Args:
        words (`Sequence[str]`): In order.
        module (`nn.Module`, *optional*): Its weights count to the last bit.
    """
    digest = hashlib.sha256(repr(list(words)).encode())
    for name, tensor in sorted({} if module is None else module.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def prompts_of(mixture: Mixture) -> list[str]:
    """All instructions of data sets, each once; the first is empty."""
    words = {
        words: None for part in mixture.parts for episode in part.reader.episodes for words in episode.instructions
    }
    return ["", *(prompt for prompt in words if prompt)]


def part_of(part: MixturePart, prompts: list[str], stride: int) -> EncodedPart:
    """A data set of which every so manieth window is kept.

    Args:
        part (`MixturePart`): The data set.
        prompts (`list[str]`): All instructions.
        stride (`int`): Rows from one window to the next.
    """
    numbers = {prompt: number for number, prompt in enumerate(prompts)}
    return EncodedPart(
        name=part.reader.name,
        share=part.share,
        counts=[-(-count // stride) for count in part.counts],
        prompts=[[numbers[words] for words in episode.instructions] or [0] for episode in part.reader.episodes],
        robot=part.processor.spec.to_dict(),
    )


def data_fingerprint(mixture: Mixture) -> str:
    """Hash of the names, lengths and robots of all episodes, and of the first numbers; no image is read."""
    parts = [repr(numbers_identity(part.reader)) for part in mixture.parts]
    episodes = [
        repr((part.reader.name, part.rows_per_command, part.processor.spec.to_dict(), episode.key, episode.length))
        for part in mixture.parts
        for episode in part.reader.episodes
    ]
    return fingerprint([*parts, *episodes])


def _config_of(module: Any) -> str:
    config = module.config.to_dict() if hasattr(module.config, "to_dict") else dict(module.config)
    return repr(sorted((name, value) for name, value in config.items() if not name.startswith("_")))

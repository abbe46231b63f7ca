"""Stream an encoded data set: the same order of samples as `xwam.data.streams.stream`, and batches that need no encoder."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch.utils.data import DataLoader

from xwam.checkpoints.manifest import MANIFEST_NAME, verify_manifest
from xwam.checkpoints.safetensors_check import check_safetensors
from xwam.data.streams.batch_loader import make_loader
from xwam.data.streams.sample_order import MixtureOrder, WindowOrder
from xwam.data.streams.stream import MAX_ATTEMPTS
from xwam.errors import CheckpointConfigError, CheckpointError, DataError
from xwam.models.input_checks import DENOISED_BRANCHES
from xwam.models.joint_latents import JointLatents
from xwam.pipelines.pipeline_xwam import XWAMPipeline
from xwam.robots.spec import RobotSpec
from xwam.training.encoded_format import HEADER_NAME, PROMPTS_NAME, EncodedHeader, identity_of
from xwam.training.step import EncodedBatch
from xwam.utils.differences import first_difference
from xwam.utils.seeding import seed_from

_ENCODERS = {"vae": "VAE", "text": "text encoder or its tokenizer", "robot": "robot"}


class EncodedDataset:
    """An encoded data set that `EncodedDatasetWriter` completed. Entries are read one by one, shards never as a whole.

    Args:
        folder (`Path`): Where it lies.

    Raises:
        CheckpointError: If it is not complete, or a file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.header = EncodedHeader.read(folder)
        if not (folder / MANIFEST_NAME).exists():
            raise CheckpointError(f"{folder} is not complete: let the encoding go on until all shards are written.")
        verify_manifest(folder, hashes=False)
        self._open: dict[int, Any] = {}
        self._prompts: torch.Tensor | None = None

    def __len__(self) -> int:
        return self.header.num_windows

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_open": {}, "_prompts": None}

    @property
    def robot(self) -> RobotSpec:
        """Robot of the first data set, with its quantiles: what the trained pipeline must know."""
        found = self.header.parts[0].robot
        if found is None:
            raise CheckpointConfigError(f"{self.folder / HEADER_NAME} does not tell the robot.")
        return RobotSpec.from_dict(found)

    @property
    def prompt_embeds(self) -> torch.Tensor:
        """Text embeddings `(P, N, E)` of all instructions."""
        if self._prompts is None:
            path = self.folder / PROMPTS_NAME
            check_safetensors(path)
            self._prompts = load_file(path)["embeds"]
        return self._prompts

    @property
    def empty_prompt_embeds(self) -> torch.Tensor:
        """Text embeddings `(1, N, E)` of the empty prompt."""
        return self.prompt_embeds[:1]

    def verify(self) -> None:
        """Read every file and compare its hash with the manifest.

        Raises:
            CheckpointError: If a file is damaged.
        """
        verify_manifest(self.folder)

    def check(self, pipeline: XWAMPipeline) -> None:
        """Refuse a pipeline that would read or decode these numbers as something else; missing encoders are not compared.

        Args:
            pipeline (`XWAMPipeline`): What shall be trained.

        Raises:
            CheckpointConfigError: If its VAE, text encoder or robot is another than the data were encoded with, or its depth
                branch needs depth and none was encoded.
        """
        branch = pipeline.transformer.config.depth_branch
        if branch in DENOISED_BRANCHES and not self.header.with_depth:
            raise CheckpointConfigError(
                f"{self.folder} was encoded without depth, but the pipeline's depth branch {branch!r} needs it. Encode the data "
                "again with depth, or train a pipeline with another branch."
            )
        for name, found in identity_of(pipeline).items():
            if found != self.header.identity[name]:
                if name == "robot":
                    self._refuse_robot(pipeline.robot_processor.spec)
                raise CheckpointConfigError(
                    f"{self.folder} was encoded with another {_ENCODERS[name]} than the pipeline's (fingerprint "
                    f"{self.header.identity[name][:12]}, not {found[:12]}). Encode the data again, or train that pipeline."
                )

    def _refuse_robot(self, spec: RobotSpec) -> None:
        """Say in which field the robot of a pipeline is another, where the data tell."""
        for robot in (part.robot for part in self.header.parts if part.robot is not None):
            if difference := first_difference(RobotSpec.from_dict(robot).to_dict(), spec.to_dict()):
                field, there, here = difference
                raise CheckpointConfigError(
                    f"{self.folder} was encoded with another robot than the pipeline's: `{field}` is {there!r} there, {here!r} here. "
                    "The robot that it was encoded with is in robot.json beside encoded.json, or encode the data again."
                )

    def batches(
        self,
        *,
        seed: int,
        batch_size: int,
        shuffle: str = "windows",
        rank: int = 0,
        world_size: int = 1,
        start_batch: int = 0,
        num_batches: int | None = None,
        num_workers: int = 0,
    ) -> DataLoader:
        """A loader of `EncodedBatch`; see `make_stream` for the arguments and for which sample comes when.

        In each pass over the windows a window is shown as another of its variants.

        Args:
            seed (`int`): Of order and instructions.
            batch_size (`int`): Windows B of a batch.
            shuffle (`str`, *optional*, defaults to `"windows"`): See `WindowOrder`.
            rank (`int`, *optional*, defaults to `0`): This process among those that train together.
            world_size (`int`, *optional*, defaults to `1`): Processes that train together.
            start_batch (`int`, *optional*, defaults to `0`): Batches of this rank to begin after.
            num_batches (`int`, *optional*): Batches of this rank after which it ends, counted from its very beginning.
            num_workers (`int`, *optional*, defaults to `0`): Processes that read ahead; 0 is enough for a local disk.

        Raises:
            ValueError: If an argument is out of its range.
        """
        return make_loader(
            partial(read_encoded_batch, EncodedSamples(self, seed, shuffle)),
            seed=seed,
            batch_size=batch_size,
            rank=rank,
            world_size=world_size,
            start_batch=start_batch,
            num_batches=num_batches,
            num_workers=num_workers,
        )

    def read(self, entry: int) -> dict[str, torch.Tensor] | None:
        """Tensors of one entry, floating latents as float32; `None` for a window that could not be encoded.

        Args:
            entry (`int`): Its number, see `EncodedHeader`.
        """
        shard, row = divmod(entry, self.header.shard_size)
        if shard not in self._open:
            path = self.header.shard_path(self.folder, shard)
            check_safetensors(path)
            self._open[shard] = safe_open(path, framework="pt")
        file = self._open[shard]
        if not file.get_slice("is_valid")[row : row + 1].item():
            return None
        return {name: file.get_slice(name)[row : row + 1][0].float() for name in file.keys()}  # noqa: SIM118


class EncodedSamples:
    """Sample i of a run over an encoded data set, for any i.

    Args:
        dataset (`EncodedDataset`): The data.
        seed (`int`): Of order and instructions.
        shuffle (`str`, *optional*, defaults to `"windows"`): See `WindowOrder`.
    """

    def __init__(self, dataset: EncodedDataset, seed: int, shuffle: str = "windows") -> None:
        self.dataset, self.seed = dataset, seed
        parts = dataset.header.parts
        shares = [float(part.num_windows) if part.share is None else part.share for part in parts]
        self._mixture_order = MixtureOrder(shares, seed_from("mixture", seed))
        self._orders = [
            WindowOrder(part.counts, seed_from("windows", seed, number), shuffle) for number, part in enumerate(parts)
        ]

    def place(self, index: int, attempt: int = 0) -> int:
        """Entry to try for a sample.

        Args:
            index (`int`): Number of the sample.
            attempt (`int`, *optional*, defaults to `0`): Entries tried in vain before.
        """
        header = self.dataset.header
        part, number = self._mixture_order[index]
        order = self._orders[part]
        window = order[number]
        if attempt:
            window = seed_from("replacement", self.seed, index, attempt) % len(order)
        window += header.first_window(part)
        variant = number // len(order) + seed_from("variant", self.seed, window)
        return window * header.variants + variant % header.variants

    def read(self, index: int) -> dict[str, torch.Tensor]:
        """Tensors of a sample, `prompt_embeds` among them.

        Args:
            index (`int`): Number of the sample.

        Raises:
            DataError: If no window can be read.
        """
        header = self.dataset.header
        for attempt in range(MAX_ATTEMPTS):
            entry = self.place(index, attempt)
            if (found := self.dataset.read(entry)) is not None:
                part, episode, _, _ = header.locate(entry)
                prompts = header.parts[part].prompts[episode]
                prompt = prompts[seed_from("instruction", self.seed, index) % len(prompts)]
                return {**found, "prompt_embeds": self.dataset.prompt_embeds[prompt]}
        raise DataError(f"{MAX_ATTEMPTS} windows in a row could not be encoded.", dataset=str(self.dataset.folder))


def read_encoded_batch(samples: EncodedSamples, indices: Sequence[int]) -> EncodedBatch:
    """A batch of samples.

    Args:
        samples (`EncodedSamples`): The run's samples.
        indices (`Sequence[int]`): Their numbers.
    """
    rows = [samples.read(index) for index in indices]
    stacked = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    clean = {name: stacked.get(name) for name in ("video", "actions", "states", "depth")}
    return EncodedBatch(
        clean=JointLatents(**clean),  # type: ignore[arg-type]
        prompt_embeds=stacked["prompt_embeds"],
        action_mask=stacked["action_mask"],
        state_mask=stacked["state_mask"],
        depth_mask=stacked.get("depth_mask"),
        view_mask=stacked["view_mask"],
        indices=torch.tensor(list(indices), dtype=torch.int64),
    )

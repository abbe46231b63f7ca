"""Endless batches of training windows; which window, crop and colours a sample has depends on the seed and its number alone."""

from collections.abc import Sequence
from functools import partial

from torch.utils.data import DataLoader

from xwam.data.readers.base import EpisodeReader
from xwam.data.streams.augmentation import Augmentation, augment
from xwam.data.streams.batch_loader import make_loader
from xwam.data.streams.collate import TrainBatch, collate
from xwam.data.streams.mixture import Mixture
from xwam.data.streams.sample_order import MixtureOrder, WindowOrder
from xwam.data.streams.windows import WindowIndex, read_clip
from xwam.errors import DataError
from xwam.robots.clips import EncodedClip
from xwam.robots.processor import RobotProcessor
from xwam.utils.seeding import seed_from

ON_ERROR = ("skip", "raise")
MAX_ATTEMPTS = 20  # windows tried for one sample; where so many fail, most of the data set is damaged


def make_stream(
    data: EpisodeReader | Sequence[EpisodeReader] | Mixture,
    processor: RobotProcessor | None = None,
    *,
    seed: int,
    batch_size: int,
    augmentation: Augmentation | None = None,
    shuffle: str = "windows",
    on_error: str = "skip",
    rank: int = 0,
    world_size: int = 1,
    start_batch: int = 0,
    num_batches: int | None = None,
    num_workers: int = 0,
    prefetch_factor: int = 2,
    timeout: float = 300.0,
    pin_memory: bool = False,
) -> DataLoader:
    """A loader of `TrainBatch`; see `xwam.data.streams.batch_loader` for which batch holds which samples.

    Every iteration begins at `start_batch`. A worker that dies, or takes longer than `timeout`, ends it with an error.

    Args:
        data (`EpisodeReader`, `Sequence[EpisodeReader]` or `Mixture`): Data sets.
        processor (`RobotProcessor`, *optional*): The robot of the readers; a mixture brings its own.
        seed (`int`): Of order, crops, colours and instructions.
        batch_size (`int`): Windows B of a batch.
        augmentation (`Augmentation`, *optional*): Crops and colours; by default the centre crop, as at inference.
        shuffle (`str`, *optional*, defaults to `"windows"`): See `WindowOrder`.
        on_error (`str`, *optional*, defaults to `"skip"`): `"skip"` puts another window in the place of one that cannot be
            read and names it in `TrainBatch.skipped`; `"raise"` stops.
        rank (`int`, *optional*, defaults to `0`): This process among those that train together.
        world_size (`int`, *optional*, defaults to `1`): Processes that train together.
        start_batch (`int`, *optional*, defaults to `0`): Batches of this rank to begin after, without reading them.
        num_batches (`int`, *optional*): Batches of this rank after which the stream ends, counted from its very beginning.
        num_workers (`int`, *optional*, defaults to `0`): Processes that read ahead; 0 reads in this one. They are
            spawned and import the script again, which must stand below `if __name__ == "__main__":`.
        prefetch_factor (`int`, *optional*, defaults to `2`): Batches that each worker reads ahead.
        timeout (`float`, *optional*, defaults to `300.0`): Seconds to wait for a worker's batch before the stream fails.
        pin_memory (`bool`, *optional*, defaults to `False`): Whether batches lie in page-locked memory.

    Raises:
        DataError: If a data set has no window, or does not fit its robot.
        ValueError: If an argument is out of its range, or robots do not fit into one batch.
    """
    mixture = _mixture(data, processor)
    samples = Samples(mixture, seed=seed, augmentation=augmentation, shuffle=shuffle, on_error=on_error)
    return make_loader(
        partial(read_batch, samples),
        seed=seed,
        batch_size=batch_size,
        rank=rank,
        world_size=world_size,
        start_batch=start_batch,
        num_batches=num_batches,
        num_workers=num_workers,
        prefetch_factor=prefetch_factor,
        timeout=timeout,
        pin_memory=pin_memory,
    )


class Samples:
    """Sample i of a run, for any i.

    Args:
        mixture (`Mixture`): Data sets.
        seed (`int`): Of order, crops, colours and instructions.
        augmentation (`Augmentation`, *optional*): Crops and colours.
        shuffle (`str`, *optional*, defaults to `"windows"`): See `WindowOrder`.
        on_error (`str`, *optional*, defaults to `"skip"`): See `make_stream`.

    Raises:
        ValueError: If there is no such shuffle or no such answer to an error.
    """

    def __init__(
        self,
        mixture: Mixture,
        *,
        seed: int,
        augmentation: Augmentation | None = None,
        shuffle: str = "windows",
        on_error: str = "skip",
    ) -> None:
        if on_error not in ON_ERROR:
            raise ValueError(f"`on_error` must be one of {ON_ERROR}, but is {on_error!r}.")
        self.mixture, self.seed, self.augmentation, self.on_error = mixture, seed, augmentation, on_error
        self._mixture_order = MixtureOrder(mixture.shares, seed_from("mixture", seed))
        self._orders = [
            WindowOrder(part.counts, seed_from("windows", seed, number), shuffle)
            for number, part in enumerate(mixture.parts)
        ]
        self._windows = [WindowIndex(part.reader, part.shape) for part in mixture.parts]

    def place(self, index: int, attempt: int = 0) -> tuple[int, int, int]:
        """Data set, episode and row of the window to try for a sample.

        Args:
            index (`int`): Number of the sample.
            attempt (`int`, *optional*, defaults to `0`): Windows tried in vain before; each leads to another of the data set.
        """
        part, number = self._mixture_order[index]
        if attempt:
            window = seed_from("replacement", self.seed, index, attempt) % len(self._windows[part])
        else:
            window = self._orders[part][number]
        return part, *self._windows[part][window]

    def read(self, index: int) -> tuple[EncodedClip, list[str]]:
        """A sample, and what could not be read in its place.

        Args:
            index (`int`): Number of the sample.

        Raises:
            DataError: If its window cannot be read and nothing is to be skipped, or no other can either.
        """
        skipped: list[str] = []
        for attempt in range(MAX_ATTEMPTS):
            part, episode, row = self.place(index, attempt)
            try:
                return self._encode(index, part, episode, row), skipped
            except DataError as error:
                if self.on_error == "raise":
                    raise
                skipped.append(f"sample {index}: {error}")
        raise DataError(
            f"{MAX_ATTEMPTS} windows in a row could not be read; the last one: {skipped[-1]}",
            dataset=self.mixture.parts[part].reader.name,
        )

    def _encode(self, index: int, part: int, episode: int, row: int) -> EncodedClip:
        source = self.mixture.parts[part]
        words = seed_from("instruction", self.seed, index)
        clip = read_clip(source.reader, episode, row, source.shape, instruction=words)
        if self.augmentation is None:
            return source.processor.encode_clip(clip)
        drawn = self.augmentation.draw(
            self.seed, index, num_views=source.processor.num_views, image_size=source.processor.image_size
        )
        return augment(source.processor.encode_clip(clip, boxes=drawn.boxes), drawn)


def read_batch(samples: Samples, indices: Sequence[int]) -> TrainBatch:
    """A batch of samples.

    Args:
        samples (`Samples`): The run's samples.
        indices (`Sequence[int]`): Their numbers.

    Raises:
        DataError: See `Samples.read`.
    """
    clips, skipped = [], []
    for index in indices:
        clip, lost = samples.read(index)
        clips.append(clip)
        skipped += lost
    return collate(clips, indices=indices, skipped=skipped)


def _mixture(data: EpisodeReader | Sequence[EpisodeReader] | Mixture, processor: RobotProcessor | None) -> Mixture:
    if isinstance(data, Mixture):
        if processor is not None:
            raise ValueError("A mixture brings the processor of each data set, but `processor` was given too.")
        return data
    if processor is None:
        raise ValueError("`processor` must be given with readers; only a mixture brings its own.")
    return Mixture.of(data, processor)

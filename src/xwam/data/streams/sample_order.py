"""Which window the i-th sample of a stream is, as a function of the seed and i, for any i at once and with little memory."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from xwam.utils.seeding import seed_from

SHUFFLES = ("windows", "episodes", "none")
EPISODES_AT_ONCE = 16  # episodes whose windows are mixed with each other where whole episodes are shuffled
SMALLEST_BLOCK, LARGEST_BLOCK = 1024, 2**20  # samples over which the shares of a mixture hold
_ROUNDS = 6
_MASK = (1 << 64) - 1


def shuffled_place(place: int, size: int, key: int) -> int:
    """Where the entry at `place` of `size` entries goes in the permutation named by a key.

    A Feistel network permutes the numbers of an even count of bits; a result that is too large goes through it again,
    until it is one of the `size` numbers. At most four passes are needed on average.

    Args:
        place (`int`): From 0 to `size` − 1.
        size (`int`): How many there are.
        key (`int`): From `seed_from`.
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    low = (1 << half) - 1
    while True:
        left, right = place >> half, place & low
        for number in range(_ROUNDS):
            left, right = right, left ^ (_mix(right + (number << 32) ^ key) & low)
        place = left << half | right
        if place < size:
            return place


class WindowOrder:
    """Passes over the windows of one data set, each in its own order.

    Args:
        counts (`Sequence[int]`): Windows of each episode.
        key (`int`): Names the order.
        shuffle (`str`, *optional*, defaults to `"windows"`): `"windows"` for any window anywhere; `"episodes"` for episodes in
            random order, the windows of 16 at a time mixed, which reads few files at once; `"none"` for the order of the
            data set.

    Raises:
        ValueError: If there is no window, or no such shuffle.
    """

    def __init__(self, counts: Sequence[int], key: int, shuffle: str = "windows") -> None:
        if shuffle not in SHUFFLES:
            raise ValueError(f"`shuffle` must be one of {SHUFFLES}, but is {shuffle!r}.")
        self._counts, self._key, self.shuffle = np.asarray(counts, dtype=np.int64), key, shuffle
        self._ends = np.cumsum(self._counts)
        self._pass: tuple[int, np.ndarray, np.ndarray] | None = None  # of "episodes": number, order, ends
        if len(self) == 0:
            raise ValueError(f"`counts` of {len(self._counts)} episodes must hold a window, but all are 0.")

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, number: int) -> int:
        """Window at a place of the endless sequence of passes."""
        number_of_pass, place = divmod(number, len(self))
        key = seed_from("pass", self._key, number_of_pass)
        if self.shuffle == "none":
            return place
        if self.shuffle == "windows":
            return shuffled_place(place, len(self), key)
        return self._among_episodes(place, number_of_pass, key)

    def _among_episodes(self, place: int, number_of_pass: int, key: int) -> int:
        if self._pass is None or self._pass[0] != number_of_pass:
            order = np.argsort(_hashes(np.arange(len(self._counts)), key), kind="stable")
            self._pass = number_of_pass, order, np.cumsum(self._counts[order])
        _, order, ends = self._pass
        first = int(np.searchsorted(ends, place, side="right")) // EPISODES_AT_ONCE * EPISODES_AT_ONCE
        last = min(first + EPISODES_AT_ONCE, len(order)) - 1
        start = int(ends[first - 1]) if first else 0
        place = start + shuffled_place(place - start, int(ends[last]) - start, seed_from(key, first))
        at = int(np.searchsorted(ends, place, side="right"))
        within = place - (int(ends[at - 1]) if at else 0)
        return int(self._ends[order[at]] - self._counts[order[at]]) + within


class MixtureOrder:
    """Samples of several data sets by their shares.

    The stream is cut into blocks. In every block each data set has its share, rounded so that no rounding adds up, in an
    order drawn for the block; so where a data set stands at any sample follows from the number of the block alone.

    Args:
        shares (`Sequence[float]`): Positive; of the samples, up to a factor.
        key (`int`): Names the order.

    Raises:
        ValueError: If there is no share, or one is not positive or less than 2⁻¹⁹ of all.
    """

    def __init__(self, shares: Sequence[float], key: int) -> None:
        weights = np.asarray(shares, dtype=np.float64)
        if weights.ndim != 1 or len(weights) == 0 or not np.isfinite(weights).all() or not (weights > 0).all():
            raise ValueError(f"Shares of a mixture must be positive numbers, but are {list(shares)}.")
        self._shares, self._key = weights.tolist(), key
        self._bounds = np.concatenate([[0.0], np.cumsum(weights / weights.sum())])
        self._bounds[-1] = 1.0
        smallest = float((weights / weights.sum()).min())
        self._block = SMALLEST_BLOCK
        while self._block * smallest < 2 and self._block < LARGEST_BLOCK:
            self._block *= 2
        if self._block * smallest < 2:
            raise ValueError(f"A share of a mixture must be at least 2⁻¹⁹ of all, but {list(shares)} holds less.")
        self._of_block = lru_cache(maxsize=2)(self._draw_block)

    def __getitem__(self, number: int) -> tuple[int, int]:
        """Data set of a sample, and how many of that data set came before it."""
        if len(self._bounds) == 2:
            return 0, number
        block, place = divmod(number, self._block)
        owners, ranks = self._of_block(block)
        owner = int(owners[place])
        return owner, int(self._before(block)[owner] + ranks[place])

    def __reduce__(self) -> tuple[type["MixtureOrder"], tuple[list[float], int]]:
        return type(self), (self._shares, self._key)

    def _before(self, block: int) -> np.ndarray:
        """Samples of each data set in all blocks before this one."""
        return np.diff(np.floor(self._bounds * (block * self._block) + 0.5).astype(np.int64))

    def _draw_block(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """Data set of each sample of a block, and how many of that data set the block holds before it."""
        counts = self._before(block + 1) - self._before(block)
        owners = np.repeat(np.arange(len(counts)), counts)
        order = np.argsort(_hashes(np.arange(self._block), seed_from("block", self._key, block)), kind="stable")
        owners, ranks = owners[order], np.empty(self._block, dtype=np.int64)
        for owner, count in enumerate(counts):
            ranks[owners == owner] = np.arange(count)
        return owners, ranks


def _mix(value: int) -> int:
    """SplitMix64 (Steele, Lea and Flood 2014): a bijection of 64 bits without visible pattern."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def _hashes(numbers: np.ndarray, key: int) -> np.ndarray:
    """`_mix` of many numbers."""
    value = numbers.astype(np.uint64) + np.uint64(_mix(key))
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))

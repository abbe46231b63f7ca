"""Quantiles of more rows than fit into memory: exact up to a limit, then with an error that is known."""

from collections.abc import Callable

import numpy as np

EXACT_ROWS = 2**21
BLOCK_ROWS = 2**17


class QuantileSketch:
    r"""Takes rows block by block and tells quantiles of every column at the end.

    Up to `exact_rows` it keeps everything, and quantiles are NumPy's, bit for bit. Beyond, sorted blocks of `block_rows` rows
    are collapsed in pairs: every second value of the two stays and counts twice as much. One collapse of blocks of weight
    \(w\) moves no rank by more than \(w\); `rank_error` is the sum of these, as a share of all rows.

    Source: Munro and Paterson, Selection and sorting with limited storage, 1980.

    Args:
        num_columns (`int`): Columns; quantiles are taken of each by itself.
        exact_rows (`int`, *optional*, defaults to `EXACT_ROWS`): Rows that are kept as they are.
        block_rows (`int`, *optional*, defaults to `BLOCK_ROWS`): Rows of a block: twice as many halve the error.
    """

    def __init__(self, num_columns: int, exact_rows: int = EXACT_ROWS, block_rows: int = BLOCK_ROWS) -> None:
        self._num_columns, self._exact_rows, self._block_rows = num_columns, exact_rows, block_rows
        self._waiting: list[np.ndarray] = []  # rows as they came, not yet a block
        self._num_waiting = 0
        self._blocks: dict[int, np.ndarray] = {}  # level to a sorted block whose values count 2 ** level times
        self._lost = 0  # bound on the error of any rank, in rows
        self._odd = False
        self.num_rows = 0
        self.lowest, self.highest = np.full(num_columns, np.inf), np.full(num_columns, -np.inf)

    @property
    def is_exact(self) -> bool:
        """Whether everything is still there."""
        return not self._blocks

    @property
    def rank_error(self) -> float:
        """By how much of all rows a quantile may be off: 0.0001 for 1 % that may be 0.99 % or 1.01 %."""
        return self._lost / self.num_rows if self.num_rows else 0.0

    def add(self, rows: np.ndarray) -> None:
        """Take rows.

        Args:
            rows (`np.ndarray` of shape `(rows, columns)`): Finite numbers.
        """
        rows = np.array(rows, dtype=np.float64).reshape(-1, self._num_columns)
        if not len(rows):
            return
        self.lowest = np.minimum(self.lowest, rows.min(axis=0))
        self.highest = np.maximum(self.highest, rows.max(axis=0))
        self._waiting.append(rows)
        self._num_waiting += len(rows)
        self.num_rows += len(rows)
        if self._num_waiting > (self._exact_rows if self.is_exact else self._block_rows):
            self._form_blocks()

    def quantiles(self, shares: np.ndarray) -> np.ndarray:
        """Quantiles of every column.

        Args:
            shares (`np.ndarray` of shape `(shares,)`): From 0 to 1.

        Returns:
            `np.ndarray` of shape `(shares, columns)`: Interpolated between neighbours as long as everything is there.

        Raises:
            ValueError: If no row came.
        """
        if not self.num_rows:
            raise ValueError("There are no rows to take quantiles of.")
        if self.is_exact:
            return np.quantile(np.concatenate(self._waiting), shares, axis=0)
        values, weights = self.weighted_values()
        return np.stack([weighted_quantiles(column, weights, shares) for column in values.T], axis=-1)

    def weighted_values(self) -> tuple[np.ndarray, np.ndarray]:
        """What is kept, `(kept, columns)`, and how often each of it counts, `(kept,)`.

        Values of one row do not belong together once rows were collapsed.
        """
        parts = [(rows, 1) for rows in self._waiting] + [(block, 2**level) for level, block in self._blocks.items()]
        values = [rows for rows, _ in parts] or [np.zeros((0, self._num_columns))]
        return np.concatenate(values), np.repeat([weight for _, weight in parts], [len(rows) for rows, _ in parts])

    def _form_blocks(self) -> None:
        rows = np.concatenate(self._waiting)
        num_full = len(rows) // self._block_rows * self._block_rows
        for start in range(0, num_full, self._block_rows):
            self._insert(np.sort(rows[start : start + self._block_rows], axis=0))
        self._waiting, self._num_waiting = [rows[num_full:]], len(rows) - num_full

    def _insert(self, block: np.ndarray, level: int = 0) -> None:
        while level in self._blocks:
            merged = np.sort(np.concatenate([self._blocks.pop(level), block]), axis=0)
            block, self._odd = merged[int(self._odd) :: 2], not self._odd
            self._lost += 2**level
            level += 1
        self._blocks[level] = block


def weighted_quantiles(values: np.ndarray, weights: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Quantiles of values that count several times each; NumPy's where each counts once.

    Args:
        values (`np.ndarray` of shape `(values,)`): In any order; at least one.
        weights (`np.ndarray` of shape `(values,)`): How often each counts, whole numbers.
        shares (`np.ndarray` of shape `(shares,)`): From 0 to 1.
    """
    if (weights == 1).all():
        return np.quantile(values, shares)
    order = np.argsort(values, kind="stable")
    ends = np.cumsum(weights[order])
    return values[order][np.searchsorted(ends, np.asarray(shares) * (ends[-1] - 1), side="right")]


class MotionSketch:
    """Quantiles of those numbers of a stream that are at least so large, where how large is known only at the end.

    Numbers are kept by their power of two, so that a threshold cuts through one sketch only; zeros are not kept at all.

    Args:
        smallest (`float`): No threshold is below this; smaller numbers are dropped at once.
        exact_rows (`int`, *optional*, defaults to `BLOCK_ROWS`): Numbers of each power of two that are kept as they are.
        block_rows (`int`, *optional*, defaults to `BLOCK_ROWS`): See `QuantileSketch`.
    """

    def __init__(self, smallest: float, exact_rows: int = BLOCK_ROWS, block_rows: int = BLOCK_ROWS) -> None:
        self._smallest, self._limits = smallest, (exact_rows, block_rows)
        self._sketches: dict[int, QuantileSketch] = {}
        self.num_rows, self._num_selected, self._lost = 0, 0, 0.0

    @property
    def rank_error(self) -> float:
        """By how much of the numbers that were selected last a rank among them may be off."""
        return self._lost / self._num_selected if self._num_selected else 0.0

    def add(self, values: np.ndarray) -> None:
        """Take numbers.

        Args:
            values (`np.ndarray` of shape `(values,)`): Finite numbers of either sign.
        """
        self.num_rows += len(values)
        moving = values[np.abs(values) >= self._smallest]
        exponents = np.frexp(moving)[1]
        for exponent in np.unique(exponents):
            sketch = self._sketches.setdefault(int(exponent), QuantileSketch(1, *self._limits))
            sketch.add(moving[exponents == exponent])

    def select(self, is_kept: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Numbers that are kept, `(kept,)`, and how often each counts.

        Args:
            is_kept (`Callable`): Tells of an array of numbers which to keep.
        """
        chosen: list[tuple[np.ndarray, np.ndarray]] = [(np.zeros(0), np.zeros(0, dtype=np.int64))]
        self._lost = 0.0
        for sketch in self._sketches.values():
            rows, weights = sketch.weighted_values()
            is_chosen = is_kept(rows[:, 0])
            if is_chosen.any():
                self._lost += sketch.rank_error * sketch.num_rows
                chosen.append((rows[is_chosen, 0], weights[is_chosen]))
        values, counts = (np.concatenate(arrays) for arrays in zip(*chosen, strict=True))
        self._num_selected = int(counts.sum())
        return values, counts

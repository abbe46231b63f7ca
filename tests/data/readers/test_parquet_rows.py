"""Columns come row by row, from the row groups that hold them and from no other."""

import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xwam.data.readers import parquet_rows
from xwam.data.readers.dataset_files import DatasetFiles
from xwam.data.readers.parquet_rows import ParquetRows, to_numbers
from xwam.errors import DataError

COUNT, GROUP = 20, 6


@pytest.fixture
def rows(tmp_path: Path) -> ParquetRows:
    table = pa.table({"number": np.arange(COUNT), "pair": [[row, -row] for row in range(COUNT)]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=GROUP)
    return ParquetRows(DatasetFiles(tmp_path))


@pytest.mark.parametrize(("start", "stop"), [(0, 20), (0, 0), (5, 7), (6, 12), (19, 20), (3, 18)])
def test_any_rows_come_back(rows: ParquetRows, start: int, stop: int):
    expected = np.arange(start, stop, dtype=float)
    assert (to_numbers(rows.column("a.parquet", "number", start, stop), 1)[:, 0] == expected).all()
    pairs = to_numbers(rows.column("a.parquet", "pair", start, stop), 2)
    assert (pairs == np.stack([expected, -expected], axis=1)).all()
    assert rows.num_rows("a.parquet") == COUNT


def test_only_the_row_groups_and_columns_that_are_needed_are_read(rows: ParquetRows):
    rows.column("a.parquet", "number", 7, 13)
    assert list(rows._groups) == [("a.parquet", 1, "number"), ("a.parquet", 2, "number")]
    again = pickle.loads(pickle.dumps(rows))  # noqa: S301
    assert not again._groups
    assert len(again.column("a.parquet", "number", 0, 3)) == 3


def test_what_is_kept_is_bounded(rows: ParquetRows, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parquet_rows, "CACHE_BYTES", 100)
    for start in range(0, COUNT, GROUP):
        rows.column("a.parquet", "number", start, start + 1)
    assert len(rows._groups) <= 2
    assert rows._bytes == sum(column.nbytes for column in rows._groups.values())


def test_what_is_no_parquet_is_called_so(rows: ParquetRows, tmp_path: Path):
    with pytest.raises(DataError, match=r"no such column; it has \['number', 'pair'\]"):
        rows.column("a.parquet", "other", 0, 1)
    content = (tmp_path / "a.parquet").read_bytes()
    pointer = b"version https://git-lfs.github.com/spec/v1"
    for broken in (b"", content[:100], pointer, content[:-9] + bytes(9)):
        (tmp_path / "b.parquet").write_bytes(broken)
        reason = "Git LFS pointer" if broken == pointer else "cannot be read as parquet"
        with pytest.raises(DataError, match=rf"b\.parquet.*{reason}"):
            ParquetRows(DatasetFiles(tmp_path)).num_rows("b.parquet")


@pytest.mark.parametrize(
    ("values", "width", "expected"),
    [
        ([1, 2], 1, [[1], [2]]),
        ([True, False], 1, [[1], [0]]),
        ([[1.5, 2], [3, 4]], 2, [[1.5, 2], [3, 4]]),
        ([[[1, 2], [3, 4]], [[5, 6], [7, 8]]], 4, [[1, 2, 3, 4], [5, 6, 7, 8]]),
        (pa.array([[1, 2], [3, 4]], pa.list_(pa.float32(), 2)), 2, [[1, 2], [3, 4]]),
        (pa.array([[1], [3]], pa.large_list(pa.int8())), None, [[1], [3]]),
    ],
)
def test_every_kind_of_list_becomes_numbers(values, width, expected):
    array = values if isinstance(values, pa.Array) else pa.array(values)
    found = to_numbers(pa.chunked_array([array[:1], array[1:]]), width)
    assert found.dtype == np.float64
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("values", "width", "row", "message"),
    [
        ([1.0, None], 1, 1, "nothing where"),
        ([[1.0], [None]], 1, 1, "nothing"),
        ([[1.0, 2.0], None], 2, 1, "nothing"),
        ([[1.0, 2.0], [3.0, None]], 2, 1, "nothing in column 1"),
        ([[1.0, 2.0], [3.0]], 2, 1, "equally long, but have 2 and 1"),
        ([[1.0, 2.0]], 3, 0, "must have 3 numbers, but have 2"),
        ([[[1, 2], [3, 4]], [[1, 2], [3]]], 4, 1, "equally long"),
        ([["a"]], 1, None, "the column holds list<"),
    ],
)
def test_what_is_no_number_is_named_with_its_row(values, width, row, message):
    with pytest.raises(DataError, match=message) as caught:
        to_numbers(pa.chunked_array([pa.array(values)]), width)
    assert caught.value.row == row

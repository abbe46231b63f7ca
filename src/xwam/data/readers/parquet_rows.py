"""Rows of columns out of parquet files: only the row groups and columns that are needed, the last ones kept."""

from collections import OrderedDict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xwam.data.readers.dataset_files import LFS_POINTER, DatasetFiles
from xwam.errors import DataError

CACHE_BYTES = 2**28  # of columns that are kept
MAX_FILES = 32  # parquet files whose footers are kept


class ParquetRows:
    """Random access to rows of the parquet files of one data set. Can be pickled; what it keeps stays behind.

    Args:
        files (`DatasetFiles`): The data set.
    """

    def __init__(self, files: DatasetFiles) -> None:
        self._files = files
        self.close()

    def num_rows(self, path: str) -> int:
        """Rows of a file.

        Args:
            path (`str`): Its name.

        Raises:
            DataError: If it cannot be read.
        """
        return self._file(path).metadata.num_rows

    def column(self, path: str, name: str, start: int, stop: int) -> pa.ChunkedArray:
        """Rows `start` to `stop` of one column.

        Args:
            path (`str`): Name of the file.
            name (`str`): Name of the column.
            start (`int`): First row.
            stop (`int`): One after the last row.

        Raises:
            DataError: If there is no such column, or it cannot be read.
        """
        file = self._file(path)
        if name not in file.schema_arrow.names:
            raise DataError(
                f"The file has no such column; it has {file.schema_arrow.names}.",
                dataset=self._files.name,
                feature=name,
                path=path,
            )
        pieces, begin = [], 0
        for group in range(file.metadata.num_row_groups):
            end = begin + file.metadata.row_group(group).num_rows
            if begin < stop and end > start:
                whole = self._group(path, group, name)
                pieces.append(whole.slice(max(start - begin, 0), min(stop, end) - max(start, begin)))
            begin = end
        chunks = [chunk for piece in pieces for chunk in piece.chunks]
        return pa.chunked_array(chunks, type=file.schema_arrow.field(name).type)

    def close(self) -> None:
        """Give back open files and all that is kept."""
        self._open: OrderedDict[str, pq.ParquetFile] = OrderedDict()
        self._groups: OrderedDict[tuple[str, int, str], pa.ChunkedArray] = OrderedDict()
        self._bytes = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"_files": self._files}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._files = state["_files"]
        self.close()

    def _file(self, path: str) -> pq.ParquetFile:
        if path not in self._open:
            try:
                self._open[path] = pq.ParquetFile(self._files.open(path))
            except (pa.ArrowException, OSError) as error:
                raise unreadable(self._files, path, error) from error
        self._open.move_to_end(path)
        while len(self._open) > MAX_FILES:
            self._open.popitem(last=False)[1].close(force=True)
        return self._open[path]

    def _group(self, path: str, group: int, name: str) -> pa.ChunkedArray:
        key = (path, group, name)
        if key not in self._groups:
            try:
                column = self._file(path).read_row_group(group, columns=[name])[name]
            except (pa.ArrowException, OSError) as error:
                raise unreadable(self._files, path, error) from error
            self._groups[key] = column
            self._bytes += column.nbytes
        self._groups.move_to_end(key)
        while self._bytes > CACHE_BYTES and len(self._groups) > 1:
            self._bytes -= self._groups.popitem(last=False)[1].nbytes
        return self._groups[key]


def unreadable(files: DatasetFiles, path: str, error: Exception) -> DataError:
    """The error for a file that is no table, in words.

    Args:
        files (`DatasetFiles`): The data set.
        path (`str`): Name of the file.
        error (`Exception`): What was raised when it was read.
    """
    with files.open(path) as file:
        is_pointer = file.read(len(LFS_POINTER)) == LFS_POINTER
    problem = f"The file cannot be read as parquet: {error}"
    if is_pointer:
        problem = "This is a Git LFS pointer, not the table itself; get it with `git lfs pull`."
    return DataError(problem, dataset=files.name, path=path)


def to_numbers(column: pa.ChunkedArray, width: int | None) -> np.ndarray:
    """Numbers `(rows, width)` in float64 of a column of numbers or of lists of numbers.

    Args:
        column (`pa.ChunkedArray`): The column.
        width (`int` or `None`): Numbers that each row must have; with `None` as many as the first row has.

    Raises:
        DataError: If it holds something else; `row` is the first such row.
    """
    values, rows = column.combine_chunks(), len(column)
    if isinstance(values, pa.ChunkedArray):  # an empty column, or one of many types
        values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], type=column.type)
    per_row = 1
    while _is_list(values.type):
        _refuse_nulls(values, per_row)
        counts = np.diff(values.offsets) if not pa.types.is_fixed_size_list(values.type) else None
        if counts is not None and len(counts):
            if (counts != counts[0]).any():
                row = int((counts != counts[0]).argmax()) // per_row
                raise DataError(
                    f"Rows must be equally long, but have {counts[0]} and {counts[row * per_row]} numbers.", row=row
                )
            per_row *= int(counts[0])
        else:
            per_row *= values.type.list_size if counts is None else 1
        values = values.flatten()
    _refuse_nulls(values, per_row)
    if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type) or pa.types.is_boolean(values.type)):
        raise DataError(f"Numbers are needed, but the column holds {column.type}.")
    if width is not None and per_row != width and rows:
        raise DataError(f"Rows must have {width} numbers, but have {per_row}.", row=0)
    return values.to_numpy(zero_copy_only=False).astype(np.float64).reshape(rows, -1 if rows else width or 0)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _refuse_nulls(values: pa.Array, per_row: int) -> None:
    if values.null_count:
        place = int(np.asarray(values.is_null().to_numpy(zero_copy_only=False)).argmax())
        inside = f" in column {place % per_row}" if per_row > 1 else ""
        raise DataError(f"There is nothing{inside} where a number must be.", row=place // max(per_row, 1))

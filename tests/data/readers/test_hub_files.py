"""Files on the hub: as many open ones as there are, few blocks kept, and a hub that is away is no damage of the data."""

import io
import pickle
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from loopback_hub import LoopbackHub

from xwam.data.readers import hub_files, parquet_rows
from xwam.data.readers.dataset_files import DatasetFiles
from xwam.data.readers.hub_files import HubFiles
from xwam.data.readers.parquet_rows import ParquetRows, to_numbers
from xwam.data.video.reader import Video
from xwam.errors import DataError, HubError

CONTENT = bytes(range(256)) * 4096  # two blocks


@pytest.fixture
def files(loopback_hub: LoopbackHub) -> HubFiles:
    loopback_hub.commit("tester/many", {f"{number}.bin": CONTENT for number in range(4)}, kind="datasets")
    return HubFiles("tester/many")


def test_a_file_outlives_its_blocks(files: HubFiles, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub_files, "MAX_OPEN", 2)
    opened = [files.open(f"{number}.bin") for number in range(4)]
    assert list(files._open) == ["2.bin", "3.bin"]
    for number, file in enumerate(opened):
        file.seek(100 + number)
        assert file.read(2) == bytes([100 + number, 101 + number])
        assert len(files._open) == 2
    files.close()
    assert not files._open
    assert opened[0].read(1) == bytes([102])


def test_two_users_of_a_file_have_a_place_each(files: HubFiles):
    one, other = files.open("0.bin"), files.open("0.bin")
    one.seek(-3, io.SEEK_END)
    assert other.read(2) == CONTENT[:2]
    assert one.read() == CONTENT[-3:]
    one.close()
    assert other.read(1) == CONTENT[2:3]
    assert files.open("0.bin").read() == CONTENT


def test_all_files_are_listed_after_a_question_for_one_that_is_not_there(files: HubFiles):
    assert not files.exists("folder/absent")
    assert not files.exists("absent")
    assert files.names("") == [f"{number}.bin" for number in range(4)]


def test_the_commit_is_kept_and_blocks_are_not_pickled(files: HubFiles, loopback_hub: LoopbackHub):
    files.open("0.bin")
    again = pickle.loads(pickle.dumps(files))  # noqa: S301
    assert not again._open
    loopback_hub.commit("tester/many", {"0.bin": b"new"}, kind="datasets")
    assert again.open("0.bin").read(3) == CONTENT[:3]
    assert HubFiles("tester/many").open("0.bin").read(3) == b"new"


def test_more_tables_than_files_are_kept_open(loopback_hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub_files, "MAX_OPEN", 2)
    monkeypatch.setattr(parquet_rows, "MAX_FILES", 3)
    monkeypatch.setattr(parquet_rows, "CACHE_BYTES", 1)
    for number in range(5):
        table = io.BytesIO()
        pq.write_table(pa.table({"a": np.arange(10.0) + number}), table)
        loopback_hub.commit("tester/tables", {f"{number}.parquet": table.getvalue()}, kind="datasets")
    rows = ParquetRows(DatasetFiles("tester/tables"))
    for number in [0, 1, 2, 3, 4, 2, 0, 1, 4, 3, 3, 0]:
        found = to_numbers(rows.column(f"{number}.parquet", "a", 2, 4), 1)
        assert found[:, 0].tolist() == [number + 2, number + 3]


@pytest.mark.parametrize("status", [401, 403, 429, 503])
def test_a_hub_that_refuses_is_no_damage_of_the_data(
    files: HubFiles, loopback_hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch, status: int
):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # huggingface_hub waits between its attempts
    loopback_hub.commit("tester/many", {"1.bin": f"nothing of this is known, {status}".encode()}, kind="datasets")
    file, data = files.open("0.bin"), DatasetFiles("tester/many")
    loopback_hub.fail(10**6, status=status)
    for attempt in (
        lambda: file.read(1),
        lambda: data.names(""),
        lambda: data.open("1.bin").read(1),
        lambda: DatasetFiles("tester/many"),
    ):
        with pytest.raises(
            HubError, match=r"hub did not give what was asked of the dataset 'tester/many' .*may be sound"
        ):
            attempt()
    loopback_hub.faults.clear()
    assert file.read(1) == CONTENT[:1]


def test_decoders_hand_on_that_the_hub_is_away(loopback_hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    loopback_hub.commit("tester/away", {"a.parquet": CONTENT, "a.mp4": CONTENT}, kind="datasets")
    files = DatasetFiles("tester/away")
    with pytest.raises(DataError, match="cannot be read as parquet"):  # while the hub is there
        ParquetRows(files).num_rows("a.parquet")
    files.close()
    for read in (lambda: ParquetRows(files).num_rows("a.parquet"), lambda: Video(files.video("a.mp4"))):
        files.exists("a.mp4")  # so that only the content is still to be asked for
        loopback_hub.fail(10**6, status=503, name="a.parquet")
        loopback_hub.fail(10**6, status=503, name="a.mp4")
        with pytest.raises(HubError):
            read()
        loopback_hub.faults.clear()


def test_an_error_of_the_hub_survives_the_way_from_a_worker(files: HubFiles):
    error = pickle.loads(pickle.dumps(HubError("away")))  # noqa: S301
    assert isinstance(error, HubError)
    assert not isinstance(error, DataError)
    assert str(error) == "away"

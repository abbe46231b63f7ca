"""Files of a folder and files on the hub answer alike, and no name leads out of either."""

import pickle
from pathlib import Path

import pytest
from loopback_hub import LoopbackHub

from xwam.data.readers.dataset_files import DatasetFiles, fill_pattern
from xwam.errors import DataError, UnsafeFileError

CONTENTS = {
    "meta/info.json": b'{"fps": 20}',
    "meta/lines.jsonl": b'{"a": 1}\n\n{"a": 2}\n',
    "meta/list.json": b"[1]",
    "meta/nan.json": b'{"a": NaN}',
    "meta/latin.json": b"\xe4",
    "pointer.json": b"version https://git-lfs.github.com/spec/v1\n",
    "data/block.bin": bytes(range(256)) * 8,
}


@pytest.fixture(params=["folder", "hub"])
def files(request: pytest.FixtureRequest, tmp_path: Path, loopback_hub: LoopbackHub) -> DatasetFiles:
    if request.param == "hub":
        loopback_hub.commit("tester/files", CONTENTS, kind="datasets")
        return DatasetFiles("tester/files")
    for name, content in CONTENTS.items():
        (tmp_path / "files" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "files" / name).write_bytes(content)
    return DatasetFiles(tmp_path / "files")


def test_files_are_found_and_read(files: DatasetFiles):
    assert files.exists("meta/info.json")
    assert not files.exists("meta/absent.json")
    assert files.names("meta") == sorted(name for name in CONTENTS if name.startswith("meta/"))
    assert files.names("") == sorted(CONTENTS)
    assert files.names("absent") == []
    assert files.read_json("meta/info.json") == {"fps": 20}
    assert files.read_json_lines("meta/lines.jsonl") == [{"a": 1}, {"a": 2}]
    file = pickle.loads(pickle.dumps(files)).open("data/block.bin")  # noqa: S301
    file.seek(300)
    assert file.read(4) == bytes([44, 45, 46, 47])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("meta/absent.json", "No such file"),
        ("meta/list.json", "must hold JSON objects, but holds a list"),
        ("meta/nan.json", "NaN is not a number"),
        ("meta/latin.json", "not UTF-8"),
        ("pointer.json", "Git LFS pointer"),
    ],
)
def test_what_is_no_json_is_named(files: DatasetFiles, name: str, message: str):
    with pytest.raises(DataError, match=message) as caught:
        files.read_json(name)
    assert caught.value.path == name


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "meta/../../x"])
def test_names_that_lead_out_are_refused(files: DatasetFiles, name: str):
    with pytest.raises(UnsafeFileError, match="leads out of"):
        files.open(name)


def test_patterns_of_file_names_are_filled():
    pattern = "videos/{video_key}/chunk-{chunk_index:03d}/{file_index}.mp4"
    assert fill_pattern(pattern, video_key="rgb", chunk_index=7, file_index=12) == "videos/rgb/chunk-007/12.mp4"


@pytest.mark.parametrize(
    "pattern",
    [
        None,
        5,
        "{",
        "{absent}",
        "{0}",
        "{index.real}",
        "{index[0]}",
        "{index!r}",
        "{index:>9999999999}",
        "{index:{index}}",
    ],
)
def test_patterns_that_do_more_than_name_a_file_are_refused(pattern: object):
    """A width alone could fill the memory."""
    with pytest.raises(ValueError, match=r"must be text|none of \['index'\]|expected '}'|Single"):
        fill_pattern(pattern, index=1)


def test_a_snapshot_of_the_hubs_cache_is_a_folder(tmp_path: Path):
    """Its files are links into a folder of blobs beside it."""
    blob = tmp_path / "datasets--user--name/blobs/abc"
    folder = tmp_path / "datasets--user--name/snapshots/123"
    (folder / "meta").mkdir(parents=True)
    blob.parent.mkdir()
    blob.write_bytes(b'{"fps": 5}')
    (folder / "meta/info.json").symlink_to("../../../blobs/abc")
    assert DatasetFiles(folder).read_json("meta/info.json") == {"fps": 5}

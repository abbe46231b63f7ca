"""The benchmark of the readers, on one short episode and without the reference."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import loading
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "data"))

from synthetic_episodes import ROBOT, SIZE, command, description, observation

from xwam.data.writers.dataset_writer import DatasetWriter
from xwam.data.writers.lerobot_writer import LeRobotWriter
from xwam.data.writers.recording_format import RecordingFormat
from xwam.data.writers.release_writer import ReleaseWriter

ROWS = 40
WRITERS = {"release": ReleaseWriter, "lerobot": LeRobotWriter}


def record(writer: DatasetWriter) -> Path:
    with writer, writer.episode("a", description(0), RecordingFormat.of(ROBOT, observation(0))) as episode:
        for frame in range(ROWS):
            episode.add(observation(frame), command(frame))
        episode.publish(is_success=True, num_steps=ROWS - 1)
        writer.finish()
    return writer.folder


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("loading")
    options = [f"--{name}={record(kind(folder / name))}" for name, kind in WRITERS.items()]
    options += ["--rounds=2", "--memory-windows=20", f"--output={folder / 'results'}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "SIZE", SIZE)
        return loading.main(options), folder / "results"


def test_both_layouts_are_measured_and_written(result: tuple[dict[str, Any], Path]):
    values, folder = result
    (data,), (table,) = folder.glob("*.json"), folder.glob("*.md")
    assert json.loads(data.read_text()) == {**values, "size": list(SIZE)}
    text = table.read_text()
    for part in (values["command"], values["machine"]["processor"], loading.RELEASE, loading.LEROBOT):
        assert part in text
    for sides in values["times"].values():
        assert {own["runs"] for own in sides.values()} == {2}
        assert all(own["windows_per_cpu_second"] > 0 for own in sides.values())


def test_memory_and_files_stay(result: tuple[dict[str, Any], Path]):
    values, _ = result
    own = values["memory"]
    assert (own["windows"], own["more_files"]) == (20, 0)
    assert own["growth_mb"] < own["limit_mb"]


def test_all_cores_are_given_back(result: tuple[dict[str, Any], Path]):
    assert len(os.sched_getaffinity(0)) == os.cpu_count() or os.cpu_count() == 1

"""The benchmark of damaged videos, on a few copies of one small video."""

import json
from pathlib import Path
from typing import Any

import damage
import numpy as np
import pytest

from xwam.data.video.writer import VideoWriter

COPIES = 4


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("damage")
    rng = np.random.default_rng(0)
    with VideoWriter(folder / "one.mp4", (64, 96), 20) as writer:
        for _ in range(20):
            writer.add(rng.integers(0, 60, (64, 96, 3), dtype=np.uint8))
    return damage.main(
        [str(folder / "one.mp4"), f"--copies={COPIES}", f"--output={folder / 'results'}"]
    ), folder / "results"


def test_every_codec_is_damaged_and_written(result: tuple[dict[str, Any], Path]):
    values, folder = result
    (data,), (table,) = folder.glob("*.json"), folder.glob("*.md")
    assert json.loads(data.read_text()) == values
    assert len(values["found"]) == (len(damage.CODECS) + 1) * len(damage.FLIPS)
    assert all(own["video"] in table.read_text() for own in values["found"])
    assert all(own["frames wrong"] > 0 for own in values["found"] if own["flips"] == 20)
    assert not any(own["false alarms"] for own in values["found"])


def test_of_our_own_recordings_all_files_are_found(result: tuple[dict[str, Any], Path]):
    values, _ = result
    ours = [own for own in values["found"] if "(ours)" in own["video"] and own["flips"] == 20]
    assert [own["files found"] for own in ours] == [COPIES, COPIES]
    assert [own["files wrong, not found"] for own in ours] == [0, 0]

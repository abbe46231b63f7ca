"""The benchmark of labelling, on one short episode."""

import sys
from pathlib import Path

import pseudo_depth
import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "data"))

from synthetic_episodes import write_episode

from xwam.data.readers.open import open_dataset
from xwam.data.writers.lerobot_writer import LeRobotWriter


def test_lower_crf_is_better_and_one_fit_per_episode_does_not_flicker(tmp_path: Path):
    with LeRobotWriter(tmp_path / "data") as writer:
        write_episode(writer, 0)
        writer.finish()
    with open_dataset(tmp_path / "data") as reader:
        best, large = pseudo_depth.encoded_again(reader, 4, tmp_path / "video.mp4")
        worst, small = pseudo_depth.encoded_again(reader, 30, tmp_path / "video.mp4")
        assert best > worst + 5
        assert large > small
        whole, single = pseudo_depth.flicker(reader, 0, reader.cameras[0])
        # the wall of these episodes moves by 1 mm a frame, which a range per frame would hide
        assert whole == pytest.approx(0.00082 / 0.8, rel=0.6)
        assert single != pytest.approx(whole, rel=0.05)

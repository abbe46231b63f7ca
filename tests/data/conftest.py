"""Data sets that several test files read. The folder of this file is on the path of all tests below it."""

from pathlib import Path

import pytest
from synthetic_episodes import write_episode

from xwam.data.writers.lerobot_writer import LeRobotWriter

OWN_SEEDS = range(5)


@pytest.fixture(scope="session")
def own_recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LeRobot data set of this library: the synthetic episodes 0 to 4, the last two appended later. Do not write to it."""
    folder = tmp_path_factory.mktemp("recordings") / "own"
    for seeds in (OWN_SEEDS[:3], OWN_SEEDS[3:]):
        with LeRobotWriter(folder) as writer:
            for seed in seeds:
                write_episode(writer, seed)
            writer.finish()
    return folder

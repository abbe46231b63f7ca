"""Errors say where, and travel between processes."""

from multiprocessing.reduction import ForkingPickler

import pytest

from xwam.errors import DamagedVideoError, DataError


def test_a_data_error_names_every_place_it_knows():
    error = DataError("is NaN.", dataset="user/set", episode="007", feature="action", row=3, path="data/a.parquet")
    assert str(error) == "data set user/set, episode 007, feature action, row 3, file data/a.parquet: is NaN."
    assert str(DataError("There is nothing.")) == "There is nothing."


@pytest.mark.parametrize("kind", [DataError, DamagedVideoError])
def test_a_data_error_survives_the_way_out_of_a_worker(kind: type[DataError]):
    error = ForkingPickler.loads(ForkingPickler.dumps(kind("is torn.", episode="1", path="v.mp4")))
    assert type(error) is kind
    assert str(error) == "episode 1, file v.mp4: is torn."
    assert error.path == "v.mp4"

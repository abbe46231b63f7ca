"""Data sets that cannot be trained on together are refused by name before anything is read."""

from dataclasses import replace

import pytest
from window_reader import PROCESSOR, ROBOT, WindowReader

from xwam.data.streams.clip_dataset import ClipDataset
from xwam.data.streams.mixture import Mixture, MixturePart
from xwam.errors import DataError
from xwam.robots.processor import RobotProcessor


def test_every_window_is_as_likely_as_any_other():
    mixture = Mixture.of([WindowReader((40, 10, 50)), WindowReader((17,))], PROCESSOR)
    assert mixture.parts[0].counts == [24, 0, 34]
    assert mixture.shares == [58.0, 1.0]
    assert mixture.num_windows == 59


def test_shares_can_be_given():
    parts = [MixturePart(WindowReader(name=name), PROCESSOR, share) for name, share in (("a", 0.2), ("b", 0.8))]
    assert Mixture(parts).shares == [0.2, 0.8]
    with pytest.raises(ValueError, match=r"all data sets of a mixture have a share or none, .*'a': 0.2, 'b': None"):
        Mixture([parts[0], replace(parts[1], share=None)])


def test_a_data_set_without_a_window_says_how_long_it_is():
    with pytest.raises(
        DataError, match=r"data set noise: No episode holds a window: one needs 17 rows, but the 3 .* 5 to 16"
    ):
        Mixture.of(WindowReader((5, 16, 9)), PROCESSOR)
    with pytest.raises(DataError, match="There are no episodes"):
        Mixture.of(WindowReader(()), PROCESSOR)
    with pytest.raises(ValueError, match="at least one data set, but has none"):
        Mixture([])


def test_rows_come_as_fast_as_the_robot_takes_commands():
    reader = WindowReader()
    reader.rate = 10.0
    with pytest.raises(DataError, match=r"noise: Its rows come 10 times a second.* 0.1 s apart.* one every 0.05 s"):
        Mixture.of(reader, PROCESSOR)
    Mixture.of(reader, PROCESSOR, any_rate=True)
    reader.rate = 20.1
    Mixture.of(reader, PROCESSOR)
    poses = replace(ROBOT, command_kind="absolute_end_effector", raw_scale=None)
    reader = WindowReader(robot=poses)
    reader.rate = 40.0
    assert Mixture.of(reader, RobotProcessor(poses), rows_per_command=2).parts[0].counts == [8, 0, 18]


@pytest.mark.parametrize(
    ("kind", "rate", "hint"),
    [
        ("delta", 10.0, "Commands of this kind cannot be left out: record at the robot's rate"),
        ("absolute_end_effector", 40.0, "`rows_per_command` = 2 would fit"),
        ("absolute_end_effector", 50.0, "No `rows_per_command` fits"),
        ("absolute_end_effector", 10.0, "No `rows_per_command` fits"),
    ],
)
def test_what_would_fit_is_said_of_every_use(kind, rate, hint):
    robot = ROBOT if kind == "delta" else replace(ROBOT, command_kind=kind, raw_scale=None)
    reader = WindowReader(robot=robot)
    reader.rate = rate
    for use in (lambda: Mixture.of(reader, RobotProcessor(robot)), lambda: ClipDataset(reader)):
        with pytest.raises(DataError, match=hint):
            use()
    assert len(ClipDataset(reader, any_rate=True))


def test_the_processor_is_of_the_robot_that_recorded():
    with pytest.raises(DataError, match="robot with name other, but the data set's is mujoco_panda"):
        Mixture.of(WindowReader(), RobotProcessor(replace(ROBOT, name="other")))


def test_robots_must_fit_into_one_batch():
    wide = replace(ROBOT, image_size=(32, 64))
    parts = [
        MixturePart(WindowReader(), PROCESSOR),
        MixturePart(WindowReader(robot=wide, name="wide"), RobotProcessor(wide)),
    ]
    with pytest.raises(ValueError, match=r"one `image_size`, but they have 'noise': \(32, 48\), 'wide': \(32, 64\)\."):
        Mixture(parts)
    parts[1].reader.name = "noise"  # two folders may have one name
    with pytest.raises(ValueError, match=r"'noise': \(32, 48\), 'noise': \(32, 64\)"):
        Mixture(parts)


def test_a_robot_without_statistics_is_refused():
    with pytest.raises(ValueError, match="Cannot train on 'noise' of robot 'mujoco_panda': unknown is quantiles"):
        Mixture.of(WindowReader(), RobotProcessor(replace(ROBOT, quantiles=None)))

"""A stream is a function of its seed: not of workers, ranks, where it began, or what it read before."""

import random
from collections import Counter
from dataclasses import replace
from itertools import islice
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from stream_samples import LENGTHS, SETTINGS, digest, digests
from synthetic_episodes import ROBOT as RECORDED
from synthetic_episodes import contents, write_episode
from window_reader import PROCESSOR, ROBOT, WindowReader

from xwam.data.readers.lerobot import LeRobotReader
from xwam.data.streams.mixture import Mixture, MixturePart
from xwam.data.streams.stream import MAX_ATTEMPTS, Samples, make_stream
from xwam.data.streams.windows import WindowShape, read_clip
from xwam.data.writers.lerobot_writer import LeRobotWriter
from xwam.errors import DamagedVideoError, DataError
from xwam.robots.processor import RobotProcessor


def test_the_stream_is_the_same_again_and_no_two_batches_are():
    alone = digests(20)
    assert len(set(alone)) == 20
    assert digests(20) == alone


def test_other_seeds_give_other_streams():
    assert set(digests(10)).isdisjoint(digests(10, seed=4))
    assert set(digests(10)).isdisjoint(digests(10, augmentation=None))


@pytest.mark.parametrize("start", [1, 13, 100])
def test_going_on_is_beginning_there(start: int):
    assert digests(6, start_batch=start) == digests(start + 6)[start:]


def test_other_ranks_can_go_on_from_the_same_sample():
    """24 samples seen by two ranks, then by one, as if it had been one all along; and the other way round."""
    alone = digests(24)
    pairs = [digests(6, rank=rank, world_size=2) for rank in (0, 1)]
    assert sorted(pairs[0] + pairs[1] + digests(12, start_batch=12)) == sorted(alone)
    pairs = [digests(6, rank=rank, world_size=2, start_batch=6) for rank in (0, 1)]
    assert sorted(pairs[0] + pairs[1] + digests(12)) == sorted(alone)


def test_the_state_of_the_data_set_can_be_saved_and_loaded():
    dataset = make_stream(WindowReader(LENGTHS), PROCESSOR, **SETTINGS).dataset
    iterator, saved = iter(dataset), None
    whole = []
    for number in range(8):
        whole.append(digest(next(iterator)["batch"]))
        if number == 2:
            saved = dataset.state_dict()
    again = make_stream(WindowReader(LENGTHS), PROCESSOR, **SETTINGS).dataset
    again.load_state_dict(saved)
    assert [digest(example["batch"]) for example in islice(again, 5)] == whole[3:]


def test_an_epoch_holds_every_window_once():
    reader = WindowReader(LENGTHS)
    samples = Samples(Mixture.of(reader, PROCESSOR), seed=0)
    first, second = ([samples.place(index) for index in range(start, start + 72)] for start in (0, 72))
    assert len(set(first)) == 72
    assert set(first) == set(second)
    assert first != second
    stream = make_stream(reader, PROCESSOR, seed=0, batch_size=8, num_batches=9)
    sources = [source for batch in stream for source in batch.sources]
    assert sources == [f"noise/{episode:03d}@{row}" for _, episode, row in first]


def test_a_stream_ends_where_it_is_told_to():
    for start, expected in ((0, 5), (3, 2), (5, 0), (9, 0)):
        stream = make_stream(WindowReader(), PROCESSOR, seed=0, batch_size=1, num_batches=5, start_batch=start)
        assert [batch.indices.tolist() for batch in stream] == [[n] for n in range(start, start + expected)]


def test_samples_know_their_numbers_and_words_are_drawn():
    batches = list(islice(make_stream(WindowReader(), PROCESSOR, **SETTINGS), 20))
    assert torch.cat([batch.indices for batch in batches]).tolist() == list(range(40))
    words = Counter(word for batch in batches for word in batch.instructions)
    assert set(words) == {"lift it", "pick it up"}
    assert min(words.values()) > 8


def test_the_generators_of_the_program_are_left_alone():
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    digests(2)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert (np.random.get_state()[1] == states[2]).all()


def test_without_augmentation_windows_are_what_the_model_sees_at_inference():
    reader = WindowReader()
    batch = next(iter(make_stream(reader, PROCESSOR, seed=0, batch_size=1)))
    samples = Samples(Mixture.of(reader, PROCESSOR), seed=0)
    _, episode, row = samples.place(0)
    expected = PROCESSOR.encode_clip(read_clip(reader, episode, row, WindowShape.of(ROBOT)))
    assert torch.equal(batch.frames[0], expected.frames)


# ---- several data sets


def test_data_sets_are_mixed_by_their_shares():
    half = replace(ROBOT, name="other")
    parts = [
        MixturePart(WindowReader((200,), name="many"), PROCESSOR, 0.25),
        MixturePart(WindowReader((20,), robot=half, name="few"), RobotProcessor(half), 0.75),
    ]
    samples = Samples(Mixture(parts), seed=1)
    places = [samples.place(index) for index in range(4096)]
    assert Counter(part for part, _, _ in places) == {0: 1024, 1: 3072}
    rows = Counter(row for part, _, row in places if part == 1)
    assert set(rows.values()) == {768}  # 3072 samples of 4 windows
    stream = make_stream(Mixture(parts), seed=1, batch_size=8)
    assert {source.split("/")[0] for batch in islice(stream, 3) for source in batch.sources} == {"many", "few"}


def test_a_mixture_brings_its_processors():
    mixture = Mixture.of(WindowReader(), PROCESSOR)
    with pytest.raises(ValueError, match="but `processor` was given too"):
        make_stream(mixture, PROCESSOR, seed=0, batch_size=1)
    with pytest.raises(ValueError, match="`processor` must be given"):
        make_stream(WindowReader(), seed=0, batch_size=1)


# ---- faults


def test_damaged_windows_are_replaced_and_named():
    reader = WindowReader((40, 17, 50), damaged={0})
    batches = list(islice(make_stream(reader, PROCESSOR, seed=0, batch_size=4), 15))
    sources = [source for batch in batches for source in batch.sources]
    assert len(sources) == 60
    assert not any("/000@" in source for source in sources)
    skipped = [line for batch in batches for line in batch.skipped]
    assert len(skipped) >= 24  # every window of the damaged episode
    pattern = "sample {}: data set noise, episode 000, feature robot0_agentview_left: Frame 3 is damaged."
    assert set(skipped) <= {pattern.format(index) for index in range(60)}
    whole = WindowReader((40, 17, 50))
    kept = [
        source for batch in islice(make_stream(whole, PROCESSOR, seed=0, batch_size=4), 15) for source in batch.sources
    ]
    for before, after in zip(kept, sources, strict=True):
        assert before == after or "/000@" in before  # nobody else's window changes


def test_damaged_windows_can_be_refused():
    reader = WindowReader(damaged={0, 2})
    with pytest.raises(DamagedVideoError, match="Frame 3 is damaged"):
        next(iter(make_stream(reader, PROCESSOR, seed=0, batch_size=1, on_error="raise")))
    with pytest.raises(ValueError, match=r"`on_error` must be one of .* but is 'ignore'"):
        make_stream(reader, PROCESSOR, seed=0, batch_size=1, on_error="ignore")


def test_a_data_set_of_which_nothing_can_be_read_is_an_error():
    stream = make_stream(WindowReader(damaged={0, 2}), PROCESSOR, seed=0, batch_size=2)
    with pytest.raises(DataError, match=rf"{MAX_ATTEMPTS} windows in a row could not be read; .*Frame 3 is damaged"):
        next(iter(stream))


# ---- a recording on the disk


def test_a_recording_streams_alike_after_its_reader_has_travelled_and_is_not_written_to(tmp_path):
    with LeRobotWriter(tmp_path / "set") as writer:
        for number in (2, 3):  # of 5 and 6 rows
            write_episode(writer, number)
        writer.finish()
    before = contents(tmp_path)
    robot = replace(RECORDED, num_frames=5, actions_per_frame=1, image_size=(32, 48))
    reader, processor = LeRobotReader(tmp_path / "set", robot), RobotProcessor(robot)
    next(iter(make_stream(reader, processor, **SETTINGS)))  # files are open
    travelled = ForkingPickler.loads(ForkingPickler.dumps(reader))  # as to a worker
    alone, again = (
        [digest(batch) for batch in islice(make_stream(each, processor, **SETTINGS), 4)]
        for each in (reader, travelled)
    )
    assert alone == again
    assert len(set(alone)) == 4
    assert contents(tmp_path) == before

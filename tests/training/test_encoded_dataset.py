"""An encoded data set gives what encoding in the loop gives, in the order of the stream, and only to what it was made for."""

import json
from dataclasses import replace

import pytest
import torch
from moving_squares import ROBOT, MovingSquares, mixture_of, squares_pipeline

from xwam.data.streams.augmentation import Augmentation
from xwam.data.streams.stream import Samples, read_batch
from xwam.data.writers import durable_files
from xwam.errors import CheckpointConfigError, CheckpointError, CorruptFileError
from xwam.robots.processor import RobotProcessor
from xwam.training.encoded_dataset import EncodedDataset, EncodedSamples, read_encoded_batch
from xwam.training.encoded_writer import EncodedDatasetWriter
from xwam.training.encoding import TextEncoding, encode_batch

SEED = 4


@pytest.fixture(scope="module")
def pipeline():
    return squares_pipeline()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, pipeline):
    path = tmp_path_factory.mktemp("encoded")
    report = EncodedDatasetWriter(path, mixture_of(MovingSquares()), pipeline, shard_size=4).run(batch_size=3)
    assert (report.num_shards, report.num_entries, report.skipped, report.is_complete) == (2, 6, [], True)
    return path


def tensors_of(batch):
    clean = {f"clean.{name}": part for name, part in vars(batch.clean).items()}
    return {**clean, **{name: part for name, part in vars(batch).items() if name != "clean"}}


def assert_same(found, expected):
    found, expected = tensors_of(found), tensors_of(expected)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def test_a_batch_is_what_encoding_in_the_loop_gives(folder, pipeline):
    """Windows, order, instructions and numbers are those of the stream of the same seed; latents within float32."""
    data = EncodedDataset(folder)
    text = TextEncoding(pipeline.text_encoder, pipeline.tokenizer, pipeline.config.max_sequence_length)
    expected = encode_batch(read_batch(Samples(mixture_of(MovingSquares()), seed=SEED), range(9)), pipeline.vae, text)
    found = read_encoded_batch(EncodedSamples(data, SEED), range(9))
    for name, tensor in tensors_of(expected).items():
        torch.testing.assert_close(tensors_of(found)[name], tensor, rtol=0, atol=2e-5, msg=name)


@pytest.mark.parametrize(("rank", "num_workers"), [(0, 0), (1, 0), (1, 2)])
def test_workers_ranks_and_a_later_start_change_nothing(folder, rank, num_workers):
    data = EncodedDataset(folder)
    samples = EncodedSamples(data, SEED)
    found = list(
        data.batches(
            seed=SEED, batch_size=2, rank=rank, world_size=2, start_batch=1, num_batches=4, num_workers=num_workers
        )
    )
    assert len(found) == 3
    for number, batch in enumerate(found, start=1):
        first = (2 * number + rank) * 2
        assert_same(batch, read_encoded_batch(samples, [first, first + 1]))


def test_every_window_comes_once_in_a_pass_and_its_variants_take_turns(tmp_path, pipeline):
    writer = EncodedDatasetWriter(
        tmp_path, mixture_of(MovingSquares()), pipeline, augmentation=Augmentation(), variants=3, shard_size=50
    )
    writer.run()
    data = EncodedDataset(tmp_path)
    samples, seen = EncodedSamples(data, SEED), []
    assert len(data) == 6
    for number in range(3):
        entries = [samples.place(index) for index in range(6 * number, 6 * (number + 1))]
        assert sorted(entry // 3 for entry in entries) == list(range(6))
        seen += entries
    assert sorted(seen) == list(range(18))
    first, second = data.read(0)["video"], data.read(1)["video"]
    assert not torch.equal(first, second)


def test_crops_and_colours_are_a_function_of_seed_variant_and_window(tmp_path, pipeline):
    found = []
    for name, shard_size in (("a", 2), ("b", 5)):
        options = {"augmentation": Augmentation(), "variants": 2, "shard_size": shard_size, "seed": 8}
        EncodedDatasetWriter(tmp_path / name, mixture_of(MovingSquares()), pipeline, **options).run(batch_size=1)
        found.append(EncodedDataset(tmp_path / name))
    for entry in range(12):
        assert torch.equal(found[0].read(entry)["video"], found[1].read(entry)["video"])


def test_a_killed_encoding_goes_on(tmp_path, pipeline, folder):
    writer = EncodedDatasetWriter(tmp_path, mixture_of(MovingSquares()), pipeline, shard_size=4)

    def die(count):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        writer.run(batch_size=3, on_shard=die)
    with pytest.raises(CheckpointError, match="is not complete"):
        EncodedDataset(tmp_path)
    again = EncodedDatasetWriter(tmp_path, mixture_of(MovingSquares()), pipeline, shard_size=4)
    assert again.missing() == [1]
    assert again.run(batch_size=3).num_shards == 1
    for name in ("shards/00000.safetensors", "shards/00001.safetensors", "encoded.json", "prompts.safetensors"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_two_processes_share_the_work(tmp_path, pipeline, folder):
    for rank in (1, 0):
        writer = EncodedDatasetWriter(tmp_path, mixture_of(MovingSquares()), pipeline, shard_size=4)
        report = writer.run(batch_size=3, rank=rank, world_size=2)
        assert report.num_shards == 1
    assert report.is_complete
    assert (tmp_path / "manifest.json").read_bytes() == (folder / "manifest.json").read_bytes()


def test_a_branch_that_needs_depth_is_told_when_none_was_encoded(tmp_path, pipeline):
    EncodedDatasetWriter(tmp_path, mixture_of(MovingSquares()), pipeline, with_depth=False, shard_size=4).run()
    data = EncodedDataset(tmp_path)
    data.check(pipeline)
    with pytest.raises(
        CheckpointConfigError, match="encoded without depth, but the pipeline's depth branch 'channel' needs it"
    ):
        data.check(squares_pipeline(branch="channel"))


def test_processes_that_begin_a_folder_together_do_not_fail(tmp_path, pipeline, folder, monkeypatch):
    own, begun = durable_files.sync_file, []

    def another_begins(path):
        begun.append(path)
        if len(begun) == 1:
            EncodedDatasetWriter(tmp_path, mixture_of(MovingSquares()), pipeline, shard_size=4)
        own(path)

    monkeypatch.setattr(durable_files, "sync_file", another_begins)
    EncodedDatasetWriter(tmp_path, mixture_of(MovingSquares()), pipeline, shard_size=4).run()
    assert [path.name.split("-")[0] for path in begun[:2]] == [".prompts.safetensors"] * 2
    assert not list(tmp_path.glob(".*"))
    assert torch.equal(EncodedDataset(tmp_path).prompt_embeds, EncodedDataset(folder).prompt_embeds)


def test_a_folder_that_was_begun_otherwise_is_refused(folder, pipeline):
    with pytest.raises(CheckpointConfigError, match="begun with another `stride`: 1, not 2"):
        EncodedDatasetWriter(folder, mixture_of(MovingSquares()), pipeline, shard_size=4, stride=2)
    with pytest.raises(CheckpointConfigError, match="begun with another `identity`: data differ"):
        EncodedDatasetWriter(folder, mixture_of(MovingSquares((34, 37))), pipeline, shard_size=4)


def test_another_vae_is_refused_and_the_same_is_not(folder, pipeline):
    data = EncodedDataset(folder)
    data.check(pipeline)
    data.check(squares_pipeline())
    with pytest.raises(CheckpointConfigError, match="was encoded with another VAE than the pipeline's"):
        data.check(squares_pipeline(seed=1))
    other = squares_pipeline()
    other.vae.register_to_config(latents_mean=[0.5] * 8)
    with pytest.raises(CheckpointConfigError, match="another VAE"):
        data.check(other)
    other = squares_pipeline()
    other.register_modules(vae=None)
    with torch.no_grad():
        other.text_encoder.shared.weight[5, 5] += 1
    with pytest.raises(CheckpointConfigError, match="another text encoder"):
        data.check(other)


def test_the_field_in_which_another_robot_differs_is_named(folder):
    other = squares_pipeline()
    spec = replace(other.robot_processor.spec, crop_ratio=0.5)
    other.register_modules(robot_processor=RobotProcessor(spec))
    with pytest.raises(
        CheckpointConfigError, match=r"encoded with another robot .*: `crop_ratio` is 0\.9.* there, 0\.5 here"
    ):
        EncodedDataset(folder).check(other)


def test_a_window_that_cannot_be_read_is_left_out_and_replaced(tmp_path, pipeline, caplog):
    reader = MovingSquares(damaged=[(0, 33)])  # the second window of the first episode ends there
    reader.damaged = {(0, 33)}
    report = EncodedDatasetWriter(tmp_path, mixture_of(reader), pipeline, shard_size=4).run()
    assert len(report.skipped) == 1
    assert "damaged" in report.skipped[0]
    data = EncodedDataset(tmp_path)
    bad = [entry for entry in range(6) if data.read(entry) is None]
    assert bad == [1]
    samples = EncodedSamples(data, SEED)
    hit = [index for index in range(6) if samples.place(index) in bad]
    batch = read_encoded_batch(samples, range(6))
    assert len(hit) == 1
    replacement = samples.place(hit[0], 1)
    assert torch.equal(batch.clean.video[hit[0]], data.read(replacement)["video"])


def test_half_precision_is_half_as_large_and_close(tmp_path, pipeline, folder):
    EncodedDatasetWriter(tmp_path, mixture_of(MovingSquares()), pipeline, shard_size=4, dtype="bfloat16").run()
    found, exact = EncodedDataset(tmp_path).read(3), EncodedDataset(folder).read(3)
    assert found["video"].dtype == torch.float32
    torch.testing.assert_close(found["video"], exact["video"], rtol=1e-2, atol=1e-3)
    assert torch.equal(found["actions"], exact["actions"])
    sizes = [(path / "shards" / "00000.safetensors").stat().st_size for path in (tmp_path, folder)]
    assert sizes[0] < 0.75 * sizes[1]


def test_a_changed_byte_is_found(tmp_path, pipeline):
    EncodedDatasetWriter(tmp_path, mixture_of(MovingSquares()), pipeline, shard_size=8).run()
    path = tmp_path / "shards" / "00000.safetensors"
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptFileError):
        EncodedDataset(tmp_path).verify()
    path.write_bytes(content[:-1])
    with pytest.raises(CorruptFileError):
        EncodedDataset(tmp_path)


def test_the_robot_is_known_without_the_recordings(folder):
    assert EncodedDataset(folder).robot == ROBOT


def test_another_version_is_refused(tmp_path):
    (tmp_path / "encoded.json").write_text(json.dumps({"version": 99}))
    with pytest.raises(CheckpointConfigError, match="not an encoded data set of version 1"):
        EncodedDataset(tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"variants": 0}, "`variants` must be at least 1"),
        ({"variants": 2}, "without an augmentation all would be the same"),
        ({"dtype": "int8"}, "`dtype` must be one of"),
    ],
)
def test_impossible_settings_are_refused(tmp_path, pipeline, options, words):
    with pytest.raises(ValueError, match=words):
        EncodedDatasetWriter(tmp_path, mixture_of(MovingSquares()), pipeline, **options)

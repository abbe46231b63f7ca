"""The recipe of the embedded model: all stages at their smallest, and a language that is not told what it will be asked."""

import json
import os
import random
import re
import shutil
import signal
import sys
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from xwam import XWAM4DPipeline, XWAMScheduler, load_recorded_observation
from xwam.data.readers.lerobot import LeRobotReader
from xwam.envs.mujoco_scene import COLOURS
from xwam.envs.opengl import RenderingUnavailableError, import_mujoco

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "train" / "embedded_small"
sys.path.insert(0, str(FOLDER))

import ablations  # noqa: E402
import language  # noqa: E402
import recipe  # noqa: E402
import train  # noqa: E402
from ablations import Cell  # noqa: E402


def rendering_problem() -> str | None:
    try:
        import_mujoco("this test")
    except (ImportError, RenderingUnavailableError) as error:
        return str(error)
    return None


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def work(tmp_path_factory, one_thread):
    """Every stage of the smallest size."""
    if problem := rendering_problem():
        pytest.skip(f"the demonstrations are rendered: {problem}")
    folder = tmp_path_factory.mktemp("embedded")
    train.main(["--size", "tiny", "--work", str(folder), "--processes", "1"])
    return folder


@pytest.fixture(scope="module")
def other_seed(work, tmp_path_factory):
    """Every stage once more, on the same demonstrations."""
    return train_again(tmp_path_factory.mktemp("other"), work / "data", seed=1)


def train_again(folder, data, seed):
    words = ["--size", "tiny", "--work", str(folder), "--seed", str(seed), "--data", str(data), "--processes", "1"]
    train.main(words)
    return folder


def weights(folder):
    return XWAM4DPipeline.from_pretrained(folder / "pipeline", dtype=torch.float32).transformer.state_dict()


def test_all_stages_end_in_a_pipeline_that_acts(work):
    pipe = XWAM4DPipeline.from_pretrained(work / "pipeline", dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    output = pipe(
        load_recorded_observation(),
        num_action_steps=2,
        num_inference_steps=3,
        generator=torch.Generator().manual_seed(0),
    )
    assert output.actions[0].commands.shape == (32, 7)
    assert output.future().frames["robot0_eye_in_hand"].shape == (9, 64, 80, 3)
    mean, std = pipe.vae.config.latents_mean, pipe.vae.config.latents_std
    assert np.abs(mean).max() > 1e-3, "the latents were measured"
    assert min(std) > 0
    assert json.loads((work / "clocks" / "transformer.json").read_text())["seconds"] > 0


def test_what_is_exported_says_what_it_was_trained_on(work):
    card = (work / "pipeline" / "README.md").read_text()
    assert "these tasks of its simulated world only: press_button, lift_cube." in card
    assert "16 demonstrations" in card
    assert "4 updates of 2 windows" in card
    assert all(re.search(rf"{stage} \d+ \(1\)", card) for stage in ("language", "codec", "transformer"))
    assert 'license: "apache-2.0"' in card
    assert "Apache License" in (work / "pipeline" / "LICENSE").read_text()


def test_stages_that_are_done_are_left_alone(work):
    before = {path: path.stat().st_mtime_ns for path in work.rglob("*") if path.is_file()}
    train.main(["--size", "tiny", "--work", str(work)])
    assert {path: path.stat().st_mtime_ns for path in work.rglob("*") if path.is_file()} == before


def test_a_recording_that_was_stopped_goes_on(work, tmp_path, monkeypatch):
    size = replace(recipe.SIZES["tiny"], tasks=("press_button",), episodes=1, appearances=(False,))
    run, clock = train.Run("tiny", size, tmp_path, tmp_path / "data", "cpu", 1), train.Clock(tmp_path / "clock.json")

    def note():
        raise KeyboardInterrupt

    monkeypatch.setattr(clock, "note", note)
    with pytest.raises(KeyboardInterrupt):
        train.record_stage(run, clock)
    assert not (run.data / train.RECORDED).exists()
    train.record_stage(run, train.Clock(tmp_path / "clock.json"))
    assert (run.data / train.RECORDED).exists()
    assert json.loads((tmp_path / "clock.json").read_text())["starts"] == 2
    assert len(LeRobotReader(run.data, size.robot, name="recorded").episodes) == len(recipe.EXPERTS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--size", "tiny", "--seed", "3"], "was made with seed 0, but now it is 3"),
        (["--size", "cpu"], "was made with size tiny, but now it is cpu"),
    ],
)
def test_a_folder_holds_one_training(work, capsys, words, message):
    before = (work / "run.json").read_bytes()
    with pytest.raises(SystemExit):
        train.main(["--work", str(work), *words])
    assert re.search(message, capsys.readouterr().err)
    assert (work / "run.json").read_bytes() == before


@pytest.mark.parametrize("name", recipe.SIZES)
def test_every_size_fits_into_the_package(name):
    size = recipe.SIZES[name]
    with torch.device("meta"):
        transformer, vae = recipe.make_transformer(size), recipe.make_vae(size)
    transformer = keep_in_fp32(transformer)
    text_encoder = language.make_text_encoder(len(language.make_tokenizer()), 0)
    stored = sum(
        own.numel() * own.element_size() for part in (transformer, vae, text_encoder) for own in part.parameters()
    )
    assert stored < 39e6, "and a megabyte of everything else"


def keep_in_fp32(transformer):
    """The transformer in the dtypes of the export."""
    names = transformer._keep_in_fp32_modules
    for name, own in transformer.named_parameters():
        if not any(kept in name.split(".") for kept in names):
            own.data = own.data.to(torch.bfloat16)
    return transformer


def test_what_is_stopped_ends_there_and_goes_on_later(work, tmp_path):
    run = train.Run("tiny", recipe.SIZES["tiny"], work, work / "data", "cpu", 1)
    with pytest.raises(SystemExit) as stopped:
        train.train_transformer(
            run,
            run.new_pipeline(),
            tmp_path,
            on_step=lambda step: step.step == 1 and os.kill(os.getpid(), signal.SIGTERM),
        )
    assert stopped.value.code == 128 + signal.SIGTERM
    assert not (tmp_path / "pipeline").exists()
    train.train_transformer(run, run.new_pipeline(), tmp_path)
    first, second = (
        XWAM4DPipeline.from_pretrained(folder / "pipeline", dtype=torch.float32).transformer.state_dict()
        for folder in (tmp_path, work / "transformer")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_same_seed_gives_the_same_weights_and_another_one_others(work, other_seed, tmp_path):
    first, second, third = map(weights, (work, train_again(tmp_path, work / "data", seed=0), other_seed))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], third[name]) for name in first)


@pytest.fixture
def few_cells(monkeypatch):
    """The ablations at their smallest."""
    monkeypatch.setattr(recipe, "XWAMScheduler", partial(XWAMScheduler, num_inference_steps=2, num_action_steps=1))
    sync = Cell("interleaved", "sync", 1)
    cells = [Cell("interleaved", "ans"), Cell("none", "ans"), sync, sync._replace(together=True)]
    monkeypatch.setattr(ablations, "CELLS", cells)
    monkeypatch.setattr(ablations, "STEPS", ((1, 3), (3, 3)))
    monkeypatch.setattr(ablations, "TIMED_CHUNKS", 2)


def test_ablations_train_each_cell_once_and_measure_all(work, other_seed, few_cells):
    words = ["--size", "tiny", "--work", str(work), "--episodes", "1", "--held-out", "1", "--again", str(other_seed)]
    words += ["--steps-of", str(other_seed / "pipeline")]
    ablations.main(words)
    table = work / "ablations" / "ablations.md"
    found = json.loads((work / "ablations" / "ablations.json").read_text())
    lacking = {cell: {name for name, value in own.items() if value is None} for cell, own in found["cells"].items()}
    assert lacking == {
        "interleaved-ans-0": set(),
        "none-ans-0": {"abs_rel", "chamfer"},
        "interleaved-sync-1": set(),
        "interleaved-sync-1-together": set(),
        "interleaved-ans-1-all_stages": set(),
    }
    actions = [own["action_rms"] for own in found["cells"].values()]
    assert len(set(actions)) == 5, "four trainings, one of them sampled in two ways"
    weights = [
        work / "ablations" / name / "pipeline/transformer/diffusion_pytorch_model.safetensors"
        for name in ("interleaved-sync-1", "interleaved-sync-1-together")
    ]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert set(found["chunk_ms"]) == set(found["cells"])
    first, second = found["steps"]["pairs"]
    assert first["action_error"] != second["action_error"], "other numbers of steps"
    assert first["loss_actions"] == second["loss_actions"], "of the same weights"
    assert [own["success"]["num_episodes"] for own in found["steps"]["pairs"]] == [2, 2]
    assert "--again DIR_1 --steps-of MODEL --episodes 1 --held-out 1`" in table.read_text()
    rows = [line for line in table.read_text().splitlines() if line.startswith(("| interleaved ", "| none "))]
    assert ["1, all stages" in row for row in rows] == [False, False, False, False, True]
    assert ["sampled together" in row for row in rows] == [False, False, False, True, False]
    success = found["cells"]["none-ans-0"]["success"]
    assert f"{100 * success['success_rate']:.0f} [" in table.read_text()
    trained = {path: path.stat().st_mtime_ns for path in (work / "ablations").rglob("*.safetensors")}
    own = {path.relative_to(work / "ablations").parts[0] for path in trained}
    steps = f"steps-{found['steps']['model']}"
    assert own == {"none-ans-0", "interleaved-sync-1", "interleaved-sync-1-together", "shared", steps}, (
        "train.py trained the first"
    )
    table.unlink()
    ablations.main(words)
    assert {path: path.stat().st_mtime_ns for path in (work / "ablations").rglob("*.safetensors")} == trained
    assert table.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--work", "NEW"], "holds no finished training; run the stages of train.py first"),
        (["--work", "WORK", "--again", "nowhere"], "--again: nowhere holds nothing that train.py made"),
        (["--work", "WORK", "--again", "WORK"], "another seed than 0 is needed, but .* is of size tiny and seed 0"),
        (["--work", "WORK", "--again", "LARGE"], "of size tiny with another .* is of size gpu and seed 1"),
        (["--work", "WORK", "--again", "BEGUN"], "holds no finished training"),
        (["--work", "WORK", "--steps-of", "nowhere"], "--steps-of: nowhere holds no pipeline"),
    ],
)
def test_what_ablations_need_is_asked_for_before_they_train(work, few_cells, tmp_path, capsys, words, message):
    for name, size in (("LARGE", "gpu"), ("BEGUN", "tiny")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps({"size": size, "seed": 1}))
    places = {"WORK": work, **{name: tmp_path / name for name in ("NEW", "LARGE", "BEGUN")}}
    before = sorted(work.rglob("*"))
    with pytest.raises(SystemExit):
        ablations.main(["--size", "tiny", *(str(places.get(word, word)) for word in words)])
    assert re.search(message, capsys.readouterr().err)
    assert sorted(work.rglob("*")) == before
    assert not (tmp_path / "NEW").exists()


def test_ablations_do_not_put_other_trainings_into_one_table(work, few_cells, monkeypatch, capsys):
    tiny = recipe.SIZES["tiny"]
    monkeypatch.setitem(ablations.SIZES, "tiny", replace(tiny, main=replace(tiny.main, learning_rate=0.5)))
    with pytest.raises(SystemExit):
        ablations.main(["--size", "tiny", "--work", str(work)])
    assert "was trained with learning_rate 0.001, but here it is 0.5" in capsys.readouterr().err


def test_ablations_do_not_go_on_with_a_training_that_was_begun_otherwise(
    work, few_cells, tmp_path, monkeypatch, capsys
):
    copy = shutil.copytree(work, tmp_path / "work", ignore=shutil.ignore_patterns("ablations"))
    begun = copy / "ablations" / "none-ans-0" / "train_config.json"
    begun.parent.mkdir(parents=True)
    config = json.loads((copy / "transformer" / "train_config.json").read_text())
    begun.write_text(json.dumps({**config, "learning_rate": 0.25}))
    with pytest.raises(SystemExit):
        ablations.main(["--size", "tiny", "--work", str(copy)])
    assert "none-ans-0 was trained with learning_rate 0.25, but here it is 0.001" in capsys.readouterr().err
    assert [path.name for path in begun.parent.iterdir()] == ["train_config.json"]


def test_held_out_episodes_are_of_every_kind_and_not_trained_on(work):
    size = recipe.SIZES["tiny"]
    trained, held_out = recipe.open_episodes(work / "data", size)
    keys = [{episode.key for episode in reader.episodes} for reader in (trained, held_out)]
    kinds = len(size.tasks) * len(size.appearances) * len(recipe.EXPERTS)
    assert (len(keys[0]), len(keys[1])) == (kinds * (size.episodes - size.held_out), kinds * size.held_out)
    assert not keys[0] & keys[1]
    assert {key.rsplit("-", 1)[0] for key in keys[0]} == {key.rsplit("-", 1)[0] for key in keys[1]}


def every_sentence():
    for ways in language.GRAMMAR.values():
        for way in ways:
            for parts in product(*way):
                text = " ".join(part for part in parts if part)
                yield from ({text} if "{" not in text else {text.format(a=a, b=b) for a, b in pairs()})


def pairs():
    return [("red", "blue"), ("blue", "red")]


def test_the_grammar_holds_no_phrasing_that_evaluation_asks():
    asked = {text for text, _ in language.held_out_sentences()}
    assert any("red" in text for text in asked)
    assert not asked & set(every_sentence())


def test_sentences_name_the_colours_that_they_are_said_to_name():
    draw = random.Random(0)
    for task in language.GRAMMAR:
        for _ in range(50):
            text, *named = language.sentence(task, draw)
            said = text.replace("red button", "button").replace("red switch", "switch").split()
            assert [colour for colour in COLOURS if colour in said] == sorted(
                (colour for colour in named if colour != language.NO_COLOUR), key=list(COLOURS).index
            )
            assert "{" not in text


def test_the_tokenizer_knows_words_whole_and_loses_no_letter():
    tokenizer = language.make_tokenizer()
    assert tokenizer.tokenize("lift the red cube") == ["▁lift", "▁the", "▁red", "▁cube"]
    for text in ("juggle 3 zebras (quickly)!", "the green block belongs in the bin"):
        assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text


def test_the_text_encoder_learns_what_is_asked():
    torch.manual_seed(3)
    tokenizer = language.make_tokenizer()
    encoder = language.make_text_encoder(len(tokenizer), seed=0)
    losses = [loss for _, loss in language.train_text_encoder(encoder, tokenizer, steps=60, batch_size=16)]
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:5])

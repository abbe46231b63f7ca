"""How the Space starts, and what it says where it cannot; the model in a worker of ZeroGPU."""

import pickle
import socket
from dataclasses import replace
from types import SimpleNamespace

import app
import dreams
import gradio as gr
import handlers
import interface
import numpy as np
import pytest
import scenes
import showing
import zero_gpu

from xwam import XWAM4DPipeline, get_robot, load_recorded_observation


def told(capsys, *arguments):
    with pytest.raises(SystemExit) as left:
        app.main(arguments)
    assert left.value.code == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    return message


def test_a_model_that_is_not_there_is_said_in_one_line(capsys, tmp_path):
    assert f"cannot load {str(tmp_path)!r}" in told(capsys, "--model", str(tmp_path))
    assert "cannot load '/there/is/none'" in told(capsys, "--model", "/there/is/none")


def test_an_installation_without_weights_is_said_in_one_line(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("xwam.checkpoints.sources.EMBEDDED_FOLDER", tmp_path)
    assert "cannot load 'embedded': This installation of xwam lacks the trained weights" in told(capsys)


def test_a_port_in_use_is_said_in_one_line(capsys, monkeypatch):
    with gr.Blocks(analytics_enabled=False) as page:
        pass
    monkeypatch.setattr(app, "make_app", lambda model: page)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"cannot listen on port {port}" in told(capsys, "--port", str(port))


def test_depth_is_coloured_by_what_was_measured_or_else_by_what_is_imagined():
    observation = load_recorded_observation()
    pipe = XWAM4DPipeline.from_pretrained("embedded")
    pipe.set_progress_bar_config(disable=True)
    dream = pipe(observation, num_action_steps=1, num_inference_steps=2).future()
    name = next(iter(dream.depths))
    measured = replace(observation, depths={name: np.full_like(observation.depths[name], 3.0)})
    nothing = replace(observation, depths={name: np.zeros_like(observation.depths[name])})
    expected = np.quantile(dream.depths[name], (0.05, 0.95))
    assert showing.depth_ranges(dream, measured)[name][0] == 3
    for seen in (nothing, replace(observation, depths={})):
        np.testing.assert_allclose(showing.depth_ranges(dream, seen)[name], expected, rtol=1e-3)


def test_commands_have_units():
    titles = [title for title, _, _ in showing.command_parts(get_robot("mujoco_panda"))]
    assert titles[0] == "position (controller units)"
    assert "left position (m)" in [title for title, _, _ in showing.command_parts(get_robot("robotwin"))]


def sent(value):
    """What arrives in another process."""
    return pickle.loads(pickle.dumps(value))  # noqa: S301  its own bytes


def through_pickle(*, duration):
    """Stands for `spaces.GPU`, which sends a generator's arguments to another process, and back what it yields."""
    assert duration > 0

    def decorate(function):
        def asked(*args, **kwargs):
            args, kwargs = sent((args, kwargs))
            for value in function(*args, **kwargs):
                yield sent(value)

        return asked

    return decorate


def test_a_question_reaches_a_worker_of_zero_gpu(monkeypatch):
    monkeypatch.setattr(zero_gpu, "spaces", SimpleNamespace(GPU=through_pickle))
    monkeypatch.setattr(dreams, "dream", zero_gpu.on_gpu(dreams.dream))
    spec = dreams.load(app.MODEL)
    with gr.Blocks():
        page = interface.build(spec, {"recorded": scenes.RECORDED}, (1, 1), 10, is_embedded=True)
    asked = ("scene", scenes.RECORDED, 0, "lift the cube", 1, 1, 0, "{}", None)
    *_, last = handlers.Handlers(spec, page).imagine(*asked)
    assert last[page.visit].future.num_frames == spec.num_frames

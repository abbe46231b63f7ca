"""The Space as programs see it: streams, two users at once, errors in words, files that stay where they are."""

import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import av
import dreams
import gradio as gr
import gradio_client
import interface
import numpy as np
import pytest
import scenes
import showing
import torch
import trimesh
import uploads
import visits
from gradio_client import handle_file
from handlers import Handlers
from PIL import Image

from xwam import XWAM4DPipeline

STEPS = {"action_steps": 3, "video_steps": 4}
INSTRUCTION = "lift the cube"
NO_FILES = [None] * 6
# Where what stands in the answer to /imagine.
STATUS, SHEET, DEPTH_NOTE, FIRST_FILM = 0, 4, 5, 10


@pytest.fixture
def client(space_url):
    patient = {"timeout": 120}  # a question is taken back when the steps of the dream are done
    return gradio_client.Client(space_url, verbose=False, httpx_kwargs=patient)


@pytest.fixture(scope="module")
def scene():
    """What can be looked at here."""
    return scenes.Scene(next(iter(scenes.tasks().values())), 3)


def imagine(client, scene, *, seed=0, instruction=INSTRUCTION, files=NO_FILES, state="{}", source="scene", **steps):
    asked = [source, scene.task, scene.seed, instruction, *{**STEPS, **steps}.values(), seed, state]
    job = client.submit(*asked, *files, api_name="/imagine")
    answers = list(job)
    job.result()  # raises what went wrong
    return answers


def sheet(answer):
    return np.array(answer[SHEET]["data"], dtype=float)[:, 1:]


def filmed(path):
    """RGB `(F, H, W, 3)`."""
    with av.open(path) as film:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]).astype(int)


@pytest.fixture(scope="module")
def alone(scene):
    """Commands that the library itself gives for a seed."""
    pipe = XWAM4DPipeline.from_pretrained("embedded")
    pipe.set_progress_bar_config(disable=True)
    seen = replace(scenes.look(scene), instruction=INSTRUCTION)

    def commands(seed):
        steps = {"num_action_steps": STEPS["action_steps"], "num_inference_steps": STEPS["video_steps"]}
        events = pipe.stream(seen, generator=torch.Generator().manual_seed(seed), **steps)
        return next(events).actions[0].commands

    return commands


@pytest.fixture(scope="module")
def visit(space_url, scene):
    """A visitor and what came of their first question."""
    client = gradio_client.Client(space_url, verbose=False)
    return client, imagine(client, scene)


def test_actions_come_before_the_dream(visit):
    _, answers = visit
    films = [[isinstance(part, str) and part.endswith(".mp4") for part in answer].count(True) for answer in answers]
    tables = [isinstance(answer[SHEET], dict) and "data" in answer[SHEET] for answer in answers]
    assert films[-1] >= 3
    first = tables.index(True)
    assert films[first] == 0, "the actions wait for nothing"
    assert "Actions after" in answers[first][STATUS]
    assert "Dream after" not in answers[first][STATUS]
    assert "Dream after" in answers[-1][STATUS]
    assert "**Depth.** Metric" in answers[-1][DEPTH_NOTE]


def test_the_last_answer_holds_the_actions_too(scene):
    """On a slow machine Gradio draws a plot after the stream's last answer; what that answer lacks would stay empty."""
    do, asked = handlers_here(), ["scene", scene.task, scene.seed, INSTRUCTION, *STEPS.values(), 0, "{}"]
    answers = list(do.imagine(*asked, None, lambda *_, **__: None, *NO_FILES))
    assert len(answers) == 3
    for plot in (*do.page.command_plots, do.page.sheet):
        assert answers[2][plot] is answers[1][plot]
    visits.forget(answers[2][do.page.visit])


def handlers_here():
    """The page's behaviour in this process."""
    spec = dreams.load("embedded")
    with gr.Blocks():
        page = interface.build(spec, scenes.tasks(), dreams.default_steps(), dreams.MAX_STEPS, is_embedded=True)
    return Handlers(spec, page)


def test_stop_ends_the_dream_at_the_next_step_and_leaves_a_finished_answer(scene):
    do, told = handlers_here(), []
    asked = ["scene", scene.task, scene.seed, INSTRUCTION, 2, 40, 0, "{}"]
    dreaming = do.imagine(*asked, None, lambda steps, **_: told.append(steps), *NO_FILES)
    visit = next(dreaming)[do.page.visit]
    next(dreaming)  # the actions
    assert do.stop(visit) == {do.page.visit: None, do.page.status: "Stopped."}
    done = len(told)
    assert list(dreaming) == []
    assert len(told) == done < 40
    asked[5] = 4
    finished = list(do.imagine(*asked, None, lambda *_, **__: None, *NO_FILES))[-1][do.page.visit]
    do.stop(finished)
    assert finished.folder.exists()
    assert do.stop(None) == gr.skip()
    visits.forget(finished)


def test_films_play_in_any_browser(visit):
    for part in visit[1][-1][FIRST_FILM : FIRST_FILM + 6]:
        path = part["value"] if isinstance(part, dict) else part
        with av.open(path) as film:
            stream = film.streams.video[0]
            assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
            assert sum(1 for _ in film.decode(stream)) == 9


def test_users_at_once_get_what_each_would_get_alone(space_url, scene, alone):
    seeds = (0, 7, 8)

    def visit(seed):
        own = gradio_client.Client(space_url, verbose=False)
        answers = imagine(own, scene, seed=seed)
        commands = next(
            sheet(answer) for answer in answers if isinstance(answer[SHEET], dict) and "data" in answer[SHEET]
        )
        return commands, Path(own.predict(8, "dream", api_name="/cloud")).read_bytes()

    with ThreadPoolExecutor(len(seeds)) as visitors:
        got = dict(zip(seeds, visitors.map(visit, seeds), strict=True))
    for seed in seeds:
        np.testing.assert_allclose(got[seed][0], alone(seed), atol=2e-4)
    assert np.abs(got[0][0] - got[7][0]).max() > 0.1
    assert len({cloud for _, cloud in got.values()}) == len(seeds), "everyone has a cloud of their own"


def test_whoever_stops_waiting_is_in_nobodys_way(client, scene):
    asked = ["scene", scene.task, scene.seed, INSTRUCTION, 2, 100, 0, "{}"]
    job = client.submit(*asked, *NO_FILES, api_name="/imagine")
    while not any(isinstance(answer[SHEET], dict) and "data" in answer[SHEET] for answer in job.outputs()):
        assert not job.done()
        time.sleep(0.02)
    job.cancel()
    assert "Dream after" in imagine(client, scene)[-1][STATUS]


def test_clouds_are_coloured(visit):
    client, _ = visit
    cloud = trimesh.load(client.predict(0, "dream", api_name="/cloud"))
    assert len(cloud.vertices) > 1000
    assert len(np.unique(cloud.colors[:, :3], axis=0)) > 50
    assert client.predict(0, "reality", api_name="/cloud") is None, "nothing real is there yet"


def test_a_question_in_vain_leaves_the_old_answer(visit, scene):
    client, _ = visit
    for asked in ({"instruction": ""}, {"seed": None}):
        with pytest.raises(gradio_client.exceptions.AppError):
            imagine(client, scene, **asked)
    assert len(trimesh.load(client.predict(2, "dream", api_name="/cloud")).vertices) > 1000


@pytest.mark.skipif(scenes.rendering_problem() is not None, reason="MuJoCo cannot render here")
def test_the_true_future_is_held_against_the_dream(client):
    scene = scenes.Scene("mujoco/push_to_region", 4)
    film = imagine(client, scene)[-1][FIRST_FILM]
    words, table, _, *rest = client.predict(api_name="/compare")
    pairs = [part for part in rest if isinstance(part, str)]
    assert "robot leaves its dream" in words
    assert {row[0].split()[0] for row in table["data"]} >= {"PSNR", "SSIM", "AbsRel", "position", "rotation"}
    assert len(pairs) == 3
    dreamt, both = filmed(film["value"] if isinstance(film, dict) else film), filmed(pairs[0])
    height, width = dreamt.shape[1:3]
    assert both.shape[1:3] == (2 * height, 2 * width + showing.GAP), "both at the size of the model's images"
    left, right = both[:, :height, :width], both[:, :height, -width:]
    assert np.abs(left - dreamt).mean() < 0.5 * np.abs(right - dreamt).mean(), "what is imagined stands on the left"
    seen = scenes.look(scene).images["robot0_agentview_left"]
    assert np.abs(right[0].mean((0, 1)) - seen.mean((0, 1))).max() < 12, "what is real stands on the right"
    assert client.predict(3, "reality", api_name="/cloud").endswith(".ply")


@pytest.mark.skipif(scenes.rendering_problem() is not None, reason="MuJoCo cannot render here")
def test_a_late_answer_does_not_stand_beside_a_newer_question(client):
    scene = scenes.Scene("mujoco/push_to_region", 4)
    imagine(client, scene)
    late = client.submit(api_name="/compare")
    time.sleep(0.3)  # it has begun
    assert not late.done()
    imagine(client, scene, seed=7)
    late.result()
    assert client.predict(0, "reality", api_name="/cloud") is None, "the comparison was of the answer before"
    own = Path(client.predict(0, "dream", api_name="/cloud")).read_bytes()
    imagine(client, scene, seed=7)
    assert Path(client.predict(0, "dream", api_name="/cloud")).read_bytes() == own


def test_an_upload_is_imagined(client, scene, tmp_path):
    pictures, depths, state, instruction = uploads.write_example(tmp_path)
    files = [handle_file(path) for path in (*pictures, *depths)]
    answers = imagine(client, scene, source="upload", files=files, state=state, instruction=instruction)
    assert "Dream after" in answers[-1][STATUS]
    with pytest.raises(Exception, match="Only scenes of the simulator have a true future"):
        client.predict(api_name="/compare")


def _wrong_size(files, state, folder):
    small = folder / "small.png"
    Image.new("RGB", (64, 64)).save(small)
    return [str(small), *files[1:]], state


def _no_picture(files, state, folder):
    text = folder / "text.png"
    text.write_text("no picture")
    return [str(text), *files[1:]], state


BAD_UPLOADS = {
    "wrong size": (_wrong_size, "must be 160 × 128 pixels"),
    "no picture": (_no_picture, "this is no PNG or JPEG or WEBP picture"),
    "one view missing": (lambda files, state, _: ([None, *files[1:]], state), "3 views are needed"),
    "NaN": (lambda files, state, _: (files, state.replace('"gripper": 1.0', '"gripper": NaN')), "must be finite"),
    "no JSON": (lambda files, state, _: (files, "{"), "must be JSON"),
}


@pytest.mark.parametrize("name", BAD_UPLOADS)
def test_bad_uploads_are_answered_in_words(client, scene, tmp_path, name):
    pictures, depths, state, instruction = uploads.write_example(tmp_path)
    spoil, message = BAD_UPLOADS[name]
    files, state = spoil([*pictures, *depths], state, tmp_path)
    files = [None if path is None else handle_file(path) for path in files]
    with pytest.raises(gradio_client.exceptions.AppError, match=message) as told:
        imagine(client, scene, source="upload", files=files, state=state, instruction=instruction)
    assert "Traceback" not in str(told.value)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"instruction": "  "}, "must say what to do"),
        ({"action_steps": 5, "video_steps": 2}, "num_action_steps"),
        ({"seed": None}, "Seed of the noise must be a whole number, but is empty"),
    ],
)
def test_bad_questions_are_answered_in_words(client, scene, asked, message):
    with pytest.raises(gradio_client.exceptions.AppError, match=message):
        imagine(client, scene, **asked)


def test_nothing_to_compare_is_said(client):
    with pytest.raises(gradio_client.exceptions.AppError, match="imagine something first"):
        client.predict(api_name="/compare")


@pytest.mark.parametrize("path", ["/etc/passwd", str(Path(uploads.__file__).resolve()), "../../../../etc/passwd"])
def test_files_of_the_machine_stay_there(space_url, path):
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{space_url}gradio_api/file={path}")
    assert refused.value.code in (403, 404)


def test_huge_files_are_not_taken(space_url):
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    body = head + b"\0" * (uploads.MAX_BYTES + 1000) + b"\r\n--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(f"{space_url}gradio_api/upload", body, headers))
    assert refused.value.code == 413


def test_the_page_needs_nothing_from_elsewhere(space_url):
    """No fonts, no scripts, no analytics: addresses in the page's configuration are its own."""
    page = urllib.request.urlopen(space_url).read().decode()
    assert '"analytics_enabled":false' in page.replace(" ", "").lower()
    assert "fonts.googleapis.com" not in page.split("gradio_config")[1].split("</script>")[0]

"""A film shows the episode at the model's frame rate, and a dream beside the instants it is a dream of."""

from dataclasses import replace

import av
import numpy as np
import pytest
from tiny import make_pipeline

from xwam.envs.registry import make_env
from xwam.evaluation import videos
from xwam.evaluation.videos import Film
from xwam.pipelines.pipeline_xwam_4d import XWAM4DPipeline
from xwam.policies.baselines import StillPolicy
from xwam.policies.closed_loop import run_episode
from xwam.policies.pipeline_policy import PipelinePolicy
from xwam.structures import ActionChunk

HELD = 5  # pictures of the last second


@pytest.fixture(scope="module")
def world():
    with make_env("mujoco/lift_cube") as world:
        world.max_steps = 34
        yield world


class Dreaming(StillPolicy):
    """Holds still and dreams of pictures whose grey value says inference and frame."""

    uses_images = True
    length = 32
    size = 128, 160

    def reset(self, seed):
        self.count = -1

    def infer(self, observation, *, seed):
        self.count += 1
        chunk = super().infer(observation, seed=seed)
        return ActionChunk(chunk.robot, np.repeat(chunk.commands, self.length, 0), chunk.columns, chunk.period)

    def imagine(self):
        grey = 10 + 80 * self.count + 8 * np.arange(9, dtype=np.uint8)
        return np.broadcast_to(grey[None, :, None, None, None], (3, 9, *self.size, 3))


def _frames(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert float(stream.average_rate) == 5
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])


def test_reality_alone_is_filmed_every_fourth_command(world, tmp_path):
    policy = StillPolicy(world.robot)
    run_episode(world, policy, seed=0, watchers=[Film(tmp_path / "film.mp4", world.robot, policy)])
    frames = _frames(tmp_path / "film.mp4")
    assert len(frames) == 9 + HELD  # before commands 0, 4, …, 32
    assert frames.shape[1:] == (2 * videos.LINE + 128, 3 * 160, 3)
    seen = world.reset(0).images[world.robot.cameras[1].name]
    filmed = frames[0, videos.LINE : videos.LINE + 128, 160:320]
    assert np.abs(filmed.astype(int) - seen).mean() < 5


@pytest.mark.parametrize(
    ("num_executed", "expected"),  # inference and frame of the dream in every picture
    [
        (16, [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3), (2, 0)]),
        (None, [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (0, 6), (0, 7), (1, 0)]),
        (10, [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (3, 0)]),
    ],
)
def test_a_dream_is_shown_at_the_instants_it_is_of(world, tmp_path, num_executed, expected):
    policy = Dreaming(world.robot)
    film = Film(tmp_path / "film.mp4", world.robot, policy, num_executed=num_executed)
    run_episode(world, policy, seed=0, num_executed=num_executed, watchers=[film])
    frames = _frames(tmp_path / "film.mp4")
    assert frames.shape[1:] == (3 * videos.LINE + 2 * 128, 3 * 160, 3)
    grey = frames[:-HELD, -videos.LINE - 64, 240, 0].astype(int)
    np.testing.assert_allclose(grey, [10 + 80 * count + 8 * frame for count, frame in expected], atol=3)


def test_the_reality_beside_a_dream_is_cropped_as_the_model_sees_it(world, tmp_path):
    view = np.zeros((128, 160, 3), np.uint8)
    view[3:124, 4:156] = 200
    policy, seen = Dreaming(world.robot), world.reset(0)
    seen = replace(seen, images=dict.fromkeys(seen.images, view))
    policy.reset(0)
    chunk = policy.infer(seen, seed=0)
    film = Film(tmp_path / "film.mp4", world.robot, policy)
    film.saw(0, seen, chunk.commands[0], chunk, 0)
    (picture,) = film._pictures
    assert picture[videos.LINE : videos.LINE + 128].min() >= 199


@pytest.mark.parametrize("size", [(64, 80), (96, 144)])
def test_a_dream_of_another_size_is_shown_as_large_as_reality(world, tmp_path, size):
    policy = Dreaming(world.robot)
    policy.size = size
    run_episode(world, policy, seed=0, watchers=[Film(tmp_path / "film.mp4", world.robot, policy)])
    frames = _frames(tmp_path / "film.mp4")
    assert frames.shape[1:] == (3 * videos.LINE + 2 * 128, 3 * 160, 3)
    dream = frames[3, -videos.LINE - 120 : -videos.LINE - 8, :, 0].astype(int)
    np.testing.assert_allclose(dream, 10 + 8 * 3, atol=4)


def test_a_pipeline_dreams_in_the_film(world, tmp_path):
    pipe = make_pipeline(XWAM4DPipeline)
    policy = PipelinePolicy(pipe, dream=True, num_action_steps=1, num_inference_steps=1)
    film = Film(tmp_path / "film.mp4", world.robot, policy, num_executed=16)
    outcome = run_episode(world, policy, seed=0, num_executed=16, watchers=[film])
    assert outcome.num_inferences == 3
    assert len(_frames(tmp_path / "film.mp4")) == 9 + HELD

"""What happens when somebody clicks. Each method takes the values of some parts of the page and returns new ones."""

import functools
import random
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import dreams
import gradio as gr
import scenes
import showing
import truth
import uploads
from interface import Page, status
from visits import Visit, forget, in_words, keep_picture, new_folder, while_it_lasts

from xwam import Future, Observation, RobotSpec, XWAMPolicyOutput, save_future
from xwam.futures.depth_note import depth_note

PROGRESS = gr.Progress()
STOPPED = "Stopped."
Values = Mapping[Any, Any]  # new values by part of the page


class Handlers:
    """The page's behaviour for one robot. Holds nothing of any visitor.

    Args:
        spec (`RobotSpec`): The robot that the model dreams of.
        page (`Page`): The parts of the page.
    """

    def __init__(self, spec: RobotSpec, page: Page) -> None:
        self.spec, self.page = spec, page
        for name in ("look", "another", "example", "imagine", "stop", "show_moment", "play", "compare", "pack"):
            setattr(self, name, in_words(getattr(self, name)))

    def look(self, source: str, task: str, scene_seed: float | None, *pictures: str | None) -> Values:
        """Show what the robot sees; a scene also brings its instruction."""
        page = self.page
        if source == "upload":
            uploaded = showing.strip(uploads.preview(self.spec, pictures))
            return {page.views: uploaded if uploaded is None else keep_picture(uploaded)}
        seen = scenes.look(scenes.Scene(task, _whole("Scene number", scene_seed)))
        return {
            page.views: keep_picture(showing.strip(list(seen.images.values()))),
            page.instruction: seen.instruction,
        }

    def another(self) -> int:
        """The number of some other scene."""
        return random.randrange(1000)

    def example(self) -> list[Any]:
        """Files, state and instruction that fit the robot of the embedded world."""
        pictures, depths, state, instruction = _example()
        return [*pictures, *depths, state, instruction]

    def imagine(
        self,
        source: str,
        task: str,
        scene_seed: float | None,
        instruction: str | None,
        action_steps: float,
        video_steps: float,
        seed: float | None,
        state: str,
        old: Visit | None,
        progress: gr.Progress = PROGRESS,
        *files: str | None,
    ) -> Iterator[Values]:
        """Ask the model: first come the actions, then everything else."""
        page = self.page
        scene = scenes.Scene(task, _whole("Scene number", scene_seed)) if source == "scene" else None
        observation = self._observe(scene, files, state, instruction)
        how = {
            "action_steps": _whole("Steps to the actions", action_steps),
            "video_steps": _whole("Steps to the video", video_steps),
            "seed": _whole("Seed of the noise", seed),
        }
        forget(old)  # only here: what cannot be asked leaves the old answer on the page
        visit = Visit(new_folder(), observation, scene)
        yield {page.visit: visit, **self._nothing_yet()}
        ready, acted = {}, {}
        events = dreams.dream(observation, **how, on_step=functools.partial(_tell, progress, visit.folder))
        for event in _until_stopped(events):
            if isinstance(event, XWAMPolicyOutput):
                ready["Actions after"] = sum(event.timings.values())
                acted = self._show_actions(event)
                yield {page.status: status(ready, event.timings), **acted}
            else:
                ready["Dream after"] = sum(event.timings.values())
                visit = replace(visit, future=event.future())
                # The actions once more: on a slow machine Gradio draws a plot after the last answer of a stream, and one that
                # this answer lacks stays empty.
                yield {
                    page.visit: visit,
                    page.status: status(ready, event.timings),
                    **acted,
                    **self._show_future(visit),
                }

    def stop(self, visit: Visit | None) -> Values:
        """End what is being imagined after its current step; actions that are shown stay, and so does a finished answer."""
        if visit is None or visit.future is not None:
            return gr.skip()
        forget(visit)
        return {self.page.visit: None, self.page.status: STOPPED}

    @while_it_lasts
    def show_moment(self, visit: Visit | None, frame: int, whose: str) -> str | None:
        """The cloud of one frame."""
        future = _future_of(visit, whose)
        if visit is None or future is None or not showing.has_clouds(future):
            return None
        return showing.write_cloud(visit.folder / f"{whose}_{int(frame):02}.ply", future, int(frame))

    @while_it_lasts
    def play(self, visit: Visit | None, whose: str) -> str | None:
        """The cloud of all frames, moving."""
        future = _future_of(visit, whose)
        if visit is None or future is None:
            return None
        return showing.write_moving_cloud(visit.folder / f"{whose}.glb", future)

    @while_it_lasts
    def compare(self, visit: Visit | None) -> Values:
        """Execute the imagined commands in the same scene, and show what really came."""
        page = self.page
        if visit is None or visit.future is None or visit.future.actions is None:
            raise ValueError("There is nothing to compare yet: imagine something first.")
        if visit.scene is None or not visit.scene.has_future:
            raise ValueError("Only scenes of the simulator have a true future.")
        real = scenes.really(visit.scene, visit.future.actions, self.spec)
        ranges = showing.depth_ranges(visit.future, visit.observation)
        both = zip(
            showing.state_tables(self.spec, visit.future),
            showing.state_tables(self.spec, real, suffix=showing.REAL),
            strict=True,
        )
        comparison = truth.hold_against(visit.future, real)
        comparison.write(visit.folder / "export" / "dream_against_reality")
        pairs = showing.write_pairs(visit.folder, visit.future, real, ranges)
        return {
            page.visit: replace(visit, reality=real),
            page.reality: gr.Column(visible=True),
            **dict(zip(page.pair_films, pairs, strict=True)),
            **{plot: showing.joined(own) for plot, own in zip(page.pair_plots, both, strict=True)},
            page.findings: truth.words(comparison),
            page.errors: truth.numbers(comparison),
            **dict(zip(page.error_plots, truth.plots(comparison), strict=True)),
            page.whose: gr.Radio(visible=showing.has_clouds(real)),
        }

    @while_it_lasts
    def pack(self, visit: Visit | None) -> Values:
        """Everything as one archive."""
        if visit is None or visit.future is None:
            return {self.page.download: gr.DownloadButton(interactive=False)}
        save_future(visit.folder / "export" / "future", visit.future)
        archive = shutil.make_archive(str(visit.folder / "xwam_future"), "zip", visit.folder / "export")
        label = f"Download everything ({Path(archive).stat().st_size / 2**20:.1f} MB)"
        return {self.page.download: gr.DownloadButton(label, value=archive, interactive=True)}

    def _observe(
        self, scene: scenes.Scene | None, files: tuple[str | None, ...], state: str, instruction: str | None
    ) -> Observation:
        if scene is None:
            half = len(files) // 2
            seen = uploads.read_observation(self.spec, files[:half], files[half:], state, instruction or "")
        else:
            seen = replace(scenes.look(scene), instruction=instruction or "")
        dreams.check(seen)
        return seen

    def _nothing_yet(self) -> Values:
        """Put away what an earlier answer showed."""
        page = self.page
        return {
            page.status: "",
            page.acting: gr.Column(visible=False),
            page.dreaming: gr.Column(visible=False),
            page.reality: gr.Column(visible=False),
            page.download: gr.DownloadButton("Download everything", value=None, interactive=False),
            page.whose: gr.Radio(value="dream", visible=False),
            page.moment: 0,
        }

    def _show_actions(self, output: XWAMPolicyOutput) -> Values:
        page, chunk = self.page, output.actions[0]
        return {
            page.acting: gr.Column(visible=True),
            **dict(zip(page.command_plots, showing.command_tables(self.spec, chunk), strict=True)),
            page.sheet: showing.command_sheet(chunk),
        }

    def _show_future(self, visit: Visit) -> Values:
        page, future = self.page, visit.future
        assert future is not None, "the caller has just put it there"
        rgb, depth = showing.write_films(visit.folder, future, showing.depth_ranges(future, visit.observation))
        return {
            page.dreaming: gr.Column(visible=True),
            **dict(zip(page.rgb_films, rgb, strict=True)),
            **{
                film: gr.Video(own, visible=own is not None) for film, own in zip(page.depth_films, depth, strict=True)
            },
            page.depth_note: f"**Depth.** {depth_note(future)} Bright is near.",
            page.cloud: None,
            page.cloud_group: gr.Column(visible=showing.has_clouds(future)),
            **dict(zip(page.state_plots, showing.state_tables(self.spec, future), strict=True)),
            page.reality_group: gr.Column(visible=visit.scene is not None and visit.scene.has_future),
        }


@functools.cache
def _example() -> tuple[list[str], list[str], str, str]:
    """One set of files for all visitors, who get copies."""
    return uploads.write_example(new_folder())


class _Stopped(Exception):
    """Nobody waits for the dream any more."""


def _tell(progress: gr.Progress, folder: Path, done: int, of: int) -> None:
    """A function of the module, which can be sent to a worker of ZeroGPU; there, too, the folder of a visit that ended is gone."""
    if not folder.exists():
        raise _Stopped
    progress((done, of), desc="Imagining", unit="steps")


def _until_stopped(events: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from events
    except _Stopped:
        return


def _future_of(visit: Visit | None, whose: str) -> Future | None:
    if visit is None:
        return None
    return visit.reality if whose == "reality" else visit.future


def _whole(name: str, value: float | None) -> int:
    """A number field that may be empty."""
    if value is None:
        raise ValueError(f"{name} must be a whole number, but is empty.")
    return int(value)

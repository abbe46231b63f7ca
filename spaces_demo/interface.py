"""The page: what is on it, how it is called, where it stands. What happens on a click is wired in app.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
import style
from scenes import MAX_SEED
from showing import REAL, command_parts, state_parts
from truth import DREAM, PLOTTED, STILL
from uploads import example_state
from visits import forget

from xwam import RobotSpec

VISIT_SECONDS = 3600  # an answer is kept so long after it was last touched
TITLE = "X-WAM: act now, dream later"
HEAD = """<h1>Act now, dream later</h1>
<p>X-WAM looks at a scene once, reads one instruction, and answers with what to do – then with what will be seen.</p>"""
EMBEDDED_NOTE = """<div class="note"><b>NOTE:</b> this is the small model that comes with the package. It has learnt
some of these tasks, in this simulated world; the others are new to it.</div>"""
WAITING = '<p class="waiting">The actions appear here first, then the dream.</p>'
UPLOAD_HINT = (
    "One picture per camera, **{width} × {height}** pixels, PNG, JPEG or WebP, straight from the camera: not cropped."
)
DEPTH_HINT = (
    "Measured depth: 16-bit grey PNG of the same size, in millimetres (or as `depth_step` says), 0 where nothing was seen. "
    "Calibration: `cameras` in the state, `intrinsics` 3 × 3 in pixels and `base_from_camera` 4 × 4 in metres, OpenCV axes."
)
STATE_HINT = "Tool pose in the robot's base frame: metres, quaternion (w, x, y, z), gripper 0 closed to 1 open."
CLOUD_HINT = (
    "Drag to turn, wheel to come near. What the model imagines of all cameras, fused in the robot's base frame."
)


@dataclass
class Page:
    """Every part of the page that something happens to."""

    parts: dict[str, Any] = field(default_factory=dict)
    pictures: list[gr.File] = field(default_factory=list)
    depths: list[gr.File] = field(default_factory=list)
    command_plots: list[gr.LinePlot] = field(default_factory=list)
    rgb_films: list[gr.Video] = field(default_factory=list)
    depth_films: list[gr.Video] = field(default_factory=list)
    state_plots: list[gr.LinePlot] = field(default_factory=list)
    pair_films: list[gr.Video] = field(default_factory=list)
    error_plots: list[gr.LinePlot] = field(default_factory=list)
    pair_plots: list[gr.LinePlot] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        """A part by its name."""
        try:
            return self.__dict__["parts"][name]
        except KeyError:
            raise AttributeError(f"The page has no part {name!r}.") from None

    @property
    def answers(self) -> list[Any]:
        """What a new answer changes."""
        names = (
            "visit status acting dreaming reality download whose moment sheet depth_note cloud cloud_group "
            "reality_group"
        )
        films = [*self.rgb_films, *self.depth_films]
        return [*(self.parts[name] for name in names.split()), *self.command_plots, *films, *self.state_plots]

    @property
    def comparisons(self) -> list[Any]:
        """What a comparison changes."""
        names = ("visit", "reality", "findings", "errors", "whose")
        return [*(self.parts[name] for name in names), *self.pair_films, *self.error_plots, *self.pair_plots]


def build(
    spec: RobotSpec, tasks: dict[str, str], steps: tuple[int, int], max_steps: int, *, is_embedded: bool
) -> Page:
    """Lay the page out. To be called inside `gr.Blocks`.

    Args:
        spec (`RobotSpec`): The robot that the model dreams of.
        tasks (`dict[str, str]`): Names of scenes by what they are called; empty where there are none of this robot.
        steps (`tuple[int, int]`): Default steps of actions and of video.
        max_steps (`int`): Most steps.
        is_embedded (`bool`): Whether it is the model of the package, whose limits the page then tells.

    Returns:
        `Page`: Its parts.
    """
    page = Page()
    gr.HTML(HEAD + (EMBEDDED_NOTE if is_embedded else ""), elem_id="head", padding=False)
    with gr.Row(equal_height=False, elem_id="page"):
        with gr.Column(scale=4, min_width=320, elem_id="question"):
            _question(page, spec, tasks, steps, max_steps)
        with gr.Column(scale=9, min_width=320):
            page.parts["views"] = gr.Image(
                label="What the robot sees", elem_id="views", interactive=False, buttons=["fullscreen"], format="png"
            )
            page.parts["status"] = gr.HTML(WAITING, elem_id="status", padding=False)
            _answer(page, spec)
    return page


def status(ready: Mapping[str, float], stages: Mapping[str, float]) -> str:
    """The line above the answer: when what was ready, and how long each stage took.

    Args:
        ready (`Mapping[str, float]`): Seconds by what became ready.
        stages (`Mapping[str, float]`): Seconds by stage so far.
    """
    chips = "".join(f'<span class="chip">{what} <b>{seconds:.2f} s</b></span>' for what, seconds in ready.items())
    rest = " · ".join(f"{what.replace('_', ' ')} {1000 * seconds:.0f} ms" for what, seconds in stages.items())
    return f'<div class="chips">{chips}</div><p class="waiting">{rest}</p>'


def short_name(camera: str) -> str:
    """A camera's name as people read it."""
    return camera.removeprefix("robot0_").replace("_", " ")


def _question(page: Page, spec: RobotSpec, tasks: dict[str, str], steps: tuple[int, int], max_steps: int) -> None:
    parts = page.parts
    parts["source"] = gr.Radio(["scene", "upload"], value="scene" if tasks else "upload", visible="hidden")
    parts["visit"] = gr.State(None, time_to_live=VISIT_SECONDS, delete_callback=forget)
    with gr.Tabs(selected="scene" if tasks else "upload"):
        with gr.Tab("A scene", id="scene", visible=bool(tasks)) as parts["scene_tab"]:
            names = list(tasks.items())
            default = next(
                (name for _, name in names if name.endswith("pick_by_colour")), names[0][1] if names else None
            )
            parts["task"] = gr.Dropdown(names, value=default, label="Task", filterable=False)
            with gr.Row(elem_classes="bottom"):
                parts["scene_seed"] = gr.Number(
                    5, label="Scene number", precision=0, minimum=0, maximum=MAX_SEED, min_width=120
                )
                parts["another"] = gr.Button("Another", min_width=90, scale=0)
        with gr.Tab("Your robot", id="upload") as parts["upload_tab"]:
            _uploads(page, spec, has_example=bool(tasks))
    parts["instruction"] = gr.Textbox(
        label="Instruction", placeholder="lift the blue cube", max_lines=3, max_length=2000
    )
    with gr.Row():
        parts["imagine"] = gr.Button("Imagine", variant="primary", scale=4, min_width=140, elem_id="imagine")
        parts["stop"] = gr.Button("Stop", scale=1, min_width=70, elem_id="stop")
    with gr.Accordion("Settings", open=False):
        parts["action_steps"] = gr.Slider(1, max_steps, steps[0], step=1, label="Steps to the actions")
        parts["video_steps"] = gr.Slider(1, max_steps, steps[1], step=1, label="Steps to the video")
        parts["seed"] = gr.Number(0, label="Seed of the noise", precision=0, minimum=0, maximum=MAX_SEED)


def _uploads(page: Page, spec: RobotSpec, *, has_example: bool) -> None:
    height, width = spec.cameras[0].size
    page.parts["example"] = gr.Button("Fill in an example", size="sm", visible=has_example)
    gr.Markdown(UPLOAD_HINT.format(width=width, height=height), elem_classes="caption")
    for camera in spec.cameras:
        kinds = [".png", ".jpg", ".jpeg", ".webp"]
        page.pictures.append(gr.File(label=short_name(camera.name), file_types=kinds, height=92, elem_classes="drop"))
    page.parts["state"] = gr.Textbox(
        example_state(spec), label="Robot state (JSON)", info=STATE_HINT, lines=4, max_lines=12, elem_id="state"
    )
    with gr.Accordion("Depth and calibration", open=False):
        gr.Markdown(DEPTH_HINT, elem_classes="caption")
        for camera in spec.cameras:
            page.depths.append(
                gr.File(
                    label=f"Depth of {short_name(camera.name)}", file_types=[".png"], height=92, elem_classes="drop"
                )
            )


def _answer(page: Page, spec: RobotSpec) -> None:
    parts = page.parts
    with gr.Column(visible=False) as parts["acting"]:
        _step("Act now", "the commands, ready before the dream")
        with gr.Row():
            for index, (title, _, columns) in enumerate(command_parts(spec)):
                page.command_plots.append(_plot(title, columns, f"command-{index}"))
        with gr.Accordion("All numbers", open=False):
            parts["sheet"] = gr.Dataframe(interactive=False, max_height=320, elem_id="sheet")
    with gr.Column(visible=False) as parts["dreaming"]:
        _step("Dream", "what each camera will see")
        with gr.Row():
            page.rgb_films += [_film(camera.name, "") for camera in spec.cameras]
        with gr.Row():
            page.depth_films += [_film(camera.name, ", depth") for camera in spec.cameras]
        parts["depth_note"] = gr.Markdown(elem_classes="caption", elem_id="depth-note")
        _clouds(page, spec)
        _step("States", "where the arm believes it will be")
        with gr.Row():
            for index, (title, lines) in enumerate(state_parts(spec)):
                page.state_plots.append(_plot(title, lines, f"state-{index}"))
        _reality(page, spec)
        _step("Take away", "films, 16-bit depth, clouds and numbers")
        parts["download"] = gr.DownloadButton("Download everything", interactive=False, elem_id="download")


def _clouds(page: Page, spec: RobotSpec) -> None:
    parts = page.parts
    with gr.Column() as parts["cloud_group"]:
        _step("In 3-D", "a cloud of points that moves")
        parts["cloud"] = gr.Model3D(
            label="Point cloud", height=420, clear_color=style.NIGHT, camera_position=(60, 62, 1.9), elem_id="cloud"
        )
        gr.Markdown(CLOUD_HINT, elem_classes="caption")
        with gr.Row():
            parts["whose"] = gr.Radio(
                [("Imagined", "dream"), ("Real", "reality")], value="dream", show_label=False, container=False,
                visible=False, min_width=160, scale=0, elem_id="whose",
            )  # fmt: skip
            parts["moment"] = gr.Slider(0, spec.num_frames - 1, 0, step=1, label="Frame", buttons=[], elem_id="moment")
            parts["play"] = gr.Button("Play", min_width=90, scale=0, elem_id="play")


def _reality(page: Page, spec: RobotSpec) -> None:
    parts = page.parts
    with gr.Column() as parts["reality_group"]:
        _step("Dream against reality", "execute these commands in the same scene")
        parts["compare"] = gr.Button("Compare with the simulator's true future", elem_id="compare")
        with gr.Column(visible=False) as parts["reality"]:
            gr.Markdown("Imagined on the left, real on the right; depth below.", elem_classes="caption")
            with gr.Row():
                for camera in spec.cameras:
                    page.pair_films.append(_film(camera.name, ", imagined | real", ratio="wide"))
            parts["findings"] = gr.Markdown(elem_id="findings")
            with gr.Row():
                for index, title in enumerate(PLOTTED.values()):
                    page.error_plots.append(_plot(title, (DREAM,), f"error-{index}", against=(STILL,)))
            with gr.Row():
                for index, (title, lines) in enumerate(state_parts(spec)):
                    real = [line + REAL for line in lines]
                    page.pair_plots.append(_plot(title, lines, f"pair-{index}", against=real))
            with gr.Accordion("All errors", open=False):
                parts["errors"] = gr.Dataframe(interactive=False, elem_id="errors")


def _step(title: str, text: str) -> None:
    gr.HTML(f'<div class="step"><b>{title}</b><span>{text}</span></div>', padding=False)


def _plot(title: str, lines: Sequence[str], identity: str, *, against: Sequence[str] = ()) -> gr.LinePlot:
    return gr.LinePlot(
        x="s",
        y="value",
        color="line",
        color_map=style.colours(lines, against),
        x_title="seconds",
        y_title=" ",
        color_title=" ",
        title=title,
        height=210,
        min_width=220,
        elem_id=identity,
        buttons=[],
    )


def _film(camera: str, what: str, *, ratio: str = "") -> gr.Video:
    return gr.Video(
        label=short_name(camera) + what,
        autoplay=True,
        loop=True,
        interactive=False,
        min_width=200,
        buttons=[],
        elem_classes=["film", ratio] if ratio else "film",
    )

"""The demo: one look, one instruction; the actions at once, the future after them.

Usage:
    python spaces_demo/app.py [--model PATH_OR_HUB_ID] [--host 127.0.0.1] [--port 7860]

Without `--model` it runs the embedded default: a small X-WAM that was trained in the embedded robot world and comes with the
package. On a Space with a model of your own, write its id into `MODEL`.
"""

import zero_gpu  # noqa: F401, I001  before anything that imports torch

import argparse
from collections.abc import Sequence
from typing import Any

import dreams
import gradio as gr
import interface
import scenes
import style
import uploads
from handlers import Handlers

from xwam.errors import XWAMError

EMBEDDED = "embedded"  # the weights in the package
MODEL = EMBEDDED  # or a folder or hub id
MAX_WAITING = 32  # requests
CLEANING = (600, 3600)  # seconds: how often files are looked at, and how old they may be
MODEL_LINE = {"concurrency_id": "model", "concurrency_limit": 1}  # the model serves one visitor at a time
WORLD_LINE = {"concurrency_id": "world", "concurrency_limit": 2}


def make_app(model: str = MODEL) -> gr.Blocks:
    """Load a model and wire the page to it.

    Args:
        model (`str`, *optional*, defaults to `MODEL`): Folder or hub id of an X-WAM, or `"embedded"`.
    """
    spec = dreams.load(model)
    tasks = scenes.tasks() if spec.name == scenes.ROBOT else {}
    with gr.Blocks(title=interface.TITLE, analytics_enabled=False, fill_width=True, delete_cache=CLEANING) as app:
        page = interface.build(spec, tasks, dreams.default_steps(), dreams.MAX_STEPS, is_embedded=model == EMBEDDED)
        _wire_question(app, page, Handlers(spec, page))
        _wire_answer(page, Handlers(spec, page))
    return app.queue(max_size=MAX_WAITING)


def launch(app: gr.Blocks, **options: Any) -> Any:
    """Serve the page: only here, nothing shared, nothing reported, no file but what a visitor was given.

    Args:
        app (`gr.Blocks`): What `make_app` made.
        options (`Any`): Passed to `gr.Blocks.launch`.
    """
    return app.launch(
        theme=style.theme(),
        css=style.CSS,
        share=False,
        ssr_mode=False,
        run_history=False,
        enable_monitoring=False,
        footer_links=["api"],
        max_file_size=uploads.MAX_BYTES,
        **options,
    )


def _wire_question(app: gr.Blocks, page: interface.Page, do: Handlers) -> None:
    inputs = [page.source, page.task, page.scene_seed, *page.pictures]
    look = {"fn": do.look, "inputs": inputs, "outputs": [page.views, page.instruction], **WORLD_LINE}
    page.scene_tab.select(lambda: "scene", None, page.source, api_visibility="private").then(
        api_visibility="private", **look
    )
    page.upload_tab.select(lambda: "upload", None, page.source, api_visibility="private").then(
        api_visibility="private", **look
    )
    changes = [page.task.change, page.scene_seed.change, *(box.change for box in page.pictures)]
    gr.on([app.load, *changes], api_name="look", show_progress="hidden", **look)
    page.another.click(do.another, None, page.scene_seed, api_visibility="private")
    filled = [*page.pictures, *page.depths, page.state, page.instruction]
    page.example.click(do.example, None, filled, api_name="example")


def _wire_answer(page: interface.Page, do: Handlers) -> None:
    asked = [page.source, page.task, page.scene_seed, page.instruction, page.action_steps, page.video_steps, page.seed]
    imagining = gr.on(
        [page.imagine.click, page.instruction.submit],
        do.imagine,
        [*asked, page.state, page.visit, *page.pictures, *page.depths],
        page.answers,
        api_name="imagine",
        show_progress_on=page.status,
        trigger_mode="once",
        **MODEL_LINE,
    )
    page.stop.click(do.stop, page.visit, [page.visit, page.status], cancels=imagining, api_visibility="private")
    quiet = {"show_progress": "hidden", "api_visibility": "private", **WORLD_LINE}
    pack = {"fn": do.pack, "inputs": page.visit, "outputs": page.download, **quiet}
    play = {"fn": do.play, "inputs": [page.visit, page.whose], "outputs": page.cloud, **quiet}
    # The cloud comes in an event of its own: the viewer misses a value that is sent twice, as the last one of a stream is.
    imagining.success(**play).then(**pack)
    shown = [page.visit, page.moment, page.whose]
    page.moment.input(do.show_moment, shown, page.cloud, api_name="cloud", show_progress="hidden", **WORLD_LINE)
    gr.on([page.play.click, page.whose.input], **play)
    comparing = page.compare.click(do.compare, page.visit, page.comparisons, api_name="compare", **WORLD_LINE)
    comparing.success(**pack)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve the page until Ctrl-C; what stands in the way is said in one line.

    Args:
        arguments (`Sequence[str]`, *optional*): What follows the program's name; the process's own by default.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=MODEL, help="embedded, or a folder or hub id of an X-WAM")
    parser.add_argument("--host", help="address to listen on; this machine alone where not given, all on a Space")
    parser.add_argument("--port", type=int, help="port; the first free one from 7860 on where not given")
    args = parser.parse_args(arguments)
    try:
        app = make_app(args.model)
    except (XWAMError, ValueError, OSError) as error:
        parser.exit(1, f"{parser.prog}: cannot load {args.model!r}: {error}\n")
    try:
        launch(app, server_name=args.host, server_port=args.port)
    except (OSError, OverflowError) as error:
        parser.exit(1, f"{parser.prog}: cannot listen on port {args.port or 'from 7860 on'}: {error}\n")


if __name__ == "__main__":
    main()

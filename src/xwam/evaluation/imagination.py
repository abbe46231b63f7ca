"""Predictions and truth to score: the windows of a data set, each imagined from its first instant."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from xwam.checkpoints.json_files import read_json
from xwam.data.streams.clip_dataset import ClipDataset
from xwam.evaluation.scored_folders import EPISODE_MARK
from xwam.export.files import replacing
from xwam.export.future_folder import JSON_NAME, save_future
from xwam.futures.reality import clip_future
from xwam.pipelines.pipeline_output import XWAM4DOutput
from xwam.pipelines.pipeline_xwam_4d import XWAM4DPipeline
from xwam.policies.pipeline_policy import networks, weights_hash
from xwam.robots.clip_observation import clip_observation, spec_for_images
from xwam.robots.clips import EncodedClip
from xwam.robots.processor import RobotProcessor
from xwam.structures import Clip
from xwam.utils.differences import first_difference
from xwam.utils.seeding import seed_from

PREDICTIONS, TRUTH, SETTINGS_FILE = "predictions", "truth", "imagine.json"


@dataclass(frozen=True)
class ImagineOptions:
    """How windows are imagined. Equal options on equal windows give equal predictions, in whatever order.

    Args:
        seed (`int`, *optional*, defaults to `0`): Of all noise.
        given_actions (`bool`, *optional*, defaults to `False`): Whether the model is told the recorded commands (forward
            dynamics) instead of choosing its own.
        num_inference_steps (`int`, *optional*): Steps T_O of the video; the scheduler's where not given.
        num_action_steps (`int`, *optional*): Steps T_a of the actions; the scheduler's where not given.
        formats (`tuple[str, ...]`, *optional*): What `save_future` writes besides `future.json`; `"npz"` is needed to score.
    """

    seed: int = 0
    given_actions: bool = False
    num_inference_steps: int | None = None
    num_action_steps: int | None = None
    formats: tuple[str, ...] = ("npz",)


def imagine_windows(
    pipeline: XWAM4DPipeline,
    windows: ClipDataset,
    output: str | Path,
    options: ImagineOptions | None = None,
    *,
    numbers: Sequence[int] | None = None,
    model: str = "",
    on_window: Callable[[str], None] | None = None,
) -> int:
    """Write `predictions/<episode>@<row>` and `truth/<episode>@<row>` for every window; what is there already is kept.

    Args:
        pipeline (`XWAM4DPipeline`): The model. Its robot is that of the data set.
        windows (`ClipDataset`): Windows as `Clip`, made without a processor.
        output (`str` or `Path`): Folder of both; one begun with other settings is refused.
        options (`ImagineOptions`, *optional*): How to imagine.
        numbers (`Sequence[int]`, *optional*): Which windows; all by default.
        model (`str`, *optional*, defaults to `""`): What to call the model in the settings.
        on_window (`Callable[[str], None]`, *optional*): Called with the name of each window that is there.

    Returns:
        `int`: Windows that were imagined now.

    Raises:
        ValueError: If there is no window, two would have one folder, the numbers of steps are out of range, the output was begun
            with other settings or another data set, or a window does not fit the robot.
        DataError: If the data are not what they must be.
    """
    options = ImagineOptions() if options is None else options
    chosen = range(len(windows)) if numbers is None else numbers
    if len(chosen) == 0:
        raise ValueError(f"There must be at least one window to imagine, but {windows.reader.name} has none.")
    names = {number: _name(windows, number) for number in chosen}
    if twice := [name for name, times in Counter(names.values()).items() if times > 1]:
        raise ValueError(
            f"Each window must have a folder of its own, but several of {windows.reader.name} would be {twice[0]!r}."
        )
    output = Path(output)
    # Raises now what is out of range.
    pipeline.scheduler.set_timesteps(options.num_inference_steps, options.num_action_steps)
    source = {
        "data": windows.reader.name,
        "rows_per_command": windows.shape.rows_per_command,
        "first_window_hash": _hash(windows[0]),
    }
    weights = {f"weights.{name}": weights_hash(own, with_depth=True) for name, own in networks(pipeline).items()}
    _keep_settings(output / SETTINGS_FILE, {"model": model, **weights, **source, **asdict(options)})
    count = 0
    for number, name in names.items():
        folders = output / PREDICTIONS / name, output / TRUTH / name
        if not all((folder / JSON_NAME).exists() for folder in folders):
            _imagine(pipeline, windows[number], name, folders, options)
            count += 1
        if on_window is not None:
            on_window(name)
    return count


def spread(count: int, wanted: int | None) -> list[int]:
    """So many numbers below `count`, evenly over them; all where that is more than there are.

    Args:
        count (`int`): How many there are.
        wanted (`int` or `None`): How many to choose; `None` for all.
    """
    if wanted is None or wanted >= count:
        return list(range(count))
    return np.linspace(0, count - 1, wanted).round().astype(int).tolist()


def _hash(clip: Clip | EncodedClip) -> str:
    """SHA-256 over what a window shows and says, by which its data set is known again wherever it lies."""
    assert isinstance(clip, Clip), "the data set is made without a processor"
    digest = sha256(clip.instruction.encode())
    for name, array in (*sorted(clip.images.items()), ("states", clip.states), ("commands", clip.commands)):
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _imagine(
    pipeline: XWAM4DPipeline,
    clip: Clip | EncodedClip,
    name: str,
    folders: tuple[Path, Path],
    options: ImagineOptions,
) -> None:
    assert isinstance(clip, Clip), "the data set is made without a processor"
    spec = spec_for_images(pipeline.robot_processor.spec, clip)
    if spec != pipeline.robot_processor.spec:
        pipeline = XWAM4DPipeline.from_pipe(pipeline, robot_processor=RobotProcessor(spec))
        pipeline.set_progress_bar_config(disable=True)
    truth = clip_future(spec, clip)
    if options.given_actions and truth.actions is None:
        raise ValueError(f"The commands of {name} must all be known to be given to the model, but some are not.")
    output = pipeline(
        clip_observation(spec, clip),
        actions=truth.actions if options.given_actions else None,
        num_inference_steps=options.num_inference_steps,
        num_action_steps=options.num_action_steps,
        generator=torch.Generator().manual_seed(seed_from("imagine", options.seed, name)),
    )
    assert isinstance(output, XWAM4DOutput)
    for folder, future in zip(folders, (output.future(), truth), strict=True):
        save_future(folder, future, formats=options.formats)


def _name(windows: ClipDataset, number: int) -> str:
    episode, row = windows.place(number)
    key = windows.reader.episodes[episode].key.replace("/", "_").replace(EPISODE_MARK, "_")
    return f"{key}{EPISODE_MARK}{row:06d}"


def _keep_settings(path: Path, settings: dict[str, object]) -> None:
    """Write them down, or refuse to go on with others."""
    settings = json.loads(json.dumps(settings))  # tuples as JSON has them
    if path.exists():
        if difference := first_difference(read_json(path), settings):
            name, was, now = difference
            raise ValueError(
                f"{path.parent} was begun with {name} {was!r}, but now it is {now!r}; choose another folder."
            )
        return
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")

"""The README of a published pipeline."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from xwam.checkpoints.sources import EMBEDDED
from xwam.loaders.robot_files import RobotAdapter
from xwam.models.transformer_xwam import XWAMTransformer3DModel
from xwam.robots.spec import RobotSpec
from xwam.schedulers.scheduling_xwam import XWAMScheduler

THIS_REPOSITORY = "this-repository"
UNTOLD = "Not stated by the author."
_USAGE = (
    "## How to use\n\n```\npip install xwam\n```\n\n```python\n"
    "import xwam\n\n"
    "pipe = xwam.XWAMPolicyPipeline.from_pretrained({source})\n"
    "chunk = pipe(observation).actions[0]  # xwam.ActionChunk: physical units, named columns\n"
    "future = xwam.XWAM4DPipeline.from_pipe(pipe)(observation)  # RGB, depth, states, actions\n```"
)
_DIFFUSERS_USAGE = "\n\n`diffusers.DiffusionPipeline.from_pretrained` works too, after `import xwam`."

_ROBOT_USAGE = (
    "## How to use\n\n```\npip install xwam\n```\n\n```python\n"
    "import xwam\n\n"
    "pipe = xwam.XWAMPolicyPipeline.from_pretrained({base})\n"
    "pipe.load_robot({source})\n"
    "chunk = pipe(observation).actions[0]  # xwam.ActionChunk: physical units, named columns\n"
    "pipe.set_robot(None)  # the base again\n```"
)


@dataclass(frozen=True)
class ModelCard:
    """What only the author of a checkpoint knows.

    Args:
        title (`str`, *optional*): Name of the model.
        description (`str`, *optional*): A sentence or two.
        training_data (`str`, *optional*): What it was trained on, with sizes and sources.
        license (`str`, *optional*): SPDX identifier of the weights' licence.
        source (`str`, *optional*, defaults to `THIS_REPOSITORY`): What to type to load it: a hub id, or `"embedded"`;
            publishing puts the repository in.
        base_model (`str`, *optional*): Hub id of what it was fine-tuned from, or `"embedded"`.
        measurements (`Mapping[str, str]`, *optional*): What was measured: name to figure, with the command that made it.
        tags (`tuple[str, ...]`, *optional*): Further tags for the hub.

    Raises:
        TypeError: If a field is of another kind.
        ValueError: If what belongs into one line has several.
    """

    title: str | None = None
    description: str | None = None
    training_data: str | None = None
    license: str | None = None
    source: str = THIS_REPOSITORY
    base_model: str | None = None
    measurements: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("title", "description", "training_data", "license", "source", "base_model"):
            _check_text(name, getattr(self, name), is_line=name not in ("description", "training_data"))
        if not isinstance(self.measurements, Mapping):
            raise TypeError(f"`measurements` must be a mapping of name to figure, but is {self.measurements!r}.")
        for name, figure in self.measurements.items():
            _check_text("measurements", name, is_line=True)
            _check_text(f"measurements[{name!r}]", figure, is_line=True)
        if not isinstance(self.tags, tuple | list):
            raise TypeError(f"`tags` must be a tuple of words, but is {self.tags!r}.")
        for tag in self.tags:
            _check_text("tags", tag, is_line=True)


def _check_text(name: str, value: object, *, is_line: bool) -> None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"`{name}` of a `ModelCard` must be a string, but is {value!r}.")
    if is_line and value is not None and not value.isprintable():
        raise ValueError(f"`{name}` of a `ModelCard` must be one line, but is {value!r}.")


def published_card(card: ModelCard | None, repo_id: str) -> ModelCard:
    """The card as it is published: it says where.

    Args:
        card (`ModelCard` or `None`): What the author knows.
        repo_id (`str`): Where it is published.
    """
    card = card or ModelCard()
    return replace(card, source=repo_id) if card.source == THIS_REPOSITORY else card


def check_card(card: object) -> None:
    """Refuse what is no card, before anything is written.

    Args:
        card (`object`): A `ModelCard` or `None`.

    Raises:
        TypeError: If it is something else.
    """
    if not isinstance(card, ModelCard | None):
        raise TypeError(f"`card` must be a `ModelCard`, but is a {type(card).__name__}.")


def render_model_card(components: Mapping[str, Any], card: ModelCard) -> str:
    """Write the card: front matter for the hub, how to use it, what robot it is for, what was measured.

    Args:
        components (`Mapping[str, Any]`): Components of the pipeline by name.
        card (`ModelCard`): What only the author knows.
    """
    spec = components["robot_processor"].spec
    sections = [
        _front_matter(card),
        f"# {card.title or f'X-WAM for {spec.name}'}",
        card.description
        or "A world action model: one observation in; future video, depth, robot states and actions out.",
        _USAGE.format(source=json.dumps(card.source)) + ("" if card.source == EMBEDDED else _DIFFUSERS_USAGE),
        _robot(spec, "robot_processor/robot_processor_config.json"),
        _network(components["transformer"], components["scheduler"]),
        *_known_by_the_author(card),
    ]
    return "\n\n".join(sections) + "\n"


def render_robot_card(adapter: RobotAdapter, card: ModelCard) -> str:
    """Write the card of one robot for a base: how to load it, what it is for, what it is made of.

    Args:
        adapter (`RobotAdapter`): The robot.
        card (`ModelCard`): What only the author knows.
    """
    spec, config = adapter.processor.spec, adapter.lora_config
    lora, own = (sum(t.numel() for t in tensors.values()) for tensors in (adapter.lora, adapter.embodiment))
    sections = [
        _front_matter(replace(card, tags=("lora", *card.tags))),
        f"# {card.title or f'X-WAM adapter for {spec.name}'}",
        card.description or "LoRA and networks that make an X-WAM base act as this robot.",
        _ROBOT_USAGE.format(base=json.dumps(card.base_model or "the-base"), source=json.dumps(card.source)),
        _robot(spec, "robot_processor_config.json"),
        f"## Adapter\n\n- LoRA: {lora:,} parameters, rank {config['r']}, alpha {config['lora_alpha']}"
        f"{', rank-stabilised' if config.get('use_rslora') else ''}\n"
        f"- Networks of actions, states and views: {own:,} parameters\n"
        f"- Base: {adapter.base.config['num_layers']} blocks of width "
        f"{adapter.base.config['num_attention_heads'] * adapter.base.config['attention_head_dim']}, depth branch "
        f"`{adapter.base.config['depth_branch']}`, fingerprint `{adapter.base.vectors[:12]}`",
        *_known_by_the_author(card),
    ]
    return "\n\n".join(sections) + "\n"


def _known_by_the_author(card: ModelCard) -> list[str]:
    return [
        f"## Training data\n\n{card.training_data or UNTOLD}",
        f"## Licence\n\n{card.license or UNTOLD}",
        "## Measured\n\n" + ("\n".join(f"- {name}: {figure}" for name, figure in card.measurements.items()) or UNTOLD),
    ]


def _front_matter(card: ModelCard) -> str:
    lines = ["library_name: xwam", "pipeline_tag: robotics"]
    if card.license:
        lines.append(f"license: {json.dumps(card.license)}")
    if card.base_model and card.base_model != EMBEDDED:  # which the hub does not know
        lines.append(f"base_model: {json.dumps(card.base_model)}")
    tags = ("x-wam", "world-model", "robotics", "diffusers", *card.tags)
    return "\n".join(["---", *lines, "tags:", *(f"- {json.dumps(tag)}" for tag in tags), "---"])


def _robot(spec: RobotSpec, file: str) -> str:
    cameras = ", ".join(
        f"`{camera.name}` ({'wrist' if camera.arm else 'static'}, {camera.size[0]}×{camera.size[1]})"
        for camera in spec.cameras
    )
    columns = (
        "\n".join(
            f"| `{column}` | {unit} |" for column, unit in zip(spec.command_columns, spec.command_units, strict=True)
        )
        if spec.command_kind is not None
        else "| not declared | |"
    )
    normaliser = json.dumps(spec.to_dict()["quantiles"], indent=1)
    return (
        f"## Robot\n\n- Robot: `{spec.name}`\n- Arms: {', '.join(f'`{arm.name}`' for arm in spec.arms)}\n"
        f"- Cameras, in model order: {cameras}\n- Commands: {spec.command_kind}, every {spec.control_period} s\n"
        f"- Not known: {', '.join(spec.unknown) or 'nothing'}\n\n"
        f"| command | unit |\n| --- | --- |\n{columns}\n\n"
        "Normaliser (1 % and 99 % quantiles of states and actions, physical units):\n\n"
        f"```json\n{normaliser}\n```\n\n"
        f"The whole convention stands in `{file}`."
    )


def _network(transformer: XWAMTransformer3DModel, scheduler: XWAMScheduler) -> str:
    config, schedule = transformer.config, scheduler.config
    count = sum(parameter.numel() for parameter in transformer.parameters())
    return (
        f"## Network\n\n- {count:,} parameters, {config.num_layers} blocks, depth branch `{config.depth_branch}`\n"
        f"- Default steps: {schedule.num_action_steps} for actions, {schedule.num_inference_steps} for video, "
        f"shift {schedule.shift}"
    )

"""The `evaluate` modules that lie in this package: they load without a network, and compute what the plain functions compute."""

from pathlib import Path
from typing import Any

from xwam.utils.optional import require

MODULES = Path(__file__).parent / "modules"


def list_modules() -> list[str]:
    """Names of the modules, such as `"xwam_video"`."""
    return sorted(path.parent.name for path in MODULES.glob("*/*.py") if path.stem == path.parent.name)


def module_path(name: str) -> Path:
    """File of a module, for `evaluate.load(str(path))`.

    Args:
        name (`str`): One of `list_modules()`.

    Raises:
        ValueError: If there is no such module.
    """
    if name not in list_modules():
        raise ValueError(f"There is no evaluate module {name!r}; there are {list_modules()}.")
    return MODULES / name / f"{name}.py"


def load_module(name: str, **options: Any) -> Any:
    """Load a module with `evaluate.load`.

    Args:
        name (`str`): One of `list_modules()`.
        options (`Any`): Passed on, such as `experiment_id`.

    Returns:
        `evaluate.Metric`: With `compute(predictions=…, references=…)`.

    Raises:
        ValueError: If there is no such module.
        ImportError: If `evaluate` is not installed.
    """
    evaluate = require("evaluate", extra="metrics", needed_for="xwam.metrics.evaluate_modules")
    return evaluate.load(str(module_path(name)), **options)

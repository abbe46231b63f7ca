"""Where a checkpoint was loaded from: diffusers and transformers write that path of somebody's disk into what is saved."""

import json
from collections.abc import Iterable
from pathlib import Path

from xwam.checkpoints.json_files import read_json

ORIGIN = "_name_or_path"
CONFIG_NAMES = ("model_index.json", "config.json")


def forget_origins(folder: Path, components: Iterable[str]) -> None:
    """Take the paths out of the configurations in a pipeline's folder, the others being left alone.

    Args:
        folder (`Path`): Just saved.
        components (`Iterable[str]`): Names of its components.
    """
    for part in (folder, *(folder / name for name in components)):
        for path in (part / name for name in CONFIG_NAMES):
            if path.is_file() and ORIGIN in (values := read_json(path)):
                del values[ORIGIN]
                path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

"""What a training script writes and publishes: checked before the first step, and told where it is if the hub fails after the last."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub.utils import HFValidationError, validate_repo_id

from xwam.checkpoints.retrying import http
from xwam.errors import TrainingError
from xwam.utils.options import require_writable


def check_targets(parser: argparse.ArgumentParser, output: Path, repo_id: str | None = None) -> None:
    """End the program if the run's folder cannot be written or the repository cannot be called that.

    Args:
        parser (`argparse.ArgumentParser`): With the option `--output`, and `--push_to_hub` where something is published.
        output (`Path`): Folder of the run, which need not exist.
        repo_id (`str`, *optional*): Where to publish.

    Raises:
        SystemExit: With the usage and one line that names the option.
    """
    try:
        require_writable(output)
        if repo_id is not None:
            validate_repo_id(repo_id)
    except HFValidationError as error:
        parser.error(f"--push_to_hub: {error}")
    except ValueError as error:
        parser.error(str(error))


@contextmanager
def publishing_explained(folder: Path, repo_id: str, again: str) -> Iterator[None]:
    """Within the block, a hub that fails or cannot be reached is a `TrainingError` that says where the training is.

    Args:
        folder (`Path`): What is published.
        repo_id (`str`): Where.
        again (`str`): Python that publishes it later.

    Raises:
        TrainingError: Instead of the errors of the hub and the network.
    """
    try:
        yield
    except (OSError, http.TransportError) as error:
        reason = " ".join(str(error).split()).removesuffix(".") or type(error).__name__
        raise TrainingError(
            f"The training is finished and saved in {folder}, but could not be published as {repo_id!r}: {reason}. In "
            f"Python: {again}"
        ) from error

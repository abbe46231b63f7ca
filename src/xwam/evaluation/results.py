"""Results on disk: one small file per episode, written completely or not at all, and what they are results of."""

import json
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xwam.evaluation.suite import EpisodeKey
from xwam.export.files import replacing
from xwam.policies.closed_loop import EpisodeOutcome
from xwam.robots.records import Record
from xwam.utils.differences import first_difference

EPISODES = "episodes"  # the folder of results in the folder
IDENTITY_NAME = "identity.json"
TEMPORARY_NAMES = f".*-{'[0-9a-f]' * 8}.*"  # of `replacing`; what others hide in the folder is theirs


@dataclass(frozen=True)
class EpisodeResult(Record):
    """One finished episode.

    Args:
        environment (`str`): Name of the environment.
        seed (`int`): Seed of the episode.
        instruction (`str`): The task in words.
        is_success (`bool`): Whether the task was done in time.
        num_steps (`int`): Commands until the episode was over.
        num_inferences (`int`): How often the policy was asked.
        inference_seconds (`tuple[float, ...]`): Wall-clock time of every inference.
        step_seconds (`float`): Wall-clock time of all commands in the environment.
    """

    environment: str
    seed: int
    instruction: str
    is_success: bool
    num_steps: int
    num_inferences: int
    inference_seconds: tuple[float, ...]
    step_seconds: float

    @classmethod
    def of(cls, key: EpisodeKey, outcome: EpisodeOutcome) -> "EpisodeResult":
        """The result of an episode that ended so."""
        return cls(
            key.environment, key.seed, outcome.instruction, outcome.is_success, outcome.num_steps, outcome.num_inferences,
            outcome.inference_seconds, outcome.step_seconds,
        )  # fmt: skip

    @property
    def key(self) -> EpisodeKey:
        """Which episode this is of."""
        return EpisodeKey(self.environment, self.seed)


@dataclass(frozen=True)
class ResultsFolder:
    """Results of one evaluation; several processes may write at the same time.

    `episodes/<environment>/<seed>.json` holds a result, `identity.json` beside it what all results of that environment are
    results of, `videos/` the films.

    Args:
        path (`Path`): The folder; made when something is written.
    """

    path: Path

    def video_path(self, key: EpisodeKey) -> Path:
        """Where the film of an episode belongs."""
        return self.path / "videos" / key.environment / f"{key.seed:06d}.mp4"

    def write(self, result: EpisodeResult) -> None:
        """Keep a result; once this returns, a crash of any kind leaves it whole."""
        _write_json(self._episode_path(result.key), result.to_dict())

    def read(self, keys: Iterable[EpisodeKey]) -> dict[EpisodeKey, EpisodeResult]:
        """Results of those of the episodes that are finished.

        Raises:
            ValueError: If a file is not the result that its name promises.
        """
        return {key: self._read(key) for key in keys if self._episode_path(key).exists()}

    def identities(self, environments: Iterable[str]) -> dict[str, dict[str, Any]]:
        """What the results of each environment are results of."""
        return {name: _read_json(self._identity_path(name)) for name in environments}

    def claim(self, environment: str, identity: Mapping[str, Any]) -> None:
        """Say what the results to come are results of, before the first is written.

        Args:
            environment (`str`): Name of the environment.
            identity (`Mapping[str, Any]`): Whatever they depend on, JSON-able.

        Raises:
            ValueError: If the folder holds results of something else; the message names the first field that differs.
        """
        path, own = self._identity_path(environment), json.loads(json.dumps(identity))
        if not path.exists():
            _create_json(path, own)
        if difference := first_difference(_read_json(path), own):
            field, there, here = difference
            raise ValueError(
                f"{self.path} holds results of {environment} with another `{field}`: {_shown(there)} there, "
                f"{_shown(here)} here. Results are never mixed; write to another folder."
            )

    def remove_leftovers(self, environments: Iterable[str]) -> None:
        """Remove what killed processes had begun to write. Nobody may be writing results of these environments."""
        for name in environments:
            for folder in (self.path / EPISODES / name, self.path / "videos" / name):
                for leftover in folder.glob(TEMPORARY_NAMES):
                    leftover.unlink(missing_ok=True)

    def _read(self, key: EpisodeKey) -> EpisodeResult:
        path = self._episode_path(key)
        try:
            result = EpisodeResult.from_dict(_read_json(path))
        except ValueError as error:
            raise ValueError(
                f"{path} is no result of an episode ({error}); remove it to run the episode again."
            ) from error
        if result.key != key:
            raise ValueError(f"{path} holds the result of {result.key}; remove it to run the episode again.")
        return result

    def _episode_path(self, key: EpisodeKey) -> Path:
        return self.path / EPISODES / key.environment / f"{key.seed:06d}.json"

    def _identity_path(self, environment: str) -> Path:
        return self.path / EPISODES / environment / IDENTITY_NAME


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _write_json(path: Path, value: Any) -> None:
    with replacing(path) as temporary:
        _fill(temporary, value)


def _create_json(path: Path, value: Any) -> None:
    """Write a file that is not there yet; of several writers one wins and the others leave it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    try:
        _fill(temporary, value)
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        except OSError:  # no links here, as on some mounted drives: of two writers at once the later one wins
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _fill(path: Path, value: Any) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, ensure_ascii=False, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())

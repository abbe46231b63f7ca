"""Errors that a caller may want to catch. Everything else is a plain `ValueError` or `TypeError`."""

from collections.abc import Callable, Iterable
from functools import partial


class XWAMError(Exception):
    """Base of the errors below."""


class UnknownRobotError(XWAMError, ValueError):
    """A robot name that no spec carries.

    Args:
        name (`str`): What was asked for.
        known (`Iterable[str]`): Names that exist.
    """

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"There is no robot {name!r}; known robots are {sorted(known)}.")


class ObservationError(XWAMError, ValueError):
    """An observation that does not fit the robot: the message names the field, what was expected and what came."""


class DepthCalibrationError(XWAMError, ValueError):
    """Depth without a unit that cannot be brought to metres; the message says why.

    Args:
        reason (`str`): Why, as the end of a sentence.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The depth cannot be calibrated: {reason}.")


class CheckpointError(XWAMError, ValueError):
    """A checkpoint folder that must not or cannot be loaded; children say why."""


class UnsafeFileError(CheckpointError):
    """A file that could run code when it is loaded, or a path that leaves the folder."""


class CorruptFileError(CheckpointError):
    """A file whose bytes are not what they must be."""


class CheckpointConfigError(CheckpointError):
    """A configuration file with a value that no model can have."""


class CheckpointMismatchError(CheckpointError):
    """Tensors of a checkpoint and of the model differ.

    Args:
        where (`str`): What was being loaded.
        missing (`Iterable[str]`): Tensors that the model has and the checkpoint lacks.
        unexpected (`Iterable[str]`): Tensors that only the checkpoint has.
        misshapen (`Iterable[str]`): Tensors whose shape or dtype differs, each with both in words.
    """

    def __init__(
        self,
        where: str,
        *,
        missing: Iterable[str] = (),
        unexpected: Iterable[str] = (),
        misshapen: Iterable[str] = (),
    ) -> None:
        self.missing, self.unexpected, self.misshapen = sorted(missing), sorted(unexpected), sorted(misshapen)
        lines = [f"The tensors of {where} do not fit the model."]
        for kind in ("missing", "unexpected", "misshapen"):
            names = getattr(self, kind)
            if names:
                shown = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
                lines.append(f"{len(names)} {kind}: {shown}")
        super().__init__("\n".join(lines))


class DataError(XWAMError, ValueError):
    """Something in a data set that cannot be used: the message says where it is and what is wrong with it.

    Args:
        problem (`str`): What is wrong, as a sentence.
        dataset (`str`, *optional*): Name, folder or hub id.
        episode (`str`, *optional*): Key of the episode.
        feature (`str`, *optional*): Column or camera.
        path (`str`, *optional*): File.
        row (`int`, *optional*): Row or frame in the episode.
    """

    def __init__(
        self,
        problem: str,
        *,
        dataset: str | None = None,
        episode: str | None = None,
        feature: str | None = None,
        path: str | None = None,
        row: int | None = None,
    ) -> None:
        self.problem, self.dataset, self.episode, self.feature = problem, dataset, episode, feature
        self.path, self.row = path, row
        places = {"data set": dataset, "episode": episode, "feature": feature, "row": row, "file": path}
        where = ", ".join(f"{name} {value}" for name, value in places.items() if value is not None)
        super().__init__(f"{where}: {problem}" if where else problem)

    def __reduce__(self) -> tuple[Callable[[], "DataError"], tuple[()]]:
        """Errors travel from the workers of a loader to the process that trains."""
        places = {name: getattr(self, name) for name in ("dataset", "episode", "feature", "path", "row")}
        return partial(type(self), self.problem, **places), ()


class DamagedVideoError(DataError):
    """A video that cannot be decoded, or whose decoder had to invent pixels."""


class HubError(XWAMError, RuntimeError):
    """The hub gave no answer, or refused one. It is no `DataError`: nothing is wrong with the data, so no window is skipped."""


class TrainingError(XWAMError, RuntimeError):
    """Training that cannot go on or must not begin; the message says what to do."""

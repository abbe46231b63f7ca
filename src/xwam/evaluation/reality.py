"""What becomes of a dream: execute its commands, look at the same instants, and compare."""

from xwam.envs.base import Environment
from xwam.evaluation.comparison import Comparison
from xwam.evaluation.departure import where_commands_lead
from xwam.evaluation.future_errors import ErrorOptions, future_errors, still_errors
from xwam.futures.future import Future
from xwam.futures.reality import observed_future
from xwam.robots.observation_checks import check_observation
from xwam.robots.spec import RobotSpec
from xwam.structures import ActionChunk, Observation

CLOCK_TOLERANCE = 1e-6  # seconds


def act_out(
    environment: Environment, actions: ActionChunk, *, observation: Observation, robot: RobotSpec | None = None
) -> Future:
    """Execute commands in an environment and look where a dream has its frames.

    Args:
        environment (`Environment`): Where the observation was made; nothing has moved since.
        actions (`ActionChunk`): Commands, as many for each frame as the robot has `actions_per_frame`.
        observation (`Observation`): What was known before: frame 0.
        robot (`RobotSpec`, *optional*): The robot as the model knows it, with the size of its images; else the environment's.

    Returns:
        `Future`: What came, in the form of a dream.

    Raises:
        ObservationError: If the observation does not fit the robot.
        ValueError: If the commands are of another robot or number, or the environment has moved since; nothing moves then.
    """
    spec = environment.robot if robot is None else robot
    _check(environment, actions, observation, spec)
    seen = [observation]
    for number, command in enumerate(actions.commands, start=1):
        environment.step(command)
        if number % spec.actions_per_frame == 0:
            seen.append(environment.observe())
    return observed_future(spec, seen, actions)


def compare(dream: Future, reality: Future, options: ErrorOptions | None = None) -> Comparison:
    """Hold a dream against what came, on the cameras of the dream.

    Args:
        dream (`Future`): What was imagined.
        reality (`Future`): What came: `act_out`, `observed_future` or `clip_future`.
        options (`ErrorOptions`, *optional*): What to measure; everything by default.

    Raises:
        ValueError: If one of them is malformed, or they are not of one robot, size and time.
    """
    options = ErrorOptions() if options is None else options
    errors = future_errors(dream, reality, options)
    reality = reality.with_cameras(dream.cameras)
    spec = options.spec_of(reality)
    led = () if spec is None else where_commands_lead(spec, reality)
    return Comparison(dream, reality, errors, still_errors(dream, reality, options), led)


def _check(environment: Environment, actions: ActionChunk, observation: Observation, spec: RobotSpec) -> None:
    check_observation(spec, observation)
    for name, own in (("actions", actions.robot), ("robot", spec.name)):
        if own != environment.robot.name:
            raise ValueError(f"`{name}` must be of robot {environment.robot.name!r}, but is of {own!r}.")
    if len(actions.commands) == 0 or len(actions.commands) % spec.actions_per_frame:
        raise ValueError(
            f"`actions` must hold {spec.actions_per_frame} commands for each frame, but holds {len(actions.commands)}."
        )
    now = environment.observe(with_images=False).time
    if abs(now - observation.time) > CLOCK_TOLERANCE:
        raise ValueError(
            f"`observation` must be of now, {now:g} s on the environment's clock, but is of {observation.time:g} s."
        )

"""The border: NumPy in physical units at the robot, torch in the model's units inside, both ways in one class."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from diffusers.configuration_utils import ConfigMixin

from xwam.checkpoints.sources import NamedConfigMixin
from xwam.errors import CheckpointConfigError
from xwam.robots.actions import channels_to_commands, check_rows, commands_to_channels, read_commands
from xwam.robots.calibration import view_intrinsics, view_poses
from xwam.robots.clips import EncodedClip, encode_clip
from xwam.robots.images import CropBox, encode_depths, images_to_frames
from xwam.robots.integration import integrate_commands
from xwam.robots.observation_checks import check_observation, check_start, check_state
from xwam.robots.spec import RobotSpec
from xwam.robots.states import RobotState, channels_to_states, states_to_channels
from xwam.robots.vector_codec import VectorCodec
from xwam.structures import ActionChunk, ArmState, Clip, JointState, Observation


@dataclass(frozen=True, eq=False)
class EncodedObservation:
    """An observation in the model's units.

    Args:
        frames (`torch.Tensor` of shape `(V, 3, H, W)`): RGB in [-1, 1], float32.
        state (`torch.Tensor` of shape `(R,)`): Normalised robot state, float32.
        instruction (`str`): The task in words.
        depth_images (`torch.Tensor` of shape `(V, 3, H, W)`, *optional*): Measured inverse depth in [-1, 1], 1 near;
            `None` unless every camera of the robot measures depth and the observation brings it.
        depth_mask (`torch.Tensor` of shape `(V, H, W)`, *optional*): True where depth was measured within its range;
            `None` for an observation without depth.
    """

    frames: torch.Tensor
    state: torch.Tensor
    instruction: str
    depth_images: torch.Tensor | None = None
    depth_mask: torch.Tensor | None = None


class RobotProcessor(NamedConfigMixin, ConfigMixin):
    """Everything that turns a robot's data into the model's and back; saved beside the weights.

    Args:
        spec (`RobotSpec` or `Mapping`): The robot, or what `RobotSpec.to_dict` gave.

    Raises:
        ValueError: If the spec is not valid.
    """

    config_name: str = "robot_processor_config.json"  # type: ignore[assignment]

    def __init__(self, spec: RobotSpec | Mapping[str, Any]) -> None:
        self.spec = spec if isinstance(spec, RobotSpec) else RobotSpec.from_dict(spec)
        self.register_to_config(spec=self.spec.to_dict())

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike, subfolder: str | None = None, **kwargs: Any
    ) -> Self:
        """Load from this package, from a folder or from the Hub.

        Args:
            pretrained_model_name_or_path (`str` or `os.PathLike`): Folder, Hub id or `"embedded"`, as for a pipeline.
            subfolder (`str`, *optional*): Folder inside it, such as `"robot_processor"`.
            kwargs (`Any`): Passed to `ConfigMixin.load_config`, such as `revision` and `token`.

        Raises:
            CheckpointError: If `"embedded"` is asked for and this installation lacks the packaged weights.
            CheckpointConfigError: If the file holds anything but a valid robot.
        """
        config = cls.load_config(pretrained_model_name_or_path, subfolder=subfolder, **kwargs)
        assert isinstance(config, dict), "no further values were asked for"
        public = sorted(name for name in config if not name.startswith("_"))
        kind = config.get("_class_name", cls.__name__)
        if public != ["spec"] or kind != cls.__name__:
            raise CheckpointConfigError(
                f"`{cls.config_name}` must hold the field `spec` of a {cls.__name__}, but holds {public} of a {kind}."
            )
        try:
            return cls(config["spec"])
        except ValueError as error:
            raise CheckpointConfigError(f"`{cls.config_name}`: {error}") from error

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs: Any) -> None:
        """Write `robot_processor_config.json`.

        Args:
            save_directory (`str` or `os.PathLike`): Folder, made where it does not exist.
            push_to_hub (`bool`, *optional*, defaults to `False`): Whether to upload it afterwards.
            kwargs (`Any`): Passed to `ConfigMixin.save_config`.
        """
        self.save_config(save_directory, push_to_hub=push_to_hub, **kwargs)

    @property
    def num_views(self) -> int:
        """Camera views V."""
        return len(self.spec.cameras)

    @property
    def image_size(self) -> tuple[int, int]:
        """Size (H, W) of the model's images."""
        return self.spec.image_size

    @property
    def state_dim(self) -> int:
        """Channels R of a state vector."""
        return self.spec.state_dim

    @property
    def action_dim(self) -> int:
        """Channels A of an action vector."""
        return self.spec.action_dim

    @property
    def num_frames(self) -> int:
        """RGB frames F of a window."""
        return self.spec.num_frames

    @property
    def num_actions(self) -> int:
        """Actions K of a chunk."""
        return self.spec.num_actions

    @property
    def state_mask(self) -> torch.Tensor:
        """`(R,)`, float32: 1 where the robot has that state channel."""
        return torch.from_numpy(self.spec.state_layout.mask)

    @property
    def action_mask(self) -> torch.Tensor:
        """`(A,)`, float32: 1 where the robot has that action channel."""
        return torch.from_numpy(self.spec.action_layout.mask)

    def check_observation(self, observation: Observation) -> None:
        """Check that an observation fits the robot.

        Raises:
            ObservationError: On the first field that does not, with its name, what was expected and what came.
        """
        check_observation(self.spec, observation)

    def encode_observation(self, observation: Observation) -> EncodedObservation:
        """Check an observation and put it into the model's units.

        Raises:
            ObservationError: If it does not fit the robot.
            ValueError: If the robot's quantiles or frames are unknown.
        """
        self.check_observation(observation)
        state = self.encode_states([_robot_state(observation)])[0]
        images = [observation.images[camera.name] for camera in self.spec.cameras]
        depth_images, depth_mask = encode_depths(self.spec, observation.depths)
        return EncodedObservation(
            frames=images_to_frames(images, self.spec.image_size, self.spec.crop_ratio),
            state=state,
            instruction=observation.instruction,
            depth_images=depth_images,
            depth_mask=depth_mask,
        )

    def encode_clip(self, clip: Clip, *, boxes: Sequence[CropBox] | None = None) -> EncodedClip:
        """A window of a recording in the model's units, by the same walk as an observation.

        Args:
            clip (`Clip`): The window.
            boxes (`Sequence[tuple[int, int, int, int]]`, *optional*): Crop of each view, rows and columns
                `(top, left, height, width)` in pixels of the model's image; the centre crop by default, as at inference.

        Raises:
            DataError: If a number that should be valid is not finite, or no unit quaternion.
            ValueError: If the clip is of another robot or has another form, or the spec lacks what is needed.
        """
        return encode_clip(self.spec, clip, boxes)

    def encode_states(self, states: Sequence[RobotState], dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Normalised states `(S, R)`; slots that the robot does not fill are zero.

        Args:
            states (`Sequence[Mapping[str, ArmState | JointState]]`): State of every arm, at S instants.
            dtype (`torch.dtype`, *optional*, defaults to `torch.float32`): Of the result; the work is done in float64.

        Raises:
            ObservationError: If a state does not fit the robot.
            ValueError: If there is no state, or the robot's quantiles or frames are unknown.
        """
        if len(states) == 0:
            raise ValueError("`states` must hold at least one state, but is empty.")
        for index, state in enumerate(states):
            check_state(self.spec, f"states[{index}]", state)
        return self._encode_states(states, dtype)

    def _encode_states(self, states: Sequence[RobotState], dtype: torch.dtype) -> torch.Tensor:
        codec = VectorCodec.of_states(self.spec)
        return codec.encode(states_to_channels(self.spec, states)).to(dtype)

    def decode_states(self, states: torch.Tensor) -> list[dict[str, ArmState | JointState]]:
        """Inverse of `encode_states`, in the robot's frames; quaternions come back canonical.

        Args:
            states (`torch.Tensor` of shape `(S, R)`): Normalised states.

        Raises:
            ValueError: If the shape is another, a number is not finite, or quantiles or frames are unknown.
        """
        check_rows("states", states, f"S {self.state_dim}")
        channels = VectorCodec.of_states(self.spec).decode(states.detach().cpu())
        return channels_to_states(self.spec, channels)

    def encode_actions(
        self,
        commands: np.ndarray | ActionChunk,
        observation: Observation,
        dtype: torch.dtype = torch.float32,
    ) -> torch.Tensor:
        """Normalised actions `(K, A)`; slots that the robot does not fill are zero.

        Args:
            commands (`np.ndarray` of shape `(K, columns)`, or `ActionChunk`): Commands, columns as in
                `RobotSpec.command_columns`.
            observation (`Observation`): Where absolute poses start from.
            dtype (`torch.dtype`, *optional*, defaults to `torch.float32`): Of the result; the work is done in float64.

        Raises:
            ObservationError: If the observation is of another robot or its arms do not fit.
            ValueError: If the commands do not fit, or the spec lacks what is needed.
        """
        self._require("encode actions")
        values, start = read_commands(self.spec, commands), self._start(observation)
        channels = commands_to_channels(self.spec, values, start)
        return VectorCodec.of_actions(self.spec).encode(channels).to(dtype)

    def decode_actions(self, actions: torch.Tensor, observation: Observation) -> ActionChunk:
        """Inverse of `encode_actions`: commands in the robot's own units.

        Args:
            actions (`torch.Tensor` of shape `(K, A)`): Normalised actions.
            observation (`Observation`): Where absolute poses start from, and when.

        Raises:
            ObservationError: If the observation is of another robot or its arms do not fit.
            ValueError: If the shape is another, a number is not finite, or the spec lacks what is needed.
        """
        self._require("decode actions", "control_period")
        check_rows("actions", actions, f"K {self.action_dim}")
        start = self._start(observation)
        channels = VectorCodec.of_actions(self.spec).decode(actions.detach().cpu())
        return ActionChunk(
            robot=self.spec.name,
            commands=channels_to_commands(self.spec, channels, start).numpy(),
            columns=self.spec.command_columns,
            period=float(self.spec.control_period or 0),
            start_time=float(observation.time),
        )

    def integrate_states(
        self,
        commands: np.ndarray | ActionChunk,
        observation: Observation,
        dtype: torch.dtype = torch.float32,
    ) -> torch.Tensor:
        """Normalised states `(S, R)` at the frames: the first is now, frame f comes after f · `actions_per_frame` commands.

        Args:
            commands (`np.ndarray` of shape `(K, columns)`, or `ActionChunk`): Commands for whole frames.
            observation (`Observation`): Where the robot starts.
            dtype (`torch.dtype`, *optional*, defaults to `torch.float32`): Of the result; the work is done in float64.

        Raises:
            ObservationError: If the observation is of another robot or its arms do not fit.
            ValueError: If the commands do not fit or cannot be integrated, such as raw ones without a `raw_scale`.
        """
        self._require("integrate states")
        values, start = read_commands(self.spec, commands), self._start(observation)
        step = self.spec.actions_per_frame
        if len(values) % step:
            raise ValueError(
                f"`commands` must be a multiple of {step}, the commands per frame, but are {len(values)}."
            )
        future = integrate_commands(self.spec, values, start)
        return self._encode_states([start, *future[step - 1 :: step]], dtype)

    def view_intrinsics(self, observation: Observation) -> torch.Tensor:
        """Camera matrices `(V, 3, 3)` of the model's images; see `xwam.robots.calibration`."""
        return view_intrinsics(self.spec, observation)

    def view_poses(self, observation: Observation, states: Sequence[RobotState]) -> torch.Tensor:
        """Camera poses `base_from_camera` `(S, V, 4, 4)` at each state; see `xwam.robots.calibration`."""
        return view_poses(self.spec, observation, states)

    def _require(self, purpose: str, *more: str) -> None:
        self.spec.require("command_kind", "model_from_base", "quantiles", "arms", *more, purpose=purpose)

    def _start(self, observation: Observation) -> RobotState:
        check_start(self.spec, observation)
        return _robot_state(observation)


def _robot_state(observation: Observation) -> RobotState:
    return {**observation.arms, **observation.joints}

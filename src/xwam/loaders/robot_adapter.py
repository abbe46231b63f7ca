"""Robots as adapters of one base: new, loaded, chosen, unloaded, merged. See docs/how_to/fine_tune_with_lora.md."""

import re
import warnings
from pathlib import Path
from typing import Any

from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

from xwam.checkpoints.hub import fetch_snapshot
from xwam.checkpoints.verification import verify_component
from xwam.loaders.base_identity import BaseIdentity
from xwam.loaders.lora_config import lora_config_fields
from xwam.loaders.robot_files import RobotAdapter, read_robot_adapter
from xwam.loaders.robot_fit import dimensions, fitting_embodiment, fitting_layers
from xwam.loaders.robot_state import (
    Robot,
    Robots,
    active_adapters,
    check_can_switch,
    check_one_robot,
    is_quantized,
    remove_lora,
    restore,
    robots_of,
    switch,
)
from xwam.models.embodiment import new_embodiment
from xwam.models.transformer_xwam import XWAMTransformer3DModel
from xwam.robots.processor import RobotProcessor
from xwam.robots.spec import RobotSpec
from xwam.utils.random_weights import seeded_weights


class XWAMRobotMixin:
    """Several robots on one base: each brings a `RobotSpec`, networks for its actions, states and views, and LoRA layers.

    Pipelines that share a transformer share its robots. Goes before `XWAMLoraLoaderMixin` among the bases of a pipeline.
    """

    transformer: XWAMTransformer3DModel
    robot_processor: RobotProcessor

    @property
    def robots(self) -> list[str]:
        """Names of the robots that are loaded beside that of the base."""
        robots = robots_of(self.transformer)
        return [] if robots is None else list(robots.loaded)

    @property
    def active_robot(self) -> str | None:
        """Name of the robot that the transformer is now; `None` for that of the base."""
        robots = robots_of(self.transformer)
        return None if robots is None else robots.active

    def add_robot(self, robot: RobotSpec, lora: LoraConfig, *, adapter_name: str | None = None, seed: int = 0) -> str:
        r"""Put a new, untrained robot on the base and make it the active one.

        Its networks start as \(N(0, 0.02^2)\), its LoRA as nothing. `xwam.training.lora.prepare_lora` calls this and sets what
        is trained.

        Args:
            robot (`RobotSpec`): The robot; its dimensions, cameras and window may differ from those of the base.
            lora (`peft.LoraConfig`): Which layers are adapted, and how.
            adapter_name (`str`, *optional*): Name to select it by; that of the robot where not given.
            seed (`int`, *optional*, defaults to `0`): Seed of the start values; the caller's random state is left alone.

        Returns:
            `str`: The adapter name.

        Raises:
            ValueError: If the name is taken, the robot does not fit the base or the configuration adapts no layer; nothing has
                changed then.
        """
        name = self._free_name(adapter_name, robot)
        processor = RobotProcessor(robot)
        self._check_new_robot(robot)
        lora_config_fields(lora.to_dict())
        embodiment = new_embodiment(self.transformer, **dimensions(robot), seed=seed)

        def add() -> None:
            with seeded_weights(seed):
                self.transformer.add_adapter(lora, adapter_name=name)

        self._install(name, Robot(processor, embodiment), add)
        return name

    def load_robot(
        self,
        pretrained_robot_name_or_path: str | Path,
        adapter_name: str | None = None,
        *,
        allow_other_base: bool = False,
        verify_hashes: bool = True,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
    ) -> str:
        """Load a robot onto the base, from a folder or from the Hugging Face Hub, and make it the active one.

        Everything is checked before anything changes. Without an interleaved depth branch (`load_depth=False`) the LoRA of
        the depth branch is left out.

        Args:
            pretrained_robot_name_or_path (`str` or `Path`): Folder that `save_robot` wrote, or hub id.
            adapter_name (`str`, *optional*): Name to select it by; that of the robot where not given.
            allow_other_base (`bool`, *optional*, defaults to `False`): Load it onto a base of the same size whose weights are
                not those that it was trained on.
            verify_hashes (`bool`, *optional*, defaults to `True`): Compare the hash of every file, else only its size.
            revision (`str`, *optional*): Branch, tag or commit on the hub.
            token (`str` or `bool`, *optional*): Access token of the hub.
            cache_dir (`str` or `Path`, *optional*): Download cache.
            local_files_only (`bool`, *optional*, defaults to `False`): Use what has been downloaded.

        Returns:
            `str`: The adapter name.

        Raises:
            CheckpointError: If the files must not or cannot be loaded, or belong to another base.
            CheckpointMismatchError: If a tensor is missing, unexpected or misshapen.
            ValueError: If the name is taken or the robot does not fit the pipeline.
        """
        folder = Path(pretrained_robot_name_or_path)
        if folder.is_dir():
            verify_component(folder, hashes=verify_hashes)
        else:
            folder = fetch_snapshot(
                str(pretrained_robot_name_or_path), revision=revision, token=token, cache_dir=cache_dir,
                local_files_only=local_files_only, hashes=verify_hashes,
            )  # fmt: skip
        adapter = read_robot_adapter(folder)
        robot = adapter.processor.spec
        name = self._free_name(adapter_name, robot)
        self._check_new_robot(robot)
        adapter.base.check(self.transformer, folder, weights=not allow_other_base)
        lora, config = fitting_layers(adapter, self.transformer, folder)
        embodiment = fitting_embodiment(adapter, self.transformer, folder)

        def add() -> None:
            self.transformer.load_lora_adapter(lora, prefix=None, adapter_name=name, metadata=config, _pipeline=self)

        self._install(name, Robot(adapter.processor, embodiment), add)
        return name

    def set_robot(self, adapter_name: str | None) -> None:
        """Make another robot the active one: LoRA, networks and the border change together.

        Args:
            adapter_name (`str` or `None`): Name of a loaded robot; `None` for the base's own, which then answers exactly as
                before any was loaded.

        Raises:
            ValueError: If there is no such robot, or its parts cannot be exchanged now.
        """
        robots = self._robots()
        robot = robots.get(adapter_name)
        check_can_switch(self.transformer)
        switch(self.transformer, robots, adapter_name)
        self.register_modules(robot_processor=robot.processor)  # type: ignore[attr-defined]

    def unload_robot(self, adapter_name: str | None = None) -> None:
        """Take a robot off the base again; without a name, all of them.

        Args:
            adapter_name (`str`, *optional*): Name of a loaded robot.

        Raises:
            ValueError: If there is no such robot, or its parts cannot be exchanged now.
        """
        robots = self._robots()
        robots.get(adapter_name)
        names = list(robots.loaded) if adapter_name is None else [adapter_name]
        if robots.active in names:
            self.set_robot(None)
        for name in names:
            del robots.loaded[name]
            remove_lora(self.transformer, name)

    def merge_robot(self) -> None:
        """Make the active robot that of the base, for good: LoRA is added into the weights, the base's own robot is gone.

        What remains is a plain pipeline that can be saved. A float32 base answers as before up to rounding.

        Raises:
            ValueError: If no robot is active, other adapters are loaded or the base is quantized.
        """
        robots = self._robots()
        if robots.active is None:
            raise ValueError(f"No robot is active; choose one with `set_robot`. Loaded are {sorted(robots.loaded)}.")
        others = sorted(set(self.transformer.peft_config) - {robots.active})
        if others:
            raise ValueError(f"Unload the other adapters before merging {robots.active!r}: {others}.")
        if is_quantized(self.transformer):
            raise ValueError(
                "A quantized base cannot take LoRA into its weights; load the robot onto the full base to merge."
            )
        check_can_switch(self.transformer)
        self._check_robot()
        robot = robots.current
        self.transformer.fuse_lora(adapter_names=[robots.active], safe_fusing=True)
        self.transformer.unload_lora()
        for name, module in robot.embodiment.modules.items():
            module.to(self.transformer._storage_dtype(name, self.transformer.dtype))
        robots.loaded.clear()
        robots.base, robots.active = robot, None

    def robot_adapter(self, adapter_name: str | None = None) -> RobotAdapter:
        """Everything about one loaded robot, as its folder holds it.

        Args:
            adapter_name (`str`, *optional*): Its name; the active one where not given.

        Raises:
            ValueError: If there is no such robot, or none is active.
        """
        robots = self._robots()
        name = adapter_name or robots.active
        if name is None:
            raise ValueError(f"No robot is active; give the name of one. Loaded are {sorted(robots.loaded)}.")
        robot = robots.get(name)
        return RobotAdapter(
            processor=robot.processor,
            lora=get_peft_model_state_dict(self.transformer, adapter_name=name, save_embedding_layers=False),
            lora_config=lora_config_fields(self.transformer.peft_config[name].to_dict()),
            embodiment=robot.embodiment.state_dict(),
            base=BaseIdentity.of(self.transformer),
        )

    def unload_lora_weights(self) -> None:
        """Take all LoRA adapters out, as diffusers does.

        Raises:
            ValueError: If robots are loaded, whose networks would stay behind.
        """
        if self.robots:
            raise ValueError(f"The robots {self.robots} have LoRA adapters of their own. Call `unload_robot()` first.")
        super().unload_lora_weights()  # type: ignore[misc]

    def delete_adapters(self, adapter_names: list[str] | str) -> None:
        """Take LoRA adapters out, as diffusers does.

        Args:
            adapter_names (`list[str]` or `str`): Names of adapters that belong to no robot.

        Raises:
            ValueError: If one of them belongs to a robot.
        """
        names = [adapter_names] if isinstance(adapter_names, str) else adapter_names
        if owned := sorted(set(names) & set(self.robots)):
            raise ValueError(f"{owned} belong to robots. Call `unload_robot({owned[0]!r})` instead.")
        super().delete_adapters(adapter_names)  # type: ignore[misc]

    def _robots(self) -> Robots:
        robots = robots_of(self.transformer, self.robot_processor)
        assert robots is not None, "a processor was given"
        return robots

    def _free_name(self, name: str | None, robot: RobotSpec) -> str:
        """The name of a new adapter, once it can be one."""
        name = name or re.sub(r"[^\w-]", "_", robot.name)
        if not re.fullmatch(r"[\w-]+", name):
            raise ValueError(f"`adapter_name` must be of letters, digits, `_` and `-`, but is {name!r}.")
        taken = sorted({*getattr(self.transformer, "peft_config", {}), *self.robots})
        if name in taken:
            raise ValueError(f"The adapter name {name!r} is taken; taken are {taken}.")
        return name

    def _check_new_robot(self, robot: RobotSpec) -> None:
        check_can_switch(self.transformer)
        self._check_robot()
        self._check_robot_sizes(robot)

    def _check_robot_sizes(self, robot: RobotSpec) -> None:
        """For pipelines: compare the robot with the other components."""

    def _install(self, name: str, robot: Robot, add_lora: Any) -> None:
        """Add LoRA layers and choose the robot; whatever fails, the pipeline is as before."""
        robots = self._robots()
        before = active_adapters(self.transformer)
        flags = {parameter: parameter.requires_grad for parameter in self.transformer.parameters()}
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Already found a `peft_config`", UserWarning)
                add_lora()
        except BaseException:
            remove_lora(self.transformer, name)
            restore(self.transformer, before, flags)
            raise
        restore(self.transformer, before, flags)
        robots.loaded[name] = robot
        robots.known.append(robot.processor)
        self.set_robot(name)

    def _check_robot(self) -> None:
        check_one_robot(self.transformer, self.robot_processor)

"""Whether a `DatasetMap` fits a robot and a data set: every reason why not, before anything is read."""

from collections.abc import Iterator, Mapping

from xwam.data.dataset_map import ArmMap, CameraMap, Columns, DatasetMap, StoredFeature
from xwam.data.readers.rotation_forms import WIDTHS
from xwam.robots.spec import RobotSpec

_CAMERA_WIDTHS = {"image": None, "depth": None, "base_from_camera": 16, "intrinsics": 9}  # `None` for pictures


def fit_problems(dataset_map: DatasetMap, robot: RobotSpec, features: Mapping[str, StoredFeature]) -> Iterator[str]:
    """What of a map does not fit a robot and a data set.

    Args:
        dataset_map (`DatasetMap`): The map.
        robot (`RobotSpec`): The robot.
        features (`Mapping[str, StoredFeature]`): The data set's features.
    """
    yield from _name_problems(dataset_map, robot)
    yield from _feature_problems(dataset_map, features)
    for arm in (*dataset_map.states, *dataset_map.commands):
        for part, columns in arm.parts.items():
            if columns.feature in features:
                yield from _place_problems(arm, part, columns, features[columns.feature])
    for camera in dataset_map.cameras:
        yield from _camera_problems(camera, features)
    yield from _kind_problems(dataset_map, robot)
    yield from _gripper_problems(dataset_map, robot)


def _name_problems(dataset_map: DatasetMap, robot: RobotSpec) -> Iterator[str]:
    for field, known in (("states", robot.arms), ("commands", robot.arms), ("cameras", robot.cameras)):
        names = [entry.name for entry in known]
        for entry in getattr(dataset_map, field):
            if entry.name not in names:
                yield f"`{field}` names {entry.name!r}, but robot {robot.name!r} has {names}"


def _feature_problems(dataset_map: DatasetMap, features: Mapping[str, StoredFeature]) -> Iterator[str]:
    arms = (*dataset_map.states, *dataset_map.commands)
    named = [columns.feature for arm in arms for columns in arm.parts.values()]
    named += [feature for camera in dataset_map.cameras for feature in camera.features]
    if missing := [feature for feature in dict.fromkeys(named) if feature not in features]:
        yield f"features {missing} are missing; the data set has {sorted(features)}"
    instructions = dataset_map.instructions
    if instructions and not set(instructions) & features.keys():
        yield f"none of the instructions {list(instructions)} is there; the data set has {sorted(features)}"


def _place_problems(arm: ArmMap, part: str, columns: Columns, stored: StoredFeature) -> Iterator[str]:
    try:
        count = len(columns.places(stored))
    except ValueError as error:
        yield f"{part} of arm {arm.name!r}: feature {columns.feature!r} has {error}"
        return
    width = {"position": 3, "rotation": WIDTHS[arm.rotation_form], "gripper": 1}.get(part, count)
    if count != width:
        yield f"{part} of arm {arm.name!r} needs {width} numbers, but the map takes {count} of {columns.feature!r}"


def _camera_problems(camera: CameraMap, features: Mapping[str, StoredFeature]) -> Iterator[str]:
    if camera.image is None and camera.depth is not None:
        yield f"camera {camera.name!r} has depth, but no `image`"
    for field, width in _CAMERA_WIDTHS.items():
        feature = getattr(camera, field)
        if feature in features and features[feature].width != width:
            found = features[feature].width
            needs = "pictures" if width is None else f"{width} numbers"
            has = "none" if found is None else f"{found} numbers"
            yield f"`{field}` of camera {camera.name!r} needs {needs}, but feature {feature!r} has {has}"


def _kind_problems(dataset_map: DatasetMap, robot: RobotSpec) -> Iterator[str]:
    kind = robot.command_kind
    specs = {arm.name: arm for arm in robot.arms}
    for field, arms in (("state", dataset_map.states), ("command", dataset_map.commands)):
        for arm in arms:
            spec = specs.get(arm.name)
            is_other = spec is not None and (spec.num_joints is None) != (arm.joints is None)
            if spec is not None and is_other and arm.parts.keys() - {"gripper"}:
                wanted = "`position` and `rotation`" if spec.num_joints is None else "`joints`"
                yield f"the {field} of arm {arm.name!r} must have {wanted}, but has {sorted(arm.parts)}"
            if field == "command" and arm.rotation and (arm.rotation_form == "as_stored") != (kind == "raw"):
                yield (
                    f"the rotation of commands to arm {arm.name!r} must be 'as_stored' for raw commands and for no "
                    f"others, but is {arm.rotation_form!r} for {kind!r}"
                )
    if dataset_map.next_state_is_command and kind not in ("absolute_end_effector", "joint_position"):
        yield f"the next state cannot be the command of robot {robot.name!r}, whose commands are {kind!r}"


def _gripper_problems(dataset_map: DatasetMap, robot: RobotSpec) -> Iterator[str]:
    """Commands of grippers that cannot be written in the robot's own convention."""
    unknown = {arm.name for arm in robot.arms if arm.gripper is None}
    measured = {arm.name for arm in dataset_map.states if arm.gripper is not None}
    is_change = robot.command_kind == "delta_end_effector" and not dataset_map.gripper_is_delta
    commands = [arm for arm in dataset_map.commands if arm.gripper is not None]
    for arm in commands if is_change else ():
        if arm.name not in measured:
            yield f"the change of the opening of arm {arm.name!r} needs its state, which has no gripper"
    turned = [arm for arm in commands if is_change or (arm.gripper_closed, arm.gripper_open) != (0, 1)]
    for arm in [*turned, *(dataset_map.states if dataset_map.next_state_is_command else ())]:
        if arm.gripper is not None and arm.name in unknown:
            yield (
                f"commands to the gripper of arm {arm.name!r} cannot be written, since the robot {robot.name!r} leaves open "
                "how; give its `GripperSpec` with `dataclasses.replace`"
            )

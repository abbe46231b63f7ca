"""All RoboCasa tasks through the adapter on RoboCasa's own code, with stand-ins for the assets that it would download.

Every mesh that is missing becomes a cube of 10 cm, every texture one colour, every object a cube of 6 cm. Kitchens are then
RoboCasa's in layout, fixtures, joints, robot, controller, cameras, words and success tests, and nonsense to the eye: the table says
that the adapter fits the code, and nothing about success rates. It runs in the environment of docs/simulators/robocasa.md.

Usage:
    python benchmarks/robocasa_without_assets.py third_party/robocasa --pictures pictures
"""

import argparse
import ast
import itertools
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from xwam.envs.robocasa import RoboCasaEnvironment
from xwam.envs.robocasa_frames import matrix_from_quaternion
from xwam.envs.robocasa_tasks import CAMERAS, STATIC_CAMERAS, TASKS
from xwam.robots.camera_formats import OPENCV_FROM_OPENGL, pose_matrix
from xwam.robots.observation_checks import check_observation
from xwam.structures import Observation

EE_TO_CAM = np.array([[-1.0, 0, 0, 0], [0, 1, 0, 0.05], [0, 0, -1, -0.097], [0, 0, 0, 1]])
NUM_COMMANDS = 10
INSTANCES = range(60, 70)  # numbers that RoboCasa's lists of excluded instances do not hold
FACES = "1 2 4,1 4 3,5 7 8,5 8 6,1 5 6,1 6 2,3 4 8,3 8 7,1 3 7,1 7 5,2 6 8,2 8 4"
CORNERS = "".join(f"v {x} {y} {z}\n" for x, y, z in itertools.product((-0.05, 0.05), repeat=3))
CUBE = CORNERS + "".join(f"f {face}\n" for face in FACES.split(","))
SITE = '<site name="{}" pos="{}" size=".005" rgba="0 0 0 0"/>'
SITES = "".join(
    SITE.format(*site)
    for site in (("bottom_site", "0 0 -.03"), ("top_site", "0 0 .03"), ("horizontal_radius_site", ".03 .03 0"))
)
OBJECT = f"""<mujoco><asset/><worldbody><body><body name="object">
<geom name="shape" type="box" size=".03 .03 .03" group="0" rgba="0 0 0 0"/>
<geom name="look" type="box" size=".03 .03 .03" group="1" contype="0" conaffinity="0" rgba=".9 .5 .1 1"/>
</body>{SITES}</body></worldbody></mujoco>
"""


def wanted_files(code: Path) -> Iterator[Path]:
    """Meshes and textures that RoboCasa's files name, wherever it may look for them."""
    assets = code / "models" / "assets"
    for file in assets.rglob("*.xml"):
        yield from (file.parent / name for name in re.findall(r'file="([^"]+)"', file.read_text()))
    for file in [*assets.rglob("*.y*ml"), *code.rglob("*.py")]:
        for name in re.findall(r"[\w/.\-]+\.(?:png|obj)", file.read_text()):
            yield from (assets / name.lstrip("/"), assets / "textures" / name.lstrip("/"))


def object_folders(code: Path) -> set[str]:
    """Folders below `assets/objects` that RoboCasa's catalogue names."""
    catalogue = (code / "models" / "objects" / "kitchen_objects.py").read_text()
    folders = set(re.findall(r'"(objaverse/\w+)"', catalogue))
    for call in (node for node in ast.walk(ast.parse(catalogue)) if isinstance(node, ast.Call)):
        folders |= {f"objaverse/{word.arg}" for word in call.keywords if word.arg and isinstance(word.value, ast.Call)}
    return folders


def write_stand_ins(code: Path) -> int:
    """Write whatever is missing; real assets are left alone."""
    files = {file.resolve() for file in wanted_files(code)}
    missing = sorted(file for file in files if not file.exists() and file.is_relative_to(code.resolve()))
    for file in missing:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".obj":
            file.write_text(CUBE)
        else:
            shade = np.random.default_rng(zlib.crc32(file.name.encode())).integers(60, 230, 3, dtype=np.uint8)
            Image.fromarray(np.full((16, 16, 3), shade)).save(file)
    for folder in object_folders(code):
        for instance in INSTANCES:
            model = code / "models/assets/objects" / folder / f"{folder.partition('/')[2]}_{instance}" / "model.xml"
            model.parent.mkdir(parents=True, exist_ok=True)
            model.write_text(OBJECT)
    return len(missing)


def hand_eye_error(observation: Observation) -> float:
    """Largest difference between the wrist camera and where the release's matrix puts it."""
    arm = observation.arms["left"]
    expected = pose_matrix(arm.position, matrix_from_quaternion(arm.quaternion)) @ EE_TO_CAM @ OPENCV_FROM_OPENGL
    return float(np.abs(expected - observation.cameras[CAMERAS[2]].base_from_camera).max())


def static_error(observation: Observation) -> float:
    """Largest difference between the static cameras and RoboCasa's configuration."""
    errors = []
    for name, (position, quaternion) in STATIC_CAMERAS.items():
        unit = np.array(quaternion) / np.linalg.norm(quaternion)
        expected = pose_matrix(np.array(position), matrix_from_quaternion(unit)) @ OPENCV_FROM_OPENGL
        errors.append(np.abs(expected - observation.cameras[name].base_from_camera).max())
    return float(max(errors))


def drive(task: str, pictures: Path | None) -> str:
    """One row of the table: random commands in one kitchen."""
    generator, errors = np.random.default_rng(0), []
    with RoboCasaEnvironment(task, with_depth=True) as environment:
        first = last = environment.reset(0)
        check_observation(environment.robot, first)
        for _ in range(NUM_COMMANDS):
            result = environment.step(generator.uniform(-1, 1, 7))
            last = environment.observe(with_images=False)
            errors.append(hand_eye_error(last))
        if pictures is not None:
            pictures.mkdir(parents=True, exist_ok=True)
            row = np.hstack([environment.observe().images[name] for name in CAMERAS])
            Image.fromarray(row).save(pictures / f"{task}.png")
        drift = max(
            float(np.abs((last.cameras[name].base_from_camera - first.cameras[name].base_from_camera)[:3, 3]).max())
            for name in STATIC_CAMERAS
        )
    return (
        f"| {task} | {first.instruction} | {max(errors):.0e} | {static_error(first):.0e} | {1e3 * drift:.2f} | "
        f"{result.is_success} |"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the stand-ins and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="RoboCasa's repository; stand-ins are written into it")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--pictures", type=Path, help="folder for one picture per task")
    given = parser.parse_args(arguments)
    print(f"{write_stand_ins(given.checkout / 'robocasa')} stand-ins written\n")
    print("| task | instruction, seed 0 | hand-eye error, m | static cameras, m | base moved, mm | success |")
    print("| --- | --- | --- | --- | --- | --- |")
    for task in given.tasks:
        print(drive(task, given.pictures), flush=True)


if __name__ == "__main__":
    main()

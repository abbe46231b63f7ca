"""The shape of the code base itself: who imports whom, and what must stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "xwam"
FILES = sorted(path for path in SOURCE.rglob("*.py") if path.parent != SOURCE or path.name != "__init__.py")

# A package may import from packages on the lines above its own, never from its own line or below.
LAYERS = (
    {"errors", "utils"},
    {"structures", "geometry", "checkpoints"},
    {"robots"},
    {"futures"},
    {"models", "metrics", "export", "envs", "data"},
    {"schedulers"},
    {"loaders"},
    {"pipelines"},
    {"training", "policies"},
    {"recording"},
    {"evaluation"},
    {"commands"},
    {"__main__"},
    {"_diffusers_integration"},
)
HEIGHT = {package: height for height, layer in enumerate(LAYERS) for package in layer}

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))


def _imported_modules(tree: ast.Module) -> set[str]:
    """Modules of xwam imported anywhere in a file, also inside functions."""
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level <= 1, "a relative import stays inside its own package"
            assert node.module != "xwam", "inside the library, import from the module that defines the name"
            modules |= {node.module} if node.level == 0 else set()
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
    return {module for module in modules if module.startswith("xwam.")}


@each_file
def test_imports_point_downwards(path: Path):
    own = path.relative_to(SOURCE).with_suffix("").parts[0]
    for module in _imported_modules(ast.parse(path.read_text(encoding="utf-8"))):
        other = module.split(".")[1]
        assert other == own or HEIGHT[other] < HEIGHT[own], f"{own} must not import {other}"


def test_every_package_has_a_layer():
    packages = {path.relative_to(SOURCE).with_suffix("").parts[0] for path in FILES}
    assert packages == set(HEIGHT)


def _loads(modules: list[str], unwanted: str) -> bool:
    code = f"import sys, {', '.join(modules)}; sys.exit({unwanted!r} in sys.modules)"
    return subprocess.run([sys.executable, "-c", code], check=False).returncode != 0


def test_the_robot_side_needs_no_torch():
    modules = [
        "xwam",
        "xwam.structures",
        "xwam.robots.spec",
        "xwam.robots.registry",
        "xwam.checkpoints.verification",
        "xwam.envs.base",
        "xwam.envs.mujoco_world",
        "xwam.envs.recorded",
        "xwam.envs.robocasa",
        "xwam.envs.robotwin",
        "xwam.data.readers.open",
        "xwam.data.writers.lerobot_writer",
        "xwam.recording.demonstrations",
        "xwam.evaluation.runner",
        "xwam.commands.evaluate",
        "xwam.commands.record",
        "xwam.export.actions",
        "xwam.export.video",
        "xwam.export.depth_images",
        "xwam.export.future_folder",
        "xwam.export.points",
        "xwam.export.rerun",
        "xwam.futures.future",
        "xwam.futures.checks",
        "xwam.robots.camera_formats",
        "xwam.robots.hand_eye",
    ]
    assert not _loads(modules, "torch")
    assert _loads([*modules, "xwam.models.joint_latents"], "torch"), "this test can fail"


def test_import_xwam_takes_less_than_half_a_second():
    code = "import time; start = time.perf_counter(); import xwam; print(time.perf_counter() - start)"
    fastest = min(float(subprocess.check_output([sys.executable, "-c", code], text=True)) for _ in range(3))
    assert fastest < 0.5


def test_every_public_name_can_be_imported():
    import xwam

    for name in xwam.__all__:
        assert getattr(xwam, name) is not None

"""The `evaluate` modules load offline from an installed copy of the package and give the values of the plain functions."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import xwam
from xwam.metrics.actions import command_errors_by_unit
from xwam.metrics.depth import depth_errors
from xwam.metrics.evaluate_modules import list_modules, load_module, module_path
from xwam.metrics.images import psnr, ssim
from xwam.metrics.points import chamfer_distance, f_score
from xwam.metrics.states import gripper_error, position_error, rotation_error
from xwam.structures import ActionChunk

PACKAGE = Path(xwam.__file__).parent
COLUMNS, UNITS = ("left_delta_x", "left_delta_rx", "left_delta_ry"), ("m", "rad", "rad")
SCRIPT = """
import json, sys
import numpy as np
import evaluate
import xwam
from xwam.metrics.evaluate_modules import list_modules, load_module, module_path

folder, site, options_of_actions = sys.argv[1:]
assert xwam.__file__.startswith(site), xwam.__file__
given = np.load(folder + "/given.npz")
found = {}
for name in list_modules():
    options = json.loads(options_of_actions) if name == "xwam_actions" else {}
    pairs = {side: list(given[f"{name}_{side}"]) for side in ("predictions", "references")}
    metric = evaluate.load(str(module_path(name)))
    found[name] = [metric.compute(**pairs, **options, reduce=reduce) for reduce in (None, "mean")]
print("FOUND" + json.dumps(found))
"""


def poses(seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).uniform(size=(9, 8))
    rows[:, 3:7] /= np.linalg.norm(rows[:, 3:7], axis=-1, keepdims=True)
    return rows


def inputs() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    depths = rng.uniform(0.2, 2, (2, 4, 20, 30)).astype(np.float32) * (rng.random((2, 4, 20, 30)) > 0.2)
    return {
        "xwam_video": tuple(rng.integers(0, 256, (2, 4, 24, 32, 3), dtype=np.uint8)),
        "xwam_depth": tuple(depths.astype(np.float32)),
        "xwam_points": tuple(rng.uniform(size=(2, 3, 200, 3)).astype(np.float32)),
        "xwam_states": (poses(1), poses(2)),
        "xwam_actions": tuple(rng.normal(size=(2, 6, 3))),
    }


def expected() -> dict[str, dict[str, np.ndarray]]:
    given = inputs()
    frames, clouds, (own, other) = given["xwam_video"], given["xwam_points"], given["xwam_states"]
    scores = [f_score(*pair) for pair in zip(*clouds, strict=True)]
    chunks = (ActionChunk("", rows, COLUMNS, 0.1) for rows in given["xwam_actions"])
    return {
        "xwam_video": {"psnr": psnr(*frames), "ssim": ssim(*frames)},
        "xwam_depth": depth_errors(*given["xwam_depth"]),
        "xwam_points": {
            "chamfer_distance": np.array([chamfer_distance(*pair) for pair in zip(*clouds, strict=True)]),
            **{name: np.array([getattr(s, name) for s in scores]) for name in ("f_score", "precision", "recall")},
        },
        "xwam_states": {
            "position": position_error(own[:, :3], other[:, :3]),
            "rotation": rotation_error(own[:, 3:7], other[:, 3:7]),
            "gripper": gripper_error(own[:, 7], other[:, 7]),
        },
        "xwam_actions": command_errors_by_unit(*chunks, dict(zip(COLUMNS, UNITS, strict=True))),
    }


def test_an_installed_copy_gives_the_plain_values_without_a_network(tmp_path: Path):
    site = tmp_path / "site"
    shutil.copytree(PACKAGE, site / "xwam", ignore=shutil.ignore_patterns("__pycache__"))
    sides = ("predictions", "references")
    arrays = {f"{name}_{side}": own for name, pair in inputs().items() for side, own in zip(sides, pair, strict=True)}
    np.savez(tmp_path / "given.npz", **arrays)
    environment = {
        **os.environ,
        "PYTHONPATH": str(site),
        "HF_HOME": str(tmp_path / "hf"),
        "HF_EVALUATE_OFFLINE": "1",
        "HF_ENDPOINT": "http://127.0.0.1:9",  # nobody listens there
    }
    options = json.dumps({"columns": COLUMNS, "units": UNITS})
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(site), options]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.partition("FOUND")[2])
    assert sorted(found) == list_modules() == sorted(expected())
    for name, metrics in expected().items():
        kept, mean = found[name]
        assert kept.keys() == mean.keys() == metrics.keys()
        for metric, values in metrics.items():
            np.testing.assert_allclose(kept[metric], values, atol=1e-6, err_msg=f"{name} {metric}")
            assert mean[metric] == pytest.approx(np.nanmean(values), abs=1e-6)


def test_swapped_arguments_change_what_depends_on_order(monkeypatch: pytest.MonkeyPatch):
    prediction, truth = (list(maps) for maps in inputs()["xwam_depth"])
    metric = load_module("xwam_depth", keep_in_memory=True)
    forth = metric.compute(predictions=prediction, references=truth)
    back = metric.compute(predictions=truth, references=prediction)
    assert abs(forth["abs_rel"] - back["abs_rel"]) > 1e-2
    assert forth["rmse"] == pytest.approx(back["rmse"])


def test_clouds_of_different_sizes_go_in_one_list():
    rng = np.random.default_rng(0)
    clouds = [[rng.uniform(size=(n, 3)).astype(np.float32) for n in sizes] for sizes in ((50, 80), (70, 20))]
    metric = load_module("xwam_points", keep_in_memory=True)
    found = metric.compute(predictions=clouds[0], references=clouds[1], reduce=None)
    assert found["chamfer_distance"] == pytest.approx([chamfer_distance(*pair) for pair in zip(*clouds, strict=True)])


def test_lpips_is_computed_where_its_weights_are_given(tmp_path: Path):
    metric = load_module("xwam_video", keep_in_memory=True)
    frames = [np.full((40, 40, 3), level, dtype=np.uint8) for level in (10, 200)]
    with pytest.raises(ValueError, match="LPIPS needs its weights"):
        metric.compute(predictions=frames, references=frames, lpips_network=str(tmp_path / "absent.safetensors"))


def test_an_unknown_module_is_named_with_those_that_exist():
    with pytest.raises(ValueError, match=r"There is no evaluate module 'psnr'; there are \['xwam_actions'"):
        module_path("psnr")

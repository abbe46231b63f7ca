"""The benchmark of fusion, on small views and for one round."""

import importlib.util
import json

import fusion
import pytest


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    if importlib.util.find_spec("mujoco") is None:  # not imported: xwam chooses the OpenGL backend first
        pytest.skip("MuJoCo is not installed")
    folder = tmp_path_factory.mktemp("results")
    options = ["--size", "64", "80", "--points", "500", "--rounds", "1", "--steps", "2", "--output", str(folder)]
    return fusion.main(options), folder


def test_the_result_is_written_as_json_and_as_a_table(result):
    values, folder = result
    (data,), (table,) = folder.glob("*.json"), folder.glob("*.md")
    assert json.loads(data.read_text()) == values
    text = table.read_text()
    for part in (values["command"], values["machine"]["processor"], *fusion.LIMITS, fusion.OURS):
        assert str(part) in text
    assert values["fusion"][fusion.OURS]["runs"] == 1


def test_both_libraries_find_the_same_voxels(result):
    values, _ = result
    if values["versions"]["open3d"] is None:
        pytest.skip("Open3D is not installed")
    for name in (fusion.OPEN3D, fusion.OPEN3D_TENSOR):
        own = values["agreement"][name]
        assert own["voxels, ours"] == pytest.approx(own["voxels, theirs"], rel=1e-3)
        assert own["within_1um"] > 0.99


def test_a_side_that_is_missing_is_left_out(monkeypatch):
    monkeypatch.setattr(fusion.importlib.util, "find_spec", lambda name: None)
    views, _ = fusion.expert_views((64, 80), steps=1)
    assert fusion.OPEN3D not in [own.name for own in fusion.fusion_contestants(views, 0.005)]
    assert fusion.agreement(views, 0.005) == {}
    assert fusion.chamfer_agreement(fusion.chamfer_contestants(None, None)) == {}


def test_wrong_options_are_named(capsys):
    with pytest.raises(SystemExit):
        fusion.parse_arguments(["--rounds", "0"])
    assert "--rounds must be positive" in capsys.readouterr().err

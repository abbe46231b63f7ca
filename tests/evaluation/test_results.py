"""Results come back as they were written, and results of different things never meet in one folder."""

import errno
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from xwam.evaluation.results import EpisodeResult, ResultsFolder
from xwam.evaluation.suite import EpisodeKey

KEY = EpisodeKey("mujoco/lift_cube", 3)
RESULT = EpisodeResult(KEY.environment, KEY.seed, "lift the cube", True, 30, 2, (0.5, 0.25), 0.1)


def test_a_result_comes_back_as_it_was_written(tmp_path):
    folder = ResultsFolder(tmp_path)
    assert folder.read([KEY]) == {}
    folder.write(RESULT)
    assert folder.read([KEY, EpisodeKey(KEY.environment, 4)]) == {KEY: RESULT}


@pytest.mark.parametrize("text", ["", "{}", '{"environment": 3}', "[1]", '{"environment": "mujoco'])
def test_a_file_that_is_no_result_is_named(tmp_path, text):
    folder = ResultsFolder(tmp_path)
    folder.write(RESULT)
    path = next(tmp_path.rglob("000003.json"))
    path.write_text(text)
    with pytest.raises(ValueError, match=r"000003\.json is no result"):
        folder.read([KEY])


def test_a_result_under_another_name_is_refused(tmp_path):
    folder = ResultsFolder(tmp_path)
    folder.write(RESULT)
    path = next(tmp_path.rglob("000003.json"))
    path.rename(path.with_name("000004.json"))
    with pytest.raises(ValueError, match="holds the result of"):
        folder.read([EpisodeKey(KEY.environment, 4)])


def test_a_folder_belongs_to_one_identity_and_the_first_difference_is_named(tmp_path):
    folder, identity = ResultsFolder(tmp_path), {"policy": {"name": "a", "weights": {"vae": "1f"}}, "code": [1, 2]}
    folder.claim("mujoco/lift_cube", identity)
    folder.claim("mujoco/lift_cube", {**identity, "code": (1, 2)})
    folder.claim("mujoco/stack_cubes", {"policy": {"name": "b"}})  # another environment
    changed = {"policy": {"name": "a", "weights": {"vae": "2e"}}, "code": [1, 2]}
    with pytest.raises(ValueError, match=r'another `policy.weights.vae`: "1f" there, "2e" here'):
        folder.claim("mujoco/lift_cube", changed)
    assert folder.identities(["mujoco/lift_cube"]) == {"mujoco/lift_cube": identity}


def test_of_many_that_claim_a_folder_at_once_one_wins_and_the_others_are_told(tmp_path):
    def claim(number):
        try:
            ResultsFolder(tmp_path).claim("mujoco/lift_cube", {"number": number % 2})
        except ValueError:
            return None
        return number % 2

    with ThreadPoolExecutor(8) as pool:
        winners = set(pool.map(claim, range(40))) - {None}
    assert winners == {json.loads(next(tmp_path.rglob("identity.json")).read_text())["number"]}


def test_a_file_system_without_links_will_do(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("xwam.evaluation.results.os.link", refuse)
    folder = ResultsFolder(tmp_path)
    folder.claim("mujoco/lift_cube", {"number": 1})
    with pytest.raises(ValueError, match="another `number`"):
        folder.claim("mujoco/lift_cube", {"number": 2})
    assert [path.name for path in (tmp_path / "episodes/mujoco/lift_cube").iterdir()] == ["identity.json"]


def test_leftovers_go_and_results_stay(tmp_path):
    folder = ResultsFolder(tmp_path)
    folder.write(RESULT)
    folder.claim(KEY.environment, {"code": 1})
    leftover = tmp_path / "episodes" / KEY.environment / ".000004-1a2b3c4d.json"
    leftover.write_text("{")
    hidden = leftover.parent / ".ipynb_checkpoints" / "000003-checkpoint.json"
    hidden.parent.mkdir()
    hidden.touch()
    folder.remove_leftovers([KEY.environment, "mujoco/stack_cubes"])
    assert not leftover.exists()
    assert hidden.exists(), "what others hide there is theirs"
    assert folder.read([KEY]) == {KEY: RESULT}

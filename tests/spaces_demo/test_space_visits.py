"""Files of the Space: pictures are written once and few are kept; what comes too late is dropped."""

import gradio as gr
import numpy as np
import pytest
import visits

from xwam.envs.recorded import load_recorded_observation


def picture(number):
    return np.full((8, 8, 3), number, np.uint8)


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setattr(visits, "_ROOT", tmp_path)
    return tmp_path


def test_an_equal_picture_is_not_written_again():
    first = visits.keep_picture(picture(1))
    before = first.stat().st_ino, first.stat().st_mtime_ns
    assert visits.keep_picture(picture(1)) == first
    assert (first.stat().st_ino, first.stat().st_mtime_ns) == before
    assert visits.keep_picture(picture(2)) != first


def test_few_pictures_are_kept(folder, monkeypatch):
    monkeypatch.setattr(visits, "_MAX_PICTURES", 3)
    kept = [visits.keep_picture(picture(number)) for number in range(6)]
    assert kept[-1].exists()
    assert len(list((folder / "pictures").iterdir())) == 3
    assert [path.name for path in folder.iterdir()] == ["pictures"]


class Panel:
    """Handlers of a page with one part."""

    @visits.while_it_lasts
    def answer(self, visit, then):
        (visit.folder / "late").mkdir(parents=True)
        return then(visit)


def new_visit():
    return visits.Visit(visits.new_folder(), load_recorded_observation())


def leave(visit):
    visits.forget(visit)
    return "late"


def fail(visit):
    visits.forget(visit)
    raise OSError("the files went")


@pytest.mark.parametrize("then", [leave, fail])
def test_what_comes_after_the_end_of_a_visit_is_dropped(then):
    visit = new_visit()
    assert Panel().answer(visit, then) == gr.skip()
    assert not visit.folder.exists()


def test_what_comes_in_time_is_shown_and_its_errors_too():
    visit = new_visit()
    assert Panel().answer(visit, lambda _: "timely") == "timely"
    with pytest.raises(ZeroDivisionError):
        Panel().answer(new_visit(), lambda _: 1 / 0)
    assert visit.folder.exists()

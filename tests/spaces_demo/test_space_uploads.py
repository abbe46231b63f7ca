"""What a visitor may upload, and the sentence that answers everything else."""

import json
from pathlib import Path

import numpy as np
import pytest
import uploads
from PIL import Image

from xwam import RobotProcessor, get_robot, load_recorded_observation

SPEC = get_robot("mujoco_panda")
SIZE = (160, 128)  # width, height


@pytest.fixture
def given(tmp_path):
    """A good upload: pictures, depth images, state, instruction."""
    return list(uploads.write_example(tmp_path))


def read(given):
    return uploads.read_observation(SPEC, *given)


def test_the_example_is_the_recorded_observation(given):
    seen, recorded = read(given), load_recorded_observation()
    RobotProcessor(SPEC).check_observation(seen)
    assert seen.instruction == recorded.instruction
    for name, image in recorded.images.items():
        np.testing.assert_array_equal(seen.images[name], image)
        np.testing.assert_allclose(seen.depths[name], recorded.depths[name], atol=uploads.DEPTH_STEP / 2 + 1e-6)
        np.testing.assert_allclose(
            seen.cameras[name].base_from_camera, recorded.cameras[name].base_from_camera, atol=1e-7
        )
    np.testing.assert_allclose(seen.arms["left"].position, recorded.arms["left"].position, atol=1e-4)


def test_depth_and_calibration_are_optional(given):
    given[1] = [None, None, None]
    given[2] = uploads.example_state(SPEC)
    seen = read(given)
    RobotProcessor(SPEC).check_observation(seen)
    assert not seen.depths
    assert not seen.cameras


def test_the_step_of_depth_is_the_visitors(given):
    facts = json.loads(given[2])
    given[2] = json.dumps({**facts, "depth_step": 0.002})
    recorded = load_recorded_observation()
    name = SPEC.cameras[0].name
    assert np.median(read(given).depths[name] / recorded.depths[name]) == pytest.approx(2, rel=1e-3)


def test_a_robot_with_joints_gets_an_example_too():
    droid = get_robot("droid")
    facts = json.loads(uploads.example_state(droid))
    assert len(facts["joints"]["left"]["positions"]) == 7


def replace_picture(given, content, name="x.png"):
    path = Path(given[0][0]).with_name(name)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content.save(path)
    given[0][0] = str(path)


def replace_depth(given, image):
    path = Path(given[1][0]).with_name("d.png")
    image.save(path)
    given[1][0] = str(path)


def cut(path: str) -> bytes:
    content = Path(path).read_bytes()
    return content[: len(content) // 2]


def _state(**changes):
    def change(given):
        facts = json.loads(given[2])
        facts["arms"]["left"].update(changes)
        given[2] = json.dumps(facts)

    return change


def _json(text):
    def change(given):
        given[2] = text

    return change


BAD = {
    "wrong size": (lambda g: replace_picture(g, Image.new("RGB", (320, 240))), r"160 × 128 .* but is 320 × 240"),
    "no picture": (
        lambda g: replace_picture(g, b"hello, this is no picture"),
        "this is no PNG or JPEG or WEBP picture",
    ),
    "cut off": (lambda g: replace_picture(g, cut(g[0][0])), "the picture is damaged"),
    "16-bit picture": (lambda g: replace_picture(g, Image.fromarray(np.zeros(SIZE[::-1], np.uint16))), "8 bits"),
    "a view missing": (lambda g: g[0].__setitem__(1, None), "3 views are needed; not given: robot0_agentview_right"),
    "huge file": (lambda g: replace_picture(g, b"\0" * (uploads.MAX_BYTES + 1)), "at most 8 MB"),
    "8-bit depth": (lambda g: replace_depth(g, Image.new("L", SIZE)), "16 bits per pixel"),
    "depth of another size": (
        lambda g: replace_depth(g, Image.fromarray(np.zeros((4, 4), np.uint16))),
        "but is 4 × 4",
    ),
    "no JSON": (_json("gripper: open"), "must be JSON"),
    "empty": (_json(""), "must be JSON"),
    "deep JSON": (_json("[" * 9000), "must be JSON"),
    "long JSON": (_json(" " * 20_001), "at most 20000 characters"),
    "a list": (_json("[1]"), "must be a JSON object"),
    "unknown key": (_json('{"arm": {}}'), "but also holds arm"),
    "arms as list": (_json('{"arms": [1]}'), "`arms` must be a JSON object"),
    "fields missing": (
        _json('{"arms": {"left": {"position": [0, 0, 0]}}}'),
        "must hold position, quaternion, gripper",
    ),
    "words as numbers": (_state(position=["a", 0, 0]), "`arms.left.position` must hold numbers"),
    "ragged": (_state(position=[[1], 2, 3]), "`arms.left.position` must hold numbers"),
    "gripper in words": (_state(gripper="open"), "`arms.left.gripper` must be a number, but is open"),
    "endless gripper": (_state(gripper=10**400), "`arms.left.gripper` must be a number, but is one of more than 300"),
    "endless position": (_state(position=[10**400, 0, 0]), "`arms.left.position` must hold numbers"),
    "no step of depth": (_json('{"depth_step": 0}'), "`depth_step` must be metres above 0, but is 0"),
    "NaN as step of depth": (_json('{"depth_step": NaN}'), "`depth_step` must be metres above 0, but is nan"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_said(given, name):
    spoil, message = BAD[name]
    spoil(given)
    with pytest.raises(uploads.UploadError, match=message):
        read(given)


MISFITS = {
    "NaN in the state": (_state(position=[float("nan"), 0, 0.2]), "must be finite"),
    "no unit quaternion": (_state(quaternion=[2, 0, 0, 0]), "length 1"),
    "two numbers": (_state(position=[0.5, 0]), r"shape \(3,\)"),
    "another arm": (_json('{"arms": {}}'), "lacks"),
    "empty instruction": (lambda g: g.__setitem__(3, " "), "must say what to do"),
    "depth not in metres": (
        lambda g: g.__setitem__(2, g[2].replace('"depth_step": 0.001', '"depth_step": 1')),
        "metres",
    ),
    "only some depth": (lambda g: g[1].__setitem__(0, None), "lacks"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit_the_robot_is_said(given, name):
    spoil, message = MISFITS[name]
    spoil(given)
    with pytest.raises(ValueError, match=message):
        RobotProcessor(SPEC).check_observation(read(given))


def test_a_small_file_cannot_become_a_huge_picture(given, monkeypatch):
    """A few kilobytes of PNG can be hundreds of megapixels: the size is read before the pixels are."""
    replace_picture(given, Image.new("L", (12_000, 12_000)))
    monkeypatch.setattr(Image.Image, "convert", lambda *_: pytest.fail("the pixels were decoded"))
    with pytest.raises(uploads.UploadError, match="but is 12000 × 12000"):
        read(given)

"""What is said of the depth is what the depth is."""

import pytest
from future_samples import CAMERAS, make_future

from xwam.futures.depth_note import depth_note
from xwam.futures.future import DEPTH_KINDS
from xwam.structures import DepthCalibration

FITS = {
    CAMERAS[0]: DepthCalibration(2.0, 0.1, 0.0123, 0.91, 5000),
    CAMERAS[1]: DepthCalibration(2.0, 0.1, 0.4, 0.2, 300),
}


@pytest.mark.parametrize("kind", DEPTH_KINDS)
def test_every_kind_is_one_sentence(kind):
    note = depth_note(make_future(depth_kind=kind))
    assert note.lower().startswith(kind)
    assert note.endswith(".")
    assert note.count(".") == 1


def test_calibrated_is_said_not_to_be_metric_with_residual_and_inliers():
    note = depth_note(make_future(depth_kind="calibrated", depth_calibrations=FITS))
    assert note.startswith("Calibrated, not metric")
    assert "left: median residual 1.2%, 91% inliers of 5000 pixels" in note
    assert "wrist: median residual 40.0%, 20% inliers of 300 pixels" in note

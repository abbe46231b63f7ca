"""What fails on the way to the hub is told in one line, with the folder that holds the training."""

from pathlib import Path

import pytest
from huggingface_hub.errors import OfflineModeIsEnabled

from xwam.checkpoints.retrying import http
from xwam.errors import TrainingError
from xwam.training.publishing import publishing_explained


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            OfflineModeIsEnabled("Cannot reach the hub:\n\noffline mode is enabled."),
            "Cannot reach the hub: offline mode is enabled.",
        ),
        (http.ConnectError("Connection refused"), "Connection refused."),
        (TimeoutError(), "TimeoutError."),
    ],
)
def test_what_failed_and_where_the_training_is(error: Exception, reason: str):
    with pytest.raises(TrainingError) as told, publishing_explained(Path("out/pipeline"), "user/my-robot", "push()"):
        raise error
    assert str(told.value) == (
        f"The training is finished and saved in out/pipeline, but could not be published as 'user/my-robot': {reason} In "
        "Python: push()"
    )


def test_what_the_hub_is_not_to_blame_for_stays_as_it_is():
    with pytest.raises(KeyError), publishing_explained(Path("out"), "user/my-robot", "push()"):
        raise KeyError("weights")

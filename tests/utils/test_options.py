"""Options that do nothing beside another are refused in one line that names them as they are typed."""

import argparse
from pathlib import Path

import pytest

from xwam.utils.options import refuse_together, require_at_least, require_writable


@pytest.fixture
def parser():
    parser = argparse.ArgumentParser()
    parser.add_argument("--encoded")
    parser.add_argument("--back", action="store_true")
    parser.add_argument("--max-shard-size", type=int, default=5)
    parser.add_argument("--rank", type=int, default=16)
    return parser


RULES = {"encoded": ("rank",), "back": ("max_shard_size", "encoded")}


@pytest.mark.parametrize(
    "words", ["", "--rank 3", "--back", "--max-shard-size 3 --encoded x", "--encoded x --rank 16"]
)
def test_what_goes_together_passes(parser, words):
    refuse_together(parser, parser.parse_args(words.split()), RULES)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--encoded x --rank 3", "--rank would do nothing with --encoded"),
        ("--back --max-shard-size 3 --encoded x", "--max-shard-size, --encoded would do nothing with --back"),
    ],
)
def test_what_would_do_nothing_is_named(parser, capsys, words, message):
    with pytest.raises(SystemExit):
        refuse_together(parser, parser.parse_args(words.split()), RULES)
    assert message in capsys.readouterr().err


def test_numbers_that_are_too_small_are_named(parser):
    asked = parser.parse_args(["--max-shard-size", "0"])
    require_at_least(1, asked, "rank", "encoded")
    with pytest.raises(ValueError, match="--max-shard-size must be at least 1, but is 0"):
        require_at_least(1, asked, "rank", "max_shard_size")


def test_a_folder_that_cannot_be_written_is_found_before(tmp_path: Path):
    require_writable(tmp_path / "new" / "below")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        with pytest.raises(ValueError, match=f"cannot be written: {tmp_path / name} is no folder"):
            require_writable(tmp_path / name / "below")

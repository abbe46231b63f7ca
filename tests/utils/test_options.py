"""Options that do nothing beside another are refused in one line that names them as they are typed."""

import argparse

import pytest

from xwam.utils.options import refuse_together


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

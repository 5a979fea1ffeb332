"""What a new Python does to the private parse trees of `re` is noticed, and matching goes on."""

import subprocess
import sys
from re import _parser

import pytest

from logmlm.config import regex_tree

MISSING = """
import re, sys
del re._parser
sys.modules["re._parser"] = None
"""
CHANGED = """
from re import _constants
_constants.LITERAL.__class__.__repr__ = lambda self: "OP_" + self.name
"""
SLOWER = r"""
from logmlm.config.regex import compile_user_pattern, is_limited
from logmlm.config.regex_tree import is_known
assert not is_known()
for pattern, text in ((r"ord-(\d+)", "an ord-17"), (r"(?i)a{2}(?P<x>[^b]?)$", "baAc")):
    compiled = compile_user_pattern(pattern)
    assert is_limited(compiled)
    print(compiled.search(text)[1])
assert compile_user_pattern(r"(?:\w+\s?)+$").search("a" * 5_000 + "!") is None
"""


def test_this_python_has_the_parse_trees_that_are_known() -> None:
    assert regex_tree.is_known(), (
        f"re of Python {sys.version.split()[0]} parses patterns to other trees than"
        " logmlm.config.regex_tree knows: see regex_analysis and regex_translation, then change"
        f" the tree of the probe there, which now is {list(_parser.parse(regex_tree._PROBE))}"
    )


@pytest.mark.parametrize("python", [MISSING, CHANGED], ids=["missing", "changed"])
def test_without_known_trees_patterns_match_in_bounded_time(python: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", python + SLOWER], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["17", "c"]

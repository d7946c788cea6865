"""The rules of a permission file: the order in which each engine takes them."""

import pytest
from syft_permissions.engine.utils import specificity_key

from fedkit.datasite.rules import Rule
from tests.support.engines import go_rank


def test_the_rank_of_a_rule_as_the_go_server_counts_it() -> None:
    known = {
        "**": -100,
        "**/*": -99,
        "file.txt": 16,
        "a/b/c/d/file.txt": 72,
        "*.txt": -10,
        "[abc].txt": 16,
        "a*/b*/c*": 6,
        "*/file.txt": 10,
        "{{.UserEmail}}/*": 78,
        "private/**/*.md": 20,
        "{{.UserEmail}}/[abc]*.txt": 94,
    }
    for pattern, rank in known.items():
        assert rule(pattern).rank("Go") == (rank,), pattern
        assert go_rank(pattern) == rank, pattern


@pytest.mark.parametrize(
    "other", ["**", "*", "a/**", "**/c/*", "{a}/*", "{{.UserEmail}}/x", "[a]/b", "a/b"]
)
def test_of_two_rules_the_one_wins_that_wins_in_pysyft(other: str) -> None:
    for pattern in ("**/*", "*.pt", "a/*/b", "{a,b}", "{{.UserEmail}}/**", "x", "?/?"):
        ours = rule(pattern).rank("PySyft"), rule(other).rank("PySyft")
        theirs = specificity_key(pattern), specificity_key(other)
        assert (ours[0] > ours[1], ours[0] < ours[1]) == (
            theirs[0] > theirs[1],
            theirs[0] < theirs[1],
        )


def rule(pattern: str) -> Rule:
    return Rule.model_validate({"pattern": pattern, "access": {}})

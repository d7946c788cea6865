"""Patterns, as the packages of SyftBox's engines read them."""

import random
from collections import Counter

import pytest
from wcmatch import glob

from fedkit.datasite.patterns import Unclear, Way, check, fits

ATOMS = [
    *(
        "a",
        "b",
        ".",
        "/",
        "/",
        "?",
        "*",
        "*",
        "**",
        "**/",
        "/**",
        "[ab]",
        "[!a]",
        "[^.b]",
        "[.]",
        "[a-c]",
        "[z-a]",
    ),
    *("[", "]", "[]a]", "[a/b]", "{a,b}", "\\*", "\\/", "\\a", "-", "***", "//"),
]


def test_patterns_as_wcmatch_reads_them() -> None:
    """Any pattern: where we read it, we read it so; and few are left out as unclear."""
    rng = random.Random(0)
    seen = Counter[str]()
    for _ in range(20_000):
        pattern = "".join(rng.choices(ATOMS, k=rng.randint(1, 6)))
        names = [
            "".join(rng.choices("ab.-[]*{},", k=rng.randint(1, 3)))
            for _ in range(rng.randint(1, 3))
        ]
        text = "/".join(name for name in names if name.strip("."))
        if rng.random() < 0.5:
            text = pattern.replace("**", "a/b").replace("*", "ab").replace("?", "b").strip("/")
        try:
            check(pattern, "wcmatch")
        except Unclear:
            seen["unclear"] += 1
            continue
        expected = bool(glob.globmatch(text, pattern, flags=glob.GLOBSTAR | glob.FORCEUNIX))
        if text and "//" not in text:
            assert fits(text, pattern, "wcmatch") == expected, (pattern, text)
            seen[str(expected)] += 1
    assert seen["True"] > 1000, seen
    assert seen["unclear"] < 1500, seen


@pytest.mark.parametrize(
    ("pattern", "text", "doublestar", "wcmatch"),
    [
        ("*", ".a", True, False),
        ("a/*", "a/b/c", False, False),
        ("**", "a/.b", True, False),
        ("a/**", "a", True, False),
        ("a*/**", "a", False, False),  # only an `ab` is a folder, to doublestar
        ("a*/**", "ab", True, False),
        ("**/b", "a/c/b", True, True),
        ("a**", "ab/c", False, False),
        ("{a,b{c,d}}/?", "bd/x", True, False),
        ("{a,b}/?", "{a,b}/x", False, True),
        ("[!a]", "b", True, True),
        ("[!a]/b", "//b", True, False),  # to doublestar, brackets may stand for a slash
        ("[", "[", False, True),  # not closed: never, or as it stands
        ("{", "{", False, True),
        ("[]a]", "]", False, True),
        ("a//b", "a/b", False, True),
        ("\\*", "*", True, True),
        ("\\*", "a", False, False),
        ("*.ä", "ö.ä", True, True),
        ("", "", True, True),
    ],
)
def test_both_ways_of_reading(pattern: str, text: str, doublestar: bool, wcmatch: bool) -> None:
    assert fits(text, pattern, "doublestar") == doublestar
    assert fits(text, pattern, "wcmatch") == wcmatch


def test_wcmatch_10_let_an_empty_star_stand_before_a_dot() -> None:
    for pattern, text in (("*.txt", ".txt"), ("*.*", ".a.b"), ("**/", "a/b")):
        assert fits(text, pattern, "wcmatch 10")
        assert not fits(text, pattern, "wcmatch")


@pytest.mark.parametrize(
    ("pattern", "way"),
    [
        *(
            (pattern, "doublestar")
            for pattern in ("***", "a**/", "**/", "{a}**", "{,a}*", "{a*}*", "{**}")
        ),
        *(
            (pattern, "doublestar")
            for pattern in ("*[!a]", "{a}[!b]", "{[a],b}*", "*}", "{a," * 9 + "a" + "}" * 9)
        ),
        *((pattern, "wcmatch") for pattern in ("**//", "**\\/")),
        *((p, way) for p in ("a\\", "[[:alpha:]]", "[\\]]") for way in ("doublestar", "wcmatch")),
    ],
)
def test_an_unclear_pattern_is_named_and_fits_nothing(pattern: str, way: Way) -> None:
    with pytest.raises(Unclear):
        check(pattern, way)
    assert not fits("a", pattern, way)

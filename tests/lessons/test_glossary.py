"""The glossary and the lessons: each term stands in bold in the lesson that it names, and no term is missing."""

import re
from pathlib import Path

import pytest

from tests.support import ROOT

NOTEBOOKS = ROOT / "notebooks"
ROW = re.compile(
    r"^\| (?P<term>[^|]+) \| (?P<meaning>[^|]+) \| \[(\d\d)\]\((\d\d_\w+)\.ipynb\) \|$"
)
ROWS = [
    match
    for line in (NOTEBOOKS / "GLOSSARY.md").read_text(encoding="utf-8").splitlines()
    if (match := ROW.match(line))
]
# Said with weight, and no terms.
EMPHASIS = {
    "best accuracy so far",
    "flip the sign",
    "flips the sign",
    "not",
    "pins",
    "refused",
    "scale",
    "sets the file aside",
}


def text(name: str) -> str:
    return (NOTEBOOKS / "src" / f"{name}.py").read_text(encoding="utf-8")


def plain(term: str) -> str:
    """Singular and lower case: `Participants` and `participant` are one term."""
    return term.lower().removesuffix("s")


def bold(name: str) -> set[str]:
    """What a lesson sets in bold inside a sentence."""
    lines = [line for line in text(name).splitlines() if line.startswith("# ")]
    prose = " ".join(line[2:] for line in lines if not line.startswith("# >"))
    return set(re.findall(r"(?<=[a-z,;(] )\*\*([a-z][a-z -]+)\*\*", prose))


def test_the_glossary_is_read_and_in_order() -> None:
    lines = (NOTEBOOKS / "GLOSSARY.md").read_text(encoding="utf-8").splitlines()
    assert len(ROWS) == sum(line.startswith("|") for line in lines) - 2
    terms = [row["term"].lower() for row in ROWS]
    assert terms == sorted(set(terms))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["term"])
def test_a_term_is_defined_where_the_glossary_says(row: re.Match[str]) -> None:
    number, name = row.group(3), row.group(4)
    assert name.startswith(number)
    found = {plain(hit) for hit in re.findall(r"\*\*([A-Za-z][\w -]*)\*\*", text(name))}
    assert plain(row["term"]) in found


@pytest.mark.parametrize("path", sorted((NOTEBOOKS / "src").glob("*.py")), ids=lambda p: p.stem)
def test_no_term_is_missing(path: Path) -> None:
    known = {plain(row["term"]) for row in ROWS}
    missing = {term for term in bold(path.stem) - EMPHASIS if plain(term) not in known}
    assert missing == set()

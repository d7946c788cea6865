"""An exercise is written once, solved; the learner's version is derived from it.

A line that ends in `# solution` becomes `...`; the lines between `# solution begin` and `# solution end` become one
`...`. So each line of a stub is a line of the solution, or `...`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fedkit.base.errors import FedkitError

__all__ = ["has_markers", "solved", "strange_lines", "stub"]


BEGIN = re.compile(r"\s*# solution begin\s*")
END = re.compile(r"\s*# solution end\s*")
ONE = re.compile(r"^(?P<code>.*\S)\s*# solution\s*$")
REMEDY = "write `# solution begin` and `# solution end` in pairs, with lines between, or end one line in `# solution`"


def solved(source: str) -> str:
    """The cell without its markers."""
    return "\n".join(line for line, _ in _lines(source))


def stub(source: str) -> str:
    """The cell with `...` in place of each marked line or region, at its indentation."""
    out: list[str] = []
    indents: dict[int, list[int]] = {}
    for line, region in _lines(source):
        if region and line.strip():
            indents.setdefault(region, []).append(len(line) - len(line.lstrip()))
    seen = set()
    for line, region in _lines(source):
        if not region:
            out.append(line)
        elif region not in seen:
            seen.add(region)
            out.append(" " * min(indents[region]) + "...")
    return "\n".join(out)


def has_markers(source: str) -> bool:
    """Is there any solution marker in this cell?"""
    return any(BEGIN.fullmatch(x) or END.fullmatch(x) or ONE.match(x) for x in source.splitlines())


def strange_lines(stub_source: str, solution_source: str) -> list[str]:
    """The lines of a stub that are neither a line of the solution nor `...`."""
    allowed = {line.rstrip() for line in solution_source.splitlines()}
    return [
        line
        for line in stub_source.splitlines()
        if line.strip() not in ("", "...") and line.rstrip() not in allowed
    ]


def _lines(source: str) -> Iterator[tuple[str, int]]:
    """Each line without its marker, and the number of its region (0: outside).

    Raises FedkitError where markers don't pair or hold nothing.
    """
    region, inside, filled = 0, False, True
    for line in source.splitlines():
        one = ONE.match(line)
        if BEGIN.fullmatch(line):
            if inside:
                raise FedkitError("`# solution begin` stands inside a solution", remedy=REMEDY)
            region, inside, filled = region + 1, True, False
        elif END.fullmatch(line):
            if not inside or not filled:
                raise FedkitError("`# solution end` closes nothing", remedy=REMEDY)
            inside = False
        elif inside:
            filled = filled or bool(line.strip())
            yield line, region
        elif one:
            region += 1
            yield one["code"], region
        else:
            yield line, 0
    if inside:
        raise FedkitError("`# solution begin` has no end", remedy=REMEDY)

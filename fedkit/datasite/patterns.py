"""Which paths a pattern of a permission file stands for: the two ways of reading one, in time that nobody can stretch.

SyftBox 0.4 and PySyft read patterns as the package wcmatch does, today's SyftBox server as the Go package doublestar does:

    pattern         wcmatch                               doublestar
    `*`             within a folder; no leading dot       within a folder, hidden names too
    `**`            whole folders, none hidden            whole folders; `a/**` is also `a` itself
    `?` `[a-c]`     one character; no leading dot         one character
    `{a,b}`         these five characters                 a or b, where the pattern has one of `*?[` too

A pattern becomes steps. A step takes the places in the text that a match may have reached, the bits of one number, to those
it may reach next, so that all ways of matching go forward at once: no pattern makes it turn back, however many stars or
braces it has. `*` is Parabix's MatchStar (Cameron et al. 2014, "Bitwise data parallelism in regular expression matching").
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Literal, NamedTuple

__all__ = ["Unclear", "Way", "check", "fits"]


class Unclear(ValueError):
    """A pattern in which a package's reading hangs on what no author means; the text says on what."""


Way = Literal["doublestar", "wcmatch", "wcmatch 10"]
"""In wcmatch 10 an empty `*` may also stand before a leading dot (`*.txt` is `.txt` too), and `a/**/` is `a/**`."""


class _Text(NamedTuple):
    """A text as numbers: bit i speaks of the character at place i, of what comes next there.

    where : character -> its places. inside : anything but "/". shown : anything but the leading dot of a hidden name.
    starts : the places at which a name starts. end : the place behind the last character.
    """

    where: dict[str, int]
    inside: int
    shown: int
    starts: int
    end: int


_Step = Callable[[_Text, int], int]
_DEEPEST = 8
_HARD = re.compile(r"\*\*|[][\\]")


@lru_cache(maxsize=8192)
def fits(text: str, pattern: str, way: Way) -> bool:
    """Is `text` one of those that the pattern stands for? An unclear pattern stands for none."""
    try:
        steps = _steps(pattern, way)
    except Unclear:
        return False
    seen = _text(text)
    return steps is not None and bool(_walk(steps, seen, 1) & seen.end)


def check(pattern: str, way: Way) -> None:
    """Raise Unclear if the pattern can't be read for certain."""
    _steps(pattern, way)


@lru_cache(maxsize=1024)
def _text(text: str) -> _Text:
    where: dict[str, int] = {}
    for place, sign in enumerate(text):
        where[sign] = where.get(sign, 0) | 1 << place
    end = 1 << len(text)
    slashes = where.get("/", 0)
    starts = slashes << 1 | 1
    return _Text(where, end - 1 & ~slashes, end - 1 & ~(starts & where.get(".", 0)), starts, end)


def _walk(steps: list[_Step], text: _Text, at: int) -> int:
    for step in steps:
        at = step(text, at) if at else 0
    return at


# ------------------------------------------------------------------------------------------- steps
def _through(at: int, kind: int) -> int:
    """MatchStar: from each place, on through any number of characters of a kind."""
    return (((at & kind) + kind) ^ kind) | at


def _sign(sign: str) -> _Step:
    return lambda text, at: (at & text.where.get(sign, 0)) << 1


def _any(text: _Text, at: int) -> int:
    return (at & text.inside) << 1


def _one_of(ranges: list[tuple[str, str]], negated: bool) -> _Step:
    def step(text: _Text, at: int) -> int:
        signs = (s for s in text.where if any(a <= s <= b for a, b in ranges) is not negated)
        return sum(at & text.where[sign] for sign in signs) << 1

    return step


def _inside(text: _Text, at: int) -> int:
    return at & text.inside


def _star(text: _Text, at: int) -> int:
    return _through(at, text.inside)


def _shown(text: _Text, at: int) -> int:
    """Stay where a name goes on, and with no dot that hides it."""
    return at & text.inside & text.shown


def _opening_star(text: _Text, at: int) -> int:
    """A `*` that opens a name, in wcmatch 10."""
    return at & text.inside | _star(text, _shown(text, at))


def _folders(text: _Text, at: int) -> int:
    """`**/` in wcmatch: on through folders that are not hidden."""
    return at | _through(at, text.shown) & text.starts


def _rest(text: _Text, at: int) -> int:
    """`**` at the end, in wcmatch."""
    return _through(at, text.shown) & text.end


def _any_folders(text: _Text, at: int) -> int:
    """`**/` in doublestar: on to every start of a name behind the first place."""
    return at | text.starts & -((at & -at) << 1)


def _any_rest(text: _Text, at: int) -> int:
    """`**` at the end, in doublestar."""
    return text.end


def _either(*options: list[_Step]) -> _Step:
    def step(text: _Text, at: int) -> int:
        reached = 0
        for steps in options:
            reached |= _walk(steps, text, at)
        return reached

    return step


# ---------------------------------------------------------------------------- from a pattern to steps
@lru_cache(maxsize=4096)
def _steps(pattern: str, way: Way) -> list[_Step] | None:
    """The steps of a pattern; None where it is one that never fits. Raises Unclear."""
    return _doublestar(pattern) if way == "doublestar" else _wcmatch(pattern, way == "wcmatch 10")


def _wcmatch(pattern: str, ten: bool) -> list[_Step]:
    steps: list[_Step] = []
    place, opens = 0, True  # opens : a name starts here
    while place < len(pattern):
        sign, here, opened = pattern[place], place, opens
        place, opens = place + 1, False
        if sign == "*":
            place = _behind(pattern, here, "*")
            if opened and place - here == 2 and pattern[place : place + 1] in ("", "/", "\\"):
                if pattern.startswith(("\\", "//"), place):
                    raise Unclear("`**` before a backslash or two slashes")
                ends = pattern[place:] in ("", "/" if ten else "")
                steps.append(_rest if ends else _folders)
                place, opens = place + 1, True
            elif opened:
                steps += [_opening_star] if ten else [_shown, _star]
            else:
                steps.append(_star)
        elif sign == "/" or pattern[here : here + 2] == "\\/":
            place, opens = _behind(pattern, here + (sign != "/"), "/"), True
            steps.append(_sign("/"))
        elif sign == "?":
            steps += [_shown, _any] if opened else [_any]
        elif sign == "[" and "/" not in (names := _class(pattern, here) or "/"):
            place = here + 2 + len(names)
            within = _shown if opened else _inside
            steps += [within, _one_of(*_ranges(names))]
        else:
            if sign == "\\":
                sign, place = _escaped(pattern, here), here + 2
            steps.append(_sign(sign))
    return steps


def _doublestar(pattern: str, depth: int = 0) -> list[_Step] | None:
    steps: list[_Step] = []
    place, opens = 0, True
    while place < len(pattern):
        sign, here, opened = pattern[place], place, opens
        place, opens = place + 1, sign == "/"
        if pattern[here:] == "/**":
            return _with_folder(steps)
        if sign == "*":
            place = _behind(pattern, here, "*")
            stars, whole = place - here, pattern[place : place + 1] in ("", "/")
            if stars > 2 or "}**" in pattern or pattern.endswith("**/"):
                raise Unclear("three stars, `**` behind braces, or `**/` at the end")
            if opened and stars == 2 and whole:
                steps.append(_any_folders if pattern[place:] else _any_rest)
                place, opens = place + 1, True
            else:
                steps.append(_star)
        elif sign == "?":
            steps.append(_any)
        elif sign == "[":
            names = _class(pattern, here)
            if names is None or names.lstrip("!^")[:1] == "]":
                return None
            place, (ranges, negated) = here + 2 + len(names), _ranges(names)
            slash = any(a <= "/" <= b for a, b in ranges) is not negated
            if slash and (_star in steps or "}" in pattern[:here]):
                raise Unclear("brackets that may stand for a slash, behind a star or braces")
            steps.append(_one_of(ranges, negated))
        elif sign == "{":
            options = _options(pattern, here, depth)
            if options is None:
                return None
            place = here + 1 + sum(len(option) + 1 for option in options)
            steps.append(_either(*(_doublestar(option, depth + 1) or [] for option in options)))
        elif sign == "}":
            raise Unclear("a brace that closes none")
        else:
            if sign == "\\":
                sign, place = _escaped(pattern, here), here + 2
                opens = sign == "/"
            steps.append(_sign(sign))
    return steps


def _with_folder(steps: list[_Step]) -> list[_Step]:
    """What is in the folder of these steps, or the folder itself: there, a `*` at the end is not empty."""
    folder = [*steps[:-1], _any, _star] if steps[-1:] == [_star] else steps
    return [_either(folder, [*steps, _sign("/"), _any_rest])]


def _behind(pattern: str, place: int, sign: str) -> int:
    """The place behind all of the same sign."""
    return len(pattern) - len(pattern[place:].lstrip(sign))


def _escaped(pattern: str, place: int) -> str:
    if place + 1 == len(pattern):
        raise Unclear("a backslash at the end")
    return pattern[place + 1]


def _class(pattern: str, place: int) -> str | None:
    """What stands between a "[" and its "]", None where it has none."""
    first = place + 1 + (pattern[place + 1 : place + 2] in ("!", "^"))
    end = pattern.find("]", first + 1)
    if end < 0:
        return None
    names = pattern[place + 1 : end]
    if "\\" in names or "[:" in names:
        raise Unclear("a backslash or a named class in brackets")
    return names


def _ranges(names: str) -> tuple[list[tuple[str, str]], bool]:
    """The ranges of a class, and whether it means all others."""
    negated = names[0] in "!^"
    found = re.findall(r"(.)-(.)|(.)", names[negated:], re.DOTALL)
    return [(a, b) if a else (one, one) for a, b, one in found], negated


def _options(pattern: str, place: int, depth: int) -> list[str] | None:
    """The alternatives in the braces that open here, None where they are not closed."""
    options, start, open_ = list[str](), place + 1, 0
    for here in range(place, len(pattern)):
        sign = pattern[here]
        open_ += (sign == "{") - (sign == "}")
        if (sign == "," and open_ == 1) or not open_:
            options.append(pattern[start:here])
            start = here + 1
        if not open_:
            break
    else:
        return None
    if depth == _DEEPEST or any(not o or o[-1] == "*" or re.search(_HARD, o) for o in options):
        raise Unclear("braces around nothing, a last star, `**`, a class or a backslash")
    return options

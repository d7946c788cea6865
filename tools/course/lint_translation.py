"""The rules for translations: a catalogue belongs to its sources, and a translated text says what the English says.

Words are for people to judge. What can be held together is what is not in words: code, links, formulas, numbers, and the
form of the cell, down to the options of a prediction.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fedkit.base.errors import FedkitError
from fedkit.base.text import is_hidden
from tools.course.lesson import Lesson, Problem
from tools.course.translation import (
    COMMON,
    Text,
    fields,
    languages,
    phrases,
    read_catalogue,
    texts,
)

__all__ = ["differences", "problems"]

_FENCE = re.compile(r"^(```|~~~).*?^\1[^\n]*", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]+`")
_FORMULA = re.compile(r"\$\$.+?\$\$|(?<![\\\w$])\$[^$\n]+\$", re.DOTALL)
_MARKUP = re.compile(r"<!--|</?[A-Za-z][^<>]*>|<[A-Za-z][^<>]*$")
_SPELLING = {
    "\n",
    "\t",
    "\u200c",
    "\u200d",
    "\u200e",
    "\u200f",
    "\u00ad",
}  # joiners, directions, soft hyphens: spelling
_ADDRESS = re.compile(r"\]\(([^)\s]+)|<img[^>]*\bsrc=\"([^\"]+)\"")
_NUMBER = re.compile(r"\d+(?:[.,\u202f\u00a0]\d+)*")
_LEAD = re.compile(r"\*\*[^*]+([.:]\*\*|\*\*$)")  # **Exercise.**, or a role alone on its line
_LINE = re.compile(
    r"^(?P<quote>(?:> ?)*)(?P<mark>#+ |[*-] (?:[a-z]\) )?|\d+\. |\| ?|\*\*)?(?P<rest>.*)$"
)


def problems(out_dir: Path, course: Sequence[Lesson]) -> list[Problem]:
    """Every broken rule in the catalogues of the course in `out_dir`."""
    wanted = {lesson.name: texts(lesson) for lesson in course} | {COMMON: phrases()}
    return [
        problem
        for language in languages(out_dir)
        for path in sorted((out_dir / "locale" / language).glob("*.po"))
        for problem in _of(path, language, wanted.get(path.stem))
    ]


def differences(english: str, translated: str, pattern: bool = False) -> Iterator[str]:
    """What a translated text has not kept of the English one, in words.

    pattern : its `{names}` are filled in, and they have to be the same.
    """
    if pattern:
        yield from _unlike("fields", fields(english), fields(translated))
    if not translated.strip():
        yield "nothing but blanks"
    if hidden := {ascii(sign) for sign in translated if is_hidden(sign) and sign not in _SPELLING}:
        yield f"signs that nobody sees: {', '.join(sorted(hidden))}"
    for part in re.split(r"\n\s*\n", _bare(translated)):
        if part.count("**") % 2:
            yield f"a ** without its partner in: {' '.join(part.split())[:50]}"
    for what, of in _KEPT.items():
        yield from _unlike(what, of(english), of(translated))
    ours, theirs = _form(english), _form(translated)
    if ours != theirs:
        pairs = enumerate(zip([*ours, "nothing"], [*theirs, "nothing"], strict=False), 1)
        at, (was, became) = next((n, pair) for n, pair in pairs if pair[0] != pair[1])
        yield f"another form: part {at} is {became} instead of {was}"


def _of(path: Path, language: str, wanted: Sequence[Text] | None) -> Iterator[Problem]:
    update = f"run: python -m tools.course translate --lang {language}"
    if wanted is None:
        yield Problem(
            path, None, "is the catalogue of no lesson", "remove it, or name it after one"
        )
        return
    try:
        found = read_catalogue(path, language)
    except FedkitError as error:
        what = ": ".join(part for part in (error.what, error.why) if part)
        yield Problem(path, None, what, error.remedy or update)
        return
    known = {(text.english, text.context) for text in wanted}
    there = {(str(m.id), str(m.context)): m for m in found if m.id}
    for (english, context), message in there.items():
        if (english, context) not in known:
            yield Problem(path, None, f"{context} is a text that no source has", update)
        elif message.string and not message.fuzzy:
            for what in differences(english, str(message.string), path.stem == COMMON):
                remedy = "put the translation right, or mark it fuzzy: then the cell stays English"
                yield Problem(path, None, f"{context} has {what}", remedy)
    lacking = len(known - there.keys())
    if lacking:
        yield Problem(path, None, f"lacks {lacking} texts of its source", update)


def _unlike(what: str, ours: Counter[str], theirs: Counter[str]) -> Iterator[str]:
    for lost in sorted((ours - theirs).elements()):
        yield f"other {what}: {lost} is missing"
    for more in sorted((theirs - ours).elements()):
        yield f"other {what}: {more} is too much"


def _bare(text: str) -> str:
    """The text without code, formulas and addresses."""
    for pattern in (_FENCE, _CODE, _FORMULA):
        text = pattern.sub(" ", text)
    return re.sub(r"\]\([^)]*\)|<[^>]+>|https?://\S+", " ", text)


_KEPT: dict[str, Callable[[str], Counter[str]]] = {
    "code blocks": lambda t: Counter(m[0] for m in _FENCE.finditer(t)),
    "code": lambda t: Counter(_CODE.findall(_FENCE.sub(" ", t))),
    "formulas": lambda t: Counter(_FORMULA.findall(_CODE.sub(" ", _FENCE.sub(" ", t)))),
    "markup": lambda t: Counter(_MARKUP.findall(_CODE.sub(" ", _FENCE.sub(" ", t)))),
    "links": lambda t: Counter(m[1] or m[2] for m in _ADDRESS.finditer(_FENCE.sub(" ", t))),
    # a comma and a point change their roles between languages
    "numbers": lambda t: Counter(re.sub(r"\D", "", n) for n in _NUMBER.findall(_bare(t))),
}


def _form(text: str) -> list[str]:
    """What the text is built of, part by part: headings, bullets, options, table rows, quotations, paragraphs."""
    found = ["start"]
    for line in _FENCE.sub("", text).splitlines():
        match = _LINE.match(line)
        quote, mark, rest = (
            (match["quote"], match["mark"] or "", match["rest"]) if match else ("", "", line)
        )
        quoted = "> " if quote.strip() else ""
        if mark.startswith("#"):
            question = " a question" if rest.rstrip().endswith("?") else ""
            part = f"{quoted}heading {mark.strip()}{question}"
        elif mark.startswith("|"):
            part = f"{quoted}row of {line.replace(chr(92) + '|', '').count('|')} bars"
        elif found[-1] in ("start", "blank") and _LEAD.match(mark + rest):
            part = f"{quoted}text with a bold lead"
        elif mark and mark != "**":
            part = f"{quoted}item {mark.strip()}"
        elif mark or rest.strip():
            part = f"{quoted}text"
        else:
            part = "blank"
        # lines of one paragraph are broken elsewhere in each language
        if part.endswith("text") and found[-1] not in ("start", "blank"):
            continue
        if part != "blank" or found[-1] != "blank":
            found.append(part)
    return found

"""Lessons in other languages: gettext catalogues, one a lesson, one entry a cell of text.

    notebooks/locale/de/00_start_here.po    what lesson 00 says, text by text
    notebooks/locale/de/course.po           what cards say in every lesson

`python -m tools.course translate --lang de` brings catalogues up to date with their sources: a new text comes empty, a
changed one keeps its translation, marked fuzzy, and one that is gone stays as obsolete. Whatever is missing or fuzzy
stands in English in the built notebook. Code is never translated. Babel reads and writes the files.
"""

from __future__ import annotations

import io
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fedkit.base.distribution import DISTRIBUTION, VERSION
from fedkit.base.errors import FedkitError
from fedkit.base.files import write_bytes
from fedkit.experiments.lessons import LANGUAGE
from tools.course.card import PHRASES
from tools.course.lesson import Lesson

if TYPE_CHECKING:
    from babel.messages.catalog import Catalog

__all__ = [
    "COMMON",
    "Progress",
    "Text",
    "Translation",
    "catalogue",
    "fields",
    "languages",
    "name_of",
    "phrases",
    "read_catalogue",
    "read_translation",
    "texts",
    "update",
]

COMMON = "course"
HEAD = """\
# Translation of a lesson of fedkit: CONTRIBUTING.md, Translate a lesson.
#"""


@dataclass(frozen=True)
class Text:
    """One entry of a catalogue: its context (lesson and cell, or part of the card), the English, the cell's number."""

    context: str
    english: str
    cell: int = 0  # 0: of the card


@dataclass(frozen=True)
class Translation:
    """The course in one language. lessons : those with a catalogue, by name. phrases : English -> as cards say it."""

    language: str
    lessons: dict[str, Lesson]
    phrases: dict[str, str]


@dataclass(frozen=True)
class Progress:
    """How far a catalogue is: texts, those translated, fuzzy ones, obsolete ones; `changed`: it was rewritten."""

    path: Path
    texts: int
    translated: int
    fuzzy: int
    obsolete: int
    changed: bool


def texts(lesson: Lesson) -> list[Text]:
    """What there is to translate in a lesson, in reading order: its card's own texts, its cells of text."""
    number, card = f"{lesson.number:02d}", lesson.card
    found = [Text(f"{number}-needs", card.needs)]
    found += [Text(f"{number}-learn-{n}", line) for n, line in enumerate(card.learn, 1)]
    found += [Text(f"{number}-short-path-{n}", s) for n, s in enumerate(card.short_path or (), 1)]
    for cell, name in zip(lesson.cells, lesson.ids, strict=True):
        if cell.kind == "markdown":
            found.append(Text(name, cell.source, cell.number))
    return found


def phrases() -> list[Text]:
    """What cards say in every lesson."""
    return [Text(f"card-{name}", phrase) for name, phrase in PHRASES.items()]


def fields(phrase: str) -> Counter[str]:
    """The `{names}` in a phrase of a card, as they stand in their braces."""
    try:
        parsed = list(string.Formatter().parse(phrase))
    except ValueError:
        return Counter(["a brace that is not closed"])
    return Counter(
        f"{name}{'!' + how if how else ''}{':' + form if form else ''}"
        for _, name, form, how in parsed
        if name is not None
    )


def languages(out_dir: Path) -> list[str]:
    """The languages that the course in `out_dir` has catalogues of."""
    folders = (out_dir / "locale").glob("*")
    return sorted(p.name for p in folders if LANGUAGE.fullmatch(p.name) and any(p.glob("*.po")))


def name_of(language: str) -> str:
    """What the language is called in English: `German`. Raises FedkitError for a code that is none."""
    from babel import Locale, UnknownLocaleError

    try:
        if not LANGUAGE.fullmatch(language):
            raise ValueError(language)
        return str(Locale.parse(language).english_name)
    except (ValueError, UnknownLocaleError) as error:
        raise FedkitError(
            f"{language!r} is no language", field="--lang", remedy="give a code such as de or pt_BR"
        ) from error


def catalogue(out_dir: Path, language: str, name: str) -> Path:
    """Where the catalogue of a lesson lies, or of the cards (`COMMON`)."""
    return out_dir / "locale" / language / f"{name}.po"


def read_catalogue(path: Path, language: str) -> Catalog:
    """Read a catalogue. Raises FedkitError where it is none, or one of another language."""
    from babel.messages.pofile import PoFileError, read_po

    try:
        found = read_po(io.BytesIO(path.read_bytes()), abort_invalid=True)
    except (OSError, PoFileError, ValueError, LookupError) as error:
        raise FedkitError(
            "is no catalogue that can be read",
            file=path,
            why=str(error),
            remedy="put it right by hand or in a program for .po files; git has the version before",
        ) from error
    if str(found.locale_identifier) != language:
        raise FedkitError(
            f"says `Language: {found.locale_identifier}` and lies in {language}/",
            file=path,
            remedy=f"write `Language: {language}`, or move it",
        )
    for message in found:
        if message.id and message.pluralizable:
            raise FedkitError(
                f"{message.context} has plural forms, and a lesson's text has one form",
                file=path,
                remedy="write msgid and msgstr alone, without msgid_plural",
            )
    return found


def read_translation(out_dir: Path, language: str, course: Sequence[Lesson]) -> Translation:
    """The lessons that have a catalogue, with English where a text is missing or fuzzy. Raises FedkitError."""
    said = _said(catalogue(out_dir, language, COMMON), language, phrases())
    lessons = {}
    for lesson in course:
        path = catalogue(out_dir, language, lesson.name)
        if path.is_file():
            lessons[lesson.name] = _translated(lesson, _said(path, language, texts(lesson)))
    own = {text.english: said.get(text.context, text.english) for text in phrases()}
    for english, phrase in own.items():
        if fields(english) != fields(phrase):
            raise FedkitError(
                f"has a phrase with other fields than its English: {english!r} became {phrase!r}",
                file=catalogue(out_dir, language, COMMON),
                remedy="keep each name in braces as it is",
            )
    return Translation(language, lessons, own)


def update(
    out_dir: Path, language: str, course: Sequence[Lesson], wanted: Sequence[Lesson] = ()
) -> list[Progress]:
    """Bring a language's catalogues up to date with their sources, and begin those of the lessons in `wanted`.

    Raises FedkitError where a catalogue can't be read (it stays as it is), or nothing is there and nothing wanted.
    """
    name_of(language)
    begun = [
        lesson
        for lesson in course
        if lesson in wanted or catalogue(out_dir, language, lesson.name).is_file()
    ]
    if not begun:
        raise FedkitError(
            f"has no catalogue in {language}",
            file=out_dir / "locale",
            remedy=f"name the lessons to begin with: python -m tools.course translate --lang {language} 00",
        )
    both = [(COMMON, phrases()), *((lesson.name, texts(lesson)) for lesson in begun)]
    paths = [(catalogue(out_dir, language, name), wanted_) for name, wanted_ in both]
    fresh = [
        (path, language, wanted_, _updated(path, language, wanted_)) for path, wanted_ in paths
    ]
    return [_kept(*each) for each in fresh]  # written when all have been read


def _said(path: Path, language: str, wanted: Sequence[Text]) -> dict[str, str]:
    """Context -> translation, of the texts that have one which is not fuzzy."""
    if not path.is_file():
        return {}
    found = read_catalogue(path, language)
    said = {}
    for text in wanted:
        message = found.get(text.english, text.context)
        if message and message.string and not message.fuzzy:
            said[text.context] = str(message.string)
    return said


def _translated(lesson: Lesson, said: dict[str, str]) -> Lesson:
    number, card = f"{lesson.number:02d}", lesson.card

    def listed(key: str, lines: Sequence[str]) -> list[str]:
        return [said.get(f"{number}-{key}-{n}", line) for n, line in enumerate(lines, 1)]

    own = card.model_copy(
        update={
            "needs": said.get(f"{number}-needs", card.needs),
            "learn": listed("learn", card.learn),
            "short_path": None
            if card.short_path is None
            else listed("short-path", card.short_path),
        }
    )
    cells = tuple(
        replace(cell, source=said.get(name, cell.source)) if cell.kind == "markdown" else cell
        for cell, name in zip(lesson.cells, lesson.ids, strict=True)
    )
    return Lesson(lesson.path, own, cells, original=lesson)


def _updated(path: Path, language: str, wanted: Sequence[Text]) -> Catalog:
    from babel.messages.catalog import Catalog

    source = f"{path.stem}.py" if path.stem != COMMON else "card.py"
    template = Catalog()
    for text in wanted:
        where = [(source, text.cell)] if text.cell else [(source, 0)]
        template.add(text.english, context=text.context, locations=where)
    if path.is_file():
        found = read_catalogue(path, language)
    else:
        now = datetime.now(UTC)
        found = Catalog(
            locale=language,
            header_comment=HEAD,
            project=DISTRIBUTION,
            version=VERSION,
            last_translator="The fedkit authors",
            language_team=name_of(language),
            msgid_bugs_address="see CONTRIBUTING.md",
            creation_date=now,
            revision_date=now,
            fuzzy=False,
        )
    for text in wanted:  # a text that has come back: somebody looks at it
        old = found.obsolete.pop((text.english, text.context), None)
        if old is not None:
            flags = {*old.flags, "fuzzy"} if old.string else old.flags
            found.add(old.id, old.string, flags=flags, context=old.context)
    found.update(template, update_creation_date=False)
    for message in found:  # a per cent sign in a text is no format
        message.flags -= {"python-format", "python-brace-format"}
    return found


def _kept(path: Path, language: str, wanted: Sequence[Text], found: Catalog) -> Progress:
    from babel.messages.pofile import write_po

    data = io.BytesIO()
    write_po(data, found, width=0)
    before = path.read_bytes().replace(b"\r\n", b"\n") if path.is_file() else b""
    if data.getvalue() != before:
        write_bytes(path, data.getvalue())
    said = _said(path, language, wanted)
    fuzzy = sum(message.fuzzy for message in found if message.id)
    there = len(found.obsolete)
    return Progress(path, len(wanted), len(said), fuzzy, there, data.getvalue() != before)

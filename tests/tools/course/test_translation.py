"""Tiny lessons in another language: catalogues that follow their sources, and notebooks in which nothing is lost."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import nbformat
import pytest

from fedkit.base.errors import FedkitError
from fedkit.experiments.lessons import about, editions
from tests.support import ROOT
from tests.support.lessons import LESSON, write_lesson
from tools.course import translation
from tools.course.build import build, drift
from tools.course.card import PHRASES
from tools.course.lesson import read_lesson
from tools.course.lint_translation import problems

pytestmark = pytest.mark.usefixtures("two_checks")


def catalogues(folder: Path, *begin: str, language: str = "de") -> list[translation.Progress]:
    course = [read_lesson(path) for path in sorted((folder / "src").glob("*.py"))]
    return translation.update(folder, language, course, [x for x in course if x.name in begin])


def said(folder: Path, english: str, other: str, name: str = "01_one") -> None:
    """Write a translation into a catalogue, as a person does in a program for such files."""
    from babel.messages.pofile import write_po

    path = translation.catalogue(folder, "de", name)
    found = translation.read_catalogue(path, "de")
    (message,) = [m for m in found if str(m.id).startswith(english) and m.id]
    message.string = other
    message.flags -= {"fuzzy"}
    with path.open("wb") as file:
        write_po(file, found, width=0)


def cells(path: Path) -> list[nbformat.NotebookNode]:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return list(notebook.cells)


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """Two lessons, the first begun in German: its title, a Recap, the word in its card for minutes."""
    write_lesson(tmp_path / "src")
    catalogues(tmp_path, "01_one")
    said(
        tmp_path,
        "# A title",
        "# Ein Titel\n\nDu kannst danach\nzwei Zahlen aus `fl_config.json` addieren.",
    )
    said(tmp_path, "## Recap", "## Rückblick\n\n* das Erste\n* das Zweite")
    said(tmp_path, PHRASES["head"], "**{minutes} Minuten**, {needs}", translation.COMMON)
    build(tmp_path / "src", tmp_path)
    return tmp_path


def test_what_is_translated_is_in_the_notebook_and_the_rest_in_english(course: Path) -> None:
    english, german = cells(course / "01_one.ipynb"), cells(course / "de/01_one.ipynb")
    assert [cell.id for cell in english] == [cell.id for cell in german]
    assert german[0].source.startswith("# Ein Titel")
    assert "**20 Minuten**, an installed fedkit" in german[0].source  # the English lesson's minutes
    assert "You will learn" in german[0].source
    same = [ours == theirs for ours, theirs in zip(english, german, strict=True)]
    changed = [cell.source.splitlines()[0] for cell, s in zip(german, same, strict=True) if not s]
    assert changed == [
        "# Ein Titel",
        "## What the aggregator saw",
        "## Rückblick",
    ]  # a link in the second
    note = about(course / "de/01_one.ipynb")
    assert (note.title, note.promise) == (
        "Ein Titel",
        "Du kannst danach zwei Zahlen aus `fl_config.json` addieren.",
    )
    assert (note.edition, note.solved, note.minutes) == (
        "de",
        False,
        about(course / "01_one.ipynb").minutes,
    )
    assert about(course / "de/solutions/01_one.ipynb").solved
    assert editions(course) == ["learner", "solutions", "colab", "de", "de/solutions"]
    assert not (course / "de/02_next.ipynb").exists()


def test_every_relative_link_leads_to_a_notebook_of_its_own_language_where_there_is_one(
    course: Path,
) -> None:
    seen = 0
    for path in course.rglob("*.ipynb"):
        for cell in cells(path):
            for target in re.findall(r"\]\(([^)\s]+\.ipynb)\)", cell.source):
                seen += 1
                assert (path.parent / target).is_file(), (path, target)
    assert seen > 20
    catalogues(course, "02_next")
    build(course / "src", course)
    first = cells(course / "de/01_one.ipynb")[0].source
    assert "](02_next.ipynb)" in first
    assert "[German edition](de/02_next.ipynb)" in cells(course / "02_next.ipynb")[0].source
    assert "[Ein Titel](01_one.ipynb)" in cells(course / "de/solutions/02_next.ipynb")[
        0
    ].source.replace("01 ", "")


def test_a_changed_text_turns_fuzzy_and_english_until_somebody_has_looked(course: Path) -> None:
    changed = LESSON.replace("* the first\n# * the second", "* the first\n# * the second one")
    write_lesson(course / "src", changed)
    (problem, lacking) = problems(course, [read_lesson(course / "src/01_one.py")])[:2]
    assert "a text that no source has" in problem.what
    assert "lacks 1 texts" in lacking.what
    _, progress = catalogues(course)
    assert (progress.translated, progress.fuzzy, progress.obsolete) == (1, 1, 0)
    assert problems(course, [read_lesson(p) for p in sorted((course / "src").glob("*.py"))]) == []
    build(course / "src", course)
    assert any(c.source.startswith("## Recap") for c in cells(course / "de/01_one.ipynb"))
    said(course, "## Recap", "## Rückblick\n\n* das Erste\n* das Zweite hier")
    assert [p.name for p in build(course / "src", course, "de")] == ["01_one.ipynb", "01_one.ipynb"]
    assert any("das Zweite hier" in c.source for c in cells(course / "de/01_one.ipynb"))


def test_a_text_that_is_gone_is_kept_and_comes_back_to_be_looked_at(course: Path) -> None:
    without = LESSON.replace("# %% [markdown]\n# ## Recap\n#\n# * the first\n# * the second\n", "")
    assert without != LESSON
    write_lesson(course / "src", without)
    assert catalogues(course)[1].obsolete == 1
    write_lesson(course / "src")
    _, progress = catalogues(course)
    assert (progress.obsolete, progress.fuzzy, progress.translated) == (0, 1, 1)
    assert "## Rückblick" in translation.catalogue(course, "de", "01_one").read_text("utf-8")


def test_bringing_up_to_date_twice_changes_nothing(course: Path) -> None:
    catalogues(course)
    assert not any(progress.changed for progress in catalogues(course))
    path = translation.catalogue(course, "de", "01_one")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))  # as git leaves it on Windows
    assert not any(progress.changed for progress in catalogues(course))
    assert drift(course / "src", course) == []


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ('msgid "a"\nmsgstr "b"\n\nthis is none\n', "no catalogue that can be read"),
        ("", "Language: None"),
    ],
)
def test_a_broken_catalogue_is_named_and_stays_as_it_is(
    course: Path, broken: str, words: str
) -> None:
    path = translation.catalogue(course, "de", "01_one")
    path.write_text(broken, encoding="utf-8")
    before = {p: p.read_bytes() for p in course.rglob("*") if p.is_file()}
    with pytest.raises(FedkitError, match=words):
        catalogues(course)
    with pytest.raises(FedkitError, match=words):
        build(course / "src", course)
    (problem,) = [
        p for p in problems(course, [read_lesson(course / "src/01_one.py")]) if p.path == path
    ]
    assert words in problem.what
    assert {p: p.read_bytes() for p in course.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    "phrase", ["{minuten} {needs}", "{} {needs}", "{minutes.x} {needs}", "{minutes"]
)
def test_a_phrase_that_cannot_be_filled_in_is_one_line(course: Path, phrase: str) -> None:
    said(course, PHRASES["head"], phrase, translation.COMMON)
    with pytest.raises(FedkitError, match="other fields than its English"):
        build(course / "src", course)
    assert "other fields" in drift(course / "src", course)[0].what


def test_plural_forms_are_refused(course: Path) -> None:
    path = translation.catalogue(course, "de", "01_one")
    text = path.read_text("utf-8")
    many, count = re.subn(
        r'(msgctxt "01-needs"\nmsgid ".*"\n)msgstr ""',
        r'\1msgid_plural "many"\nmsgstr[0] "eine"\nmsgstr[1] "viele"',
        text,
    )
    assert count == 1
    path.write_text(many, encoding="utf-8")
    with pytest.raises(FedkitError, match="has plural forms"):
        build(course / "src", course)


def test_a_language_without_catalogues_says_how_to_begin(tmp_path: Path) -> None:
    write_lesson(tmp_path / "src")
    for strange in ("../de", "deutsch", "xx"):
        with pytest.raises(FedkitError, match="is no language"):
            catalogues(tmp_path, "01_one", language=strange)
    with pytest.raises(FedkitError) as caught:
        build(tmp_path / "src", tmp_path, "fr")
    assert "translate --lang fr 00" in str(caught.value)
    with pytest.raises(FedkitError, match="has no catalogue in fr"):
        catalogues(tmp_path, language="fr")
    assert catalogues(tmp_path, "01_one", language="pt_BR")[1].path.parent.name == "pt_BR"


@pytest.mark.slow
@pytest.mark.parametrize("language", translation.languages(ROOT / "notebooks"))
def test_what_has_been_begun_is_complete(language: str, tmp_path: Path) -> None:
    """Before a release: no text of a lesson in another language is missing or waits for somebody to look at it."""
    shutil.copytree(ROOT / "notebooks" / "locale", tmp_path / "locale")
    (tmp_path / "src").symlink_to(ROOT / "notebooks" / "src")
    for progress in catalogues(tmp_path, language=language):
        assert not progress.changed, f"run: python -m tools.course translate --lang {language}"
        assert (progress.translated, progress.fuzzy) == (progress.texts, 0), progress.path.name

"""What a translation has to keep, case by case: the rule names what was lost."""

from __future__ import annotations

import pytest

from tools.course.lint_translation import differences

PREDICT = (
    "> **Predict.** What does `go` do with 1,000 images?\n>\n> * a) it trains\n> * b) it waits"
)
VORHER = (
    "> **Vorhersage.** Was macht `go` mit 1.000 Bildern?\n>\n> * a) es trainiert\n> * b) es wartet"
)
WHOLE = (
    "## How heavy is it?\n\nSee [02](02_next.ipynb) and **x**: $w^2$ is 3.5, about\n**half** of `w`.\n\n"
    "| key | what |\n|---|---|\n| `a` | one |\n\n* first\n  and more\n* second\n\n```\ncode 7\n```"
)
GANZ = (
    "## Wie schwer ist es?\n\nSieh in [02](02_next.ipynb) nach, und\n**x**: $w^2$ ist 3,5,\n"
    "also die **Hälfte** von `w`.\n\n"
    "| Schlüssel | was |\n|---|---|\n| `a` | eins |\n\n* zuerst\n* dann, und\n  noch mehr\n\n```\ncode 7\n```"
)


def lost(english: str, translated: str, **how: bool) -> str:
    return "; ".join(differences(english, translated, **how))


def test_a_faithful_translation_breaks_its_lines_where_it_likes() -> None:
    assert lost(PREDICT, VORHER) == ""
    assert lost(WHOLE, GANZ) == ""


@pytest.mark.parametrize(
    ("was", "becomes", "words"),
    [
        ("`go`", "`los`", "other code: `go` is missing; other code: `los` is too much"),
        ("1.000", "100", "other numbers: 1000 is missing"),
        ("> * b) es wartet", "", "another form: part 5 is nothing instead of > item * b)"),
        ("* b)", "* c)", "part 5 is > item * c) instead of > item * b)"),
        ("> **Vorhersage.** Was", "> Was", "> text instead of > text with a bold lead"),
        ("> **Vorhersage.**", "**Vorhersage.**", "text with a bold lead instead of > text"),
    ],
)
def test_a_prediction_keeps_its_question_and_its_options(
    was: str, becomes: str, words: str
) -> None:
    assert was in VORHER
    assert words in lost(PREDICT, VORHER.replace(was, becomes))


@pytest.mark.parametrize(
    ("was", "becomes", "words"),
    [
        ("schwer ist es?", "schwer es ist", "heading ## instead of heading ## a question"),
        ("## ", "### ", "heading ### a question instead of heading ## a question"),
        ("02_next.ipynb", "03_next.ipynb", "other links: 02_next.ipynb is missing"),
        ("$w^2$", "w", "other formulas: $w^2$ is missing"),
        ("3,5", "3,6", "other numbers: 35 is missing"),
        ("| eins |", "| eins | zwei |", "row of 4 bars instead of row of 3 bars"),
        ("* dann, und\n  noch mehr\n", "", "another form"),
        ("code 7", "Code 7", "other code blocks"),
        ("nach, und", "nach.\n\nUnd", "another form"),
    ],
)
def test_every_other_text_keeps_what_is_not_in_words(was: str, becomes: str, words: str) -> None:
    assert was in GANZ
    assert words in lost(WHOLE, GANZ.replace(was, becomes))


@pytest.mark.parametrize(
    ("was", "becomes", "words"),
    [
        ("Sieh", "<script>x()</script>Sieh", "other markup: <script> is too much"),
        ("Sieh", '<div style="display:none">Sieh', "other markup: <div"),
        ("Sieh", "<!-- Sieh", "other markup: <!-- is too much"),
        ("Sieh", "\u202eSieh", r"signs that nobody sees: '\u202e'"),
        ("**Hälfte**", "**Hälfte", "a ** without its partner in: Sieh"),
        (GANZ, " \n", "nothing but blanks"),
    ],
)
def test_no_translation_changes_what_stands_around_it(was: str, becomes: str, words: str) -> None:
    assert was in GANZ
    assert words in lost(WHOLE, GANZ.replace(was, becomes))
    joined = GANZ.replace("Sieh", "Si\u200ceh\u200f")  # as Persian and Arabic are spelled
    assert lost(WHOLE, joined) == ""


def test_a_phrase_keeps_its_fields() -> None:
    assert lost("Next: {link}", "Weiter: {link}", pattern=True) == ""
    assert "link is missing" in lost("Next: {link}", "Weiter", pattern=True)
    assert "Link is too much" in lost("Next: {link}", "Weiter: {Link} {link}", pattern=True)
    assert "not closed" in lost("Next: {link}", "Weiter: {link", pattern=True)
    assert "another form" in lost("Next: {link}", "Weiter:\n\n# {link}", pattern=True)

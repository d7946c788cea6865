"""An executed lesson cut into slides, one idea each: a heading opens one, a question stands before its answer, code stands
with its result.

A slide is cells. How much fits is estimated in lines here; the page measures, and makes smaller what is still too much.
"""

from __future__ import annotations

import ast
import html
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fedkit.experiments.notebooks import RECORD_MIME
from fedkit.teaching.quiz import read_quiz

__all__ = ["Slide", "deck", "text_of"]


LINES, COLUMNS = 12, 76
"""Lines of prose on one slide, and letters in one of them."""
CODE_LINES, OUTPUT_LINES, LEAD = 18, 22, 4
"""Lines of code that share one slide, of printed output on one, and of prose that leads over to the code below it."""

Cell = dict[str, Any]

_WIDGET = "application/vnd.jupyter.widget-view+json"
_QUIZ = re.compile(r'\s*fk\.quiz\("(\d\d)"')
_FENCE = re.compile(r"^\s*(```|~~~)")
_CARD = re.compile(r"^> (Previous|Next): ")
_ROLE = re.compile(r"\*\*[^*]+\*\*")
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)[^)]*\)")


@dataclass
class Slide:
    """One slide: its cells, the section it stands in, whether it opens that, and what it is for (for the notes).

    about : "title", "section", "predict", "exercise", "quiz" or ""; key : the predict box's or question's number, or the
    exercise's check. A cell with the tag `later` appears at a press.
    """

    section: str
    cells: list[Cell]
    opens: bool = False
    about: str = ""
    key: str = ""
    notes: list[str] = field(default_factory=list)


def deck(executed: Mapping[str, Any], learner: Mapping[str, Any] | None = None) -> list[Slide]:
    """The slides of an executed notebook, as in an .ipynb file.

    learner : the learner's edition; where it differs, its cell is shown before the executed one, as the question.
    """
    open_ = {cell.get("id"): cell for cell in (learner or {"cells": []})["cells"]}
    made: list[Slide] = []
    section, predicted, told = "", 0, True
    for cell in executed["cells"]:
        source = text_of(cell)
        if cell["cell_type"] == "markdown":
            told = True
            for about, blocks in _pages(source, first=not made):
                heading = re.match(r"#{1,3} (.+)", blocks[0])
                if heading is not None:
                    section = heading[1].strip()
                predicted += about == "predict"
                key = str(predicted) if about == "predict" else ""
                page = Slide(
                    section, [_prose("\n\n".join(blocks))], heading is not None, about, key
                )
                made.append(page)
        elif cell["cell_type"] == "code":
            if (quiz := _QUIZ.match(source)) is not None:
                asked = [_question(section, quiz[1], n) for n in range(1, _count(quiz[1]) + 1)]
                if made and made[-1].opens and _tall(made[-1], asked[0]) <= LINES + 3:
                    asked[0] = replace(
                        asked[0], cells=made.pop().cells + asked[0].cells, opens=True
                    )
                made += asked
            elif not _says_nothing(cell, source) and "injected-parameters" not in _tags(cell):
                theirs = open_.get(cell.get("id"))
                made += _code(section, cell, theirs, made[-1] if made else None, told)
                told = False
    return made


def _tags(cell: Mapping[str, Any]) -> Sequence[str]:
    """A cell's tags; what was only given to a run in batch, papermill marks with one."""
    return cell["metadata"].get("tags") or ()


def text_of(cell: Mapping[str, Any]) -> str:
    """A cell's source as one text."""
    return "".join(cell["source"])


# ---------------------------------------------------------------------------------------------- prose
def _pages(source: str, first: bool) -> Iterator[tuple[str, list[str]]]:
    """What each slide of a text is for, and its paragraphs: as many as fit, each Predict box and exercise apart."""
    page: list[str] = []
    about = "title" if first else ""
    for block in _blocks(source):
        predict, exercise = block.startswith("> **Predict."), block.startswith("**Exercise")
        role = bool(_ROLE.fullmatch(block))  # who acts now: above what this one does
        heading = bool(re.match(r"#{1,3} ", block))
        full = sum(map(_height, [*page, block])) > LINES
        alone = (
            bool(page) and re.match(r"#{1,3} ", page[-1]) is not None
        )  # a heading has a text below it
        apart = predict or exercise or heading or role or about == "predict"
        if page and (apart or full) and not (alone and not heading and not predict):
            yield about, page
            page, about = [], ""
        page.append(block)
        if heading and not about:
            about = "section"
        about = "predict" if predict else "exercise" if exercise else about
    if page:
        yield about, page


def _blocks(source: str) -> list[str]:
    """The paragraphs, lists, boxes and fences of a text; the ways to other lessons, which no slide has, are left out."""
    blocks: list[list[str]] = [[]]
    fenced = False
    for line in source.splitlines():
        if _CARD.match(line):
            continue
        fenced ^= bool(_FENCE.match(line))
        ends = not line.strip() and not fenced
        if ends or (re.match(r"#{1,6} ", line) and not fenced):
            blocks.append([])
        if not ends:
            blocks[-1].append(_LINK.sub(r"\1", line))
            if re.match(r"#{1,6} ", line) and not fenced:
                blocks.append([])
    texts = ["\n".join(block).strip("\n") for block in blocks]
    return [re.sub(r"(\n>\s*)+$", "", text) for text in texts if text.strip("> \n")]


def _height(block: str) -> int:
    """Lines that a paragraph takes, and the gap below it."""
    joined = block if re.match(r"\s*([-*>|]|\d+\.|```)", block) else block.replace("\n", " ")
    return 1 + sum(1 + len(line) // COLUMNS for line in joined.splitlines())


def _prose(text: str, *tags: str) -> Cell:
    return {"cell_type": "markdown", "metadata": {"tags": list(tags)}, "source": text}


# ----------------------------------------------------------------------------------------------- code
def _code(
    section: str, cell: Cell, theirs: Cell | None, before: Slide | None, told: bool
) -> Iterator[Slide]:
    """The slides of one code cell; what fits goes on `before`, the slide before it."""
    source, outputs = text_of(cell), _shown(cell)
    check = re.search(r"fk\.check\.(\w+)\(", source)
    exercise = "exercise" in _tags(cell)
    if exercise and theirs is not None and text_of(theirs) != source:
        stub = _plain(theirs, [])
        if before is not None and before.about == "exercise" and told:
            before.key = check[1] if check else ""
        if before is not None and before.about == "exercise" and _room(before, stub):
            before.cells.append(stub)
        else:
            yield Slide(section, [stub], about="exercise", key=check[1] if check else "")
    elif not told and before is not None and before.about == "" and _joins(before, source, outputs):
        before.cells.append(_plain(cell, outputs[:1]))  # a definition, and the cell that shows it
        outputs = outputs[1:]
        yield from (Slide(section, [_output(cell, part)]) for part in outputs)
        return
    shown = _plain(cell, outputs[:1])
    if told and not exercise and before is not None and _leads(before, source):
        before.cells.append(shown)
    else:
        yield Slide(section, [shown])
    yield from (Slide(section, [_output(cell, part)]) for part in outputs[1:])


def _room(slide: Slide, cell: Cell) -> bool:
    return _tall(slide) + len(text_of(cell).splitlines()) <= LINES + 3


def _tall(*slides: Slide) -> int:
    cells = [cell for slide in slides for cell in slide.cells]
    return sum(_height(block) for cell in cells for block in _blocks(text_of(cell)))


def _leads(slide: Slide, source: str) -> bool:
    """Is the slide a line or two that lead over to this code, and is there room for it?"""
    prose = sum(_height(block) for block in _blocks(text_of(slide.cells[0])))
    short = len(slide.cells) == 1 and not slide.opens and slide.about == ""
    return short and prose <= LEAD and len(source.splitlines()) <= CODE_LINES - 2 * prose


def _joins(slide: Slide, source: str, outputs: Sequence[list[dict[str, Any]]]) -> bool:
    """Is the slide code alone, still without a result, and is there room for this code and its first result too?"""
    shown = outputs[0] if outputs else []
    drawn = any("<img" in "".join(one.get("data", {}).get("text/html", "")) for one in shown)
    room = CODE_LINES // 2 if drawn else CODE_LINES
    code = all(one["cell_type"] == "code" and not one["outputs"] for one in slide.cells)
    lines = sum(len(text_of(one).splitlines()) for one in slide.cells)
    return code and lines + len(source.splitlines()) <= room


def _shown(cell: Cell) -> list[list[dict[str, Any]]]:
    """The outputs, slide by slide: what was recorded or said on stderr is left out, long print is cut into pages."""
    pages: list[list[dict[str, Any]]] = [[]]
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        if RECORD_MIME in data or output.get("name") == "stderr":
            continue
        if data:
            kept = {kind: value for kind, value in data.items() if kind != _WIDGET}
            pages[-1].append(output | {"data": kept})
        elif output["output_type"] == "stream":
            lines = "".join(output["text"]).splitlines(keepends=True)
            for start in range(0, len(lines), OUTPUT_LINES):
                if start:
                    pages.append([])
                text = "".join(lines[start : start + OUTPUT_LINES])
                pages[-1].append(output | {"text": text})
        else:
            pages[-1].append(output)
    return pages if pages != [[]] else []


def _plain(cell: Cell, outputs: Sequence[list[dict[str, Any]]]) -> Cell:
    kept = [output for page in outputs for output in page]
    return cell | {"metadata": {"tags": []}, "source": text_of(cell), "outputs": kept}


def _output(cell: Cell, outputs: list[dict[str, Any]]) -> Cell:
    return cell | {"metadata": {"tags": ["output-only"]}, "source": "", "outputs": outputs}


def _says_nothing(cell: Cell, source: str) -> bool:
    """Is it imports alone, or only a record for the table of results?"""
    if _shown(cell):
        return False
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return False
    return source.startswith("fk.record(") or all(
        isinstance(one, ast.Import | ast.ImportFrom) for one in body
    )


# ----------------------------------------------------------------------------------------------- quiz
def _count(name: str) -> int:
    return len(read_quiz(name))


def _question(section: str, name: str, number: int) -> Slide:
    question = read_quiz(name)[number - 1]
    options = "\n".join(f"* {letter}) {_text(one.says)}" for letter, one in question.lettered())
    right = dict(question.lettered())[question.answer]
    answer = _prose(f"**{question.answer})** {_text(right.reply)}", "later")
    asked = _prose(f"**{number}.** {_text(question.asks)}\n\n{options}", "question")
    return Slide(section, [asked, answer], about="quiz", key=str(number))


def _text(said: str) -> str:
    """An author's words as Markdown: what stands between backticks is code, and nothing else means anything."""
    parts = said.split("`")
    return "`".join(p if n % 2 else re.sub(r"([*_\[\]$])", r"\\\1", html.escape(p, quote=False))
                    for n, p in enumerate(parts))  # fmt: skip

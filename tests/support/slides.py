"""An executed notebook with one of each thing that a slide may hold."""

from __future__ import annotations

from typing import Any

from fedkit.experiments.notebooks import RECORD_MIME
from fedkit.teaching.slides.deck import Slide, text_of

__all__ = ["PICTURE", "code", "drawn", "executed", "prose", "said", "texts"]

PICTURE = (
    '<img alt="A dot" width="700" src="data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNg'
    'YGD4DwABBAEAfbLI3wAAAABJRU5ErkJggg==">'
)


def prose(*paragraphs: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": "m", "metadata": {}, "source": "\n\n".join(paragraphs)}


def code(
    source: str, *outputs: dict[str, Any], name: str = "c", exercise: bool = False
) -> dict[str, Any]:
    tags = ["exercise"] if exercise else []
    cell = {"cell_type": "code", "id": name, "metadata": {"tags": tags}, "execution_count": 1}
    return cell | {"source": source, "outputs": list(outputs)}


def said(text: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stdout", "text": text}


def drawn(kind: str = "text/html", content: Any = PICTURE) -> dict[str, Any]:
    return {
        "output_type": "display_data",
        "metadata": {},
        "data": {kind: content, "text/plain": "A dot"},
    }


def executed() -> dict[str, Any]:
    """A small lesson, executed."""
    cells = [
        prose(
            "# A title",
            "You will be able to add.",
            "> **20 minutes**\n>\n> Previous: none · [solved](x.ipynb)",
        ),
        code("import torch"),
        prose(
            "## How much is it?",
            "It is *much*, see [there](01_x.ipynb) and [far](https://example.org).",
        ),
        code("print(1 + 1)", said("2\n")),
        prose("**Alice, participant**", "> **Predict.** And twice?\n>\n> * a) 4\n> * b) 5"),
        code("show(figure)", drawn(), drawn(RECORD_MIME, {"x": 1})),
        prose("a. It is $2 \\cdot 2$, and `$HOME` is code.", "**Exercise.** Double it."),
        code("fk.check.double(\n    4\n)", said("Right\n"), name="e", exercise=True),
        prose("## Quiz", "Choose."),
        code('fk.quiz("03")'),
        prose("## Recap", "* It was much."),
        code("fk.record(x=1)", drawn(RECORD_MIME, {"x": 1})),
    ]
    for number, cell in enumerate(cells):
        cell["id"] = cell["id"] if cell["id"] == "e" else f"{cell['id']}{number}"
    return {
        "cells": cells,
        "metadata": {"fedkit": {"title": "A <title>"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def texts(slide: Slide) -> str:
    return "\n".join(text_of(cell) for cell in slide.cells)

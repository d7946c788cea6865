"""The slides of a lesson as one HTML file that needs nothing beside it: nbconvert's reveal exporter, a page of our own.

nbconvert's page takes reveal.js, require.js and MathJax from elsewhere while it is shown; this one carries what it uses.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedkit.base.distribution import missing_extra
from fedkit.base.errors import FedkitError
from fedkit.teaching.slides.deck import Slide, deck
from fedkit.teaching.slides.formula import with_pictures
from fedkit.teaching.slides.notes import give_notes

__all__ = ["WIDTH", "slides"]


WIDTH, HEIGHT = 1280, 720
"""CSS pixels of a slide."""
TEMPLATES = Path(__file__).parent


def slides(
    executed: Mapping[str, Any],
    script: Mapping[str, str],
    *,
    learner: Mapping[str, Any] | None = None,
    notes: str = "",
) -> tuple[str, int]:
    """The page, and how many slides it has.

    Parameters
    ----------
    executed : a notebook with outputs, as in an .ipynb file. learner : the learner's edition, for the exercises' questions.
    script : reveal.js, the text of each of `reveal.FILES`. notes : the teacher's, for the speaker's window (key S).

    Raises FedkitError where nbconvert is missing, or the notebook has nothing to show.
    """
    made = deck(executed, learner)
    if not made:
        raise FedkitError("has no cell that a slide could show", remedy="give an executed lesson")
    if notes:
        give_notes(made, notes)
    try:
        from nbconvert.exporters import SlidesExporter
    except ModuleNotFoundError as error:
        raise missing_extra(error, "a lesson as slides") or error from None
    import nbformat

    about = executed["metadata"].get("fedkit", {})
    notebook = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"title": about.get("title") or "fedkit", "language_info": {"name": "python"}},
        "cells": [cell for n, slide in enumerate(made) for cell in _cells(slide, made, n)],
    }
    exporter = SlidesExporter(
        template_name="template",
        extra_template_basedirs=[str(TEMPLATES)],
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )
    resources = {
        "fedkit": {name.rpartition("/")[2].replace(".", "_"): text for name, text in script.items()}
        | {name: (TEMPLATES / "template" / name.replace("_", ".")).read_text("utf-8")
           for name in ("slides_css", "slides_js")}
        | {"width": WIDTH, "height": HEIGHT}
    }  # fmt: skip
    read = nbformat.reads(json.dumps(notebook), as_version=4)
    page, _ = exporter.from_notebook_node(read, resources=resources)
    return page, len(made)


def _cells(slide: Slide, made: list[Slide], number: int) -> list[dict[str, Any]]:
    """The slide's cells with nbconvert's own metadata: the first opens a slide, or a slide below the last."""
    across = slide.opens or number == 0
    cells = []
    if not across and slide.section:
        cells.append(_markdown(f'<div class="running">{slide.section}</div>', number, "running"))
    for place, cell in enumerate(slide.cells):
        tags = [*cell["metadata"].get("tags", []), *([slide.about] if slide.about else [])]
        kind = "fragment" if "later" in tags else "-"
        made_cell = {**cell, "id": f"s{number}-{place}"}
        if cell["cell_type"] == "markdown":
            made_cell = _markdown(with_pictures(cell["source"]), number, str(place))
        cells.append(made_cell | {"metadata": {"tags": tags, "slideshow": {"slide_type": kind}}})
    cells[0]["metadata"]["slideshow"]["slide_type"] = "slide" if across else "subslide"
    if slide.notes:
        said = _markdown("\n\n".join(slide.notes), number, "notes")
        said["metadata"]["slideshow"]["slide_type"] = "notes"
        cells.append(said)
    return cells


def _markdown(text: str, number: int, name: str) -> dict[str, Any]:
    about: dict[str, Any] = {
        "slideshow": {"slide_type": "-"},
        "tags": [name] if name == "running" else [],
    }
    return {"cell_type": "markdown", "id": f"s{number}-{name}", "metadata": about, "source": text}

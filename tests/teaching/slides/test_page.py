"""The page of slides: nothing from outside, and nothing that hangs over an edge, in a real Chromium."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from fedkit.base.errors import FedkitError
from fedkit.experiments.notebooks import run
from fedkit.teaching.slides.page import slides
from fedkit.teaching.slides.reveal import FILES, reveal
from tests.support import ROOT
from tests.support.slides import code, drawn, executed, prose
from tests.teaching.slides.test_deck import LEARNER
from tests.teaching.slides.test_notes import NOTES

SCRIPT = {name: f"/* {name} */" for name in FILES}
LESSONS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
FETCHES = re.compile(
    r"<(?!a\b)\w+[^>]*\s(?:src|href)\s*=(?!\s*[\"']?data:)|@import|url\((?!\s*[\"']?data:)|\bimport\s*[({\"']"
)
"""What makes a browser ask for something: an address in any element but a link to click, in a style or in a script."""


def test_the_page_carries_all_that_it_shows() -> None:
    page, count = slides(executed(), SCRIPT, learner=LEARNER, notes=NOTES)
    assert not FETCHES.search(page), FETCHES.search(page)
    assert not re.search(r"unpkg|cdnjs|jsdelivr|googleapis|MathJax", page)
    assert count == len(re.findall(r"<section[^>]*>(?!\s*<section)", page)) == 15
    assert all(text in page for text in SCRIPT.values())
    assert "<title>A &lt;title&gt;: slides</title>" in page
    assert page.count("fragment") >= 5
    assert re.search(r'<aside class="notes">.*?run it together', page, re.DOTALL)
    assert 'alt="2 \\cdot 2"' in page
    assert "vnd.jupyter.widget" not in page


def test_what_fetches_is_found() -> None:
    for text in (
        '<script src="https://unpkg.com/x.js"></script>',
        '<link rel="stylesheet" href="x.css">',
        "<img src=x.png>",
        "a { background: url(https://x/y.png) }",
        '@import "x.css";',
        "import('https://x')",
    ):
        assert FETCHES.search(text), text
    for text in (
        '<a class="x" href="https://x">',
        '<img src="data:image/png;base64,xx">',
        "url(data:x)",
    ):
        assert not FETCHES.search(text), text


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FedkitError, match="no cell that a slide could show"):
        slides({"cells": [], "metadata": {}}, SCRIPT)
    monkeypatch.setitem(sys.modules, "nbconvert.exporters", None)
    with pytest.raises(FedkitError, match=r"extra \[teacher\]") as error:
        slides(executed(), SCRIPT)
    assert "nbconvert is not installed" in str(error.value)
    assert "pip install" in str(error.value)


# -------------------------------------------------------------------------------------- in Chromium
MEASURE = """() => Reveal.getSlides().map((slide) => {
    const { h, v } = Reveal.getIndices(slide);
    Reveal.slide(h, v, 9);
    const parts = [...slide.children].filter((part) => !part.querySelector(".running") && !part.matches(".notes"));
    const shows = (part) => part.innerText.trim() || part.querySelector("img, svg");
    const text = parts.some(shows) ? slide.innerText.trim() || "a picture" : "";
    const over = slide.scrollHeight > slide.clientHeight || slide.scrollWidth > slide.clientWidth;
    return { over, text, fit: Number(slide.dataset.fit || 1), size: [slide.clientWidth, slide.clientHeight] };
})"""


@pytest.fixture(scope="module")
def script() -> dict[str, str]:
    """reveal.js itself."""
    try:
        return reveal()
    except FedkitError as error:
        pytest.skip(str(error))


def opened(page: Any, made: str, file: Path) -> Any:
    """The slides in Chromium, on a screen of their own size, each measured and cut."""
    file.write_text(made, encoding="utf-8")
    page.set_viewport_size({"width": 1280, "height": 720})
    page.goto(file.as_uri())
    page.wait_for_function("() => window.Reveal && Reveal.isReady()", timeout=120_000)
    return page


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("box", ["div", "article"])
def test_what_is_too_much_goes_on_row_by_row(
    box: str, script: dict[str, str], page: Any, tmp_path: Path
) -> None:
    """A panel with words, a long table, pictures and an empty paragraph: no part is lost, small or alone with nothing."""
    rows = "".join(f"<tr><td>row {n}</td><td>{n}</td></tr>" for n in range(60))
    table = f"<table><caption>Seats</caption><thead><tr><th>seat</th><th>no</th></tr></thead><tbody>{rows}</tbody></table>"
    shapes = "".join(
        f'<svg id="p{n}" width="300" height="300"><rect width="9" height="9"/></svg>'
        for n in range(6)
    )
    items = "".join(f"<li>item {n}</li>" for n in range(30))
    panel = (
        f"<{box}><p>above</p>{table}<p></p>{shapes}<h3>Items</h3><ul>{items}</ul><p> </p></{box}>"
    )
    notebook = executed() | {
        "cells": [prose("# A title"), code("panel", drawn(content=panel), name="p")]
    }
    opened(page, slides(notebook, script)[0], tmp_path / "slides.html")
    found = page.evaluate(MEASURE)
    assert all(s["text"] and not s["over"] and s["fit"] >= 0.7 for s in found), found
    whole = "\n".join(s["text"] for s in found)
    for name, count in (("row", 60), ("item", 30)):
        assert re.findall(rf"\b{name} (\d+)", whole) == [str(n) for n in range(count)]
    with_rows = [s["text"] for s in found if "row " in s["text"]]
    assert len(with_rows) >= 2
    assert all("seat" in text for text in with_rows)  # the table's head, each time
    places = (
        "Reveal.getSlides().flatMap((slide) => [...slide.querySelectorAll('svg')].map((s) => s.id))"
    )
    assert page.evaluate(places) == [f"p{n}" for n in range(6)]
    assert not any(s["text"].endswith("Items") for s in found), "a heading is left behind"
    page.goto(page.url.partition("#")[0] + "?print-pdf")
    page.wait_for_selector(".pdf-page", timeout=120_000)
    edges = "[...document.querySelectorAll('.pdf-page > section')].map((s) => getComputedStyle(s).paddingLeft)"
    assert set(page.evaluate(edges)) == {"56px"}


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("lesson", LESSONS)
def test_no_slide_of_a_lesson_hangs_over(
    lesson: str, script: dict[str, str], page: Any, tmp_path: Path
) -> None:
    """Every slide of a real lesson fits into 1280 x 720 and says something, and the page asks for nothing."""
    notebooks = ROOT / "notebooks"
    (result,) = run([notebooks / "solutions" / f"{lesson}.ipynb"], tmp_path, jobs=1)
    assert result.output is not None, result
    made, count = slides(
        json.loads(result.output.read_text("utf-8")),
        script,
        learner=json.loads((notebooks / f"{lesson}.ipynb").read_text("utf-8")),
    )
    file = tmp_path / "slides.html"
    asked: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    opened(page, made, file)
    found = page.evaluate(MEASURE)
    assert len(found) >= count
    for slide in found:
        assert not slide["over"], slide
        assert slide["text"], slide
        assert slide["fit"] >= 0.7, slide
        assert slide["size"] == [1280, 720]
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]
    assert not wrong
    page.evaluate("Reveal.slide(0, 0); Reveal.getCurrentSlide().style.setProperty('--fit', 9)")
    assert page.evaluate(
        "Reveal.getCurrentSlide().scrollHeight > Reveal.getCurrentSlide().clientHeight"
    )

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
from tests.support.slides import executed
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
    file.write_text(made, encoding="utf-8")
    asked: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.set_viewport_size({"width": 1280, "height": 720})
    page.goto(file.as_uri())
    page.wait_for_function("() => window.Reveal && Reveal.isReady()", timeout=60_000)
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

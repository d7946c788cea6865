"""The book in a real Chromium: every page, light and dark; nothing asked of another host, no serious finding of axe's."""

from __future__ import annotations

import functools
import http.server
import os
import re
import subprocess
import sys
import tarfile
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.environments import own_python
from tools.book.links import Page, broken, outside, read_pages
from tools.book.npm import AXE, fetched

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CACHE = ROOT / "runs" / "book-cache"
PHONE, DESK = {"width": 400, "height": 850}, {"width": 1280, "height": 950}
NAMES = re.compile(r"\d\d_\w+")


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The book as `make book` builds it; lessons that the cache does not have are executed."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
        "optional-dependencies"
    ]
    python = own_python("book", {"sphinx": [extras["book"]]}, "FEDKIT_REQUIRE_BROWSER")
    out = tmp_path_factory.mktemp("book")
    command = [sys.executable, "-m", "tools.book", "--out", str(out), "--cache", str(CACHE)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    built = subprocess.run(
        [*command, "--python", str(python)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    return out / "html"


@pytest.fixture(scope="module")
def pages(book: Path) -> dict[Path, Page]:
    return read_pages(book)


@pytest.fixture(scope="module")
def served(book: Path) -> Iterator[str]:
    """The book on loopback; it reads the same from the disk."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(book))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def open_page(browser: Any, served: str) -> Iterator[Any]:
    """Opens a page of the book by its path; at the end nothing may have been wrong with any."""
    said: list[str] = []
    contexts: list[Any] = []

    def opened(path: str, mode: str = "light", size: dict[str, int] = DESK) -> Any:
        context = browser.new_context(viewport=size, color_scheme=mode)
        contexts.append(context)
        page = context.new_page()
        page.on(
            "console",
            lambda m: said.append(f"{path}: {m.text}") if m.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda error: said.append(f"{path}: {error}"))
        page.on(
            "response",
            lambda r: said.append(f"{path}: {r.status} {r.url}") if r.status >= 400 else None,
        )
        page.on(
            "request",
            lambda r: (
                None
                if r.url.startswith((served, "data:", "blob:"))
                else said.append(f"{path}: {r.url}")
            ),
        )
        page.goto(f"{served}/{path}")
        page.wait_for_load_state("load")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []


def test_every_link_inside_leads_somewhere(book: Path, pages: dict[Path, Page]) -> None:
    assert len(pages) > 40
    assert sum(len(page.links) for page in pages.values()) > 2000
    assert broken(pages, book) == []
    assert outside(pages, book) == []


def test_every_lesson_is_there_with_its_pictures(book: Path) -> None:
    for notebook in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        text = (book / "notebooks" / f"{notebook.stem}.html").read_text(encoding="utf-8")
        assert "data:image/png;base64," in text or "<svg" in text, notebook.stem
        assert "model not found" not in text
        assert "jupyter.widget-view" not in text
        assert str(ROOT) not in text, "where this machine kept its files is nobody's business"


SETTLED = """async () => {
    const frame = () => new Promise(requestAnimationFrame);
    await frame();
    await Promise.allSettled(document.getAnimations().map((one) => one.finished));
    await frame();
}"""
"""The theme's colours fade in; until they are there, a text may have the other mode's."""


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_every_page_is_accessible_and_quiet(
    book: Path, pages: dict[Path, Page], open_page: Any, mode: str
) -> None:
    with tarfile.open(fetched(AXE, CACHE / "npm")) as tar:
        stream = tar.extractfile("package/axe.min.js")
        assert stream is not None
        axe = stream.read().decode()
    found = []
    for path in pages:
        name = path.relative_to(book.resolve()).as_posix()
        page = open_page(name, mode)
        page.wait_for_function(f"() => document.documentElement.dataset.theme === '{mode}'")
        page.evaluate(SETTLED)
        page.evaluate(axe)
        result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        found += [
            f"{name}: {wrong['id']}: {node['html'][:120]}"
            for wrong in result["violations"]
            if wrong["impact"] in ("serious", "critical")
            for node in wrong["nodes"]
        ]
        page.close()
    assert found == []


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_no_page_is_wider_than_its_window(
    book: Path, pages: dict[Path, Page], open_page: Any, size: dict[str, int]
) -> None:
    wide = []
    for path in pages:
        name = path.relative_to(book.resolve()).as_posix()
        page = open_page(name, "light", size)
        if page.evaluate(
            "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        ):
            wide.append(name)
        page.close()
    assert wide == []


def test_a_term_says_what_it_means(open_page: Any) -> None:
    page = open_page("notebooks/03_train.html")
    term = page.locator('.fk-term:has(> a[href$="#term-global-model"])')
    link, tip = term.locator("a"), term.locator("[role=tooltip]")
    assert not tip.is_visible()
    link.hover()
    assert tip.is_visible()
    assert (tip.text_content() or "").startswith("the weights that the aggregator sends")
    assert link.get_attribute("aria-describedby") == tip.get_attribute("id")
    box = tip.bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    assert tip.is_visible(), "it can be pointed at"
    page.mouse.move(2, 2)
    assert not tip.is_visible()
    link.focus()
    assert tip.is_visible()
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    page.keyboard.press("Enter")
    page.wait_for_url("**/notebooks/GLOSSARY.html#term-global-model")
    marked = page.evaluate("document.querySelectorAll('.fk-term').length")
    assert marked == 0, "the glossary needs none"


def test_a_tip_stays_inside_a_phone(open_page: Any) -> None:
    page = open_page("notebooks/06_datasites_differ.html", "light", PHONE)
    terms = page.locator(".fk-term")
    assert terms.count() > 5
    for place in range(terms.count()):
        terms.nth(place).locator("a").focus()
        box = terms.nth(place).locator(".fk-tip").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE["width"]


def test_each_term_is_marked_once_a_page(book: Path) -> None:
    text = (book / "notebooks" / "09_differential_privacy.html").read_text(encoding="utf-8")
    targets = re.findall(r'<span class="fk-term"><a href="[^"#]*#(term-[\w-]+)"', text)
    assert len(targets) == len(set(targets)) > 10


def test_notes_for_teachers_mark_no_word_of_a_later_lesson(book: Path) -> None:
    text = (book / "notebooks" / "teaching" / "05.html").read_text(encoding="utf-8")
    targets = re.findall(r'<span class="fk-term"><a href="[^"#]*#term-([\w-]+)"', text)
    assert "quorum" in targets
    assert not {"task", "trace", "robust"} & set(targets), "words of lessons 07 to 14"


def test_mathematics_is_set_from_local_fonts(open_page: Any) -> None:
    page = open_page("notebooks/04_aggregate.html")
    page.locator("mjx-container[display=true]").first.wait_for()
    assert page.evaluate(
        "[...document.fonts].some((font) => font.family.startsWith('MJX') && font.status === 'loaded')"
    )


def test_the_search_finds_a_word_of_a_lesson(open_page: Any) -> None:
    page = open_page("search.html?q=SCAFFOLD")
    found = page.locator("#search-results a", has_text="Strategies compared fairly")
    found.first.wait_for()


def test_a_solution_is_folded_and_opens(open_page: Any) -> None:
    page = open_page("notebooks/04_aggregate.html")
    folded = page.locator("details.hide").first
    solution = folded.locator(".highlight").first
    assert not solution.is_visible()
    before = folded.evaluate("node => node.closest('.cell').previousElementSibling.textContent")
    assert "..." in before, "the exercise as a learner meets it"
    folded.locator("summary").click()
    assert solution.is_visible()


def test_on_paper_everything_is_open(open_page: Any) -> None:
    page = open_page("notebooks/04_aggregate.html")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details.hide:not([open])").count() == 0
    page.emulate_media(media="print")
    assert not page.locator(".bd-sidebar-primary").is_visible()
    assert page.locator("h1").first.is_visible()
    assert len(page.pdf(format="A4")) > 50_000


def test_paper_is_white_in_the_dark_too(open_page: Any) -> None:
    page = open_page("notebooks/04_aggregate.html", "dark")
    page.wait_for_function("() => document.documentElement.dataset.theme === 'dark'")
    light = "() => document.documentElement.dataset.theme === 'light'"
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(light)
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert not page.evaluate(light)
    assert page.locator("details.hide[open]").count() == 0


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("epsilon", "Differential privacy"),
        ("FedProx", "Glossary"),
        ("secure aggregation", "Glossary"),
        ("datasite", "Glossary"),
    ],
)
def test_a_search_shows_what_stands_on_the_page(open_page: Any, words: str, first: str) -> None:
    page = open_page(f"search.html?q={words.replace(' ', '+')}")
    found = page.locator("#search-results li")
    page.locator("#search-results li p.context").first.wait_for()
    page.locator(".search-summary", has_text="found").wait_for()
    texts = found.all_inner_texts()
    assert texts[0].startswith(first)
    assert not [text for text in texts if "System Settings" in text], "the theme's own menu"
    titles = [text.splitlines()[0] for text in texts]
    teachers = [place for place, title in enumerate(titles) if "for the teacher" in title]
    lessons = [n for n, name in enumerate(titles) if name in ("A datasite is a folder", first)]
    assert min(teachers) > max(lessons), "the lesson stands before the notes about it"


def test_tables_fit_beside_both_columns(book: Path, open_page: Any) -> None:
    """What is cut off at the right is not found by a reader who does not know that it is there."""
    wide = []
    for name in ("protocol", "reference/commands", "reference/fl_config", "roads", "stable"):
        page = open_page(f"{name}.html", "light", {"width": 1000, "height": 800})
        wide += page.evaluate(
            """name => [...document.querySelectorAll(".pst-scrollable-table-container")]
                .filter((it) => it.scrollWidth > it.clientWidth + 2)
                .map((it) => `${name}: ${it.closest("section").id}`)""",
            name,
        )
        page.close()
    assert wide == []

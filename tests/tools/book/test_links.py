"""The test of what was built: links, anchors and files that are not there, and whatever comes from another host."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.book.links import broken, outside, read_pages

GOOD = """<html><head><link rel="stylesheet" href="_static/a.css"><link rel="next" href="sub/b.html"></head>
<body id="top"><a href="sub/b.html#there">b</a> <a href="#top">top</a> <a href="https://example.org/x">out</a>
<img src="data:image/png;base64,AA=="><a href="mailto:a@example.org">mail</a></body></html>"""


@pytest.fixture
def book(tmp_path: Path) -> Path:
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "a.css").write_text("a { background: url(data:image/png;base64,AA==) }")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.html").write_text('<p id="there"><a href="../index.html">up</a>')
    (tmp_path / "index.html").write_text(GOOD)
    return tmp_path


def test_a_good_book_has_no_complaints(book: Path) -> None:
    pages = read_pages(book)
    assert len(pages) == 2
    assert broken(pages, book) == []
    assert outside(pages, book) == []


@pytest.mark.parametrize(
    "wrong",
    [
        '<a href="nowhere.html">',
        '<a href="sub/b.html#elsewhere">',
        '<a href="#bottom">',
        '<a href="sub/">',
        '<img src="lost.png">',
        '<a href="../../outside.html">',
    ],
)
def test_a_link_that_leads_nowhere_is_found(book: Path, wrong: str) -> None:
    (book / "index.html").write_text(GOOD + wrong)
    assert len(broken(read_pages(book), book)) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        '<script src="https://example.org/a.js"></script>',
        '<img src="//example.org/a.png">',
        '<img srcset="https://example.org/a.png 2x">',
        '<link rel="preconnect" href="https://example.org">',
        '<iframe src="http://example.org"></iframe>',
        "<p style=\"background: url('https://example.org/a.png')\">",
        "<style>@font-face { src: url(https://example.org/a.woff2) }</style>",
        '<svg><image href="https://example.org/a.png"></svg>',
        '<video poster="https://example.org/a.png"></video>',
    ],
)
def test_what_another_host_would_give_is_found(book: Path, wrong: str) -> None:
    (book / "index.html").write_text(GOOD + wrong)
    assert len(outside(read_pages(book), book)) == 1


@pytest.mark.parametrize(
    "rule", ['@import "https://example.org/a.css";', "a { background: url(http://a.org/a.png) }"]
)
def test_a_style_sheet_is_read_too(book: Path, rule: str) -> None:
    (book / "_static" / "a.css").write_text(rule)
    assert len(outside(read_pages(book), book)) == 1


def test_a_font_that_is_not_there_is_found(book: Path) -> None:
    sheet = book / "_static" / "a.css"
    sheet.write_text("@font-face { src: url('fonts/a.woff2?v=1#iefix') } /* url(lost.png) */")
    assert len(broken(read_pages(book), book)) == 1
    (sheet.parent / "fonts").mkdir()
    (sheet.parent / "fonts" / "a.woff2").write_bytes(b"a font")
    assert broken(read_pages(book), book) == []


def test_a_word_after_a_style_is_no_style(book: Path) -> None:
    (book / "index.html").write_text(GOOD + "<style>a {}</style><p>url(https://example.org/a)</p>")
    assert outside(read_pages(book), book) == []

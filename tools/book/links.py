"""What was built, tested as files: every link and anchor inside leads somewhere, and nothing is asked of another host."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["Page", "broken", "outside", "read_page", "read_pages"]

# what a browser fetches by itself, in contrast to a link that a reader may follow
FETCHED = {
    ("script", "src"),
    ("img", "src"),
    ("source", "src"),
    ("video", "src"),
    ("audio", "src"),
    ("iframe", "src"),
    ("embed", "src"),
    ("object", "data"),
    ("use", "href"),
    ("input", "src"),
    ("image", "href"),
    ("image", "xlink:href"),
    ("use", "xlink:href"),
    ("video", "poster"),
    ("track", "src"),
}
FETCHED_LINKS = {
    "stylesheet",
    "icon",
    "preload",
    "modulepreload",
    "preconnect",
    "dns-prefetch",
    "manifest",
}


@dataclass
class Page:
    """Anchors of a page, the links that a reader may follow, and what its browser fetches."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self._style = False

    def handle_data(self, data: str) -> None:
        if self._style:
            self.page.fetched += _urls(data)

    def handle_endtag(self, tag: str) -> None:
        self._style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.page.anchors.update(values[name] for name in ("id", "name") if values.get(name))
        for name, value in values.items():
            if (tag, name) in FETCHED:
                self.page.fetched.append(value)
            elif name == "srcset":
                self.page.fetched += [part.split()[0] for part in value.split(",") if part.split()]
            elif name == "style":
                self.page.fetched += _urls(value)
        self._style = tag == "style"
        if tag == "link" and FETCHED_LINKS & set(values.get("rel", "").split()):
            self.page.fetched.append(values.get("href", ""))
        elif tag in ("a", "area", "link") and "href" in values:
            self.page.links.append(values["href"])


def read_page(text: str) -> Page:
    """What stands in a page of HTML."""
    reader = _Reader()
    reader.feed(text)
    return reader.page


def read_pages(folder: Path) -> dict[Path, Page]:
    """Every page below a folder, by path."""
    return {
        path.resolve(): read_page(path.read_text(encoding="utf-8"))
        for path in sorted(folder.rglob("*.html"))
        if "_static" not in path.relative_to(folder).parts
    }


def broken(pages: dict[Path, Page], folder: Path) -> list[str]:
    """Links and files inside that are not there, each as "page: target"; what style sheets name is looked for, too."""
    found = [
        f"{sheet.relative_to(folder)}: {target}"
        for sheet in sorted(folder.rglob("*.css"))
        for target in dict.fromkeys(_urls(sheet.read_text(encoding="utf-8", errors="replace")))
        if not _leads_somewhere(sheet.resolve(), target, {}, folder.resolve())
    ]
    return found + [
        f"{path.relative_to(folder.resolve())}: {target}"
        for path, page in pages.items()
        for target in dict.fromkeys([*page.links, *page.fetched])
        if not _leads_somewhere(path, target, pages, folder.resolve())
    ]


def _leads_somewhere(path: Path, target: str, pages: dict[Path, Page], folder: Path) -> bool:
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return True  # another host, or data:
    to = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not to.is_file() or not to.is_relative_to(folder):
        return False
    return not parts.fragment or to not in pages or unquote(parts.fragment) in pages[to].anchors


def outside(pages: dict[Path, Page], folder: Path) -> list[str]:
    """What a browser would fetch from another host, in pages and style sheets."""
    found = [
        f"{path.relative_to(folder.resolve())}: {target}"
        for path, page in pages.items()
        for target in page.fetched
        if _elsewhere(target)
    ]
    for sheet in sorted(folder.rglob("*.css")):
        found += [
            f"{sheet.relative_to(folder)}: {target}"
            for target in _urls(sheet.read_text(encoding="utf-8", errors="replace"))
            if _elsewhere(target)
        ]
    return found


def _elsewhere(target: str) -> bool:
    parts = urlsplit(target)
    return bool(parts.netloc) or parts.scheme not in ("", "data")


def _urls(text: str) -> Iterator[str]:
    """What a style sheet fetches."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    yield from re.findall(r"url\(\s*['\"]?([^'\")]+)", text)
    yield from re.findall(r"@import\s+['\"]([^'\"]+)", text)

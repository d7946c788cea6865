"""A term's meaning at its first use in a page, on hover and on keyboard focus; and a link to the glossary.

In lesson NN, and in its notes for teachers, terms of lessons up to NN count: a later one's word is used in its everyday
sense there.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

# where a word stands for itself, is a link already, or is no running text
SKIPPED = (
    nodes.FixedTextElement,
    nodes.literal,
    nodes.title,
    nodes.reference,
    nodes.math,
    nodes.math_block,
    nodes.raw,
    nodes.caption,
    nodes.term,
    addnodes.desc_signature,
    addnodes.download_reference,
    addnodes.toctree,
)
GLOSSARY = "notebooks/GLOSSARY"
LESSON = re.compile(r"notebooks/(?:(\d\d)_|teaching/(\d\d)$)")
# words of everyday English: marked in the lesson that makes a term of them, and nowhere else
EVERYDAY = {"abroad", "admin", "app", "create", "home", "member", "random", "read", "step", "write"}


class term_use(nodes.Inline, nodes.TextElement):
    """A word with its meaning in `meaning`, its place in the glossary in `refuri`, and a number in the page."""


class FirstUses(SphinxPostTransform):
    """Marks the first use of each term."""

    default_priority = 900
    formats = ("html",)

    def run(self, **_: Any) -> None:
        docname = self.env.docname
        if docname == GLOSSARY or docname.startswith(("api/", "reference/")):
            return
        lesson = LESSON.match(docname)
        here = int(lesson[1] or lesson[2]) if lesson else None
        waiting = {row["term"].lower(): row for row in self.config.fk_terms if _counts(row, here)}
        for text in list(self.document.findall(nodes.Text)):
            if waiting and not _skipped(text):
                self._mark(text, waiting)

    def _mark(self, text: nodes.Text, waiting: dict[str, dict[str, str]]) -> None:
        words = "|".join(re.escape(term) for term in sorted(waiting, key=len, reverse=True))
        parts: list[nodes.Node] = []
        rest = text.astext()
        while match := re.search(rf"(?<![\w-])({words})s?(?![\w-])", rest, re.IGNORECASE):
            row = waiting.pop(match[1].lower())
            parts += [nodes.Text(rest[: match.start()]), self._use(match[0], row)]
            rest = rest[match.end() :]
            words = "|".join(re.escape(term) for term in sorted(waiting, key=len, reverse=True))
            if not words:
                break
        if parts:
            text.parent.replace(text, [*parts, nodes.Text(rest)])

    def _use(self, word: str, row: dict[str, str]) -> term_use:
        terms = self.env.domaindata["std"]["terms"]
        found = terms.get(row["term"].lower())
        target = found[1] if found else nodes.make_id(f"term-{row['term']}")
        uri = self.app.builder.get_relative_uri(self.env.docname, GLOSSARY)
        number = self.document.settings.__dict__.setdefault("fk_uses", [])
        number.append(word)
        use = term_use(
            word, word, meaning=row["meaning"], refuri=f"{uri}#{target}", number=len(number)
        )
        return use


def _counts(row: dict[str, str], here: int | None) -> bool:
    defined = int(row["lesson"])
    if row["term"] in EVERYDAY:
        return defined == here
    return here is None or defined <= here


def _skipped(text: nodes.Text) -> bool:
    node: Any = text.parent
    while node is not None:
        if isinstance(node, SKIPPED) or "fk-card" in getattr(node, "attributes", {}).get(
            "classes", ()
        ):
            return True
        node = node.parent
    return False


def visit(self: Any, node: term_use) -> None:
    """The word as a link that is described by its meaning."""
    number = node["number"]
    href = self.attval(node["refuri"])
    self.body.append(f'<span class="fk-term"><a href="{href}" aria-describedby="fk-tip-{number}">')


def depart(self: Any, node: term_use) -> None:
    """Closes the link; the meaning follows it, hidden until it is asked for."""
    meaning = re.sub(r"`([^`]+)`", r"<code>\1</code>", self.encode(node["meaning"]))
    meaning = re.sub(r"\*([^*]+)\*", r"<em>\1</em>", meaning)
    self.body.append(
        f'</a><span class="fk-tip" role="tooltip" id="fk-tip-{node["number"]}">{meaning}</span></span>'
    )


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the transform."""
    app.add_config_value("fk_terms", [], "html")
    app.add_node(term_use, html=(visit, depart))
    app.add_post_transform(FirstUses)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""How panels look: one style sheet on JupyterLab's colours, light and dark, and the few pieces of HTML they are made of.

A live panel has the style sheet. Its static twin has not, so every piece also reads well without it.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

__all__ = ["STYLE", "code", "esc", "note", "table"]

esc = html.escape

STYLE = f"<style>{Path(__file__).with_name('panel.css').read_text(encoding='utf-8')}</style>"


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers: Sequence[int] = (),
    wrap: Sequence[int] = (),
    caption: str = "",
    wide: bool = True,
) -> str:
    """A table; the first cell of a row names it. Cells are HTML: escape what people wrote.

    numbers : columns that are aligned to the right. wrap : columns whose text may break into lines.
    """

    def cell(position: int, content: str, tag: str) -> str:
        right = position in numbers
        names = ["fk-n"] * right + ["fk-wrap"] * (position in wrap)
        align = "right" if right else "left"
        scope = ' scope="col"' if tag == "th" else ""
        if tag == "td" and position == 0:
            tag, scope = "th", ' scope="row"'
        return (
            f'<{tag}{scope} class="{" ".join(names)}" style="text-align: {align}">{content}</{tag}>'
        )

    top = "".join(cell(i, esc(name), "th") for i, name in enumerate(head))
    body = "".join(
        f"<tr>{''.join(cell(i, content, 'td') for i, content in enumerate(row))}</tr>"
        for row in rows
    )
    title = f'<caption style="text-align: left">{esc(caption)}</caption>' if caption else ""
    kind = ' class="fk-wide"' if wide else ""
    return (
        f'<div class="fk-scroll"><table{kind}>{title}<thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def note(text: str, kind: str = "", role: str = "") -> str:
    """A line that stands out; kind "", "good" or "bad". The text is HTML, and says by itself what the colour says."""
    says = f' role="{role}"' if role else ""
    return f'<div class="fk-note {kind}"{says}>{text}</div>'


def code(text: str) -> str:
    """A piece of text in the typewriter's face."""
    return f"<code>{esc(text)}</code>"

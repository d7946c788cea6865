"""Python source with line numbers and colours, and with every sign that a reader would not see made visible."""

from __future__ import annotations

from collections.abc import Collection

from pygments.lexers.python import PythonLexer
from pygments.token import Comment, Keyword, Name, Number, Operator, String

from fedkit.base.text import visible
from fedkit.teaching.widgets.panel import esc

__all__ = ["highlight"]


# token -> class of the live panel, style of the static twin
_LOOKS = {
    **dict.fromkeys((Keyword, Operator.Word), ("fk-k", "color: #8a3a6b; font-weight: bold")),
    String: ("fk-s", "color: #a04000"),
    Comment: ("fk-c", "color: #595959; font-style: italic"),
    Number: ("fk-m", "color: #00694a"),
    **dict.fromkeys(
        (Name.Function, Name.Class, Name.Decorator, Name.Builtin), ("fk-f", "color: #005f94")
    ),
}
_PAPER = "background: #f6f6f6; color: #1a1a1a; padding: 8px; margin: 0; font-family: monospace"


def highlight(source: str, marked: Collection[int] = (), live: bool = True) -> str:
    """A `<pre>` element. marked : numbers of lines (from 1) that get a sign in front."""
    tokens = PythonLexer().get_tokens(source)
    shown = [(kind, visible(text, lambda sign: f"⟨U+{ord(sign):04X}⟩")) for kind, text in tokens]
    spans = [_span(kind, text, live) for kind, text in shown]
    lines = "".join(spans).rstrip("\n").split("\n")
    width, soft = len(str(len(lines))), 'class="fk-soft"' if live else 'style="color: #595959"'
    numbered = [
        f"<span {soft}>{'▸' if n in marked else ' '}{n:>{width}} </span>{line}"
        for n, line in enumerate(lines, 1)
    ]
    look = f'style="{_PAPER}"'
    if live:  # the keyboard reaches it too, to scroll
        look = 'class="fk-code" tabindex="0" role="region" aria-label="source of the model"'
    return f"<pre {look}>" + "\n".join(numbered) + "</pre>"


def _span(kind: object, text: str, live: bool) -> str:
    """Every line gets a span of its own, so that a line number can stand between two of them."""
    for token, (name, look) in _LOOKS.items():
        if kind in token:
            what = f'class="{name}"' if live else f'style="{look}"'
            return "\n".join(
                f"<span {what}>{esc(line)}</span>" if line else "" for line in text.split("\n")
            )
    return esc(text)

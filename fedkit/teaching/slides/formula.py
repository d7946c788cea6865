"""Formulas as pictures, drawn by matplotlib, so that a page needs no script for them."""

from __future__ import annotations

import base64
import html
import io
import re

__all__ = ["with_pictures"]


_CODE = re.compile(r"(```.*?```|`[^`\n]*`)", re.DOTALL)
_FORMULA = re.compile(r"(?<!\\)\$\$(.+?)\$\$|(?<!\\)\$([^$\n]+?)\$", re.DOTALL)
_SIZE = 12.0  # points of a letter: one em
_OTHER_NAMES = {"lVert": r"\Vert", "rVert": r"\Vert", "le": r"\leq", "ge": r"\geq"}
_OTHER = re.compile(rf"\\({'|'.join(_OTHER_NAMES)})(?![A-Za-z])")
"""Signs that matplotlib has under another name."""


def with_pictures(text: str) -> str:
    """Markdown with an `<img>` in place of each `$formula$`, whose alt text is the formula; code stays as it is.

    A formula that matplotlib can't draw stays as the author wrote it, as code.
    """
    parts = _CODE.split(text)
    return "".join(p if n % 2 else _FORMULA.sub(_picture, p) for n, p in enumerate(parts))


def _picture(found: re.Match[str]) -> str:
    formula = (found[1] or found[2]).strip()
    drawn = _OTHER.sub(lambda sign: _OTHER_NAMES[sign[1]], formula)
    try:
        svg, height, depth = _drawn(" ".join(drawn.split()))
    except ValueError:
        return f"`{formula}`"
    alt = html.escape(formula).replace("|", "&#124;")
    where = f"height: {height:.3f}em; vertical-align: {-depth:.3f}em"
    kind = "formula own-line" if found[1] else "formula"
    data = base64.b64encode(svg).decode()
    return (
        f'<img class="{kind}" alt="{alt}" style="{where}" src="data:image/svg+xml;base64,{data}">'
    )


def _drawn(formula: str) -> tuple[bytes, float, float]:
    """The picture, its height, and how much of that lies below the line, both in em. Raises ValueError."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
    from matplotlib.mathtext import MathTextParser

    text, font = f"${formula}$", FontProperties(size=_SIZE)
    width, height, depth, *_ = MathTextParser("path").parse(text, dpi=72, prop=font)
    with rc_context({"svg.hashsalt": "fedkit"}):
        figure = Figure(figsize=(width / 72, height / 72))
        figure.text(0, depth / height, text, fontproperties=font)
        out = io.BytesIO()
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(out, format="svg", dpi=72, transparent=True, metadata=nothing)
    return out.getvalue(), height / _SIZE, depth / _SIZE

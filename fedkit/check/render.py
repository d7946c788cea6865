"""How a check's result looks: an icon and words first, a colour only beside them."""

from __future__ import annotations

import html

from fedkit.experiments.notebooks import CHECK_MIME

__all__ = ["CHECK_MIME", "box", "sentence"]

# state -> icon, words, colour of the edge (Okabe-Ito)
LOOKS = {
    "not yet": ("○", "Not yet", "#56B4E9"),
    "try again": ("↻", "Try again", "#D55E00"),
    "right": ("✓", "Right", "#009E73"),
}


def box(name: str, title: str, state: str, message: str) -> str:
    """The result as one HTML element; learners' own words in it are escaped."""
    icon, words, colour = LOOKS[state]
    label = html.escape(f"Check {name}: {words}")
    return (
        f'<div role="status" aria-label="{label}" '
        f'style="border-left: 4px solid {colour}; padding: 0.4em 0.8em; margin: 0.4em 0">'
        f'<span aria-hidden="true">{icon}</span> <strong>{words}</strong> · {html.escape(title)}<br>'
        f"{html.escape(message)}</div>"
    )


def sentence(title: str, state: str, message: str) -> str:
    """The same in plain text."""
    icon, words, _ = LOOKS[state]
    return f"{icon} {words} · {title}: {message}"

"""A class on one picture: how many have each exercise right, and where most of them stop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from fedkit.teaching.plots import style

__all__ = ["class_picture"]


# state -> colour, hatch, whether its number is written on it
_LOOKS = {
    "right": (style.GREEN, ""),
    "try again": (style.VERMILLION, "///"),
    "not yet": (style.SKY, "..."),
    "not run or missing": (style.PALE, ""),
}
_ROW = 0.3  # inches
_LEAST = 0.03  # of the longest bar: a part that has room for its number


def class_picture(
    states: Mapping[str, Sequence[str]],
    stops: Mapping[str, int] | None = None,
    *,
    title: str | None = None,
) -> Figure:
    """A bar an exercise, in the course's order from the top: learners by the state of it.

    states : exercise -> one state a learner, as `fedkit course grade` has them; what is neither right, try again nor not
    yet counts as not there. stops : exercise -> so many learners of whom it is the first that is not right; the largest
    is marked. Raises FedkitError if there is no exercise.
    """
    style.need(states, "states")
    stops = stops or {}
    worst = max(stops, key=lambda name: stops[name]) if any(stops.values()) else None
    told = "Everybody has every exercise right"
    if worst is not None:
        told = f"Most stop at {worst}: {stops[worst]} of {len(states[worst])} who handed it in"
    fig, ax = style.figure(title or told, height=1.5 + _ROW * len(states))
    counts = {name: _counts(of) for name, of in states.items()}
    names = list(states)
    widest = max(sum(of.values()) for of in counts.values())
    left = [0] * len(names)
    for state, (colour, hatch) in _LOOKS.items():
        widths = [counts[name][state] for name in names]
        bars = ax.barh(
            names,
            widths,
            left=left,
            height=0.7,
            color=colour,
            hatch=hatch,
            edgecolor=style.PAPER,
            linewidth=0.5,
        )
        bars.set_label(state)
        for place, (width, start) in enumerate(zip(widths, left, strict=True)):
            if width >= _LEAST * widest:
                look: dict[str, Any] = {**style.MIDDLE, "fontsize": style.SMALL}
                if hatch:
                    look["bbox"] = {"facecolor": style.PAPER, "edgecolor": "none", "pad": 0.8}
                else:
                    look["color"] = style.readable_on(colour)
                ax.text(start + width / 2, place, str(width), **look)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    if worst is not None:
        place = names.index(worst)
        ax.annotate(
            "◂ most stop here", (left[place], place), xytext=(6, 0), va="center", **style.BESIDE
        )
    ax.set_xlim(0, max(left) * 1.3)
    ax.set_xticks(range(0, max(left) + 1, max(1, max(left) // 6)))
    ax.invert_yaxis()
    style.dress(ax, "learners", "", grid="x")
    ax.tick_params(axis="y", length=0)
    ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.4, -0.5 / (1.0 + _ROW * len(states))),
        ncols=len(_LOOKS),
        fontsize=style.TEXT,
        frameon=False,
        labelcolor=style.INK,
    )
    return fig


def _counts(states: Sequence[str]) -> dict[str, int]:
    found = dict.fromkeys(_LOOKS, 0)
    for state in states:
        found[state if state in found else "not run or missing"] += 1
    return found

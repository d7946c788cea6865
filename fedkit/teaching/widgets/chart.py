"""Accuracy and loss by round as SVG: drawn in less than a millisecond, so that a panel can redraw it while a model trains.

matplotlib takes a tenth of a second for the same, in which Python trains nothing. Live, the colours are the panel's and
follow light and dark; in the static twin they are fixed, on white paper.
"""

from __future__ import annotations

import base64
import itertools
import math

from fedkit.rounds.history import History, RoundRecord
from fedkit.teaching.plots import style
from fedkit.teaching.widgets.panel import esc

__all__ = ["chart", "chart_image", "chart_text", "settings_changes"]


WIDTH, HEIGHT = 720, 240  # CSS pixels, both plots together
_PLOT, _TOP, _BOTTOM, _LEFT = 348, 50, 204, 42
_PRINT = {"ink": style.INK, "soft": style.GREY, "line": style.PALE, "paper": style.PAPER}
_PRINT |= {"blue": style.BLUE, "red": "#b64a00", "purple": "#9a4a7a"}
Points = list[tuple[int, float]]


def settings_changes(history: History) -> list[tuple[int, str]]:
    """Where a round asked for something else than the one before it: (round, what changed)."""
    changes = []
    for before, after in itertools.pairwise(history):
        pairs = zip(_settings(before).items(), _settings(after).values(), strict=True)
        said = [f"{name} {_said(was)} → {_said(now)}" for (name, was), now in pairs if was != now]
        if said:
            changes.append((after.round, ", ".join(said)))
    return changes


def _settings(record: RoundRecord) -> dict[str, float | None]:
    return {
        "learning rate": record.learning_rate,
        "local epochs": record.local_epochs,
        "participants": len(record.contributions) + len(record.refused) + len(record.absent),
    }


def _said(value: float | None) -> str:
    return "?" if value is None else f"{value:g}"


def chart_text(history: History) -> str:
    """What the picture says, in one line."""
    losses = [record.loss for record in history if record.loss is not None]
    if not losses:
        return "No round has ended yet"
    about = f"on the test set after {style.count(len(losses), 'round')}: "
    run = f"{losses[0]:.2f} to {losses[-1]:.2f}"
    accuracies = ", ".join(f"{accuracy:.1%}" for accuracy in history.accuracies)
    text = f"Accuracy {about}{accuracies}; loss {run}" if accuracies else f"Loss {about}{run}"
    for n, what in settings_changes(history):
        text += f"; from round {n}: {what}"
    return text


def chart(history: History, live: bool = True) -> str:
    """Two plots side by side, with numbered marks where settings changed, as one `<svg>` element."""
    rounds = max(history.total_rounds, len(history), 1)
    accuracy = [(r.round, r.accuracy) for r in history if r.accuracy is not None]
    loss = [(r.round, r.loss) for r in history if r.loss is not None and math.isfinite(r.loss)]
    top = _nice(max((value for _, value in loss), default=1.0))
    marks = [n for n, _ in settings_changes(history)]
    shapes = [
        _plot(0, "accuracy on the test set", accuracy, 1.0, rounds, marks, "blue"),
        _plot(WIDTH - _PLOT, "loss on the test set (nats)", loss, top, rounds, marks, "red"),
    ]
    if not accuracy:
        why = "this task has no accuracy" if loss else "no round has ended yet"
        shapes.append(_label(_LEFT + 150, 150, why, "soft", "middle"))
    font = "" if live else ' font-family="DejaVu Sans, Verdana, sans-serif"'
    fit = "width: 100%; max-width: 760px; height: auto" if live else "max-width: 100%; height: auto"
    back = "" if live else f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{_ink("paper")}"/>'
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{esc(chart_text(history))}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"{font} font-size="12" '
        f'style="{fit}">{back}{"".join(shapes)}</svg>'
    )
    for name, colour in {} if live else _PRINT.items():
        svg = svg.replace(_ink(name), colour)
    return svg


def _ink(name: str) -> str:
    """A colour of the panel's, which follows light and dark."""
    return f"var(--fk-{name})"


def chart_image(history: History) -> str:
    """The same as an `<img>` with an alt text, which every page shows."""
    data = base64.b64encode(chart(history, live=False).encode()).decode()
    return (
        f'<img alt="{esc(chart_text(history))}" width="{WIDTH}" style="max-width: 100%; height: auto" '
        f'src="data:image/svg+xml;base64,{data}">'
    )


def _plot(
    left: float, title: str, points: Points, top: float, rounds: int, marks: list[int], colour: str
) -> str:
    """One plot; y runs from 0 to `top`, x over the rounds. Accuracy is a line with circles, loss dashes with squares."""
    percent = colour == "blue"
    x0, x1 = left + _LEFT, left + _PLOT - 6
    room = (x1 - x0) / rounds

    def at(n: float, value: float) -> tuple[float, float]:
        return x0 + (n - 0.5) * room, _BOTTOM - min(value / top, 1.0) * (_BOTTOM - _TOP)

    out = [_label(left, 14, title, "ink", "start", bold=True)]
    for value in (top * quarter / 4 for quarter in range(5)):
        y = at(1, value)[1]
        out.append(f'<line x1="{x0}" x2="{x1}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_ink("line")}"/>')
        said = f"{value:.0%}" if percent else f"{value:.3g}"
        out.append(_label(x0 - 6, y + 4, said, "soft", "end"))
    for n in _ticks(rounds):
        out.append(_label(at(n, 0)[0], _BOTTOM + 16, str(n), "soft", "middle"))
    out.append(_label((x0 + x1) / 2, _BOTTOM + 32, "round", "soft", "middle"))
    out += [_mark(at(n - 0.5, 0)[0], number) for number, n in enumerate(marks, 1)]
    places = [at(n, value) for n, value in points]
    line, dashes = " ".join(f"{x:.1f},{y:.1f}" for x, y in places), ' stroke-dasharray="6 3"'
    look = f'fill="none" stroke="{_ink(colour)}" stroke-width="2"{"" if percent else dashes}'
    out.append(f'<polyline points="{line}" {look}/>')
    size = 4 if rounds <= 25 else 2.5
    for x, y in places:
        square = f'x="{x - size:.1f}" y="{y - size:.1f}" width="{2 * size}" height="{2 * size}"'
        shape = f'circle cx="{x:.1f}" cy="{y:.1f}" r="{size}"' if percent else f"rect {square}"
        out.append(f'<{shape} fill="{_ink(colour)}"/>')
    if points:
        said = f"{points[-1][1]:.1%}" if percent else f"{points[-1][1]:.3f}"
        out.append(_label(x1, 14, said, colour, "end", bold=True))
    return "".join(out)


def _mark(x: float, number: int) -> str:
    """A dotted line between two rounds, with the number under which the list below says what changed."""
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 8}" y2="{_BOTTOM}" stroke="{_ink("purple")}" '
        f'stroke-width="1.5" stroke-dasharray="2 3"/><circle cx="{x:.1f}" cy="{_TOP - 16}" r="8.5" '
        f'fill="{_ink("purple")}"/><text x="{x:.1f}" y="{_TOP - 12}" text-anchor="middle" font-size="11" '
        f'font-weight="700" fill="{_ink("paper")}">{number}</text>'
    )


def _label(x: float, y: float, text: str, colour: str, anchor: str, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{_ink(colour)}"{weight}>'
        f"{esc(text)}</text>"
    )


def _nice(highest: float) -> float:
    """The end of an axis: 1, 2 or 4 times a power of ten, so that its quarters are round numbers too."""
    power = 10.0 ** math.floor(math.log10(highest)) if highest > 0 else 1.0
    return next(step * power for step in (1, 2, 4, 8, 20) if step * power >= highest)


def _ticks(rounds: int) -> range:
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 10**6) if rounds <= 10 * s)
    return range(step if step > 1 else 1, rounds + 1, step)

"""What the playground shows of a frame, as HTML: surfaces, arrows, a table, and what could be rebuilt.

The same for the live panel and for its static twin, which has no style sheet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fedkit.rounds.history import History
from fedkit.teaching.playground.pictures import data_url
from fedkit.teaching.playground.play import Drift, Frame, Person, Play, Rebuilt
from fedkit.teaching.widgets.panel import esc, table

__all__ = [
    "drift_svg",
    "people_rows",
    "people_table",
    "put",
    "rebuilt_html",
    "said_of",
    "size_of",
    "stage_html",
    "thinned",
]

_MOST_ROUNDS = 50
_SIGNS = {
    "sent": "✓ sent",
    "dropped out": "✗ dropped out",
    "not drawn": "○ not drawn",
    "refused": "✗ refused",
    "waits": "○ waits",
}
_PRINT = {"ink": "#1a1a1a", "line": "#e3e3e3", "blue": "#0072B2", "red": "#b64a00"}


def size_of(count: int) -> str:
    """Bytes as people say them."""
    for unit, least in (("MB", 1e6), ("kB", 1e3)):
        if count >= least:
            return f"{count / least:.3g} {unit}"
    return f"{count} bytes"


def said_of(play: Play) -> str:
    """Where the run stands, in one line of text."""
    frame = play.frame
    parts = [f"round {frame.round} of {play.config.rounds}"]
    if frame.accuracy is not None:
        parts.append(f"accuracy {frame.accuracy:.1%}")
    parts.append(f"loss {frame.loss:.3f}")
    parts.append(f"{size_of(frame.bytes_up)} up, {size_of(frame.bytes_down)} down")
    if frame.epsilon is not None:
        unit = (
            "participant" if play.config.dp and play.config.dp.unit == "participant" else "example"
        )
        parts.append(f"epsilon {frame.epsilon:.3g} for one {unit} (delta 1e-5)")
    return " · ".join(parts)


def thinned(history: History) -> History:
    """At most fifty of the rounds, the last one among them, so that a picture of two hundred costs no more.

    Without contributions: who took part changes with each drop-out, and the chart would mark that.
    """
    step = -(-len(history) // _MOST_ROUNDS) or 1
    kept = history.rounds[::-1][::step][::-1]
    bare = tuple(replace(record, contributions=(), refused={}) for record in kept)
    return History(history.project, bare, history.total_rounds)


def stage_html(frame: Frame, pictures: Mapping[str, bytes], kind: str) -> str:
    """The global model, and beside it what each participant sent."""
    accuracy = "" if frame.accuracy is None else f", accuracy {frame.accuracy:.1%}"
    what = {"plane": "decision surface", "images": "test images read right and wrong"}.get(kind, "")
    if not what:
        return '<p class="fk-soft">These samples have no picture: the numbers below say how each model does.</p>'
    whole = _figure("global model", f"round {frame.round}{accuracy}", pictures.get(""), what, 300)
    people = "".join(
        _figure(_named(p), _below(p), pictures.get(p.email), what, 112) for p in frame.people
    )
    return (
        '<div class="fk-stage" style="display: flex; flex-wrap: wrap; gap: 12px">'
        f'<div style="flex: 0 0 300px">{whole}</div>'
        '<div class="fk-people" style="flex: 1 1 300px; display: grid; gap: 8px; align-content: start; '
        f'grid-template-columns: repeat(auto-fill, minmax(112px, 1fr))">{people}</div></div>'
    )


def _figure(name: str, below: str, picture: bytes | None, what: str, width: int) -> str:
    size = f"width: {width}px; max-width: 100%"
    drawn = f'<div style="{size}; aspect-ratio: 1; border: 1px dashed #8a8a8a; box-sizing: border-box"></div>'
    if picture is not None:
        alt = esc(f"{name}: {what}, {below}")
        drawn = f'<img alt="{alt}" src="{data_url(picture)}" style="{size}; display: block; border-radius: 3px">'
    return (
        f'<figure style="margin: 0">{drawn}<figcaption style="line-height: 1.3; margin-top: 2px">'
        f"<strong>{esc(name)}</strong><br>{esc(below)}</figcaption></figure>"
    )


def _named(person: Person) -> str:
    return f"{person.name} (hostile)" if person.hostile else person.name


def _below(person: Person) -> str:
    if person.accuracy is None:
        return _SIGNS[person.state]
    return f"{_SIGNS[person.state].split()[0]} {person.accuracy:.1%}"


def people_rows(frame: Frame) -> list[list[str]]:
    """Plain text: a row a participant."""
    rows = []
    for p in frame.people:
        numbers = ((p.loss, ".3f"), (p.accuracy, ".1%"), (p.test_loss, ".3f"), (p.norm, ".2f"))
        said = ["–" if value is None else format(value, form) for value, form in numbers]
        found = "–" if p.found is None else f"{p.found} of {p.samples}"
        rows.append([_named(p), _SIGNS[p.state], str(p.samples), *said, found])
    return rows


_HEAD = ["participant", "this round", "samples", "own loss", "accuracy", "test loss", "norm"]


def people_table(frame: Frame) -> str:
    """Who did what this round, and how good what it sent is on the aggregator's test set."""
    rows = [[esc(cell) for cell in row] for row in people_rows(frame)]
    return table([*_HEAD, "rebuilt exactly"], rows, numbers=range(2, 8))


def drift_svg(drift: Drift | None, live: bool = True) -> str:
    """Updates as arrows from the global model, in the plane that holds most of them."""
    side, half = 230, 115
    shapes, alt = [], "No update has been sent yet"
    if drift is not None:
        reach = max(*(abs(v) for end in (*drift.arrows.values(), drift.mean) for v in end), 1e-12)
        scale = 92 / reach

        def at(end: tuple[float, float]) -> tuple[float, float]:
            return half + end[0] * scale, half - end[1] * scale

        for who, end in drift.arrows.items():
            x, y = at(end)
            shapes.append(
                f'<line x1="{half}" y1="{half}" x2="{x:.1f}" y2="{y:.1f}" stroke="{_ink("blue")}" stroke-width="1.6"/>'
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{_ink("blue")}"><title>{esc(who.partition("@")[0])}'
                "</title></circle>"
            )
        x, y = at(drift.mean)
        shapes.append(
            f'<line x1="{half}" y1="{half}" x2="{x:.1f}" y2="{y:.1f}" stroke="{_ink("red")}" stroke-width="3.5"/>'
            f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10" fill="{_ink("red")}"/>'
        )
        alt = f"Updates as arrows; averaging leaves {drift.left:.0%} of the way"
    axes = (
        f'<path d="M8 {half}H{side - 8}M{half} 8V{side - 8}" stroke="{_ink("line")}"/>'
        f'<circle cx="{half}" cy="{half}" r="3" fill="{_ink("ink")}"/>'
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{esc(alt)}" viewBox="0 0 {side} {side}" '
        f'width="{side}" height="{side}" style="max-width: 100%">{axes}{"".join(shapes)}</svg>'
    )
    for name, colour in {} if live else _PRINT.items():
        svg = svg.replace(_ink(name), colour)
    said = "updates as arrows" if drift is None else f"averaging leaves {drift.left:.0%} of the way"
    return (
        f'<figure style="margin: 0; flex: 0 0 {side}px"><strong>Drift</strong> {svg}<figcaption>● each update, ■ their '
        f"mean: {said}</figcaption></figure>"
    )


def _ink(name: str) -> str:
    return f"var(--fk-{name})"


def rebuilt_html(rebuilt: Rebuilt | None, picture: bytes | None, kind: str) -> str:
    """What the aggregator can rebuild from one participant's last update, beside the truth, which it does not have."""
    if rebuilt is None:
        return "<p>Nothing of this participant arrived this round: there is nothing to rebuild from.</p>"
    name, many = esc(rebuilt.who.partition("@")[0]), len(rebuilt.candidates)
    one = "point" if kind == "plane" else "sample"
    said = (
        f"The aggregator divides each row of the first layer's change by its bias. That gives {many} candidates. "
        f"<strong>{rebuilt.found} of the {len(rebuilt.truth)} {one}s of {name}</strong> "
        "are among them, to a thousandth. The others are blends of several."
    )
    shown = ""
    if picture is not None:
        alt = f"{rebuilt.found} of {len(rebuilt.truth)} samples of {rebuilt.who.partition('@')[0]} are rebuilt exactly"
        shown = (
            f'<img alt="{esc(alt)}" src="{data_url(picture)}" '
            'style="width: 260px; max-width: 100%; display: block; border-radius: 3px">'
        )
    key = (
        "● true points, □ candidates"
        if kind == "plane"
        else "above the true samples, below what came back"
    )
    return (
        '<div style="display: flex; flex-wrap: wrap; gap: 12px"><div style="flex: 0 0 260px">'
        f'{shown}{key if shown else ""}</div><p style="flex: 1 1 220px; margin: 0">{said}</p></div>'
    )


def put(widget: Any, value: str) -> None:
    """Set a widget's value where it is news: a message to the page costs more than a comparison."""
    if widget.value != value:
        widget.value = value

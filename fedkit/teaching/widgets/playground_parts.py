"""What the playground shows of a frame, as HTML: surfaces, arrows, a table, and what could be rebuilt.

The same for the live panel and for its static twin, which has no style sheet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fedkit.rounds.history import History
from fedkit.teaching.playground.pictures import data_url
from fedkit.teaching.playground.play import NAMES, Drift, Frame, Group, Person, Play, Rebuilt
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
_PRINT = {
    "ink": "#1a1a1a",
    "paper": "#ffffff",
    "line": "#e3e3e3",
    "blue": "#006ba8",
    "red": "#b64a00",
    "green": "#00734f",
    "purple": "#9a4a7a",
}
_GROUPS = dict(zip(NAMES, ("purple", "green", "blue", "red"), strict=True))
_MANY = 20
"""Of more participants, pictures are smaller and the table scrolls."""


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
    split = play.dealt.split
    if frame.groups:
        parts[1] += f" (mean of {len(frame.groups)} groups)"
    elif split is not None and split.after < play.config.rounds:
        parts.append(f"parts into {split.groups} groups after round {split.after}")
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
    if frame.groups:
        models = (_group_figure(group, pictures.get(group.name), what) for group in frame.groups)
        whole = f'<div style="display: flex; flex-wrap: wrap; gap: 8px">{"".join(models)}</div>'
    wide = 112 if len(frame.people) <= _MANY else 72
    people = "".join(
        _figure(_named(p, short=wide < 100), _below(p), pictures.get(p.email), what, wide, p.group)
        for p in frame.people
    )
    return (
        '<div class="fk-stage" style="display: flex; flex-wrap: wrap; gap: 12px">'
        f'<div style="flex: 0 0 300px">{whole}</div>'
        '<div class="fk-people" style="flex: 1 1 300px; display: grid; gap: 8px; align-content: start; '
        f'grid-template-columns: repeat(auto-fill, minmax({wide}px, 1fr))">{people}</div></div>'
    )


def _group_figure(group: Group, picture: bytes | None, what: str) -> str:
    scores = ((group.accuracy, "{:.1%}"), (group.own, "own samples {:.1%}"))
    said = [form.format(value) for value, form in scores if value is not None]
    name = f"model of {len(group.members)}"
    return _figure(name, ", ".join(said), picture, what, 145, group.name)


def _figure(
    name: str, below: str, picture: bytes | None, what: str, width: int, group: str = ""
) -> str:
    size = f"width: {width}px; max-width: 100%; box-sizing: border-box"
    rim = f"border: 3px solid {_colour(group)}; " if group else ""
    nothing = rim or "border: 1px dashed #8a8a8a; "
    drawn = f'<div style="{nothing}{size}; aspect-ratio: 1"></div>'
    if picture is not None:
        alt = esc(f"{f'group {group}, ' if group else ''}{name}: {what}, {below}")
        drawn = f'<img alt="{alt}" src="{data_url(picture)}" style="{rim}{size}; display: block; border-radius: 3px">'
    return (
        f'<figure style="margin: 0; width: {width}px; max-width: 100%">{drawn}'
        '<figcaption style="line-height: 1.3; margin-top: 2px">'
        f"{_chip(group)}<strong>{esc(name)}</strong><br>{esc(below)}</figcaption></figure>"
    )


def _colour(group: str) -> str:
    """A group's colour, for light paper where there is no style sheet."""
    name = _GROUPS[group]
    return f"var(--fk-{name}, {_PRINT[name]})"


def _chip(group: str) -> str:
    """The letter of a group in its colour, before a name; nothing where all train one model."""
    look = "color: var(--fk-paper, #ffffff); border-radius: 3px; padding: 0 5px; font-weight: 600"
    return group and f'<span style="background: {_colour(group)}; {look}">{group}</span> '


def _named(person: Person, short: bool = False) -> str:
    name = person.name.replace("participant", "p") if short else person.name
    return f"{name} (hostile)" if person.hostile else name


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
    for person, row in zip(frame.people, rows, strict=True):
        row[0] = _chip(person.group) + row[0]
    whole = table([*_HEAD, "rebuilt exactly"], rows, numbers=range(2, 8), wrap=(0, 1, 3, 5, 7))
    if len(rows) <= _MANY:
        return whole
    return f'<div tabindex="0" style="max-height: 560px; overflow-y: auto">{whole}</div>'


def drift_svg(frame: Frame, live: bool = True) -> str:
    """Updates as arrows from the global model, or from their group's, in the plane that holds most of them."""
    drift: Drift | None = frame.drift
    group = {person.email: person.group for person in frame.people}
    side, half = 230, 115
    shapes, alt = [], "No update has been sent yet"
    if drift is not None:
        reach = max(
            *(abs(v) for end in (*drift.arrows.values(), *drift.means.values()) for v in end), 1e-12
        )
        scale = 92 / reach

        def at(end: tuple[float, float]) -> tuple[float, float]:
            return half + end[0] * scale, half - end[1] * scale

        for who, end in drift.arrows.items():
            x, y = at(end)
            ink = _ink(_GROUPS.get(group[who], "blue"))
            shapes.append(
                f'<line x1="{half}" y1="{half}" x2="{x:.1f}" y2="{y:.1f}" stroke="{ink}" stroke-width="1.6"/>'
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{ink}"><title>{esc(who.partition("@")[0])}'
                "</title></circle>"
            )
        for name, end in drift.means.items():
            x, y = at(end)
            ink = _ink(_GROUPS.get(name, "red"))
            shapes.append(
                f'<line x1="{half}" y1="{half}" x2="{x:.1f}" y2="{y:.1f}" stroke="{ink}" stroke-width="3.5"/>'
                f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10" fill="{ink}"/>'
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
        f'<figure style="margin: 0; flex: 0 0 {side}px"><strong>Drift</strong> {svg}<figcaption>● each update, ■ '
        f"{'their mean' if drift is None or len(drift.means) < 2 else 'mean of a group'}: {said}</figcaption></figure>"
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

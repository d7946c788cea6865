"""The privacy report of a project, one page: who sees what, what crossed, what holds against whom, what is left.

It never says that something is private without saying against whom. What it states comes from the config, the ledger, the
aggregator's records and an accountant; attacks are those that somebody ran and handed in.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedkit.base.files import write_bytes
from fedkit.privacy.guarantees import Guarantee, Observer

if TYPE_CHECKING:
    from fedkit.privacy.attacks.roc import AttackResult

__all__ = ["PrivacyReport"]


_CAPTION = '<caption style="text-align: left; font-weight: bold; padding-top: 0.6em">{}</caption>'
_HEAD = '<th scope="col" style="text-align: left; padding: 0.1em 1em 0.1em 0">{}</th>'
_CELL = '<td style="text-align: left; vertical-align: top; padding: 0.1em 1em 0.1em 0">{}</td>'


@dataclass(frozen=True, repr=False)
class PrivacyReport:
    """One project's report; a table in a notebook.

    crossed : (kind, files, bytes) of everything that crossed between data dirs, None where nothing did since the run was
    simulated. rounds : how many have ended.
    """

    project: str
    headline: str
    rounds: int
    observers: tuple[Observer, ...]
    crossed: tuple[tuple[str, int, int], ...] | None
    guarantees: tuple[Guarantee, ...]
    attacks: tuple[AttackResult, ...]
    not_covered: tuple[str, ...]

    def tables(self) -> list[tuple[str, Sequence[str], Sequence[Sequence[str]]]]:
        """(title, column heads, rows) of each part, as text."""
        crossed = [("nothing: the run was simulated in one memory", "0", "0")]
        if self.crossed is not None:
            crossed = [(kind, f"{files:,}", f"{size:,}") for kind, files, size in self.crossed]
        holds = [
            (
                g.unit,
                g.against,
                _epsilon(g.epsilon),
                _epsilon(g.replace_one),
                "" if g.delta is None else f"{g.delta:g}",
                g.because,
            )
            for g in self.guarantees
        ]
        tried: list[Sequence[str]] = [
            (
                a.name,
                a.target,
                a.measure,
                f"{a.success:.3f}",
                f"{a.low:.3f} to {a.high:.3f}",
                f"{a.guessing:g}",
            )
            for a in self.attacks
        ]
        nobody = ("none was run; that says nothing about what one would find", *[""] * 5)
        seen = [(o.who, o.sees, o.between) for o in self.observers]
        attacked = ("attack", "looked at", "measure", "success", "95 % interval", "guessing")
        return [
            ("Who sees what", ("who", "sees", "what stands between"), seen),
            ("What crossed between data dirs", ("kind", "files", "bytes"), crossed),
            (
                "What holds, for whom, against whom",
                (
                    "unit",
                    "against",
                    "epsilon (zero-out neighbours)",
                    "epsilon (replace-one)",
                    "delta",
                    "because",
                ),
                holds,
            ),
            ("Attacks", attacked, tried or [nobody]),
            ("Not covered", ("",), [(line,) for line in self.not_covered]),
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; an infinite epsilon is the word "infinite"."""
        values: dict[str, Any] = asdict(self)
        for row in values["guarantees"]:
            for key in ("epsilon", "replace_one"):
                row[key] = "infinite" if row[key] == math.inf else row[key]
        return values

    def to_json(self) -> str:
        """The report as indented JSON."""
        return json.dumps(self.to_dict(), indent=4, allow_nan=False) + "\n"

    def to_html(self) -> str:
        """The report as a page of its own."""
        title = html.escape(f"Privacy report of {self.project}")
        style = (
            "body{font-family:sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#1a1a1a;background:#fff}"
            "table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.3em .6em;"
            "border-bottom:1px solid #ccc}caption{text-align:left;font-weight:bold;padding:1em 0 .3em}"
        )
        return (
            f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{style}</style>'
            f"</head><body>{self._repr_html_()}</body></html>\n"
        )

    def save(self, folder: Path) -> None:
        """Write privacy_report.html and privacy_report.json into a folder."""
        write_bytes(Path(folder) / "privacy_report.html", self.to_html().encode())
        write_bytes(Path(folder) / "privacy_report.json", self.to_json().encode())

    def _repr_html_(self) -> str:
        say = html.escape
        parts = [f"<h2>Privacy report of {say(self.project)}</h2><p>{say(self.headline)}</p>"]
        for title, heads, rows in self.tables():
            head = f"<thead>{_row(_HEAD, heads)}</thead>" if any(heads) else ""
            body = "".join(_row(_CELL, row) for row in rows)
            parts.append(f"<table>{_CAPTION.format(say(title))}{head}<tbody>{body}</tbody></table>")
        return "".join(parts)

    def __repr__(self) -> str:
        lines = [f"Privacy report of {self.project}", self.headline]
        for title, _, rows in self.tables():
            lines += [
                f"{title}:",
                *("  " + " | ".join(cell for cell in row if cell) for row in rows),
            ]
        return "\n".join(lines)


def _row(cell: str, texts: Sequence[str]) -> str:
    return "<tr>" + "".join(cell.format(html.escape(text)) for text in texts) + "</tr>"


def _epsilon(value: float | None) -> str:
    if value is None:
        return "no statement"
    return "infinite" if value == math.inf else f"{value:.3g}"

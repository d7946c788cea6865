"""The privacy report of a project, one page: a table with a row for each adversary, and the same facts as JSON.

It never says that something is private without saying against whom. What it states comes from the config, the ledger, the
aggregator's records, the owners' accounts and an accountant; attacks are those that somebody ran and handed in.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from fedkit.base.files import write_bytes
from fedkit.privacy.adversaries import Adversary
from fedkit.privacy.guarantees import Guarantee

if TYPE_CHECKING:
    from fedkit.privacy.attacks.roc import AttackResult

__all__ = ["PrivacyReport"]


_CAPTION = '<caption style="text-align: left; font-weight: bold; padding-top: 0.6em">{}</caption>'
_HEAD = '<th scope="col" style="text-align: left; padding: 0.1em 1em 0.1em 0">{}</th>'
_CELL = '<td style="text-align: left; vertical-align: top; padding: 0.1em 1em 0.1em 0">{}</td>'


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


Epsilon = float | Literal["infinite"] | None
"""Infinite: nothing holds; null: no statement."""


class Rounds(_Part):
    """ran : have ended. planned : in the config. again : taken back and trained anew, by the owners' accounts."""

    ran: int
    planned: int
    again: int


class Holds(_Part):
    """What holds for a unit, as in `Guarantee`. epsilon : when all rounds have ended; so_far : of those that have."""

    unit: Literal["example", "participant"]
    epsilon: Epsilon
    delta: float | None
    neighbours: Literal["zero-out"]
    replace_one: Epsilon
    so_far: Epsilon
    sampling: str
    rounds: int | None
    because: str


class Attack(_Part):
    """An attack that was run. low, high : of a 95 % interval."""

    name: str
    target: str
    measure: str
    success: float
    low: float
    high: float
    guessing: float


class Row(_Part):
    """One adversary."""

    who: str
    sees: str
    between: str
    holds: tuple[Holds, ...]
    attacks: tuple[Attack, ...]
    not_covered: tuple[str, ...]


class Crossed(_Part):
    """What crossed of one kind."""

    kind: str
    files: int
    bytes: int


class Page(_Part):
    """The report. crossed : null where the run was simulated in one memory."""

    project: str
    headline: str
    rounds: Rounds
    adversaries: tuple[Row, ...]
    not_covered: tuple[str, ...]
    crossed: tuple[Crossed, ...] | None


@dataclass(frozen=True, repr=False)
class PrivacyReport:
    """One project's report; a table in a notebook.

    rounds, planned, again : that have ended, that the config asks for, and that were taken back and trained anew.
    crossed : (kind, files, bytes) of everything that crossed between data dirs, None where nothing did since the run was
    simulated. not_covered : against anybody; what is not covered against one adversary stands in its row.
    """

    project: str
    headline: str
    rounds: int
    planned: int
    again: int
    adversaries: tuple[Adversary, ...]
    crossed: tuple[tuple[str, int, int], ...] | None
    guarantees: tuple[Guarantee, ...]
    attacks: tuple[AttackResult, ...]
    not_covered: tuple[str, ...]

    def tables(self) -> list[tuple[str, Sequence[str], Sequence[Sequence[str]]]]:
        """(title, column heads, rows) of each part, as text; lines of a cell are apart by a line break."""
        page, told = self.page(), dict[str, str]()
        heads = (
            "adversary",
            "sees",
            "what stands between",
            "epsilon (zero-out neighbours)",
            "attacks run",
            "not covered",
        )
        rows = [
            (
                row.who,
                row.sees,
                row.between,
                _once(told, row) or "no statement",
                "\n".join(map(_attack, row.attacks))
                or "none; that says nothing of what one would find",
                "\n".join(row.not_covered),
            )
            for row in page.adversaries
        ]
        crossed = [("nothing: the run was simulated in one memory", "0", "0")]
        if page.crossed is not None:
            crossed = [(c.kind, f"{c.files:,}", f"{c.bytes:,}") for c in page.crossed]
        return [
            (f"Against whom; {_rounds(page.rounds)}", heads, rows),
            ("Covered against nobody", ("",), [(line,) for line in self.not_covered]),
            ("What crossed between data dirs", ("kind", "files", "bytes"), crossed),
        ]

    def page(self) -> Page:
        """All of it in plain values, as the JSON has them."""
        rows = [
            Row(
                who=adversary.who,
                sees=adversary.sees,
                between=adversary.between,
                holds=tuple(map(_held, adversary.holds)),
                attacks=tuple(
                    Attack(**{key: getattr(attack, key) for key in Attack.model_fields})
                    for attack in self.attacks
                    if attack.by == adversary.who
                ),
                not_covered=adversary.not_covered,
            )
            for adversary in self.adversaries
        ]
        crossed = [
            Crossed(kind=k, files=files, bytes=size) for k, files, size in self.crossed or ()
        ]
        return Page(
            project=self.project,
            headline=self.headline,
            rounds=Rounds(ran=self.rounds, planned=self.planned, again=self.again),
            adversaries=tuple(rows),
            not_covered=self.not_covered,
            crossed=None if self.crossed is None else tuple(crossed),
        )

    def to_dict(self) -> dict[str, Any]:
        """The page as values for JSON, as `schema` describes them; an infinite epsilon is the word "infinite"."""
        return self.page().model_dump(mode="json")

    @staticmethod
    def schema() -> dict[str, Any]:
        """The JSON schema of `to_dict` (draft 2020-12)."""
        return Page.model_json_schema()

    def to_json(self) -> str:
        """The report as indented JSON."""
        return json.dumps(self.to_dict(), indent=4, allow_nan=False) + "\n"

    def to_html(self) -> str:
        """The report as a page of its own."""
        title = html.escape(f"Privacy report of {self.project}")
        style = (
            "body{font-family:sans-serif;max-width:90em;margin:2em auto;padding:0 1em;color:#1a1a1a;background:#fff}"
            "table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.3em .6em;"
            "border-bottom:1px solid #ccc}caption{text-align:left;font-weight:bold;padding:1em 0 .3em}"
        )
        return (
            f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{style}</style>'
            f"</head><body>{self._repr_html_()}</body></html>\n"
        )

    def save(self, folder: Path) -> None:
        """Write privacy_report.html, privacy_report.json and the latter's schema into a folder."""
        schema = json.dumps(self.schema(), indent=4) + "\n"
        texts = {".html": self.to_html(), ".json": self.to_json(), ".schema.json": schema}
        for suffix, text in texts.items():
            write_bytes(Path(folder) / f"privacy_report{suffix}", text.encode())

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
                *(
                    "  " + " | ".join(cell.replace("\n", " / ") for cell in row if cell)
                    for row in rows
                ),
            ]
        return "\n".join(lines)


def _row(cell: str, texts: Sequence[str]) -> str:
    cells = (html.escape(text).replace("\n", "<br>") for text in texts)
    return "<tr>" + "".join(cell.format(text) for text in cells) + "</tr>"


def _plain(value: float | None) -> Epsilon:
    return "infinite" if value == math.inf else value


def _number(value: Epsilon) -> str:
    return "no statement" if value is None else value if isinstance(value, str) else f"{value:.3g}"


def _rounds(rounds: Rounds) -> str:
    again = f", {rounds.again} taken back and trained anew besides" if rounds.again else ""
    return f"{rounds.ran} of {rounds.planned} rounds have ended{again}"


def _held(row: Guarantee) -> Holds:
    return Holds(
        unit="example" if row.unit == "example" else "participant",
        epsilon=_plain(row.epsilon),
        delta=row.delta,
        neighbours="zero-out",
        replace_one=_plain(row.replace_one),
        so_far=_plain(row.so_far),
        sampling=row.sampling,
        rounds=row.rounds,
        because=row.because,
    )


def _once(told: dict[str, str], row: Row) -> str:
    """What holds; where the same holds against somebody above, that one is named instead."""
    lines = "\n".join(map(_holds, row.holds))
    if lines in told:
        return f"as against {told[lines]}: " + "; ".join(map(_short, row.holds))
    told[lines] = row.who
    return lines


def _short(row: Holds) -> str:
    at = f" at delta {row.delta:g}" if isinstance(row.epsilon, float) else ""
    return f"{row.unit}: {_number(row.epsilon)}{at}"


def _holds(row: Holds) -> str:
    told = [_short(row)]
    if isinstance(row.epsilon, float):
        told += [f"{_number(row.replace_one)} for replace-one neighbours"]
        told += [f"{_number(row.so_far)} in the rounds that have ended"] * (row.so_far is not None)
        told += [row.sampling] * bool(row.sampling)
    return "; ".join([*told, row.because])


def _attack(attack: Attack) -> str:
    return (
        f"{attack.name} on {attack.target}: {attack.success:.3f}, 95 % {attack.low:.3f} to "
        f"{attack.high:.3f}, guessing {attack.guessing:g} ({attack.measure})"
    )

"""Two cards that end a project: what the model is, and who could learn what. Every fact names the record it comes from.

The model card has the sections of Mitchell et al. 2019, "Model Cards for Model Reporting". What no record can know
(what the model is for, whom it may harm) is left open, unless its author writes it; then the card says so.
"""

from __future__ import annotations

import html
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fedkit.base.errors import FedkitError
from fedkit.base.files import write_bytes
from fedkit.base.text import how_many, one_line
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.projects import find_project
from fedkit.federation.network import Network
from fedkit.federation.report_facts import privacy_report
from fedkit.privacy.guarantees import REHEARSAL
from fedkit.privacy.report_page import PrivacyReport
from fedkit.rounds.history import History, read_history

__all__ = ["Card", "Fact", "model_card", "privacy_card"]


OPEN = "Not in the records: whoever gives the model away writes this."
OWN_WORDS = "author"
BY_HAND = ("Intended use", "Factors", "Ethical considerations", "Caveats and recommendations")
"""Sections of a model card to which its author may add words."""


@dataclass(frozen=True)
class Fact:
    """One line of a card, and the record that it comes from ("author" for words that somebody wrote)."""

    text: str
    source: str

    def __post_init__(self) -> None:
        # in one line, so that no words of an author or a name can make a heading of their own
        object.__setattr__(self, "text", one_line(" ".join(self.text.split())))


@dataclass(frozen=True, repr=False)
class Card:
    """A card: its title, and its sections in order, each a heading with facts; a page in a notebook."""

    title: str
    sections: tuple[tuple[str, tuple[Fact, ...]], ...]

    def to_markdown(self) -> str:
        """The card as Markdown; each fact ends with its source in italics."""
        lines = [f"# {_escaped(self.title)}"]
        for heading, facts in self.sections:
            lines += ["", f"## {heading}", ""]
            lines += [f"* {_escaped(fact.text)}{_source(fact, '*{}*')}" for fact in facts] or [OPEN]
        return "\n".join(lines) + "\n"

    def to_html(self) -> str:
        """The card as one HTML element."""
        parts = [f"<h2>{html.escape(self.title)}</h2>"]
        for heading, facts in self.sections:
            told = [
                f"<li>{html.escape(fact.text)}{_source(fact, '<small><i>{}</i></small>')}</li>"
                for fact in facts
            ]
            body = f"<ul>{''.join(told)}</ul>" if told else f"<p><i>{OPEN}</i></p>"
            parts.append(f"<h3>{html.escape(heading)}</h3>{body}")
        return f"<article>{''.join(parts)}</article>"

    def save(self, path: Path) -> None:
        """Write the card: Markdown, or HTML where the name ends so."""
        text = self.to_html() if path.suffix == ".html" else self.to_markdown()
        write_bytes(path, text.encode())

    def _repr_html_(self) -> str:
        return self.to_html()

    def __repr__(self) -> str:
        return self.to_markdown()


def _source(fact: Fact, look: str) -> str:
    return f" {look.format(f'({fact.source})')}"


def _escaped(text: str) -> str:
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>#|&" else sign for sign in text)


# --------------------------------------------------------------------------------------- the model
def model_card(
    where: Network | History,
    config: FLConfig | None = None,
    *,
    words: Mapping[str, str] | None = None,
) -> Card:
    """The model card of a project of a network (the one launched last), or of a simulation's history and its config.

    words : section -> what its author says, for the sections that records can't fill (`BY_HAND`).
    Raises FedkitError for another section, if there is no such project, or if a history comes without its config.
    """
    words = dict(words or {})
    if strange := [name for name in words if name not in BY_HAND]:
        raise FedkitError(
            f"{strange[0]!r} is filled from records",
            field="words",
            remedy=f"write about {', '.join(BY_HAND)}",
        )
    report = privacy_report(where, config)
    if isinstance(where, Network):
        site = where.sites[where.aggregator]
        place = find_project(site, None)
        config, where = FLConfig.load(place.config), read_history(site, place.path.name)
    assert config is not None  # else there would be no report
    sections = {
        "Model details": _details(config, where),
        "Intended use": [],
        "Factors": _factors(where),
        "Metrics": _metrics(config),
        "Evaluation data": _evaluation(config),
        "Training data": _training(config, where),
        "Quantitative analyses": _quantities(config, where),
        "Ethical considerations": [
            Fact(report.headline, "privacy report"),
            *(Fact(text, "privacy report") for text in report.not_covered),
        ],
        "Caveats and recommendations": _caveats(config, where),
    }
    for name, text in words.items():
        sections[name].append(Fact(text, OWN_WORDS))
    return Card(
        f"Model card of {config.project_name}", tuple((n, tuple(f)) for n, f in sections.items())
    )


def _details(config: FLConfig, history: History) -> list[Fact]:
    rule = config.strategy or {"name": "fedavg"}
    parameters = ", ".join(f"{key} {value}" for key, value in rule.items() if key != "name")
    steps = config.optimizer.name if config.optimizer else "plain SGD"
    told = [
        Fact(f"{config.model_class_name} of {config.model_arch}", "config"),
        Fact(f"Averaged by {rule['name']}{f' ({parameters})' if parameters else ''}.", "config"),
        Fact(
            f"Local training: {config.epoch} local epoch{'s' * (config.epoch > 1)} a round, "
            f"batches of {config.batch_size}, learning rate {config.learning_rate:g}, {steps}; seed {config.seed}.",
            "config",
        ),
        Fact(f"{len(history)} of {config.rounds} rounds have ended.", "history"),
    ]
    if history.rounds and (last := history.rounds[-1]).contributions:
        names = ", ".join(part.participant for part in last.contributions)
        told.append(Fact(f"Updates in the last round: {names}.", "history"))
    return told


def _factors(history: History) -> list[Fact]:
    counts = _counts(history)
    if not counts:
        return []
    smallest, largest = min(counts, key=lambda w: counts[w]), max(counts, key=lambda w: counts[w])
    return [
        Fact(
            f"From {counts[smallest]:,} samples ({smallest}) to {counts[largest]:,} ({largest}), as participants say.",
            "history",
        ),
        Fact(
            "The records know participants, not groups of people: no result here is broken down by any.",
            "history",
        ),
    ]


def _metrics(config: FLConfig) -> list[Fact]:
    names = ", ".join(config.task.metrics) or "none but the loss"
    return [
        Fact(f"{names}.", "config: task"),
        Fact(f"Trained for {config.task.loss}.", "config: task"),
    ]


def _evaluation(config: FLConfig) -> list[Fact]:
    return [
        Fact(
            f"{config.test_dataset} at {config.aggregator}: {config.task.samples} of shape {list(config.task.shape)}; "
            "one set, of which the records hold no number of samples and no origin.",
            "config",
        )
    ]


def _training(config: FLConfig, history: History) -> list[Fact]:
    counts = _counts(history)
    told = [
        Fact(
            f"{how_many(sum(counts.values()), 'sample')} at {how_many(len(counts), 'participant')}, as they say; "
            "no record holds a sample.",
            "history",
        )
    ]
    way = getattr(config.task, "standardise", None)
    if way is not None:
        told.append(
            Fact(
                f"Standardised: {way if isinstance(way, str) else 'by constants in the config'}.",
                "config: task",
            )
        )
    return told


def _quantities(config: FLConfig, history: History) -> list[Fact]:
    values = {"accuracy": history.accuracies, **history.metrics}
    told = [
        Fact(
            f"{name}: {found[-1]:.4f} after the last round that was evaluated; best of all rounds {max(found):.4f}.",
            "history",
        )
        for name, found in values.items()
        if found
    ]
    losses = [record.loss for record in history.rounds if record.loss is not None]
    if losses:
        told.append(Fact(f"Loss: {losses[-1]:.4f} after the last round.", "history"))
    norms = [
        part.norm
        for record in history.rounds
        for part in record.contributions
        if part.norm is not None
    ]
    if norms:
        told.append(
            Fact(
                f"Updates had a median norm of {statistics.median(norms):.3g}, at most {max(norms):.3g}.",
                "history",
            )
        )
    return told


def _caveats(config: FLConfig, history: History) -> list[Fact]:
    told = []
    refused = {(who, why) for record in history.rounds for who, why in record.refused.items()}
    told += [Fact(f"Refused: {who}: {why}.", "history") for who, why in sorted(refused)]
    absent: dict[str, list[int]] = {}
    for record in history.rounds:
        for who in record.absent:
            absent.setdefault(who, []).append(record.round)
    told += [
        Fact(f"Absent: {who} in round {', '.join(map(str, n))}.", "history")
        for who, n in absent.items()
    ]
    capped = {who for record in history.rounds for who in record.capped}
    told += [
        Fact(f"Claimed more samples than the config believes: {who}.", "history")
        for who in sorted(capped)
    ]
    if not history.done:
        told.append(Fact("The project has not come to its end.", "history"))
    told.append(
        Fact("One run, one seed, one test set: no interval stands behind these numbers.", "history")
    )
    if config.dp is not None and not config.dp.secure_noise:
        told.append(
            Fact(
                "The noise derives from the seed in the config: this run was a rehearsal.", "config"
            )
        )
    return told


def _counts(history: History) -> dict[str, int]:
    return {
        part.participant: part.num_samples
        for record in history.rounds
        for part in record.contributions
        if part.num_samples is not None
    }


# ------------------------------------------------------------------------------------- the privacy
def privacy_card(report: PrivacyReport) -> Card:
    """The privacy report on one page: the promise, what each adversary sees and what holds against it, what crossed."""
    page, source = report.page(), "privacy report"
    told: list[tuple[str, list[Fact]]] = [("The promise", [Fact(page.headline, source)])]
    for row in page.adversaries:
        facts = [Fact(f"Sees: {row.sees}.", source), Fact(f"Between: {row.between}.", source)]
        for held in row.holds:
            value = "no statement" if held.epsilon is None else f"epsilon {held.epsilon}"
            if isinstance(held.epsilon, float):
                value = f"epsilon {held.epsilon:.3g} at delta {held.delta:g}"
            facts.append(Fact(f"For a {_UNITS[held.unit]}: {value}.", source))
        for attack in row.attacks:
            facts.append(
                Fact(
                    f"Attacked: {attack.name}, {attack.measure} {attack.success:.3g} "
                    f"({attack.low:.3g} to {attack.high:.3g}); guessing has {attack.guessing:.3g}.",
                    source,
                )
            )
        if REHEARSAL in page.headline and any(isinstance(h.epsilon, float) for h in row.holds):
            facts.append(Fact(REHEARSAL, source))
        facts += [Fact(f"Not covered: {text}", source) for text in row.not_covered]
        told.append((f"Against {row.who}", facts))
    crossed = [
        Fact(f"{c.kind}: {how_many(c.files, 'file')}, {how_many(c.bytes, 'byte')}.", "ledger")
        for c in page.crossed or ()
    ]
    if page.crossed is None:
        crossed = [Fact("Nothing: the run was simulated in one memory.", source)]
    told.append(("What crossed", crossed))
    told.append(("Covered against nobody", [Fact(text, source) for text in page.not_covered]))
    return Card(
        f"Privacy card of {page.project}", tuple((name, tuple(facts)) for name, facts in told)
    )


_UNITS = {"example": "sample", "participant": "participant"}

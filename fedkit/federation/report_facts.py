"""What a privacy report is made of, gathered from a run: its config, its ledger, its history.

What is promised and what is left open follows from the config (`privacy/guarantees.py`); here it meets what has crossed.
"""

from __future__ import annotations

from collections.abc import Sequence

from fedkit.base.errors import FedkitError
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.projects import find_project
from fedkit.federation.ledger import LedgerEntry, by_kind, crossings
from fedkit.federation.network import Network
from fedkit.privacy.adversaries import adversaries, left_open
from fedkit.privacy.attacks.roc import AttackResult
from fedkit.privacy.dp.account import NEIGHBOURS
from fedkit.privacy.dp.budget import Spent, spent, trained_again
from fedkit.privacy.guarantees import Gone, as_spent, guarantees, headline
from fedkit.privacy.report_page import PrivacyReport
from fedkit.rounds.history import History, read_history

__all__ = ["privacy_report"]


_PROJECTS = {"running", "request", "done", "fl"}  # folders that hold one folder a project


def privacy_report(
    where: Network | History,
    config: FLConfig | None = None,
    *,
    project: str | None = None,
    attacks: Sequence[AttackResult] = (),
) -> PrivacyReport:
    """The report of a project of a network (default: the one launched last), or of a simulation's history and its config.

    attacks : results of attacks that were run, such as `fk.privacy.attack_result(...)`.
    Raises FedkitError if there is no such project, or a history comes without its config.
    """
    crossed = None
    if isinstance(where, Network):
        site = where.sites[where.aggregator]
        place = find_project(site, project)
        config, history = FLConfig.load(place.config), read_history(site, place.path.name)
        crossed = tuple(by_kind(crossings(_of(where.ledger(), config))))
    elif config is None:
        raise FedkitError(
            "is needed to say what was promised",
            field="config",
            remedy="pass the simulation's config",
        )
    else:
        history = where
    counts = {
        part.participant: part.num_samples or 0
        for record in history.rounds
        for part in record.contributions
    }
    gone, owners = Gone(len(history.rounds)), list[Datasite]()
    if isinstance(where, Network) and config.dp is not None:
        owners = [where.sites[who] for who in config.participants if who in where.sites]
        again = max((trained_again(site, config.project_name) for site in owners), default=0)
        gone = Gone(len(history.rounds), again)
    promised = guarantees(config, counts, gone)
    if owners and config.dp is not None:
        most, replaced = (_most(owners, config.project_name, by) for by in NEIGHBOURS)
        if most is not None and replaced is not None:
            values = (most.epsilon, most.delta, replaced.epsilon)
            promised = as_spent(promised, config.dp.unit, *values)
    table = adversaries(config, promised)
    for attack in attacks:
        if attack.by not in (known := [row.who for row in table]):
            raise FedkitError(
                f"was run by {attack.by!r}, who is none of the report's adversaries",
                field=attack.name,
                remedy=f"name one of {'; '.join(known)}",
            )
    return PrivacyReport(
        config.project_name,
        headline(config, promised),
        len(history.rounds),
        config.rounds,
        gone.again,
        table,
        crossed,
        promised,
        tuple(attacks),
        left_open(config),
    )


def _most(owners: Sequence[Datasite], project: str, neighbours: str) -> Spent | None:
    """What the participant that has spent most in a project has spent, by its own account."""
    accounts = [s for site in owners for s in spent(site, neighbours=neighbours)]
    own = [account for account in accounts if account.project == project]
    return max(own, key=lambda account: account.epsilon, default=None)


def _of(ledger: Sequence[LedgerEntry], config: FLConfig) -> list[LedgerEntry]:
    """The entries of one project: its folders, and what lies outside of every project's."""
    name = config.project_name
    parts = [(entry, set(entry.path.split("/"))) for entry in ledger]
    return [entry for entry, p in parts if name in p or not _PROJECTS & p]

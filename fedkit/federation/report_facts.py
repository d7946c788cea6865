"""What a privacy report is made of, gathered from a run: its config, its ledger, its history.

What is promised and what is left open follows from the config (`privacy/guarantees.py`); here it meets what has crossed.
"""

from __future__ import annotations

from collections.abc import Sequence

from fedkit.base.errors import FedkitError
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.projects import find_project
from fedkit.federation.ledger import LedgerEntry, by_kind, crossings
from fedkit.federation.network import Network
from fedkit.privacy.attacks.roc import AttackResult
from fedkit.privacy.dp.budget import spent
from fedkit.privacy.guarantees import as_spent, guarantees, headline, left_open, observers
from fedkit.privacy.report_page import PrivacyReport
from fedkit.rounds.history import History, read_history

__all__ = ["privacy_report"]


_UNDER_MASKS = (
    "Under the masks these go in the clear: names, who was there at each step and who left, public keys, the progress, "
    "times and sizes of files, each round's number of images in all, and every global model.",
    "Whoever runs the network, or the aggregator, may put keys of its own in the place of somebody's in the first masked "
    "round: whose a key is, is believed when it is first seen, and kept from then on. Fingerprints that people compare by "
    "another road are what helps (`fedkit keys`).",
)
"""What secure aggregation leaves open, whatever else the config says."""
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
    promised = guarantees(config, counts)
    if isinstance(where, Network) and config.dp is not None:
        owners = [where.sites[who] for who in config.participants if who in where.sites]
        accounts = [s for site in owners for s in spent(site) if s.project == config.project_name]
        most = max(accounts, key=lambda s: s.epsilon, default=None)
        if most is not None:
            promised = as_spent(promised, config.dp.unit, most.epsilon, most.delta)
    return PrivacyReport(
        config.project_name,
        headline(config, promised),
        len(history.rounds),
        observers(config),
        crossed,
        promised,
        tuple(attacks),
        left_open(config) + (_UNDER_MASKS if config.secure_aggregation is not None else ()),
    )


def _of(ledger: Sequence[LedgerEntry], config: FLConfig) -> list[LedgerEntry]:
    """The entries of one project: its folders, and what lies outside of every project's."""
    name = config.project_name
    parts = [(entry, set(entry.path.split("/"))) for entry in ledger]
    return [entry for entry, p in parts if name in p or not _PROJECTS & p]

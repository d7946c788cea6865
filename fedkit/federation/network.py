"""A whole network of datasites on one machine: one data dir each, the sync between them, and the ledger of what crossed.

A teacher or a learner does this: `Network.create`, `give_data`, `launch`, `run`. Nothing here knows more than the files:
open the same root again after a crash and `run()` goes on where it was, to the same bits.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.base.events import AGGREGATOR, Event, Problem, Progress, Waiting, render
from fedkit.base.files import (
    read_json,
    read_object,
    sha256_bytes,
    write_bytes,
    write_dataset,
    write_json,
)
from fedkit.base.names import folded
from fedkit.base.tensors import state_bytes
from fedkit.base.text import nearest
from fedkit.config.client_config import ClientConfig
from fedkit.config.fl_config import FLConfig
from fedkit.config.task import DIGITS, Task
from fedkit.data.shards import Shard, pair_of
from fedkit.data.standardise import stated
from fedkit.datasite.datasite import AppData, Datasite
from fedkit.datasite.projects import find_project, launched_projects, other_spelling
from fedkit.datasite.road import write_road
from fedkit.federation.ledger import LedgerEntry
from fedkit.federation.rewind import finish_rewind
from fedkit.federation.shared_folder import SharedFolder
from fedkit.federation.sync import ROLE as SYNC
from fedkit.federation.sync import Sync
from fedkit.learning.models import SAMPLE_MODEL, StateDict, seed_weights
from fedkit.protocol import advance as node
from fedkit.protocol.aggregator.launch import LAUNCHED
from fedkit.protocol.approval import Policy, answer, approve_none
from fedkit.rounds.history import History, read_history
from fedkit.rounds.inputs import check_arguments

__all__ = ["Actor", "Network"]


_MOMENT_S = 5.0

_SYNCS: dict[str, type[Sync | SharedFolder]] = {"own": Sync, "synced": SharedFolder}

Go = Callable[[], list[Event]]

Actor = Callable[[Datasite, Go], list[Event] | None]
"""Moves one participant: gets its datasite and what would move it; returns what happened, or None where it is late: it has
not moved yet, and will by itself. This is a run's one hook: what watches, delays or spoils is an actor's."""


def _by_itself(site: Datasite, go: Go) -> list[Event] | None:
    return go()


class Network:
    """Several datasites under one folder, each with a data dir of its own; made by `create` or `open`.

    sites : the datasites by e-mail. aggregator : an e-mail. participants : e-mails. workers : how many participants
    train side by side; it changes the time, never the result. device : where all of them train and evaluate, such as
    "cuda"; the same bits are promised on the processor alone. road : "own", fedkit's sync, which enforces the permission
    files; or "synced", a folder in which every member reads and writes everything, and projects are signed.
    """

    def __init__(
        self,
        root: Path,
        aggregator: str,
        participants: Sequence[str],
        app_data: AppData = "app_data",
        workers: int | None = None,
        device: str = "cpu",
        road: str = "own",
    ) -> None:
        self.root = Path(root).absolute()
        self.aggregator = aggregator
        self.participants = tuple(participants)
        self.workers = workers or os.cpu_count() or 1
        emails = dict.fromkeys([aggregator, *participants])
        spelled = {folded(str(email)): email for email in emails}
        twice = next((email for email in emails if spelled[folded(str(email))] != email), None)
        if twice is not None:
            raise FedkitError(
                f"{twice} and {spelled[folded(twice)]} differ in upper and lower case only",
                field="participants",
                remedy="write an e-mail in one way",
            )
        if road not in _SYNCS:
            raise FedkitError(
                f"{road!r:.80} can't be taken on one machine's disk",
                field="road",
                remedy=f"use one of {', '.join(_SYNCS)}; for others, see the README",
            )
        for email in emails:
            write_road(self.root / email, road)
        made = {e: Datasite.create(self.root / e, e, app_data, aggregator) for e in emails}
        self.sites = {email: replace(site, device=device) for email, site in made.items()}
        self._sync = _SYNCS[road](list(self.sites.values()), self.root / "ledger.jsonl")

    @classmethod
    def create(
        cls,
        root: Path | str,
        *,
        aggregator: str,
        participants: Sequence[str],
        app_data: AppData = "app_data",
        workers: int | None = None,
        device: str = "cpu",
        road: str = "own",
    ) -> Network:
        """Make the datasites under `root` (or complete them) and write each one's `config.json`.

        Raises FedkitError if an e-mail is not valid, or another network lies under `root`.
        """
        people = list(participants)
        described = {"aggregator": aggregator, "participants": people, "app_data": app_data}
        described |= {"road": road} if road != "own" else {}
        file = Path(root).absolute() / "network.json"
        if read_json(file) not in (None, described):
            remedy = "choose another folder, or delete that one if you don't need it any more"
            raise FedkitError("describes another network", file=file, remedy=remedy)
        network = cls(file.parent, aggregator, people, app_data, workers, device, road)
        write_json(file, described)
        for number, site in enumerate(network.sites.values()):
            url = f"http://localhost:{8080 + number}"
            config = ClientConfig(site.data_dir, site.email, client_url=url)
            config.save(site.data_dir / "config.json")
        return network

    @classmethod
    def open(cls, root: Path | str, workers: int | None = None, device: str = "cpu") -> Network:
        """The network that `create` made under `root`. Raises FedkitError if there is none."""
        file = Path(root) / "network.json"
        try:
            values = read_json(file)
            people = {key: values[key] for key in ("aggregator", "participants", "app_data")}
            people["road"] = values.get("road", "own")
            emails = [people["aggregator"], *people["participants"]]
            texts = [*emails, people["app_data"], people["road"]]
            if type(people["participants"]) is not list or {type(t) for t in texts} != {str}:
                raise TypeError
        except (TypeError, KeyError):
            what = "is not there, or describes no network"
            remedy = "make it with Network.create(root, ...)"
            raise FedkitError(what, file=file, remedy=remedy) from None
        try:
            return cls(file.parent, **people, workers=workers, device=device)
        except FedkitError as error:
            if error.file is not None:
                raise
            raise error.about(file) from error

    def __getitem__(self, email: str) -> Datasite:
        """The datasite of this e-mail. Raises FedkitError where the network has none."""
        try:
            return self.sites[email]
        except (KeyError, TypeError):
            near = nearest(str(email).casefold(), self.sites)
            raise FedkitError(
                f"{email!r:.80} has no datasite in this network",
                field="email",
                remedy=f"did you mean {near}?" if near else f"take one of {', '.join(self.sites)}",
            ) from None

    def give_data(self, email: str, shard: Shard, task: Task = DIGITS) -> None:
        """Put (samples, labels), as the task says, into this participant's private folder, in the place of what was there.

        For digits: images float32 [N,1,28,28] in 0..1, labels int64 [N]. Raises FedkitError if they are something else.
        """
        self[email].private.put(pair_of(shard, task, "shard"), task)

    def give_test(
        self, images: Tensor, labels: Tensor, name: str = "mnist_test_dataset.pt"
    ) -> None:
        """Put the aggregator's test set (same form as a shard) into its private folder."""
        write_dataset(self.sites[self.aggregator].private_aggregator / name, images, labels)

    def launch(
        self, config: FLConfig, model: str | None = None, weights: StateDict | None = None
    ) -> None:
        """Put model, seed weights (default: the model's own, from the config's seed) and config into `launch/`.

        model : source of a model.py, by default the tutorial's. Statistics that the task calls "federated" are made of the
        data that lie at the participants now: each one's counts, sums and squares. To launch the same again changes
        nothing. Raises FedkitError if the project was launched here with another config, model or weights.
        """
        model = SAMPLE_MODEL if model is None else model
        check_arguments(config, model, weights, {})
        task = config.task
        config = stated(config, (self.sites[who].private.load(task) for who in config.participants))
        if weights is None:
            weights = seed_weights(model, config.seed, config.model_class_name)
        wanted = {
            config.model_arch: model.encode(),
            config.model_weight: state_bytes(weights),
            "fl_config.json": config.to_json().encode(),  # the last one: it is what is waited for
        }
        if config.project_name in self.projects():
            self._launched_so(config, wanted)
            return
        box = self.sites[self.aggregator].aggregator()
        other = other_spelling(box, config.project_name)
        if other is not None:
            raise FedkitError(
                f"{config.project_name!r} is, but for upper and lower case, {other.name!r}, which was launched here: "
                "on many machines they are one folder",
                field="project_name",
                remedy="write it as it was, or choose another name",
            )
        folder = box.launch
        for name, content in wanted.items():
            write_bytes(folder / name, content)

    def _launched_so(self, config: FLConfig, wanted: Mapping[str, bytes]) -> None:
        """Raises FedkitError unless this is what was launched under the project's name: its rounds are of nothing else."""
        place = find_project(self.sites[self.aggregator], config.project_name)
        kept = read_object(place.path / LAUNCHED)
        other = [
            name for name, content in wanted.items() if kept.get(name) != sha256_bytes(content)
        ]
        if not other:
            return
        before = FLConfig.load(place.config).model_dump(mode="json")
        changes = [
            f"{key} {before.get(key)!r:.60} → {value!r:.60}"
            for key, value in config.model_dump(mode="json").items()
            if before.get(key) != value and (key != "signed" or config.signed)  # the road adds it
        ]
        rest = [name for name in other if name != "fl_config.json"]
        raise FedkitError(
            f"{config.project_name!r} was launched here before with other settings, and its rounds stay as they are",
            field="project_name",
            why=f"What differs: {'; '.join([*changes, *rest]) or 'fl_config.json'}",
            remedy="choose another project_name, or start again in an empty folder: run the cell with "
            "fk.workspace(...), or Network.create(...) in a new one",
        )

    def sync(self) -> list[Event]:
        """One pass of the sync; returns the refused changes."""
        return self._sync()

    def advance(
        self,
        approve: Policy = approve_none,
        *,
        on_epoch: Progress | None = None,
        patient: bool = True,
        stop: Callable[[], bool] | None = None,
        until_round: int | None = None,
        actor: Actor = _by_itself,
    ) -> list[Event]:
        """One pass: the aggregator, the sync, every participant side by side, the sync.

        Returns what happened, and what everybody waits for now. Options as for `fedkit.advance`; after a `stop`, files
        cross with the next pass. actor : stands between the network and each participant other than the aggregator.
        Raises Busy where another process moves one of the datasites for longer than a moment.
        """
        finish_rewind(self)  # if one was cut off
        home = self.sites[self.aggregator]
        others = [site for email, site in self.sites.items() if email != self.aggregator]
        events = answer(home, approve) if self.aggregator in self.participants else []
        events += node.advance(
            home,
            on_epoch=on_epoch,
            patient=patient,
            stop=stop,
            until_round=until_round,
            timeout_s=_MOMENT_S,
        )
        halted = stop or (lambda: False)

        def move(site: Datasite) -> list[Event]:
            return node.advance(site, on_epoch=on_epoch, stop=stop, timeout_s=_MOMENT_S)

        events += [] if halted() else self.sync()
        for site in others:
            events += answer(site, approve)
        with ThreadPoolExecutor(max(1, min(self.workers, len(others)))) as pool:
            for moved in pool.map(lambda site: actor(site, partial(move, site)), others):
                events += moved or []
        return events if halted() else events + self.sync()

    def run(
        self,
        project: str | None = None,
        *,
        approve: Policy = approve_none,
        on_event: Callable[[Event], None] | None = None,
        on_epoch: Progress | None = None,
        stop: Callable[[], bool] | None = None,
        until_round: int | None = None,
        actor: Actor = _by_itself,
    ) -> History:
        """Passes until the project is done, or until nothing more can happen without a person.

        approve : answers the requests; by default nobody does. on_event : called with everything that happens.
        until_round : begin no round after this one. stop : stop where this says yes. actor : as for `advance`; while
        somebody is late, the run goes on looking.
        Where it stops early, the history's `waiting` says for whom and what. Call it again to go on.
        Raises FedkitError if no project was launched.
        """
        if until_round is not None and (type(until_round) is not int or until_round < 0):
            what, remedy = f"is {until_round!r:.40}", "give a whole number from 0"
            raise FedkitError(what, field="until_round", remedy=remedy)
        report = on_event or (lambda event: None)
        patient, late, before, told = True, False, list[Event](), set[str]()

        def move(site: Datasite, go: Go) -> list[Event] | None:
            nonlocal late
            moved = actor(site, go)
            late = late or moved is None
            return moved

        one_pass = partial(
            self.advance, approve, on_epoch=on_epoch, stop=stop, until_round=until_round, actor=move
        )
        while True:
            late = False
            events = one_pass(patient=patient)
            happened = [e for e in events if not isinstance(e, Waiting | Problem)]
            # the sync says some things once, in the first pass perhaps
            said = {render(e): e for e in events if isinstance(e, Problem) and e.role == SYNC}
            for event in [*happened, *(e for text, e in said.items() if text not in told)]:
                report(event)
            told |= said.keys()
            moved = bool(happened) and happened != before  # the same refusals again are no progress
            before = happened
            again = moved or (late and not self._stands(events))
            if not (again or patient) or (stop is not None and stop()):
                break
            patient = again
        stops = [e for e in events if isinstance(e, Waiting | Problem)]
        for event in (event for event in stops if render(event) not in told):
            report(event)
        refused = [e for e in stops if isinstance(e, Problem) and e.project in ("launch", "")]
        if refused and (project not in self.projects() if project else not self.projects()):
            # and never that nothing was launched, or what another project did
            raise refused[0].error
        history = self.history(project)
        named = (e for e in stops if e.project in (history.project, "launch", ""))
        return replace(history, waiting=tuple(named))

    def _stands(self, events: Sequence[Event]) -> bool:
        """Does the aggregator wait for itself? Then nobody who is late can help."""
        waits = [e for e in events if isinstance(e, Waiting) and e.role == AGGREGATOR]
        return any(wait.email == wait.whom == self.aggregator for wait in waits)

    def projects(self) -> list[str]:
        """Names of the projects at the aggregator, the one launched last at the end."""
        return launched_projects(self.sites[self.aggregator])

    def history(self, project: str | None = None) -> History:
        """The rounds so far, from the aggregator's records (default: of the project launched last)."""
        return read_history(self.sites[self.aggregator], project)

    def ledger(self) -> list[LedgerEntry]:
        """Every file that crossed between data dirs, oldest first."""
        return self._sync.entries()

"""The participant's state machine: approve, open, find data, receive, train, share, finish.

Its whole memory is its folder `running/P`; every step can be cut off anywhere and is then done again. Notebook 03 builds
the step that matters, local training, by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from fedkit.base.errors import FedkitError, Unreadable
from fedkit.base.events import (
    PARTICIPANT,
    Approved,
    DataFound,
    Event,
    MailboxOpened,
    Progress,
    ProjectDone,
    Waiting,
)
from fedkit.base.files import (
    MAX_JSON_BYTES,
    MAX_STRANGERS_JSON_BYTES,
    is_file,
    refuse_links,
    sha256_bytes,
)
from fedkit.base.tensors import inspect_state
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.lock import answering
from fedkit.datasite.permissions import has_permission_file
from fedkit.datasite.projects import follow_home, move_to_done, other_spelling
from fedkit.datasite.round_plan import RoundPlan, always_planned, received_plan
from fedkit.datasite.tree import entries, folder_names
from fedkit.privacy.dp.policy import accept, refusal
from fedkit.protocol import approval
from fedkit.protocol.client.local_round import is_shared, share, train_round
from fedkit.protocol.client.secured import forget, forget_ended, forget_others
from fedkit.protocol.project import EVERYBODY, AtParticipant
from fedkit.protocol.signing_keys import identity, published_key, signers
from fedkit.protocol.steps import Next, Phase, drive, first_answer
from fedkit.protocol.waiting import lingers

__all__ = ["PHASES", "advance", "next_step", "projects"]


_GLOBAL = re.compile(r"agg_model_round_(0|[1-9][0-9]{0,6})\.pt")


def advance(
    site: Datasite, on_epoch: Progress | None = None, stop: Callable[[], bool] | None = None
) -> list[Event]:
    """Do whatever this datasite's client can do now; returns what happened and what each project waits for."""
    forget_ended(site)
    follow_home(site, site.client())
    following = partial(next_step, site, on_epoch=on_epoch, stop=stop)
    return drive(site.email, PARTICIPANT, projects(site), following)


def projects(site: Datasite) -> list[str]:
    """Projects that are requested or under way here, in alphabetical order."""
    asked = {*approval.pending_requests(site), *approval.only_copied(site)}
    return sorted({*folder_names(site.client().running), *asked})


def next_step(
    site: Datasite,
    project: str,
    on_epoch: Progress | None = None,
    stop: Callable[[], bool] | None = None,
) -> Next:
    """What the client would do next in this project; looks only."""
    refuse_links(site.client().project(project).path, site.data_dir)
    return first_answer(PHASES, Here(site, project, on_epoch, stop))


@dataclass(frozen=True)
class Here:
    """A project as it lies here now; each fact is looked up when a phase first asks for it."""

    site: Datasite
    name: str
    on_epoch: Progress | None
    stop: Callable[[], bool] | None

    @cached_property
    def at(self) -> AtParticipant:
        """The project as it was approved. Raises FedkitError if these are no longer the bytes that a person approved."""
        place = self.site.client().project(self.name)
        hashes = approval.pinned(self.site, self.name) or {}
        contents = {name: approval.read_part(self.site, place.path / name) for name in hashes}
        for name, data in contents.items():
            if sha256_bytes(data) != hashes[name]:
                raise FedkitError(
                    "has changed since it was approved; this client does not run it",
                    file=place.path / name,
                    why=f"Approved was SHA-256 {hashes[name][:12]}…, there lies {sha256_bytes(data)[:12]}…",
                    remedy=f"restore the approved file, or remove running/{self.name} and approve anew",
                )
        config = FLConfig.parse(contents["fl_config.json"], file=place.config)
        if config.model_arch not in contents:
            raise FedkitError(
                f"names the model {config.model_arch}, and another file was approved",
                file=place.config,
                field="model_arch",
                remedy=f"remove running/{self.name} and approve anew",
            )
        return AtParticipant(self.site, config, contents[config.model_arch], hashes)

    @cached_property
    def models(self) -> set[int]:
        """The rounds whose global model is there, and signed where that is asked for."""
        names = (p.name for p in entries(self.at.place.agg_weights))
        found = {int(m[1]) for name in names if (m := _GLOBAL.fullmatch(name))}
        return found if not self.at.config.signed else found - self.forged.keys()

    @cached_property
    def forged(self) -> dict[int, FedkitError | None]:
        """Of these, the ones that the aggregator has not signed, and why not; None where its signature is not there yet."""
        at, found = self.at, dict[int, FedkitError | None]()
        for path in entries(at.place.agg_weights):
            if m := _GLOBAL.fullmatch(path.name):
                try:
                    at.check(path, at.config.aggregator, int(m[1]))
                except FileNotFoundError:
                    found[int(m[1])] = None
                except FedkitError as error:
                    found[int(m[1])] = error
        return found

    @property
    def all_there(self) -> bool:
        """Has every global model arrived?"""
        return self.models.issuperset(range(self.at.config.rounds + 1))

    @property
    def over(self) -> bool:
        """Is there nothing more to be trained?"""
        return self.all_there or self.stopped

    @cached_property
    def told(self) -> Mapping[str, Any]:
        """What the aggregator has published of the project; nothing where that is not its own."""
        path = self.at.site.public_results(self.name, self.at.config.aggregator) / "history.json"
        whom, rounds = self.at.config.aggregator, self.at.config.rounds
        # an honest one is as long as the project has rounds; JSON takes 25 times its length in memory
        most = min(MAX_JSON_BYTES, MAX_STRANGERS_JSON_BYTES // 8 + 1024 * rounds)
        try:
            return self.at.receive_object(path, whom, rounds, most, EVERYBODY) or {}
        except FedkitError:
            return {}

    @property
    def stopped(self) -> bool:
        """Did the aggregator end the project before its last round?"""
        return self.told.get("stopped") is True

    @property
    def aggregated(self) -> bool:
        """Has this round ended at the aggregator, as far as is known here? Its model may come later than that news."""
        history = self.told.get("history")
        rounds = history if isinstance(history, list) else []
        return any(isinstance(row, dict) and row.get("round") == self.n for row in rounds)

    @property
    def n(self) -> int:
        """The round to be trained, or the one that was trained last; 0 where no global model is there."""
        return max((m for m in self.models if m < self.at.config.rounds), default=-1) + 1

    @cached_property
    def wanted(self) -> dict[str, Any]:
        """What the aggregator asks for in this round where it differs from the config. Raises FedkitError if it has not
        signed that."""
        path = self.at.place.round_settings(self.n)
        return self.at.receive_object(path, self.at.config.aggregator, self.n) or {}

    @property
    def waits_for_plan(self) -> bool:
        """Where files may come in any order: is this round's plan, which always comes then, not there yet?"""
        return self.at.config.signed and always_planned(self.at.config) and not self.wanted

    @property
    def plan(self) -> RoundPlan:
        """The plan of this round. Raises FedkitError if it asks for what was not approved."""
        path = self.at.place.round_settings(self.n)
        return received_plan(self.at.config, self.n, self.wanted, path)


def approve(here: Here) -> Next:
    """Nothing runs before a person has said yes to exactly these bytes."""
    site, project = here.site, here.name
    other = other_spelling(site.client(), project)
    under_way = project in folder_names(site.client().running)
    if not under_way and project in approval.only_copied(site):
        what = f"approve {project}: it was copied into running/, not approved"
        remedy = f"run `fedkit approve {project}`; others can write there ({site.road.why})"
        return Waiting(site.email, project, PARTICIPANT, site.email, what, remedy)
    if other is not None and not (under_way and approval.pinned(site, project) is not None):
        raise FedkitError(
            f"is, but for upper and lower case, the folder of {other.parent.name}/{other.name} on many machines",
            file=site.client().project(project, "request").path,
            remedy="decline it, and ask the aggregator for another project name",
        )
    if site.client().project(project).path.is_dir():
        done = approval.pinned(site, project) is not None
        return None if done else _pin_what_was_copied(site, project)
    asked = approval.review(site, project)
    approval.refuse_unsigned(site, asked)
    if is_file(approval.pin_path(site, project)):  # of an approval that was cut off, or taken back
        return partial(_unpin, site, project)
    reason = refusal(site, asked.config)
    if reason is not None:
        return lambda: [approval.decline(site, project, reason)]
    if site.email in signers(asked.config) and published_key(site, site.email) is None:
        return partial(_publish_key, site)  # so that the others can compare it before they say yes
    what = f"approve the request of {asked.aggregator}"
    remedy = f"look at it and run `fedkit approve {project}`, or copy the folder from request/ to running/"
    return AtParticipant(site, asked.config).wait(site.email, what, remedy)


def open_(here: Here) -> Next:
    """The mailbox opens: from now on the aggregator may write global models into it."""
    at = here.at
    if has_permission_file(at.place.agg_weights):
        return None

    def do() -> list[Event]:
        approval.open_mailbox(at.site, at.place, at.config)
        return [MailboxOpened(at.site.email, at.name)]

    return do


def find_data(here: Here) -> Next:
    """Training data is there, and the aggregator may know that it is."""
    at = here.at
    if not at.site.data_files:
        what = "put training data into private/fl_client"
        return at.wait(at.site.email, what, "for example `fedkit data samples`")
    state = at.read_object(at.place.state)
    if state.get("dataset_added") and (state.get("num_samples") or not at.config.tells_counts):
        return None

    def do() -> list[Event]:
        _, labels = at.site.private.load(at.config.task)
        told = {"num_samples": len(labels)} if at.config.tells_counts else {}
        at.set_state(dataset_added=True, **told)
        return [DataFound(at.site.email, at.name, len(labels))]

    return do


def receive(here: Here) -> Next:
    """The global model of a round is there, and this participant takes part in it."""
    at = here.at
    if here.over:
        return None
    forged = here.forged.get(here.n) if at.config.signed else None
    if forged is not None and here.n <= at.config.rounds:
        raise forged
    if here.n == 0:
        return at.wait(at.config.aggregator, "send the global model")
    if here.waits_for_plan:
        return at.wait(at.config.aggregator, f"send {at.place.round_settings(here.n).name}")
    chosen = here.wanted.get("participants")
    if isinstance(chosen, list) and at.site.email not in chosen:
        waiting = at.wait(at.config.aggregator, f"end round {here.n}, which others train")
        return forget_others(at, here.n) or waiting
    return None


def train(here: Here) -> Next:
    """Local training, once a round."""
    at, n = here.at, here.n
    if here.over:
        return None
    plan = here.plan
    if is_file(at.place.trained(n)):
        return None
    start = at.place.global_model(n - 1)
    try:
        inspect_state(at.read(start), start)
    except (Unreadable, FileNotFoundError) as error:
        return at.wait(at.config.aggregator, f"send a readable global model ({error})")
    return partial(train_round, at, plan, here.on_epoch, here.stop)


def share_update(here: Here) -> Next:
    """The update reaches the aggregator, plain or under masks; whatever is missing there is shared again."""
    at, n = here.at, here.n
    if here.over:
        return None
    if at.site.road.others_can_write and here.aggregated:
        # an inbox that was closed may still look open here, and must not come back there
        return at.wait(at.config.aggregator, f"send global model {n}")
    if at.config.secure_aggregation is not None:
        from fedkit.protocol.client.secure_round import secure_step

        return secure_step(at, n, here.plan.participants)
    if not has_permission_file(at.box.inbox(at.site.email)):
        return at.wait(at.config.aggregator, "open its folder for this participant's updates")
    if not is_shared(at, n):
        return partial(share, at, n)
    return at.wait(at.config.aggregator, f"aggregate round {n}")


def finish(here: Here) -> Next:
    """Every global model is there: the folder moves to done/, when no aggregator needs it any more."""
    at = here.at
    left = _still_lingers(at)
    if left > 0:
        what = f"this takes {left:.0f} s at most"
        return at.wait(at.config.aggregator, "finish too", what, seconds=left)
    return partial(_finish, at)


PHASES: tuple[Phase[Here], ...] = (approve, open_, find_data, receive, train, share_update, finish)
"""In this order; the first one that answers says what is next."""


def _pin_what_was_copied(site: Datasite, project: str) -> Next:
    copied = approval.review(site, project, "running")
    accept(site, copied.config)
    asked = site.client().project(project, "request")
    if asked.path.is_dir():
        for name, digest in copied.hashes.items():
            if sha256_bytes(approval.read_part(site, asked.path / name)) != digest:
                raise FedkitError(
                    "differs from the same file in request/",
                    file=site.client().project(project).path / name,
                    why="The copy is not complete, or the request has changed since it was copied",
                    remedy=f"remove running/{project}, look at the request again, then copy or approve it",
                )
    done = site.client().project(project, "done").path
    if done.exists():
        raise FedkitError(
            "a project of this name is done already",
            file=done,
            remedy="move that folder away, or ask the aggregator for another project name",
        )

    def do() -> list[Event]:
        with answering(site):
            if approval.pinned(site, project) is not None:
                return []  # somebody else was faster
            approval.pin(site, project, copied.hashes)
        return [Approved(site.email, project, copied.hashes[copied.config.model_arch])]

    return do


def _publish_key(site: Datasite) -> list[Event]:
    identity(site)
    return []


def _unpin(site: Datasite, project: str) -> list[Event]:
    with answering(site):
        if not site.client().project(project).path.is_dir():  # else it has just been approved
            approval.unpin(site, project)
    return []


def _still_lingers(at: AtParticipant) -> float:
    """Seconds for which the folder must still stay: a real aggregator that finds it gone never finishes."""
    results = at.site.public_results(at.name, at.config.aggregator)
    if is_file(results / "history.json"):
        return 0.0  # only fedkit's aggregator writes this file, and it does not need the folder
    last = at.config.rounds
    if is_file(at.place.trained(last)) and not is_file(at.box.update(at.site.email, last)):
        return 0.0  # the aggregator has moved what was shared to its own done/
    theirs = at.site.road.others_can_write
    return lingers(at.config, at.place.global_model(last), theirs)


def _finish(at: AtParticipant) -> list[Event]:
    opened = (at.place.agg_weights, at.place.state.parent)
    move_to_done(at.site, at.site.client(), at.name, opened)
    forget(at.site, at.name)
    # last: until then a killed client still knows what was approved
    approval.unpin(at.site, at.name)
    return [ProjectDone(at.site.email, at.name, PARTICIPANT)]

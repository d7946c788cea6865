"""The participant's state machine: wait for approval, open the mailbox, train a round, share the update, until done.

Its whole memory is its folder `running/P`; every step can be cut off anywhere and is then done again. Notebook 03 builds
the step that matters, local training, by hand.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from fedkit.base.errors import FedkitError
from fedkit.base.events import PARTICIPANT as ROLE
from fedkit.base.events import (
    Approved,
    DataFound,
    Event,
    MailboxOpened,
    Progress,
    ProjectDone,
    Waiting,
)
from fedkit.base.files import is_file, read_json, refuse_links, sha256_bytes
from fedkit.config.fl_config import FLConfig
from fedkit.data.shards import DATA_FILE, read_shard
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.paths import ClientProject
from fedkit.datasite.permissions import has_permission_file
from fedkit.datasite.projects import move_to_done
from fedkit.datasite.round_plan import apply_plan
from fedkit.datasite.tree import entries, folder_names
from fedkit.privacy.dp.policy import accept, refusal
from fedkit.protocol.approval import (
    decline,
    open_mailbox,
    pending_requests,
    pin,
    pin_path,
    pinned,
    read_part,
    review,
    unpin,
)
from fedkit.protocol.client.local_round import set_state, share, train_step
from fedkit.protocol.client.secure_round import forget, secure_step
from fedkit.protocol.steps import Next, drive

__all__ = ["advance", "next_step", "projects"]


_GLOBAL = re.compile(r"agg_model_round_(\d+)\.pt")


def advance(
    site: Datasite, on_epoch: Progress | None = None, stop: Callable[[], bool] | None = None
) -> list[Event]:
    """Do whatever this datasite's client can do now; returns what happened and what each project waits for."""
    return drive(
        site.email, ROLE, projects(site), lambda name: next_step(site, name, on_epoch, stop)
    )


def projects(site: Datasite) -> list[str]:
    """Projects that are requested or under way here, in alphabetical order."""
    return sorted({*folder_names(site.client().running), *pending_requests(site)})


def next_step(
    site: Datasite,
    project: str,
    on_epoch: Progress | None = None,
    stop: Callable[[], bool] | None = None,
) -> Next:
    """What the client would do next in this project; looks only."""
    place = site.client().project(project)
    wait = partial(Waiting, site.email, project, ROLE)
    refuse_links(place.path, site.data_dir)
    if not place.path.is_dir():
        asked = review(site, project)
        if is_file(pin_path(site, project)):  # of an approval that was cut off, or taken back
            return partial(_unpin, site, project)
        reason = refusal(site, asked.config)
        if reason is not None:
            return lambda: [decline(site, project, reason)]
        return wait(
            site.email,
            f"approve the request of {asked.aggregator}",
            f"look at it and run `fedkit approve {project}`, or copy the folder from request/ to running/",
        )
    hashes = pinned(site, project)
    if hashes is None:
        return _pin_what_was_copied(site, project)
    config, source = _what_was_approved(site, place, hashes)
    if not has_permission_file(place.agg_weights):
        return partial(_open, site, place, config)
    if not any(DATA_FILE.fullmatch(p.name) for p in entries(site.private_client)):
        return wait(
            site.email,
            "put training data into private/fl_client",
            "for example `fedkit data samples`",
        )
    state = read_json(place.state)
    if (
        not isinstance(state, dict)
        or not state.get("dataset_added")
        or not (state.get("num_samples") or config.secure_aggregation)
    ):
        return partial(_announce_data, site, place, config)
    there = {int(m[1]) for p in entries(place.agg_weights) if (m := _GLOBAL.fullmatch(p.name))}
    if there.issuperset(range(config.rounds + 1)):
        left = _still_lingers(site, config, place)
        if left > 0:
            return wait(
                config.aggregator, "finish too", f"this takes {left:.0f} s at most", seconds=left
            )
        return partial(_finish, site, place)
    newest = max((n for n in there if n < config.rounds), default=-1)
    if newest < 0:
        return wait(config.aggregator, "send the global model")
    wanted = read_json(place.round_settings(newest + 1), root=site.data_dir)
    chosen: Sequence[str] = config.participants
    if isinstance(wanted, dict):
        chosen = wanted.get("participants", config.participants)
        if isinstance(chosen, list | tuple) and site.email not in chosen:
            return wait(config.aggregator, f"end round {newest + 1}, which others train")
        config = apply_plan(config, wanted, place.round_settings(newest + 1))
    if not is_file(place.trained(newest + 1)):
        return train_step(site, place, config, source, newest + 1, on_epoch, stop)
    if config.secure_aggregation is not None:
        digest = hashes["fl_config.json"]
        return secure_step(site, place, config, newest + 1, chosen, digest)
    box = site.aggregator(config.aggregator).project(project)
    if not box.inbox(site.email).is_dir():
        return wait(config.aggregator, "open its folder for this participant's updates")
    if not _same_size(place.trained(newest + 1), box.update(site.email, newest + 1)):
        return partial(share, site, place, config, newest + 1)
    return wait(config.aggregator, f"aggregate round {newest + 1}")


def _pin_what_was_copied(site: Datasite, project: str) -> Next:
    copied = review(site, project, "running")
    accept(site, copied.config)
    asked = site.client().project(project, "request")
    if asked.path.is_dir():
        for name, digest in copied.hashes.items():
            if sha256_bytes(read_part(site, asked.path / name)) != digest:
                raise FedkitError(
                    "differs from the same file in request/",
                    file=site.client().project(project).path / name,
                    why="The copy is not complete, or the request has changed since it was copied",
                    remedy=f"remove running/{project}, look at the request again, then copy or approve it",
                )
    if site.client().project(project, "done").path.exists():
        raise FedkitError(
            "a project of this name is done already",
            file=site.client().project(project, "done").path,
            remedy="move that folder away, or ask the aggregator for another project name",
        )

    def do() -> list[Event]:
        pin(site, project, copied.hashes)
        return [Approved(site.email, project, copied.hashes[copied.config.model_arch])]

    return do


def _unpin(site: Datasite, project: str) -> list[Event]:
    unpin(site, project)
    return []


def _what_was_approved(
    site: Datasite, place: ClientProject, hashes: dict[str, str]
) -> tuple[FLConfig, bytes]:
    """Config and model source, if they are still the bytes that a person approved."""
    contents = {name: read_part(site, place.path / name) for name in hashes}
    for name, data in contents.items():
        if sha256_bytes(data) != hashes[name]:
            raise FedkitError(
                "has changed since it was approved; this client does not run it",
                file=place.path / name,
                why=f"Approved was SHA-256 {hashes[name][:12]}…, there lies {sha256_bytes(data)[:12]}…",
                remedy=f"restore the approved file, or remove running/{place.path.name} and approve anew",
            )
    config = FLConfig.parse(contents["fl_config.json"], file=place.config)
    return config, contents[config.model_arch]


def _open(site: Datasite, place: ClientProject, config: FLConfig) -> list[Event]:
    open_mailbox(site, place, config)
    return [MailboxOpened(site.email, config.project_name)]


def _announce_data(site: Datasite, place: ClientProject, config: FLConfig) -> list[Event]:
    _, labels = read_shard(site.private_client)
    told = {} if config.secure_aggregation else {"num_samples": len(labels)}
    set_state(site, place, dataset_added=True, **told)
    return [DataFound(site.email, place.path.name, len(labels))]


def _still_lingers(site: Datasite, config: FLConfig, place: ClientProject) -> float:
    """Seconds for which the folder must still stay: a real aggregator that finds it gone never finishes."""
    if is_file(site.public_results(config.project_name, config.aggregator) / "history.json"):
        return 0.0  # only fedkit's aggregator writes this file, and it does not need the folder
    box, last = site.aggregator(config.aggregator).project(config.project_name), config.rounds
    if is_file(place.trained(last)) and not is_file(box.update(site.email, last)):
        return 0.0  # the aggregator has moved what was shared to its own done/
    arrived = place.global_model(config.rounds).stat().st_mtime
    return arrived + config.linger_s - time.time()


def _finish(site: Datasite, place: ClientProject) -> list[Event]:
    opened = (place.agg_weights, place.state.parent)
    move_to_done(site, site.client(), place.path.name, opened)
    forget(site, place.path.name)
    unpin(site, place.path.name)  # last: until then a killed client still knows what was approved
    return [ProjectDone(site.email, place.path.name, ROLE)]


def _same_size(one: Path, other: Path) -> bool:
    return is_file(other) and one.stat().st_size == other.stat().st_size

"""Approval: a person looks at a request, and says yes to exactly these bytes.

`review()` reads a request once and shows it; `approve()` writes what was reviewed, not what lies there by then, into
`running/` and pins its SHA-256 in the participant's private folder. A plain `cp -r request/P running/P` approves too: the
client then pins what was copied. From then on the client refuses a project whose config or model has changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fedkit.base import files
from fedkit.base.errors import FedkitError
from fedkit.base.events import Approved, Declined, Event, Problem
from fedkit.base.names import check_name, folded
from fedkit.base.scratch import appearing, patiently
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.lock import answering
from fedkit.datasite.paths import ClientProject
from fedkit.datasite.permissions import write_permissions
from fedkit.datasite.tree import folder_names
from fedkit.privacy.dp.policy import accept, refusal
from fedkit.protocol.project import MAX_REASON, check_folder

__all__ = [
    "Policy",
    "Review",
    "answer",
    "approve",
    "approve_all",
    "approve_none",
    "decline",
    "declined_requests",
    "keys_name_model",
    "only_copied",
    "open_mailbox",
    "pending_requests",
    "pin",
    "pin_path",
    "pinned",
    "read_part",
    "refuse_unsigned",
    "review",
    "take_back",
    "unpin",
    "why_declined",
]


MAX_SOURCE_BYTES = 2**20


@dataclass(frozen=True)
class Review:
    """What a person must see before saying yes: the config and the code that would run, with their hashes (SHA-256)."""

    participant: str
    config: FLConfig
    config_bytes: bytes
    source_bytes: bytes
    hashes: dict[str, str]

    @property
    def source(self) -> str:
        """The model's source as text."""
        return self.source_bytes.decode("utf-8-sig", errors="replace")

    @property
    def project(self) -> str:
        """The project's name."""
        return self.config.project_name

    @property
    def aggregator(self) -> str:
        """Who asks, and who will see the updates."""
        return self.config.aggregator


Policy = Callable[[Review], bool]
"""Answers a request for approval: yes or no."""


def approve_all(review: Review) -> bool:
    """A policy for experiments on one machine: says yes to everything."""
    return True


def approve_none(review: Review) -> bool:
    """The default policy: only a person approves."""
    return False


def pending_requests(site: Datasite) -> list[str]:
    """Names of the requests that nobody has answered yet, in alphabetical order."""
    return [n for n in _unapproved(site) if why_declined(site, n) is None]


def declined_requests(site: Datasite) -> dict[str, str]:
    """The requests to which this datasite's person has said no, with the reasons; `take_back` and `approve` still work."""
    said = {n: why_declined(site, n) for n in _unapproved(site)}
    return {n: reason for n, reason in said.items() if reason is not None}


def _unapproved(site: Datasite) -> list[str]:
    box = site.client()
    names = folder_names(box.request)
    return [n for n in names if not (box.running / n).exists() and not (box.done / n).exists()]


def review(site: Datasite, project: str, folder: str = "request") -> Review:
    """Read a request (or, with folder="running", what was copied there) once, to be looked at.

    Raises FedkitError if it is not complete, not valid, or not meant for this datasite.
    """
    try:
        check_name(project)
    except ValueError as error:
        what, _, remedy = str(error).partition("; ")
        raise FedkitError(
            what, field="project", remedy=f"{remedy}, or remove that folder"
        ) from error
    place = site.client().project(project, folder)
    data = read_part(site, place.config)
    config = FLConfig.parse(data, file=place.config)
    check_folder(config, place.config, "ask the aggregator to send it again")
    if site.email not in config.participants:
        near = [e for e in config.participants if folded(e) == folded(site.email)]
        remedy = "decline it"
        if near:
            remedy = f"ask the aggregator to write {site.email} where it says {near[0]}: upper and lower case count"
        what = f"does not name {site.email}"
        raise FedkitError(what, file=place.config, field="participants", remedy=remedy)
    source = read_part(site, place.path / config.model_arch)
    if folder == "request" and config.signed:
        _check_signed(site, config, place, data, source)
    parts = {"fl_config.json": data, config.model_arch: source}
    hashes = {name: files.sha256_bytes(part) for name, part in parts.items()}
    return Review(site.email, config, data, source, hashes)


def _check_signed(
    site: Datasite, config: FLConfig, place: ClientProject, data: bytes, source: bytes
) -> None:
    """Raises FedkitError where the aggregator has not signed this request for this datasite."""
    from fedkit.protocol.signatures import read_signed

    about, most = files.sha256_bytes(data), MAX_SOURCE_BYTES
    for path, content in ((place.config, data), (place.path / config.model_arch, source)):
        try:
            whole = read_signed(site, config, path, config.aggregator, 0, about, max_bytes=most)
        except FileNotFoundError:
            raise FedkitError(
                f"is not signed by {config.aggregator} (yet)",
                file=path,
                remedy="wait for the signature and for its public key, or decline",
            ) from None
        if whole != content:
            raise FedkitError("has just changed", file=path, remedy="look at the request again")


def refuse_unsigned(site: Datasite, reviewed: Review) -> None:
    """Raises FedkitError for a project without signatures where others can write into this datasite."""
    if site.road.others_can_write and not reviewed.config.signed:
        raise FedkitError(
            "has no signatures, and on this road others can write into this datasite",
            file=site.client().project(reviewed.project, "request").config,
            field="signed",
            why=f"{site.road.why}, so anybody could have asked for this",
            remedy='decline it, or ask the aggregator to launch with "signed": true',
        )


def only_copied(site: Datasite) -> list[str]:
    """Where others can write: projects that lie in the mailbox's `running/` and that nobody has approved."""
    box = site.client()
    if box.home is None:
        return []
    known = {*folder_names(box.running), *folder_names(box.done)}
    folder = box.path / "running"
    return [
        n
        for n in folder_names(folder)
        if n not in known and (folder / n / "fl_config.json").exists()
    ]


def read_part(site: Datasite, path: Path) -> bytes:
    """A file of a request. Raises FedkitError; FileNotFoundError becomes one that says who must act."""
    try:
        return files.read_bytes(path, root=site.data_dir, max_bytes=MAX_SOURCE_BYTES)
    except FileNotFoundError:
        raise FedkitError(
            "is not there (yet)",
            file=path,
            remedy="wait for the aggregator's request, or check the project's name",
        ) from None


def approve(site: Datasite, reviewed: Review | str) -> Approved:
    """Say yes to a request: `running/P` appears whole, and the hashes of what was reviewed are pinned.

    reviewed : what a person was shown; or a request's name, for what lies there now. Of two who answer at once, one is the
    first. Raises FedkitError if the project is under way or done already, or the disk refuses.
    """
    with answering(site):
        if isinstance(reviewed, str):
            reviewed = review(site, reviewed)
        return _approve(site, reviewed)


def _approve(site: Datasite, reviewed: Review) -> Approved:
    config, place = reviewed.config, site.client().project(reviewed.project)
    for folder in (place.path, site.client().project(reviewed.project, "done").path):
        if folder.exists():
            raise FedkitError(
                "is there already, so this project was approved before",
                file=folder,
                remedy="let it run, or move that folder away first",
            )
    accept(site, config)
    refuse_unsigned(site, reviewed)
    if config.signed:
        from fedkit.protocol.signing_keys import key_of, remember

        key = key_of(site, config.aggregator)
        remember(site, {config.aggregator: key} if key is not None else {})
    _forget_no(site, reviewed.project)  # a no can become a yes
    pin(site, reviewed.project, reviewed.hashes)
    aside = site.own / "approving" / site.email / reviewed.project
    with appearing(place.path, aside, "check the disk, then approve again") as unfinished:
        files.write_bytes(unfinished / config.model_arch, reviewed.source_bytes)
        files.write_bytes(unfinished / "fl_config.json", reviewed.config_bytes)
        if place.wire is None:  # else it opens when the client goes on
            open_mailbox(site, ClientProject(unfinished), config)
    return Approved(site.email, reviewed.project, reviewed.hashes[config.model_arch])


def answer(site: Datasite, policy: Policy) -> list[Event]:
    """Let a policy answer the pending requests of a datasite; a broken one is a Problem, and the others go on."""
    events: list[Event] = []
    for name in pending_requests(site):
        try:
            asked = review(site, name)
            reason = refusal(site, asked.config)
            if reason is not None:
                events.append(decline(site, name, reason))
            elif policy(asked):
                events.append(approve(site, asked))
        except FedkitError as error:
            events.append(Problem(site.email, name, "participant", error))
    return events


def decline(site: Datasite, project: str, reason: str) -> Declined:
    """Say no to a request, with a reason that the aggregator reads; `approve` can still say yes later.

    `take_back` makes it pending again. Raises FedkitError if there is no such request, or the reason is empty.
    """
    reason = " ".join(reason.split())[:MAX_REASON]
    if not reason:
        raise FedkitError("is empty", field="reason", remedy="say why in a few words")
    place = site.client().project(project, "request")
    path, values = site.client().declined(project), {"participant": site.email, "reason": reason}
    with answering(site):
        if project not in pending_requests(site):
            raise FedkitError("is no pending request", file=place.path, remedy="check the name")
        write_permissions(path.parent, site.email, read=["*"], root=site.data_dir)
        if site.client().home is not None:
            files.write_json(site.client().own_no(project), values)
        _tell(site, place, path, values)
    return Declined(site.email, project, reason)


def take_back(site: Datasite, project: str) -> None:
    """A no is no answer any more: the request waits again, here and, with the next sync, in the aggregator's eyes.

    Raises FedkitError where no such request was declined.
    """
    with answering(site):
        if project not in declined_requests(site):
            raise FedkitError(
                "was not declined, so there is no no to take back",
                file=site.client().project(project, "request").path,
                remedy="check the name: fk.declined_requests(site) has them",
            )
        _forget_no(site, project)


def _forget_no(site: Datasite, project: str) -> None:
    for no in (site.client().declined(project), site.client().own_no(project)):
        files.remove(no, root=site.data_dir)


def _tell(site: Datasite, place: ClientProject, path: Path, values: Mapping[str, str]) -> None:
    """Write a no; signed where its project signs, so that nobody says it for somebody else."""
    from fedkit.protocol.signatures import write_signed

    try:
        data = read_part(site, place.config)
        config = FLConfig.parse(data, file=place.config)
    except FedkitError:  # a request that can't be read can be declined too
        files.write_json(path, values, root=site.data_dir)
        return
    content = json.dumps(values, indent=4).encode()
    write_signed(site, config, path, content, config.aggregator, 0, files.sha256_bytes(data))


def why_declined(site: Datasite, project: str, email: str | None = None) -> str | None:
    """The reason with which `email` (default: this datasite) declined, None where it did not."""
    path = site.client().own_no(project) if email is None else site.client(email).declined(project)
    most = files.MAX_STRANGERS_JSON_BYTES
    reason = files.read_object(path, root=site.data_dir, max_bytes=most).get("reason")
    return str(reason)[:MAX_REASON] if reason else None


def open_mailbox(site: Datasite, place: ClientProject, config: FLConfig) -> None:
    """Let the aggregator read `state/` and write into `agg_weights/`; the latter's permission file is the ready signal."""
    root = site.data_dir
    write_permissions(place.state.parent, site.email, read=[config.aggregator], root=root)
    if files.read_json(place.state) is None:
        empty = {"dataset_added": False, "model_train_progress": None}
        files.write_json(place.state, empty, root=root)
    early = place.path / ".agg_weights.tmp"
    if files.is_file(place.agg_weights):
        # a real aggregator that was too early: its copy into the missing folder became a file of that name
        patiently(lambda: place.agg_weights.replace(early))
    if files.is_file(early):
        place.agg_weights.mkdir(exist_ok=True)
        patiently(lambda: early.replace(place.global_model(0)))
    write_permissions(place.agg_weights, site.email, write=[config.aggregator], root=root)


def pin_path(site: Datasite, project: str) -> Path:
    """Where the hashes of an approved project are kept: a person's own, where several share a data dir."""
    return site.private_client / "approvals" / site.email / f"{project}.json"


def pin(site: Datasite, project: str, hashes: Mapping[str, str]) -> None:
    """Remember the hashes (by file name) of what was approved."""
    when = datetime.now(UTC).isoformat(timespec="seconds")
    values = {"project": project, "sha256": dict(hashes), "approved": when, "keys_name_model": True}
    files.write_json(pin_path(site, project), values)


def pinned(site: Datasite, project: str) -> dict[str, str] | None:
    """The hashes of what was approved, by file name, or None. Raises FedkitError if something else lies there."""
    path = pin_path(site, project)
    remedy = f"restore it, or remove it and running/{project}, then approve anew"
    values = files.read_own(path, "approval", remedy)
    if values is None:
        return None
    hashes = values.get("sha256") if isinstance(values, dict) else None
    if (
        not isinstance(hashes, dict)
        or not all(isinstance(digest, str) for digest in hashes.values())
        or len(hashes) != 2
        or "fl_config.json" not in hashes
    ):
        what = "is no approval: it does not have the hashes of config and model"
        raise FedkitError(what, file=path, field="sha256", remedy=remedy)
    return hashes


def keys_name_model(site: Datasite, project: str) -> bool:
    """Was it approved by a version whose masked messages name the global model? If not, older peers may take part."""
    values = files.read_own(pin_path(site, project), "approval", "restore it")
    return isinstance(values, dict) and values.get("keys_name_model") is True


def unpin(site: Datasite, project: str) -> None:
    """Forget an approval: the project is over, or its folder was taken away and may be approved anew."""
    files.remove(pin_path(site, project))

"""Before the first round: launch, invite, wait until they are ready.

Three files that a person put into `launch/` become a project under `running/`, whole or not at all; every participant gets
a request; and a gate waits until all of them, or a quorum, are ready.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from fedkit.base import files
from fedkit.base.errors import FedkitError, Unreadable
from fedkit.base.events import Event, Notice, ProjectLaunched, RequestSent, Waiting
from fedkit.base.scratch import appearing
from fedkit.base.strict_json import parse_json_object
from fedkit.base.tensors import MAX_STATE_BYTES, load_state
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.paths import AggregatorProject
from fedkit.datasite.permissions import has_permission_file, write_permissions
from fedkit.datasite.projects import other_spelling
from fedkit.datasite.road import Road
from fedkit.protocol.project import AtAggregator, unmasked
from fedkit.protocol.steps import Next, Step
from fedkit.protocol.waiting import needed_ready

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LAUNCHED", "gate", "invite", "keys_name_model", "launch_status", "launch_step"]


LAUNCHED = "launch.json"
"""In `running/P`: the hashes of what was launched, and so the sign that fedkit's aggregator leads this project."""

_NAMED = "keys_name_model"

_LARGEST = {"model_arch": 2**20, "model_weight": MAX_STATE_BYTES}


def keys_name_model(place: AggregatorProject) -> bool:
    """Was it launched by a version whose masked messages name what was trained from? If not, older ones may take part."""
    kept = files.read_json(place.path / LAUNCHED)
    return isinstance(kept, dict) and kept.get(_NAMED) is True


def launch_step(site: Datasite, name: str = "launch") -> Next:
    """What is to be done with `launch/`; looks only, and runs nothing. None if no config lies there."""
    if files.is_file(_clearing(site)):  # killed between the rename and the clearing
        return partial(_clear, site)
    folder = site.aggregator().launch
    path = folder / "fl_config.json"
    try:
        data = files.read_bytes(path, root=site.data_dir, max_bytes=2**20)
    except FileNotFoundError:
        return None
    config = FLConfig.parse(data, file=path)
    at = AtAggregator(site, config)
    if site.road.others_can_write and not config.signed and "signed" in config.model_fields_set:
        raise FedkitError(
            "is false, and on this road others can write into this datasite",
            file=path,
            field="signed",
            why=f"{site.road.why}, so a file is somebody's only with a signature",
            remedy='leave it out, or write "signed": true; name in "unsigned" whose app signs nothing',
        )
    if config.aggregator != site.email:
        raise FedkitError(
            f"names {config.aggregator!r}, but this datasite belongs to {site.email}",
            file=path,
            field="aggregator",
            remedy="launch it in the aggregator's datasite, or correct the key",
        )
    contents = {"fl_config.json": data}
    for field, most in _LARGEST.items():
        file = getattr(config, field)
        try:
            contents[file] = at.read(folder / file, most)
        except FileNotFoundError:
            what = f"put {file} (named by {field}) into launch/"
            return at.wait(site.email, what, "it belongs beside fl_config.json")
    hashes = {file: files.sha256_bytes(content) for file, content in contents.items()}
    files.refuse_links(at.place.path, site.data_dir)
    for used in _places(site, at.name):
        if used.exists():
            raise FedkitError(
                f"{at.name!r} is the name of a project that is {used.parent.name} already",
                file=path,
                field="project_name",
                remedy="choose another name; the old project is untouched",
            )
    other = other_spelling(site.aggregator(), at.name)
    if other is not None:
        raise FedkitError(
            f"{at.name!r} is the name of a project that is {other.parent.name} already, but for upper and lower case "
            f"({other.name!r}): on many machines they are one folder",
            file=path,
            field="project_name",
            remedy="choose another name; the old project is untouched",
        )
    return partial(_launch, at, contents, hashes)


def launch_status(site: Datasite, name: str = "launch") -> Next:
    """`launch_step`, and where exactly these files were tried before and refused, the reason; nothing is tried again."""
    step = launch_step(site, name)
    tried = files.read_object(_refusal(site))
    if isinstance(step, partial) and step.func is _launch and tried.get("files") == step.args[-1]:
        told = tried.get("error")
        known = ("what", "file", "field", "why", "remedy")
        if isinstance(told, dict) and isinstance(told.get("what"), str):
            what, *rest = (str(told[key]) if key in told else None for key in known)
            raise FedkitError(str(what), **dict(zip(known[1:], rest, strict=True)))
    return step


def _refuse_too_large(
    config: FLConfig, state: Mapping[str, Tensor], size: int, path: Path, road: Road
) -> None:
    """Raises FedkitError where the road carries no file as large as a model, or as an update of it under masks, will be.

    size : of the seed weights' file, in bytes.
    """
    largest, kind = size, "global models and updates"
    if config.secure_aggregation is not None:
        header = 1024 + 256 * len(config.participants)  # it names them
        masked = 8 * (1 + sum(value.numel() for value in state.values())) + header
        if masked > largest:
            largest, kind = masked, "updates under masks, with 8 bytes a number,"
    if road.max_bytes is not None and largest > road.max_bytes:
        raise FedkitError(
            f"is too large for this road: {kind} have {largest:,} bytes",
            file=path,
            field="model_weight",
            why=f"The road {road.name!r} carries files of at most {road.max_bytes:,} bytes; larger ones never arrive",
            remedy="take a smaller model, or another road",
        )


def _check_model(config: FLConfig, contents: dict[str, bytes], folder: Path, road: Road) -> None:
    """Build what was launched, look whether it goes together, and try it. Raises FedkitError."""
    from fedkit.data.standardise import check_stated
    from fedkit.learning.models import fitting_model
    from fedkit.privacy.dp.mechanism import participant_mechanism
    from fedkit.rounds.strategy import strategy_of
    from fedkit.rounds.trial_step import try_out

    try:
        check_stated(config.task)
        strategy_of(config)
        if config.dp is not None and config.dp.unit == "participant":
            participant_mechanism(config)
    except FedkitError as error:
        raise error.about(folder / "fl_config.json") from error
    # first: what is wrong with a model shows in its weights too, and less plainly
    try_out(config, contents[config.model_arch], file=folder / config.model_arch)
    path = folder / config.model_weight
    state = load_state(contents[config.model_weight], path)
    _refuse_too_large(config, state, len(contents[config.model_weight]), path, road)
    fitting_model(
        contents[config.model_arch],
        state,
        config.model_class_name,
        file=folder / config.model_arch,
        what=config.model_arch,
        weights=path,
        field="model_weight",
        remedy="save it with torch.save(FLModel().state_dict(), path)",
        task=config.task,
    )


def _launch(at: AtAggregator, contents: dict[str, bytes], hashes: dict[str, str]) -> list[Event]:
    site, config = at.site, at.config
    try:
        _check_model(config, contents, site.aggregator().launch, site.road)
    except FedkitError as error:
        told = {key: str(value) for key, value in vars(error).items() if value is not None}
        files.write_json(_refusal(site), {"files": hashes, "error": told})
        raise
    files.remove(_refusal(site))
    aside = site.own / "launching" / site.email / at.name
    with appearing(at.place.path, aside, "check the disk; launch/ is unchanged") as folder:
        unfinished = AggregatorProject(folder)
        for file, content in contents.items():
            files.write_bytes(unfinished.path / file, content)
        _complete(config, unfinished.config, contents["fl_config.json"], site.road)
        files.write_bytes(unfinished.global_model(0), contents[config.model_weight])
        for email in config.participants:
            inbox = at.place.inbox(email) if at.place.wire else unfinished.inbox(email)
            write_permissions(inbox, site.email, write=[email])
        files.write_json(unfinished.path / LAUNCHED, hashes | {_NAMED: True})
        files.write_json(_clearing(site), {"project": at.name, "files": hashes})
    _clear(site)
    launched = ProjectLaunched(site.email, at.name, config.participants, config.rounds)
    events: list[Event] = [launched]
    if config.unknown:
        text = f"fl_config.json has keys that fedkit does not know ({', '.join(config.unknown)}); they stay in the file"
        events.append(Notice(site.email, at.name, text))
    if (
        config.weighting == "samples"
        and config.max_samples is None
        and len(config.participants) > 1
    ):
        events.append(Notice(site.email, at.name, _NO_CAP))
    if site.road.others_read and config.secure_aggregation is None:
        events.append(Notice(site.email, at.name, unmasked(site.road)))
    return events


_NO_CAP = (
    "each update counts by the samples that its participant claims, whatever the number; "
    "max_samples in fl_config.json would cap that: set it to the most that you believe"
)


def _complete(config: FLConfig, path: Path, data: bytes, road: Road) -> None:
    """Eight keys are accepted, ten are written: the real aggregator demands the other two. Where others can write, files
    are signed."""
    values = parse_json_object(data, path)
    added: dict[str, object] = {
        "model_class_name": config.model_class_name,
        "test_dataset": config.test_dataset,
    }
    if road.others_can_write:
        added["signed"] = True
    complete = values | {key: added[key] for key in added if key not in values}
    if complete != values:
        # a stranger's NaN stays too
        files.write_bytes(path, json.dumps(complete, indent=4).encode())


def invite(at: AtAggregator, ready: Sequence[str]) -> Next:
    """Send a request where the participant's copy is missing or another one; config last."""
    asks: list[Step] = []
    names, content = (at.config.model_arch, "fl_config.json"), cache(at.launched)
    for email in at.config.participants:
        box = at.site.client(email)
        if email in ready or not has_permission_file(box.request):
            continue
        if at.why_declined(email) is not None:
            continue
        if files.is_folder(box.running / at.name) or files.is_folder(box.done / at.name):
            continue
        if at.obstacle(email) is not None:
            continue
        target = box.project(at.name, "request").path
        launched = {target / name: content(name) for name in names}
        whole = all(at.is_sent(path, email, 0) for path in launched)
        if not whole or any(_differs(at, path, data) for path, data in launched.items()):
            asks.append(partial(_ask, at, email, launched))
    return asks or None


def _differs(at: AtAggregator, path: Path, content: bytes) -> bool:
    try:
        return at.read(path) != content
    except FileNotFoundError:
        return True


def _ask(at: AtAggregator, email: str, contents: dict[Path, bytes]) -> list[Event]:
    for path, content in contents.items():
        at.send(path, content, email, 0)
    return [RequestSent(at.site.email, at.name, email)]


def gate(at: AtAggregator, ready: Sequence[str]) -> Waiting | None:
    """Before the first round: everybody (or the quorum) ready, and a test set."""
    site, config = at.site, at.config
    if len(ready) < needed_ready(config):
        reasons = {e: at.why_declined(e) for e in config.participants}
        declined = [f"{email}: {reason}" for email, reason in reasons.items() if reason]
        if declined:
            remedy = (
                "launch again without them, or ask them to approve after all: "
                f"`fedkit approve {at.name}` takes a no back"
            )
            what = "go on without those who declined"
            return at.wait(site.email, what, f"{'; '.join(declined)}; {remedy}")
        closed = [e for e in config.participants if not has_permission_file(site.client(e).request)]
        if closed:
            remedy = "its mailbox is not there yet: `fedkit client` makes it"
            return at.wait(", ".join(closed), "start its client", remedy)
        late = [e for e in config.participants if e not in ready]
        reasons = {e: at.obstacle(e) for e in late}
        remedy = "; ".join(f"{email}: {reason}" for email, reason in reasons.items() if reason)
        return at.wait(", ".join(late), "approve the request and start its client", remedy)
    if not files.is_file(site.private_aggregator / config.test_dataset):
        what = f"put {config.test_dataset} into private/fl_aggregator"
        return at.wait(site.email, what, "for example `fedkit data samples`")
    return None


def _places(site: Datasite, project: str) -> list[Path]:
    box = site.aggregator()
    return [box.project(project).path, box.project(project, "done").path]


def _clearing(site: Datasite) -> Path:
    """Which files are to be removed from `launch/`, from before a project appears until they are."""
    return site.own / "launching" / site.email / "clearing.json"


def _refusal(site: Datasite) -> Path:
    """Why the last launch was refused, and of which files."""
    return site.own / "launching" / site.email / "refused.json"


def _clear(site: Datasite) -> list[Event]:
    """Remove from `launch/` what was launched; what a person has changed since then stays."""
    wanted = files.read_json(_clearing(site))
    try:
        project, hashes = str(wanted["project"]), dict(wanted["files"])
    except (TypeError, KeyError, ValueError):
        project, hashes = "", {}
    launched = (files.read_json(place / LAUNCHED) for place in _places(site, project))
    if any(isinstance(kept, dict) and hashes.items() <= kept.items() for kept in launched):
        for path, digest in ((site.aggregator().launch / f, d) for f, d in hashes.items()):
            with contextlib.suppress(FileNotFoundError, Unreadable):
                if files.sha256_bytes(files.read_bytes(path, root=site.data_dir)) == digest:
                    files.remove(path, root=site.data_dir)
    files.remove(_clearing(site))
    return []

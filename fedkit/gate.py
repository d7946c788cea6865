"""Before the first round: a request to every participant, and the gate that waits until they (or a quorum) are ready."""

from __future__ import annotations

from functools import partial

from fedkit.approval import why_declined
from fedkit.base.events import AGGREGATOR as ROLE
from fedkit.base.events import Event, RequestSent, Waiting
from fedkit.base.files import is_file, read_bytes, write_bytes
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.permissions import has_permission_file
from fedkit.launching import read_launched
from fedkit.machine import Next

__all__ = ["gate", "request_step"]


def request_step(site: Datasite, config: FLConfig, ready: list[str]) -> Next:
    """Send a request where the participant's copy is missing or another one; config last."""
    for email in config.participants:
        box = site.client(email)
        if email in ready or not has_permission_file(box.request):
            continue
        if why_declined(site, config.project_name, email) is not None:
            continue
        target = box.project(config.project_name, "request")
        if (box.running / config.project_name).is_dir() or (
            box.done / config.project_name
        ).is_dir():
            continue
        for file in (config.model_arch, "fl_config.json"):
            content = read_launched(site, config.project_name, file)
            try:
                same = read_bytes(target.path / file, root=site.data_dir) == content
            except FileNotFoundError:
                same = False
            if not same:
                return partial(_ask, site, config, email)
    return None


def _ask(site: Datasite, config: FLConfig, email: str) -> list[Event]:
    target = site.client(email).project(config.project_name, "request")
    for file in (config.model_arch, "fl_config.json"):
        content = read_launched(site, config.project_name, file)
        write_bytes(target.path / file, content, root=site.data_dir)
    return [RequestSent(site.email, config.project_name, email)]


def gate(site: Datasite, config: FLConfig, ready: list[str]) -> Waiting | None:
    """Before the first round: everybody (or the quorum) ready, and a test set."""
    wait = partial(Waiting, site.email, config.project_name, ROLE)
    needed = config.quorum if config.approval == "quorum" else len(config.participants)
    if len(ready) < needed:
        reasons = {e: why_declined(site, config.project_name, e) for e in config.participants}
        declined = [f"{email}: {reason}" for email, reason in reasons.items() if reason]
        if declined:
            return wait(
                site.email,
                "go on without those who declined",
                f"{'; '.join(declined)}; launch again without them, or ask them to approve after all",
            )
        closed = [e for e in config.participants if not has_permission_file(site.client(e).request)]
        if closed:
            return wait(
                ", ".join(closed),
                "start its client",
                "its mailbox is not there yet: `fedkit client` makes it",
            )
        late = [e for e in config.participants if e not in ready]
        return wait(", ".join(late), "approve the request and start its client")
    if not is_file(site.private_aggregator / config.test_dataset):
        return wait(
            site.email,
            f"put {config.test_dataset} into private/fl_aggregator",
            "for example `fedkit data samples`",
        )
    return None

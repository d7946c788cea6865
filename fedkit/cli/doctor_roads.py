"""What the doctor looks at of a datasite's road: who can write there, what never arrives, what must be installed for it."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from importlib import metadata

from fedkit.base.errors import FedkitError
from fedkit.base.text import how_many
from fedkit.datasite.datasite import Datasite
from fedkit.federation.roads.flower_run import QUIET, WANTED
from fedkit.federation.roads.pysyft import check_installed, find_drive
from fedkit.federation.roads.syftbox import has_started
from fedkit.federation.roads.synced import SILENT, file_system, left_around, refuse_unfit
from fedkit.federation.watch import is_polled

__all__ = ["Finding", "flower", "road"]

_FLOWER = "1.42"


@dataclass(frozen=True)
class Finding:
    """One check. ok : as it should be. essential : nothing works without it. remedy : "" where ok."""

    what: str
    ok: bool
    remedy: str = ""
    essential: bool = True


def road() -> list[Finding]:
    """Of the datasite whose config.json is found without being named, if there is one."""
    try:
        site = Datasite.load()
        can = "can" if site.road.others_can_write else "can't"
        what = f"road of {site.email}: {site.road.name}; others {can} write there ({site.road.why})"
    except FedkitError as error:
        wrong = error.field == "road"
        return [Finding(f"{error.file}: {error.what}", False, error.remedy or "")] if wrong else []
    more = {"syftbox": _start_order, "synced": _synced, "pysyft": _pysyft}.get(site.road.name)
    return [Finding(what, True), *(more(site) if more is not None else []), *_disks(site)]


def _start_order(site: Datasite) -> list[Finding]:
    """Whether SyftBox would offer to remove what lies in the data dir; and what never arrives."""
    most = f"files above {site.road.max_bytes:,} bytes never arrive; a model that makes such is refused at launch"
    if has_started(site.data_dir):
        return [Finding(f"SyftBox was started in {site.data_dir} first; {most}", True)]
    what = f"SyftBox does not know {site.data_dir}; at its start it offers to remove the old folder"
    remedy = "answer N: with Y, private/ and all data in it are deleted too; start SyftBox first, fedkit after it"
    return [Finding(what, False, remedy, essential=False)]


def _synced(site: Datasite) -> list[Finding]:
    """Whether the data dir may lie where it lies, and what the sync has put aside."""
    found = []
    try:
        refuse_unfit(site.data_dir, site.email)
        found.append(
            Finding(f"{site.data_dir} is {site.email}'s alone, and not synced itself", True)
        )
    except FedkitError as error:
        what = f"{error.file} {error.what}" + (f" ({error.why})" if error.why else "")
        found.append(Finding(what, False, error.remedy or ""))
    aside = left_around(site.datasites)
    if not aside:
        return [*found, Finding("the sync has put nothing aside", True)]
    names = ", ".join(path.name for path in aside[:3]) + (", ..." if len(aside) > 3 else "")
    what = f"{how_many(len(aside), 'file')} that the sync has put aside ({names})"
    remedy = "nothing reads them: look why two wrote one file, then remove them"
    return [*found, Finding(what, False, remedy, essential=False)]


def _disks(site: Datasite) -> list[Finding]:
    """On which file system the mailboxes lie: whether it tells of changes, and what becomes of folders made elsewhere."""
    there, here = file_system(site.datasites), file_system(site.data_dir)
    if there is None:
        return []
    found = []
    if there != here:
        what = f"{site.datasites} is a {there[1]} of its own: what appears there is copied, then renamed"
        found.append(Finding(what, True))
    if is_polled(site):
        found.append(Finding(f"changes in {site.datasites} ({there[1]}) are looked for", True))
    elif there[1].startswith(SILENT):
        what = f"{site.datasites} is on {there[1]}, which tells nobody here of what others write"
        remedy = "set WATCHFILES_FORCE_POLLING=true; `--synced` if others can write there"
        found.append(Finding(what, False, remedy, essential=False))
    return found


def _pysyft(site: Datasite) -> list[Finding]:
    """Whether PySyft can be used here, and where its drive is."""
    found: list[Finding] = []
    try:
        version = check_installed()
        most = f"files above {site.road.max_bytes:,} bytes never arrive"
        found.append(Finding(f"PySyft {version}; {most}", True))
    except FedkitError as error:
        why = f" ({error.why})" if error.why else ""
        found.append(Finding(f"{error.what}{why}", False, error.remedy or ""))
    try:
        folder, token = find_drive(site, make=False)
        found.append(
            Finding(f"PySyft's drive: {folder or f'Google, with the token {token}'}", True)
        )
    except FedkitError as error:
        what = ": ".join(str(part) for part in (error.file, error.what) if part)
        found.append(Finding(f"PySyft's drive: {what}", False, error.remedy or ""))
    return found


def flower() -> list[Finding]:
    """Flower, where it is installed: its version, what a simulation needs, and that it does nothing unasked."""
    try:
        there = metadata.version("flwr")
    except metadata.PackageNotFoundError:
        return []
    install = f'pip install "{WANTED}"'
    fits = there.split(".")[:2] == _FLOWER.split(".")
    what = f"Flower {there}, the road of `fedkit export flower`"
    found = [Finding(what, fits, "" if fits else f"it is made for {_FLOWER}: {install}", False)]
    if importlib.util.find_spec("ray") is None:
        found.append(Finding("no Ray, which Flower simulates with", False, install, False))
    unset = [f"{name}={value}" for name, value in QUIET.items() if os.environ.get(name) != value]
    remedy = f"`python run.py` of an app sets it; for `flwr` by hand: export {' '.join(unset)}"
    what = "Flower and Ray send nothing, install nothing and stay on loopback"
    found.append(Finding(what, not unset, remedy if unset else "", False))
    return found

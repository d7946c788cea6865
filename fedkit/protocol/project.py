"""One project at one datasite, in one role: where it lies, what was agreed on, and the way to its files.

Everything that a project reads or writes goes through its handle, so that no link leads out of the data dir unseen.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fedkit.base import files
from fedkit.base.errors import FedkitError
from fedkit.base.events import AGGREGATOR, PARTICIPANT, Event, Waiting
from fedkit.base.strict_json import parse_json_object
from fedkit.base.tensors import MAX_STATE_BYTES
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.paths import AggregatorProject, ClientProject
from fedkit.datasite.permissions import has_permission_file
from fedkit.datasite.road import Road
from fedkit.datasite.tree import entries

if TYPE_CHECKING:
    from torch import Tensor

    from fedkit.learning.strategies.base import Strategy

__all__ = [
    "EVERYBODY",
    "MAX_REASON",
    "AtAggregator",
    "AtParticipant",
    "Project",
    "check_folder",
    "unmasked",
]


EVERYBODY = "*"
"""The receiver of what is for all."""
MAX_REASON = 300


@dataclass(frozen=True)
class Project:
    """A project at a datasite. config : what was approved, or launched."""

    role: ClassVar[str]

    site: Datasite
    config: FLConfig

    @property
    def name(self) -> str:
        """The project's name."""
        return self.config.project_name

    @cached_property
    def strategy(self) -> Strategy:
        """The config's strategy, protected as the config promises. Raises FedkitError."""
        from fedkit.rounds.strategy import strategy_of  # brings torch: who waits needs none

        return strategy_of(self.config)

    def wait(self, whom: str, what: str, remedy: str = "", seconds: float | None = None) -> Waiting:
        """An event that says for whom this project waits, and for what."""
        return Waiting(self.site.email, self.name, self.role, whom, what, remedy, seconds)

    def read(
        self, path: Path, max_bytes: int = MAX_STATE_BYTES, absent: str | None = None
    ) -> bytes:
        """`files.read_bytes`."""
        root = self.site.data_dir
        return files.read_bytes(path, root=root, max_bytes=max_bytes, absent=absent)

    def read_json(self, path: Path, max_bytes: int = files.MAX_JSON_BYTES) -> Any:
        """`files.read_json`: None where there is nothing readable (yet)."""
        return files.read_json(path, root=self.site.data_dir, max_bytes=max_bytes)

    def read_object(self, path: Path) -> dict[str, Any]:
        """`files.read_object`, of at most 1 MiB: empty where there is nothing readable (yet)."""
        most = files.MAX_STRANGERS_JSON_BYTES
        return files.read_object(path, root=self.site.data_dir, max_bytes=most)

    def read_state(self, path: Path) -> dict[str, Tensor]:
        """`files.read_state`."""
        return files.read_state(path, root=self.site.data_dir)

    def write(self, path: Path, data: bytes) -> None:
        """`files.write_bytes`."""
        files.write_bytes(path, data, root=self.site.data_dir)

    def write_json(self, path: Path, value: object) -> None:
        """`files.write_json`."""
        files.write_json(path, value, root=self.site.data_dir)

    def write_state(self, path: Path, state: Mapping[str, Tensor]) -> None:
        """`files.write_state`."""
        files.write_state(path, state, root=self.site.data_dir)

    def write_files(self, values: Mapping[Path, object], n: int | None = None) -> list[Event]:
        """A step: these JSON files of round n (None: the last) go to everybody, and there is nothing to tell about it."""
        for path, value in values.items():
            data = json.dumps(value, indent=4, allow_nan=False).encode()
            self.send(path, data, EVERYBODY, self.config.rounds if n is None else n)
        return []

    def copy(self, source: Path, target: Path) -> None:
        """The bytes of one file into another one."""
        self.write(target, self.read(source))

    @property
    def about(self) -> str:
        """SHA-256 of the project's `fl_config.json`, as everybody has it who takes part."""
        raise NotImplementedError

    def signs(self, sender: str) -> bool:
        """Is a file this one's with a signature only?"""
        return self.config.signed and sender not in self.config.unsigned

    def send(self, path: Path, data: bytes, to: str, n: int, start: str = "") -> None:
        """`signatures.write_signed`: a file of round n for somebody else."""
        from fedkit.protocol.signatures import write_signed

        write_signed(self.site, self.config, path, data, to, n, self.about, start)

    def receive(
        self,
        path: Path,
        sender: str,
        n: int,
        max_bytes: int = MAX_STATE_BYTES,
        to: str = "",
        start: str = "",
    ) -> bytes:
        """`signatures.read_signed`: a file of round n that somebody else has sent."""
        from fedkit.protocol.signatures import read_signed

        config, about = self.config, self.about if self.config.signed else ""
        return read_signed(
            *(self.site, config, path, sender, n, about),
            to=to or None,
            max_bytes=max_bytes,
            start=start,
        )

    def receive_object(
        self,
        path: Path,
        sender: str,
        n: int,
        max_bytes: int = files.MAX_STRANGERS_JSON_BYTES,
        to: str = "",
        start: str = "",
    ) -> dict[str, Any] | None:
        """A JSON object of round n that somebody else has sent; None where it is not there (yet), or can't be read and need
        not be signed.

        Raises Forged where it is not what `sender` has signed, FedkitError where that is no JSON object.
        """
        if not self.signs(sender):
            values = self.read_json(path, max_bytes)
            return values if isinstance(values, dict) else None
        try:
            data = self.receive(path, sender, n, max_bytes, to, start)
        except FileNotFoundError:
            return None
        return parse_json_object(data, path)

    def check(self, path: Path, sender: str, n: int, to: str = "", start: str = "") -> None:
        """`signatures.check_signed`: is a file of round n there that somebody has sent? Raises as `receive` does."""
        from fedkit.protocol.signatures import check_signed

        config, about = self.config, self.about if self.config.signed else ""
        check_signed(self.site, config, path, sender, n, about, to=to or None, start=start)

    def is_sent(self, path: Path, to: str, n: int, start: str = "") -> bool:
        """Is a file of round n there that was sent to somebody; where files are signed, just as it was signed here?"""
        if not (self.config.signed and self.site.road.others_can_write):
            return files.is_file(path)
        try:
            self.check(path, self.site.email, n, to, start)
        except (FileNotFoundError, FedkitError):
            return False
        return True


@dataclass(frozen=True)
class AtParticipant(Project):
    """A project at one of its participants. source : of the approved model. hashes : SHA-256 of what was approved."""

    role: ClassVar[str] = PARTICIPANT

    source: bytes = b""
    hashes: Mapping[str, str] = field(default_factory=dict)

    @property
    def about(self) -> str:
        """SHA-256 of the approved `fl_config.json`."""
        return self.hashes["fl_config.json"]

    @property
    def place(self) -> ClientProject:
        """Its folder here."""
        return self.site.client().project(self.name)

    @property
    def box(self) -> AggregatorProject:
        """The aggregator's folder of it, as far as it is seen here."""
        return self.site.aggregator(self.config.aggregator).project(self.name)

    def set_state(self, **changes: Any) -> None:
        """Change some keys of `state.json`; the others stay, as far as they are plain texts and numbers."""
        kept = self.read_object(self.place.state).items()
        plain = {k: v for k, v in kept if isinstance(v, str | int | None) or _is_number(v)}
        if not self.config.tells_counts:
            plain.pop("num_samples", None)  # of before this was so
        self.write_json(self.place.state, plain | changes)


def _is_number(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


_OURS = re.compile(
    r"\.?(agg_model_round_\d+\.pt|round_\d+\.json|extra_round_\d+\.bin|secagg_\d+_\w+\.json)(\..*)?"
)
"""What an aggregator puts into a participant's `agg_weights/`, finished or not."""


@dataclass(frozen=True)
class AtAggregator(Project):
    """A project at its aggregator."""

    role: ClassVar[str] = AGGREGATOR

    @cached_property
    def about(self) -> str:
        """SHA-256 of the `fl_config.json` that was launched."""
        return files.sha256_bytes(self.launched("fl_config.json"))

    @property
    def place(self) -> AggregatorProject:
        """Its folder here."""
        return self.site.aggregator().project(self.name)

    def is_ready(self, email: str) -> bool:
        """Does a participant take part, and can be reached?"""
        return has_permission_file(self.mailbox(email).agg_weights) and not self.obstacle(email)

    def obstacle(self, email: str) -> str | None:
        """What keeps files from being put into a participant's folders, and what to do; None if nothing does.

        Their folders are theirs: what lies there is their own harm, and nobody else's.
        """
        folder, ours = self.mailbox(email).agg_weights, _OURS
        if not has_permission_file(folder):  # not approved yet: the request is what is put there
            folder = self.site.client(email).project(self.name, "request").path
            ours = re.compile(rf"(fl_config\.json|{re.escape(self.config.model_arch)})(\.sig)?")
        try:
            files.refuse_links(folder, self.site.data_dir)
        except FedkitError as error:
            return str(error)
        for path in (folder.parent, folder):
            if os.path.lexists(path) and not files.is_folder(path):
                return f"{path.name} is no folder, and its owner must remove it"
        there = next((path for path in (folder, folder.parent) if files.is_folder(path)), None)
        if there is not None and not files.is_writable(there):
            return f"{there.name} can't be written to, and its owner must open it"
        for path in entries(folder):
            if ours.fullmatch(path.name) and not files.is_file(path):
                return f"{folder.name}/{path.name} is no file, and its owner must remove it"
        return None

    def mailbox(self, email: str) -> ClientProject:
        """A participant's folder of it, as far as it is seen here."""
        return self.site.client(email).project(self.name)

    @cached_property
    def buffers(self) -> frozenset[str]:
        """What of the project's model is averaged and never optimised: batch normalisation's statistics and the like."""
        from fedkit.learning.models import buffer_names, load_model

        config = self.config
        source, file = self.launched(config.model_arch), self.place.path / config.model_arch
        return buffer_names(
            load_model(source, config.model_class_name, file=file, task=config.task)
        )

    def why_declined(self, email: str) -> str | None:
        """The reason with which a participant said no, None where it did not; where files are signed, nobody else's no."""
        try:
            said = self.receive_object(self.site.client(email).declined(self.name), email, 0)
        except FedkitError:
            return None
        reason = (said or {}).get("reason")
        return str(reason)[:MAX_REASON] if reason else None

    def remember_signers(self, people: Iterable[str]) -> None:
        """Keep the keys of those whose files were taken, if they are met for the first time."""
        from fedkit.protocol.signing_keys import key_of, remember

        found = {who: key_of(self.site, who) for who in people if who not in self.config.unsigned}
        remember(self.site, {who: key for who, key in found.items() if key is not None})

    def launched(self, file: str) -> bytes:
        """A file that was launched, as it lies in `running/`. Raises FedkitError."""
        return self.read(self.place.path / file, absent="restore it from your own copy")


def unmasked(road: Road) -> str:
    """What a project without secure aggregation means where everybody reads everything."""
    return (
        f"everybody can read each update ({road.why}), and notebook 08 shows what one reveals; "
        'under "secure_aggregation": {"threshold": ...} in fl_config.json nobody reads any but the sum'
    )


def check_folder(config: FLConfig, file: Path, remedy: str) -> None:
    """Raises FedkitError where a config does not lie in the folder that bears its project's name."""
    name, folder = config.project_name, file.parent.name
    if name != folder:
        what = f"names the project {name!r}, but lies in the folder of {folder!r}"
        raise FedkitError(what, file=file, field="project_name", remedy=remedy)

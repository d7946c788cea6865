"""One round of secure aggregation at a participant: its secrets, its own messages, and what it believes the aggregator."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedkit.base.errors import FedkitError
from fedkit.base.events import PARTICIPANT as ROLE
from fedkit.base.events import Event, Waiting
from fedkit.base.files import read_bytes, read_json, write_bytes
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.paths import ClientProject
from fedkit.privacy.secagg.bonawitz import Group, PublicKeys, Secrets
from fedkit.privacy.secagg_wire import (
    Message,
    identity,
    list_path,
    open_message,
    published_key,
    write_message,
)

__all__ = ["ParticipantRound", "vault_of"]


@dataclass(frozen=True)
class ParticipantRound:
    """One round at one participant: where things are, and what was accepted so far."""

    site: Datasite
    place: ClientProject
    config: FLConfig
    group: Group
    n: int

    @property
    def vault(self) -> Path:
        """Secrets and own messages of this round."""
        return vault_of(self.site, self.config.project_name) / str(self.n)

    def secrets(self) -> Secrets:
        """This round's secrets, drawn where there are none yet."""
        path = self.vault / "secrets.json"
        values = read_json(path)
        if values is None:
            made = Secrets.new()
            values = {name: value.hex() for name, value in asdict(made).items()}
            write_bytes(path, json.dumps(values).encode(), mode=0o600)
        return Secrets(**{name: bytes.fromhex(value) for name, value in values.items()})

    def said(self, step: str) -> Mapping[str, Any]:
        """What my own message of a step refers to: the lists that I have accepted."""
        data = read_bytes(self.vault / f"{step}.msg")
        about = json.loads(data.split(b"\n", 2)[1])["about"]
        return dict(about)

    def accepted(self, name: str) -> dict[str, Any]:
        """A list of the aggregator's, as it was when I accepted it."""
        return dict(read_json(self.vault / f"{name}.json"))

    def from_aggregator(self, name: str) -> dict[str, Any] | None:
        """A list of the aggregator's, None where it is not there (yet)."""
        values = read_json(list_path(self.place, self.n, name), root=self.site.data_dir)
        return values if isinstance(values, dict) else None

    def wait(self, what: str, whom: str = "") -> Waiting:
        """An event that says for what."""
        whom = whom or self.config.aggregator
        return Waiting(self.site.email, self.config.project_name, ROLE, whom, what)

    def keep(self, step: str, about: Mapping[str, Any], body: bytes) -> list[Event]:
        """Sign a message and keep it; from now on it is the one of this step."""
        message = Message(self.site.email, about, body)
        data = write_message(identity(self.site), self.group, self.n, step, message)
        write_bytes(self.vault / f"{step}.msg", data, mode=0o600)
        return []

    def checked_roster(self, given: Mapping[str, Any]) -> dict[str, PublicKeys]:
        """The keys of all who take part, each signed by its owner. Raises FedkitError."""
        messages = self.messages("roster", given, "keys")
        try:
            return {who: PublicKeys(**message.values()) for who, message in messages.items()}
        except TypeError as error:
            raise self.unlike("roster", "has keys of an unknown kind") from error

    def messages(self, name: str, given: Mapping[str, Any], step: str) -> dict[str, Message]:
        """The messages of others in a list of the aggregator's, each signed by its sender. Raises FedkitError."""
        found = {}
        for who, text in given.items():
            key = self.identity_of(who) if who in self.group.numbers else None
            try:
                found[who] = open_message(
                    bytes.fromhex(text), key or b"", self.group, self.n, step, who
                )
            except (FedkitError, ValueError, TypeError) as error:
                what = error.what if isinstance(error, FedkitError) else "can't be read"
                raise self.unlike(name, f"the message of {who!r:.80} {what}") from error
        return found

    def identity_of(self, who: str) -> bytes | None:
        """The signing key that I know of somebody: as it was when I accepted the roster; before, what is published."""
        pinned = read_json(self.vault / "identities.json")
        if isinstance(pinned, dict) and who in pinned:
            return bytes.fromhex(pinned[who])
        return published_key(self.site, who)

    def sealed(
        self, given: Mapping[str, Any], roster: Mapping[str, PublicKeys]
    ) -> dict[str, bytes]:
        """The sealed shares that others dealt to me."""
        try:
            sealed = {
                who: bytes.fromhex(text) for who, text in given.items() if who != self.site.email
            }
        except (ValueError, TypeError) as error:
            raise self.unlike("dealt", "can't be read") from error
        if not sealed.keys() <= roster.keys():
            raise self.unlike("dealt", "has shares of somebody who is not in the roster")
        return sealed

    def accept(self, name: str, given: Mapping[str, Any]) -> None:
        """Keep a list of the aggregator's as it was when it was checked."""
        write_bytes(self.vault / f"{name}.json", json.dumps(given).encode(), mode=0o600)

    def unlike(self, name: str, what: str) -> FedkitError:
        """An error for a list of the aggregator's that can't be believed."""
        return FedkitError(
            f"is refused: {what}",
            file=list_path(self.place, self.n, name),
            why="This participant sends nothing more in this round, so its update stays hidden",
            remedy="ask the aggregator; it may have been altered on its way",
        )


def vault_of(site: Datasite, project: str) -> Path:
    """The folder of a project's secrets, one folder a round."""
    return site.private_client / "secagg" / site.email / project

"""A class without a network: thirty seats in one folder, for a teacher who wants to see the panel before the lesson.

Everything that the panel shows is real: invitations, proofs, keys, requests, approvals, as `fedkit class` makes them. What
is played are the people, and the folder that brings files from seat to seat. No model is trained here.
"""

from __future__ import annotations

import os
from pathlib import Path

from fedkit.base.files import read_bytes, read_object, write_bytes, write_json, write_state
from fedkit.config.fl_config import FLConfig
from fedkit.data.shards import Shard, write_shard
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.road import write_road
from fedkit.datasite.tree import scan
from fedkit.federation.seats import open_room, take_seat
from fedkit.learning.models import SAMPLE_MODEL, seed_weights
from fedkit.protocol import advance as node
from fedkit.protocol.approval import approve, decline

__all__ = ["PracticeRoom"]


class PracticeRoom:
    """A room that is open at `teacher`, and its seats below the same folder; each is made when its person sits down.

    seats : how many, counted from 1. Raises FedkitError.
    """

    name = "PRACTICE"

    def __init__(self, folder: Path, seats: int = 30, project: str = "CLASS") -> None:
        write_road(folder / "teacher", "synced")
        self.folder, self.project = folder, project
        self.teacher = Datasite.create(folder / "teacher", "teacher@example.org")
        self.people = [f"seat-{n:02d}@example.org" for n in range(1, seats + 1)]
        opened = open_room(self.teacher, self.name, project, self.people)
        self._invitations = [invitation for invitation, _ in opened]
        self._sites: dict[int, Datasite] = {}

    def sit(self, *seats: int) -> None:
        """These people take their seats."""
        for n in seats:
            folder = self.folder / f"seat-{n:02d}"
            write_road(folder, "synced")
            self._sites[n] = Datasite.create(folder, self.people[n - 1])
            node.advance(self._sites[n])
            take_seat(self._sites[n], self._invitations[n - 1])
            self._bring(n)

    def launch(self, seed: int = 0) -> None:
        """The teacher launches the project with the tutorial's model, with everybody."""
        config = FLConfig(
            project_name=self.project,
            aggregator=self.teacher.email,
            participants=self.people,
            rounds=1,
            epoch=1,
            learning_rate=0.1,
            model_arch="model.py",
            model_weight="global_model_weight.pt",
            min_participants=2,
            seed=seed,
        )
        launch = self.teacher.aggregator().launch
        write_bytes(launch / config.model_arch, SAMPLE_MODEL.encode())
        write_state(launch / config.model_weight, seed_weights(SAMPLE_MODEL, seed))
        config.save(launch / "fl_config.json")
        self._teacher_goes_on()

    def approve(self, *seats: int) -> None:
        """These people say yes."""
        for n in seats:
            approve(self._sites[n], self.project)
            node.advance(self._sites[n])
            self._bring(n)

    def decline(self, seat: int, reason: str) -> None:
        """This one says no."""
        decline(self._sites[seat], self.project, reason)
        self._bring(seat)

    def give_data(self, shard: Shard, *seats: int) -> None:
        """These put data into their private folder."""
        for n in seats:
            write_shard(self._sites[n].private_client, shard)
            node.advance(self._sites[n])
            self._bring(n)

    def take_away(self, seat: int) -> None:
        """Somebody else writes that they sit there: what a prank looks like on a shared folder."""
        claim = Path("public") / "class" / f"{self.name}.json"
        there = self.teacher.datasites / self.people[seat - 1] / claim
        write_json(there, {"seat": seat, "ed25519": "0" * 64, "proof": "0" * 64})

    def later(self, minutes: float) -> None:
        """As if so much time had passed at the teacher's clock since its last look."""
        where = self.teacher.private_aggregator / "class" / self.teacher.email
        path = where / f"{self.name}.since.json"
        told = read_object(path)
        write_json(path, {who: [what, at - 60 * minutes] for who, (what, at) in told.items()})

    def _teacher_goes_on(self) -> None:
        node.advance(self.teacher)
        for n in self._sites:
            self._bring(n)

    def _bring(self, n: int) -> None:
        """What the shared folder does, between the teacher and one seat: the newest copy of each file is at both."""
        site, owners = self._sites[n], (self.people[n - 1], self.teacher.email)
        for owner in owners:
            pair = [one.datasites / owner for one in (site, self.teacher)]
            _carry_newer(*pair)
            _carry_newer(*reversed(pair))


def _carry_newer(source: Path, target: Path) -> None:
    there = scan(target) if target.is_dir() else {}
    for path, (_, when, _) in (scan(source) if source.is_dir() else {}).items():
        if there.get(path, (0, -1, 0))[1] < when:
            write_bytes(target / path, read_bytes(source / path))
            os.utime(target / path, ns=(when, when))

"""Private stays private: shown from an audit of every file that a whole project opens, and from what crossed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedkit.base.errors import Unreadable
from fedkit.base.files import read_dataset
from fedkit.data.mnist import load_mnist
from fedkit.data.shards import as_float
from fedkit.federation.network import Network
from fedkit.learning.models import SAMPLE_MODEL
from fedkit.protocol.approval import approve_all
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    EVE,
    launched,
    network,
    python,
    shard,
    small,
)

AUDIT = '''
"""Runs a project, and notes for each thing that is opened, listed, moved or removed under private/ who was acting."""
import json, sys, threading
from pathlib import Path

from tests.support import helpers
from fedkit.federation import network
from fedkit.protocol.aggregator import phases as aggregator
from fedkit.protocol.approval import approve_all
from fedkit.protocol.client import phases as client

root = Path(sys.argv[1])
acting = threading.local()
seen = []

def hook(event, args):
    names = [a for a in args if isinstance(a, (str, bytes)) or hasattr(a, "__fspath__")]
    for name in names:
        text = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
        if "private" in text and str(root) in text:
            inner = Path(text).relative_to(root).parts
            seen.append((getattr(acting, "who", None), event, inner[0], "/".join(inner[1:])))

def actor(role, function):
    def call(site, *args, **options):
        before, acting.who = getattr(acting, "who", None), (site.email, role)
        try:
            return function(site, *args, **options)
        finally:
            acting.who = before
    return call

net = helpers.launched(root, participants=[helpers.ALICE, helpers.BOB])
client.advance = actor("client", client.advance)
aggregator.advance = actor("aggregator", aggregator.advance)
network.answer = actor("person", network.answer)
sys.addaudithook(hook)
net = network.Network.open(root, workers=2)
opened = [s for s in seen if s[1] == "open"]
history = net.run(approve=approve_all)
net.sync()
net.history().to_frame()
net.ledger()
done = len(seen)
(root / helpers.BOB / "private" / "fl_client" / "mnist_label_2.pt").read_bytes()
print(json.dumps({"seen": seen[:done], "caught": seen[done:], "done": history.done, "on_open": opened}))
'''


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """In a process of its own: an audit hook can't be taken away again."""
    result = python(AUDIT, str(tmp_path_factory.mktemp("audit") / "net"))
    assert result.returncode == 0, result.stderr
    report: dict[str, Any] = json.loads(result.stdout)
    assert report["done"]
    return report


_ROAD = "private/road.json"
"""Where a datasite's projects lie is asked by whoever looks for them; there is no more in it."""


def test_nobody_but_the_owners_client_and_aggregator_touches_what_is_private(
    audit: dict[str, Any],
) -> None:
    for who, event, data_dir, path in audit["seen"]:
        if event in ("os.mkdir", "os.listdir") and who is None:
            continue  # the folders of an existing datasite are completed, not looked into
        if (event, path) == ("open", _ROAD):
            continue
        assert who is not None, (event, path)
        email, role = who
        assert email == data_dir, (email, path)
        app = path.split("/")[1]
        if app == "fl_client":
            # a person's yes is pinned there, beside what they never say yes to; data is for the client alone
            of_a_person = "/approvals" in path or path.endswith("/policy.json")
            assert role == "client" or (role == "person" and of_a_person), (role, path)
        else:
            assert (app, role) == ("fl_aggregator", "aggregator"), (role, path)
    assert {path for *_, path in audit["on_open"]} <= {_ROAD}


def test_the_audit_sees_what_it_should(audit: dict[str, Any]) -> None:
    """Alice's and Bob's clients opened their data, the aggregator its test set; a look from outside is caught."""
    opened = {(w[0], w[1], path) for w, event, _, path in audit["seen"] if event == "open" and w}
    for email, name in ((ALICE, "mnist_label_0.pt"), (BOB, "mnist_label_2.pt")):
        assert (email, "client", f"private/fl_client/{name}") in opened
    assert (AGGREGATOR, "aggregator", "private/fl_aggregator/mnist_test_dataset.pt") in opened
    assert [who for who, *_ in audit["caught"]] == [None]


# ---------------------------------------------------------------------------------- what crossed
def needles(images: torch.Tensor) -> list[bytes]:
    """Rows of ink of each image, as any of the usual encodings would store them; blank paper would be everywhere."""
    found = []
    for image in images.numpy().reshape(-1, 28, 28):
        row = image[(image > 0).sum(1).argmax()]
        assert (row > 0).sum() >= 4
        for numbers in (row, row.astype(np.float64), row.astype(np.float16), row.astype(">f4")):
            found.append(numbers.tobytes())
        found.append((row * 255).round().astype(np.uint8).tobytes())
    return found


def test_no_image_is_in_anything_that_crossed(
    tmp_path: Path, arrivals: list[tuple[Path, bytes]]
) -> None:
    net = network(tmp_path, [ALICE, BOB, EVE])
    net.launch(small(), SAMPLE_MODEL)
    assert net.run(approve=approve_all).done
    private = torch.cat([shard([0, 1, 2, 3])[0], as_float(load_mnist().test_images[:20])])
    wanted = needles(private)
    for path, data in arrivals:
        for needle in wanted:
            assert needle not in data, path
    assert len(arrivals) > 40
    # the search works: it finds every image in the file that holds it
    home = (net[ALICE].private_client / "mnist_label_0.pt").read_bytes()
    assert sum(needle in home for needle in needles(shard([0])[0])) == 3


def test_the_ledger_names_no_private_path_and_no_dataset(
    tmp_path: Path, arrivals: list[tuple[Path, bytes]]
) -> None:
    net = launched(tmp_path)
    assert net.run(approve=approve_all).done
    entries = net.ledger()
    for entry in entries:
        parts = entry.path.split("/")
        assert "private" not in parts
        assert not parts[-1].startswith("mnist_")
        assert parts[0] in net.sites
        assert entry.sender != entry.receiver
    for number, (path, data) in enumerate(arrivals):
        probe = tmp_path / f"probe{number}.pt"
        probe.write_bytes(data)
        if path.suffix == ".pt":
            with pytest.raises(Unreadable):
                read_dataset(probe)
    assert len(entries) == len(arrivals)


def test_the_ledger_is_complete(tmp_path: Path, arrivals: list[tuple[Path, bytes]]) -> None:
    """Whatever lies in one data dir about another's datasite crossed, and stands in the ledger with its hash."""
    net = launched(tmp_path, participants=[ALICE, BOB])
    net.run(approve=approve_all)
    lines = {(entry.receiver, entry.path, entry.size) for entry in net.ledger()}
    for site in net.sites.values():
        for path in site.datasites.rglob("*"):
            inner = path.relative_to(site.datasites)
            if path.is_file() and inner.parts[0] != site.email:
                sent_by_itself = any(
                    entry.sender == site.email and entry.path == inner.as_posix()
                    for entry in net.ledger()
                )
                key = (site.email, inner.as_posix(), path.stat().st_size)
                assert sent_by_itself or key in lines, path
    assert arrivals


def test_what_each_may_see_of_the_others(tmp_path: Path) -> None:
    """Bob sees nothing of Alice's update, her progress or her number of samples; nor does Eve, who takes no part."""
    net = network(tmp_path, [ALICE, BOB, EVE])
    net.launch(small(), SAMPLE_MODEL)
    seen: dict[str, set[str]] = {email: set() for email in net.sites}

    def look(*_: Any) -> None:
        for email, site in net.sites.items():
            for path in site.datasites.rglob("*"):
                if path.is_file():
                    seen[email].add(path.relative_to(site.datasites).as_posix())

    assert net.run(approve=approve_all, on_event=look).done
    for email, other in ((BOB, ALICE), (ALICE, BOB), (EVE, ALICE), (EVE, BOB)):
        of_other = {path for path in seen[email] if path.startswith(f"{other}/")}
        assert not [path for path in of_other if path.endswith(".pt")], email
        assert not [path for path in of_other if "/state/" in path or "/running/" in path], email
        inboxes = {path for path in seen[email] if f"/fl_clients/{other}/" in path}
        assert inboxes == set(), email
    assert any("trained_model_round_1.pt" in path for path in seen[AGGREGATOR])


def test_updates_carry_the_models_numbers_and_nothing_else(
    tmp_path: Path, arrivals: list[tuple[Path, bytes]]
) -> None:
    """An update's file is as long whatever the data, and what is said about it too."""
    sizes = []
    for name, digits in (("few", [0]), ("many", list(range(10)))):
        net: Network = launched(tmp_path / name, participants=[ALICE])
        net.give_data(ALICE, shard(digits, 5))
        net.run(approve=approve_all)
        sizes.append(
            {
                (entry.path, entry.size)
                for entry in net.ledger()
                if entry.sender == ALICE and "trained_model" in entry.path
            }
        )
    assert sizes[0] == sizes[1]
    assert len(sizes[0]) == 4
    assert arrivals

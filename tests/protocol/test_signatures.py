"""A signed file is its sender's, for one receiver, round, project and config; anything else is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fedkit.base.errors import Unreadable
from fedkit.base.keys import new_secret, sign
from fedkit.datasite.datasite import Datasite
from fedkit.protocol.signatures import read_signed, signature_of, write_signed
from fedkit.protocol.signing_keys import identity
from tests.support.helpers import AGGREGATOR, ALICE, BOB, small

CONFIG = small(signed=True)
ABOUT = "a" * 64


@pytest.fixture
def sites(tmp_path: Path) -> tuple[Datasite, Datasite]:
    """The aggregator and Alice in one tree."""
    return tuple(Datasite.create(tmp_path, who) for who in (AGGREGATOR, ALICE))  # type: ignore[return-value]


def sent(sites: tuple[Datasite, Datasite]) -> Path:
    path = sites[0].datasites / ALICE / "x.pt"
    write_signed(sites[0], CONFIG, path, b"weights", ALICE, 1, ABOUT)
    return path


def test_what_was_signed_is_read(sites: tuple[Datasite, Datasite]) -> None:
    assert read_signed(sites[1], CONFIG, sent(sites), AGGREGATOR, 1, ABOUT) == b"weights"


def resigned(path: Path) -> None:
    line = signature_of(path).read_bytes().partition(b"\n")[2]
    signature_of(path).write_bytes(sign(new_secret(), line).hex().encode() + b"\n" + line)


def changed(path: Path) -> None:
    signature, _, line = signature_of(path).read_bytes().partition(b"\n")
    values = json.loads(line) | {"round": 2}
    signature_of(path).write_bytes(signature + b"\n" + json.dumps(values).encode())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda p: p.write_bytes(b"WEIGHTS"), f"is not the file that {AGGREGATOR} has signed"),
        (resigned, f"is not signed by {AGGREGATOR}"),
        (changed, f"is not signed by {AGGREGATOR}"),
        (lambda p: signature_of(p).write_bytes(b""), f"is not signed by {AGGREGATOR}"),
        (lambda p: signature_of(p).write_bytes(b"\xff" * 200), f"is not signed by {AGGREGATOR}"),
        (lambda p: signature_of(p).write_bytes(b"0" * 5000), "has 5,000 bytes"),
    ],
)
def test_what_was_altered_is_refused(
    sites: tuple[Datasite, Datasite], change: Callable[[Path], object], reason: str
) -> None:
    path = sent(sites)
    change(path)
    with pytest.raises(Unreadable, match=reason):
        read_signed(sites[1], CONFIG, path, AGGREGATOR, 1, ABOUT)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"n": 2}, "for round 1, not 2"),
        ({"about": "b" * 64}, "for config 'a"),
        ({"to": BOB}, f"for to '{ALICE}', not '{BOB}'"),
        ({"config": CONFIG.replace(project_name="OTHER")}, "for project 'MNIST_FL', not 'OTHER'"),
    ],
)
def test_what_was_signed_for_something_else_is_refused(
    sites: tuple[Datasite, Datasite], asked: dict[str, object], reason: str
) -> None:
    path = sent(sites)
    wanted = {"config": CONFIG, "n": 1, "about": ABOUT, "to": ALICE} | asked
    with pytest.raises(Unreadable, match=reason):
        read_signed(sites[1], path=path, sender=AGGREGATOR, **wanted)  # type: ignore[arg-type]


def test_what_is_not_there_yet_is_waited_for(sites: tuple[Datasite, Datasite]) -> None:
    path = sent(sites)
    signature_of(path).unlink()
    with pytest.raises(FileNotFoundError):
        read_signed(sites[1], CONFIG, path, AGGREGATOR, 1, ABOUT)
    path = sent(sites)
    (sites[0].public / "keys" / "fl_client.json").unlink()
    with pytest.raises(FileNotFoundError, match="has not published"):
        read_signed(sites[1], CONFIG, path, AGGREGATOR, 1, ABOUT)


def test_an_app_that_signs_nothing_is_named_in_the_config(sites: tuple[Datasite, Datasite]) -> None:
    config = CONFIG.replace(unsigned=[ALICE])
    path = sites[1].datasites / AGGREGATOR / "y.pt"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"real app")
    assert read_signed(sites[0], config, path, ALICE, 1, ABOUT) == b"real app"
    with pytest.raises(FileNotFoundError):
        read_signed(sites[0], CONFIG, path, ALICE, 1, ABOUT)


def test_unsigned_projects_have_no_signatures(sites: tuple[Datasite, Datasite]) -> None:
    path = sites[0].datasites / "z.pt"
    write_signed(sites[0], small(), path, b"plain", ALICE, 1, ABOUT)
    assert not signature_of(path).exists()
    assert read_signed(sites[1], small(), path, AGGREGATOR, 1, ABOUT) == b"plain"
    assert identity(sites[0])

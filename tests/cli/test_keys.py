"""`fedkit keys`: what people compare by another way, and how they accept a new key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fedkit.base.keys import new_secret, signing_key
from fedkit.config.client_config import ClientConfig
from fedkit.protocol import advance as node
from fedkit.protocol.signing_keys import fingerprint, identity, published_key, remember
from tests.protocol.test_signing_keys import publish
from tests.support.cli import fedkit
from tests.support.helpers import ALICE, BOB, CAROL, PROJECT, launched, put_launch, small, solo

FIRST, SECOND = (signing_key(new_secret()) for _ in range(2))


def test_fingerprints_are_shown_and_a_new_key_is_accepted(tmp_path: Path) -> None:
    site, path = solo(tmp_path / "data"), tmp_path / "config.json"
    ClientConfig(site.data_dir, ALICE).save(path)
    assert "Nobody here has published a key yet" in fedkit("keys", "--config_path", path)
    own = fingerprint(signing_key(identity(site)))
    publish(site, BOB, FIRST)
    output = fedkit("keys", "--config_path", path)
    assert f"{own}  this datasite's own" in output
    assert f"{BOB}" in output
    assert f"{fingerprint(FIRST)}  new here" in output
    remember(site, {BOB: FIRST})
    publish(site, BOB, SECOND)
    output = fedkit("keys", "--config_path", path)
    assert f"{fingerprint(FIRST)}  known; it publishes another one now" in output
    assert fingerprint(SECOND) in fedkit("keys", "--config_path", path, "--trust", BOB)
    assert f"{fingerprint(SECOND)}  known" in fedkit("keys", "--config_path", path)
    assert "publishes no key" in fedkit("keys", "--config_path", path, "--trust", "x@y.org", code=1)


@pytest.mark.skipif(os.name == "nt", reason="no folder can have such a name there")
def test_a_name_is_no_markup_and_hides_nothing(tmp_path: Path) -> None:
    site, path = solo(tmp_path / "data"), tmp_path / "config.json"
    ClientConfig(site.data_dir, ALICE).save(path)
    publish(site, "[bold]x[end]\x1b[2J@example.org", FIRST)
    output = fedkit("keys", "--config_path", path)
    assert "[bold]x[end]\\x1b[2J@example.org" in output


def test_whoever_approves_masked_rounds_sees_the_keys(tmp_path: Path) -> None:
    site, path = solo(tmp_path / "data"), tmp_path / "config.json"
    ClientConfig(site.data_dir, ALICE).save(path)
    masked = {"participants": [ALICE, BOB, CAROL], "secure_aggregation": {"threshold": 2}}
    put_launch(site, small(aggregator=ALICE, **masked))
    node.advance(site)
    publish(site, BOB, FIRST)
    assert fingerprint(FIRST) in fedkit("approve", PROJECT, "--config_path", path, "--yes")


def test_a_masked_request_brings_the_keys_before_anybody_says_yes(tmp_path: Path) -> None:
    net = launched(tmp_path, secure_aggregation={"threshold": 2}, participants=[ALICE, BOB, CAROL])
    net.run()
    assert {e for e in (ALICE, BOB, CAROL) if published_key(net[ALICE], e)} == {ALICE, BOB, CAROL}

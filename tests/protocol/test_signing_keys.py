"""The first key counts, another one is refused, and only a person's word replaces it."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fedkit.base.errors import FedkitError
from fedkit.base.files import write_json
from fedkit.base.keys import new_secret, signing_key
from fedkit.datasite.datasite import Datasite
from fedkit.protocol.signing_keys import fingerprint, key_of, known_keys, remember, trust
from tests.support.helpers import ALICE, BOB, CAROL, solo

FIRST, SECOND = (signing_key(new_secret()) for _ in range(2))


def publish(site: Datasite, who: str, key: bytes) -> None:
    path = site.datasites / who / "public" / "keys" / "fl_client.json"
    write_json(path, {"email": who, "ed25519": key.hex()})


def kept_at(site: Datasite) -> Path:
    return site.private_client / "secagg" / "peers" / f"{site.email}.json"


@pytest.fixture
def site(tmp_path: Path) -> Datasite:
    return solo(tmp_path)


def test_the_first_key_counts_until_a_person_trusts_another(site: Datasite) -> None:
    assert key_of(site, BOB) is None
    publish(site, BOB, FIRST)
    assert key_of(site, BOB) == FIRST
    assert known_keys(site) == {}  # who only looks keeps nothing
    remember(site, {BOB: FIRST, ALICE: FIRST})
    assert known_keys(site) == {BOB: FIRST}  # one's own is no stranger's
    assert stat.S_IMODE(kept_at(site).stat().st_mode) == 0o600
    publish(site, BOB, SECOND)
    remember(site, {BOB: SECOND, CAROL: SECOND})
    assert known_keys(site) == {BOB: FIRST, CAROL: SECOND}
    with pytest.raises(FedkitError) as caught:
        key_of(site, BOB)
    assert fingerprint(FIRST) in caught.value.what
    assert fingerprint(SECOND) in caught.value.what
    assert trust(site, BOB) == key_of(site, BOB) == SECOND


def test_a_known_key_holds_where_none_is_published(site: Datasite) -> None:
    remember(site, {BOB: FIRST})
    assert key_of(site, BOB) == FIRST
    with pytest.raises(FedkitError, match="publishes no key"):
        trust(site, BOB)


@pytest.mark.parametrize("text", ["[]", '{"b@example.org": "12"}', '{"b@example.org": 1}', "{"])
def test_what_was_broken_is_said_and_never_overwritten(site: Datasite, text: str) -> None:
    kept_at(site).parent.mkdir(parents=True)
    kept_at(site).write_text(text)
    for act in (lambda: known_keys(site), lambda: remember(site, {BOB: FIRST})):
        with pytest.raises(FedkitError) as caught:
            act()
        assert caught.value.file == kept_at(site)
        assert caught.value.remedy
    assert kept_at(site).read_text() == text


def test_a_fingerprint_can_be_read_aloud() -> None:
    assert fingerprint(bytes(32)) == "6668 7aad f862 bd77 6c8f c18b 8e9f 8e20"
    assert fingerprint(FIRST) != fingerprint(SECOND)


def test_two_who_add_at_once_lose_none(site: Datasite) -> None:
    """A client that advances, and a panel of a class: the list is read, then written whole."""
    people = [f"p{n}@example.org" for n in range(40)]
    keys = {who: signing_key(new_secret()) for who in people}
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda who: remember(site, {who: keys[who]}), people))
    assert known_keys(site) == keys

"""Secure aggregation's signed files: good for one step, sender, round and project alone."""

from __future__ import annotations

import pytest

from fedkit.base.errors import FedkitError
from fedkit.base.keys import new_secret, signing_key
from fedkit.protocol import signed_messages
from tests.support.helpers import ALICE, BOB, CAROL, small

ALL = (ALICE, BOB, CAROL)


def test_a_message_is_good_for_its_step_and_sender_alone() -> None:
    config = small(participants=ALL, secure_aggregation={"threshold": 2})
    group, secret = signed_messages.group_of(config, "0" * 64, 1, ALL), new_secret()
    said = signed_messages.Message(ALICE, {"roster": "r"}, b"body")
    sent, key = signed_messages.write_message(secret, group, 1, "masked", said), signing_key(secret)
    assert signed_messages.open_message(sent, key, group, 1, "masked", ALICE) == said
    others = signed_messages.group_of(config, "0" * 64, 1, ALL[:2])
    for where, reason in (
        ((key, group, 1, "keys", ALICE), "says step 'masked', not 'keys'"),
        ((key, group, 1, "masked", BOB), f"says from '{ALICE}', not '{BOB}'"),
        ((key, group, 2, "masked", ALICE), "belongs to round 1, not to round 2"),
        ((key, others, 1, "masked", ALICE), "belongs to another project"),
        ((signing_key(new_secret()), group, 1, "masked", ALICE), "is not signed by"),
    ):
        with pytest.raises(FedkitError, match=reason) as caught:
            signed_messages.open_message(sent, *where)
        assert caught.value.remedy
    for broken in (b"", b"\n\n", sent[:100], b"x" * 128 + sent[128:], sent[:128], sent.upper()):
        with pytest.raises(FedkitError, match="is not signed by"):
            signed_messages.open_message(broken, key, group, 1, "masked", ALICE)

"""The ledger: kinds and rounds read from paths, and filters that lose no byte."""

from __future__ import annotations

import pytest

from fedkit.federation.ledger import (
    KINDS,
    Filter,
    LedgerEntry,
    by_kind,
    crossings,
    kind_of,
    select,
    total_bytes,
)
from fedkit.federation.network import Network
from tests.support.helpers import AGGREGATOR, ALICE, BOB

BOX = f"{ALICE}/app_data/fl_client/running/P"


def entry(path: str, sender: str = ALICE, receiver: str = AGGREGATOR, size: int = 1) -> LedgerEntry:
    return LedgerEntry(sender, receiver, path, size, "0" * 64, 0.0)


@pytest.mark.parametrize(
    ("path", "number"),
    [
        (
            f"{AGGREGATOR}/app_data/fl_aggregator/running/P/fl_clients/{ALICE}/trained_model_round_12.pt",
            12,
        ),
        (
            f"{AGGREGATOR}/app_data/fl_aggregator/running/P/fl_clients/{ALICE}/trained_model_round_3.json",
            3,
        ),
        (f"{BOX}/agg_weights/agg_model_round_0.pt", 0),
        (f"{BOX}/agg_weights/round_2.json", 2),
        (f"{BOX}/agg_weights/syft.pub.yaml", None),
        (f"{BOX}/state/state.json", None),
        ("round_9@example.org/public/letter.txt", None),
        ("round_9.org/public/trained_model_round_x.pt", None),
    ],
)
def test_the_round_is_read_from_the_files_name(path: str, number: int | None) -> None:
    assert [c.round for c in crossings([entry(path)])] == [number]


def test_the_filters_divide_the_ledger_without_losing_a_byte(done: Network) -> None:
    everything = crossings(done.ledger())
    assert [c.entry for c in everything] == done.ledger()
    assert select(everything, Filter()) == everything
    kinds = {c.kind for c in everything}
    assert sum(len(select(everything, Filter(kind=kind))) for kind in kinds) == len(everything)
    rounds = {c.round for c in everything} - {None}
    assert rounds == {0, 1, 2}
    for n in rounds:
        assert {c.round for c in select(everything, Filter(round=n))} == {n}
    assert sum(size for _, _, size in by_kind(everything)) == sum(e.size for e in done.ledger())
    both = select(everything, Filter(ALICE, 1, "model updates"))
    assert [c.entry.path.rpartition("/")[2] for c in both] == ["trained_model_round_1.pt"]


def test_a_participants_files_are_those_it_sent_or_received(done: Network) -> None:
    ends = {
        end
        for c in select(crossings(done.ledger()), Filter(participant=BOB))
        for end in [{c.entry.sender, c.entry.receiver}]
        for end in [tuple(sorted(end))]
    }
    assert ends
    assert all(BOB in pair for pair in ends)


def test_training_images_have_a_row_even_where_none_crossed(done: Network) -> None:
    (images,) = [row for row in by_kind(crossings(done.ledger())) if row[0] == "training images"]
    assert images[1:] == (0, 0)
    leak = crossings([entry(f"{ALICE}/public/mnist_label_3.pt", size=50)])
    assert ("training images", 1, 50) in by_kind(leak)
    assert total_bytes(leak) == 50


HOME = f"{AGGREGATOR}/app_data/fl_aggregator/running/P"
INBOX = f"{HOME}/fl_clients/{ALICE}"
HERS = f"{ALICE}/app_data/fl_client/running/P"

FILES = {
    f"{INBOX}/trained_model_round_1.pt": "model updates",
    f"{INBOX}/secagg_1_masked.msg": "masked updates",
    f"{INBOX}/secagg_1_keys.msg": "keys and shares",
    f"{HERS}/agg_weights/secagg_1_roster.json": "keys and shares",
    f"{ALICE}/public/keys/fl_client.json": "keys and shares",
    f"{INBOX}/extra_round_2.bin": "beside the weights",
    f"{HERS}/agg_weights/extra_round_2.bin": "beside the weights",
    f"{INBOX}/trained_model_round_1.json": "progress and counts",
    f"{HERS}/state/state.json": "progress and counts",
    f"{INBOX}/syft.pub.yaml": "permission files",
    f"{HERS}/agg_weights/_.syftperm": "permission files",
    f"{HERS}/agg_weights/agg_model_round_0.pt": "global models",
    f"{HERS}/model.py": "code, config, results",
    f"{HERS}/agg_weights/round_2.json": "code, config, results",
    f"{HERS}/keys/fl_client.json": "code, config, results",
    f"{HERS}/state.json\n": "code, config, results",
    f"{ALICE}/public/mnist_label_3.pt": "training images",
    f"{INBOX}/train-images-idx3-ubyte.gz": "training images",
    f"{ALICE}/private/notes.txt": "training images",
    f"{ALICE}/private/secagg_1_keys.msg": "training images",
}


@pytest.mark.parametrize(("path", "kind"), FILES.items())
def test_a_file_is_of_the_kind_that_its_place_and_name_say(path: str, kind: str) -> None:
    assert kind_of(path) == kind


def test_every_kind_occurs_above() -> None:
    assert set(FILES.values()) == set(KINDS)

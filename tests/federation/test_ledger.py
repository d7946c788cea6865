"""The ledger: which kind a file is, from its place and its name alone."""

from __future__ import annotations

import pytest

from fedkit.federation.ledger import KINDS, kind_of
from tests.support.helpers import AGGREGATOR, ALICE

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

"""The history of a run: it survives its file, and does not make up what nobody told."""

from pathlib import Path

import pytest

from fedkit.base.errors import FedkitError
from fedkit.protocol.approval import approve_all
from fedkit.rounds.history import Contribution, History, RoundRecord
from tests.support.helpers import launched


# ---------------------------------------------------------------------------------- launch to done
def test_a_history_survives_its_file(tmp_path: Path) -> None:
    history = launched(tmp_path / "net").run(approve=approve_all)
    history.save(tmp_path / "history.json")
    assert History.load(tmp_path / "history.json").rounds == history.rounds
    (tmp_path / "other.json").write_text("[1]", encoding="utf-8")
    for name in ("other.json", "nothing.json"):
        with pytest.raises(FedkitError) as caught:
            History.load(tmp_path / name)
        assert caught.value.file == tmp_path / name


# --------------------------------------------------------------------------------- things that go wrong
def test_a_sum_of_samples_is_missing_where_a_participant_does_not_tell() -> None:
    def record(n: int, *counts: int | None) -> RoundRecord:
        parts = [
            Contribution(f"p{k}@example.org", 0.5, c, None, 1.0, "") for k, c in enumerate(counts)
        ]
        return RoundRecord(n, tuple(parts))

    told = History("P", (record(1, 3, 4), record(2, 3, 4)), 2).to_frame()["samples"]
    assert list(told) == [7, 7]
    mixed = History("P", (record(1, 3, 4), record(2, 3, None)), 2).to_frame()["samples"]
    assert list(mixed.isna()) == [False, True]

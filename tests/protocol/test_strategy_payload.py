"""What a strategy sends beside the weights, over datasites: what crosses, what is refused, and what peers make of it."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import fedkit as fk
from fedkit.base.files import read_json, read_state, write_state
from fedkit.federation.ledger import EXTRAS, UPDATES, crossings
from fedkit.learning.models import StateDict
from fedkit.learning.strategies.base import pack, unpack
from fedkit.protocol import advance as node
from fedkit.protocol.approval import approve_all
from fedkit.teaching.widgets.file_view import view_file
from tests.support.helpers import ALICE, BOB, final_model, launched, problems, small, waits
from tests.support.wire import LEADER, Wire

SCAFFOLD = {"strategy": {"name": "scaffold"}}


# --------------------------------------------------------------------------------- what crosses
@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> fk.Network:
    net = launched(tmp_path_factory.mktemp("net"), rounds=3, **SCAFFOLD)
    assert net.run(approve=approve_all).done
    return net


def test_one_extra_file_crosses_each_way_a_round_and_no_memory_ever(finished: fk.Network) -> None:
    lines = crossings(finished.ledger())
    extras = [c for c in lines if c.kind == EXTRAS]
    ways = [(c.entry.sender, c.entry.receiver, c.round) for c in extras]
    home = finished.aggregator
    there = [(home, e, n) for e in (ALICE, BOB) for n in (1, 2, 3)]
    back = [(e, home, n) for e in (ALICE, BOB) for n in (1, 2, 3)]
    assert sorted(ways) == sorted(there + back)
    assert [c.entry.path for c in lines if "memory" in c.entry.path] == []
    updates = sum(c.entry.size for c in lines if c.kind == UPDATES)
    uploads = sum(c.entry.size for c in extras if c.entry.receiver == home)
    assert uploads == pytest.approx(updates, rel=0.05)  # SCAFFOLD sends twice as much


def test_the_real_apps_count_nothing_that_is_beside(finished: fk.Network) -> None:
    """They count the *.pt of a client's agg_weights/, and every entry of round_weights/ and of the aggregator's own."""
    for email in (ALICE, BOB):
        place = finished[email].client().project("MNIST_FL", "done")
        weights = [f"agg_model_round_{n}.pt" for n in range(4)]
        assert sorted(p.name for p in place.agg_weights.glob("*.pt")) == weights
        own = [f"trained_model_round_{n}.pt" for n in (1, 2, 3)]
        assert sorted(p.name for p in (place.path / "round_weights").iterdir()) == own
    home = finished[finished.aggregator].aggregator().project("MNIST_FL", "done")
    assert sorted(p.name for p in home.agg_weights.iterdir()) == weights


def test_back_to_an_earlier_round_and_on_again_gives_the_same_bits(finished: fk.Network) -> None:
    before = final_model(finished)
    fk.rewind(finished, 1)
    place = finished[BOB].client().project("MNIST_FL")
    assert [p.name for p in sorted((place.path / "memory").iterdir())] == [
        "extra_round_1.bin",
        "memory_1.pt",
    ]
    assert finished.run(approve=approve_all).done
    assert final_model(finished) == before


# ------------------------------------------------------------------------------- what is refused
def spoil(change: Callable[[StateDict], Any]) -> Callable[[Path], None]:
    def do(path: Path) -> None:
        state = read_state(path)
        change(state)
        write_state(path, state)

    return do


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("exit 1",)


SPOILS: dict[str, Callable[[Path], Any]] = {
    "comes without": Path.unlink,
    "holds NaN": spoil(lambda s: s["fc.bias"].fill_(float("nan"))),
    "has shape [9]": spoil(lambda s: s.update({"fc.bias": torch.zeros(9)})),
    "is torch.float64": spoil(lambda s: s.update({"fc.bias": torch.zeros(10).double()})),
    "fc.weight is missing": spoil(lambda s: s.pop("fc.weight")),
    "is not in the model": spoil(lambda s: s.update(more=torch.zeros(1))),
    "holds more than tensors": lambda path: torch.save({"fc.weight": Evil()}, path),
    "more than the": lambda path: path.write_bytes(bytes(2**21)),
    "can't be read as tensors": lambda path: path.write_bytes(path.read_bytes()[:1000]),
}


@pytest.fixture(scope="module")
def halted(tmp_path_factory: pytest.TempPathFactory) -> Wire:
    """Both updates of round 2 are there, and the aggregator has not looked yet."""
    wire = Wire(tmp_path_factory.mktemp("wire"), set(), config=small(rounds=3, **SCAFFOLD)).begin()
    inbox = wire.agg() / "fl_clients"
    wire.until(
        lambda: all((inbox / e / "trained_model_round_2.pt").is_file() for e in (ALICE, BOB))
    )
    return wire


@pytest.mark.parametrize("words", SPOILS)
def test_a_bad_extra_is_an_update_refused(halted: Wire, words: str) -> None:
    path = halted.agg() / "fl_clients" / BOB / "extra_round_2.bin"
    good, update = path.read_bytes(), path.with_name("trained_model_round_2.pt")
    try:
        SPOILS[words](path)
        if words in (
            "comes without",
            "can't be read as tensors",
        ):  # perhaps on its way: no refusal yet
            os.utime(update)
            (wait,) = waits(halted.aggregator())
            assert (wait.whom, words in wait.remedy) == (BOB, False)
            os.utime(update, (time.time() - 60,) * 2)
        (wait,) = waits(halted.aggregator())
        assert wait.whom == BOB
        assert words in wait.remedy
        assert not (halted.agg() / "agg_weights" / "agg_model_round_2.pt").exists()
    finally:
        path.write_bytes(good)


def test_a_participant_waits_for_its_control_variate_and_looks_at_it(tmp_path: Path) -> None:
    wire = Wire(tmp_path, set(), config=small(rounds=3, **SCAFFOLD)).begin()
    trained = wire.cl(ALICE) / "round_weights"
    path = wire.cl(ALICE) / "agg_weights" / "extra_round_3.bin"
    wire.until(path.is_file)
    good = path.read_bytes()
    for data in (None, b"", good[: len(good) // 2]):
        path.unlink()
        if data is not None:
            path.write_bytes(data)
        (wait,) = waits(wire.participant(ALICE))
        assert path.name in wait.what
        path.write_bytes(good)
    for change, words in (
        (lambda parts: parts["sent"]["fc.bias"].fill_(float("inf")), "infinite values"),
        (lambda parts: parts["round"].update(counted=torch.tensor(3)), "it counts round 3"),
        (lambda parts: parts["round"].update(counted=torch.tensor(-1)), "it counts round -1"),
        (lambda parts: parts["sent"].pop("fc.bias"), "is missing"),
    ):
        parts = unpack(read_state(path))
        change(parts)
        write_state(path, pack(parts))
        (problem,) = problems(node.advance(wire.sites[ALICE], roles=("participant",)))
        assert words in problem
        assert path.name in problem
        path.write_bytes(good)
    memory = wire.cl(ALICE) / "memory" / "memory_2.pt"
    kept = memory.read_bytes()
    memory.unlink()
    (problem,) = problems(node.advance(wire.sites[ALICE], roles=("participant",)))
    assert memory.name in problem
    memory.write_bytes(kept)
    assert not (trained / "trained_model_round_3.pt").exists()
    wire.run()


# ---------------------------------------------------------------------------------------- peers
def test_a_peer_does_not_speak_scaffold_and_a_quorum_goes_on(tmp_path: Path) -> None:
    config = small(rounds=2, min_participants=1, round_timeout_s=1, linger_s=30, **SCAFFOLD)
    wire = Wire(tmp_path, {("participant", BOB)}, config=config).begin()
    for _ in wire.passes():
        inbox = wire.agg() / "fl_clients"
        for path in inbox.glob("*/trained_model_round_*.pt"):
            os.utime(path, (time.time() - 60,) * 2)
        for path in wire.root.rglob("agg_model_round_*.pt"):
            os.utime(path, (time.time() - 60,) * 2)
        if wire.done():
            break
    for n in (1, 2):
        record = read_json(wire.agg("done") / "rounds" / f"round_{n}.json")
        assert list(record["refused"]) == [BOB]
        assert f"comes without extra_round_{n}.bin" in record["refused"][BOB]
        assert [part["participant"] for part in record["contributions"]] == [ALICE]


@pytest.mark.parametrize("size", [None, 30])
def test_fednova_knows_a_peers_steps_from_its_samples_or_takes_them_as_equal(
    tmp_path: Path, size: int | None
) -> None:
    """Alice tells her steps; Bob's real app does not: epochs times its batches of 64, where its samples are known."""
    config = small(rounds=1, epoch=3, batch_size=2, linger_s=30, strategy={"name": "fednova"})
    wire = Wire(tmp_path, {("participant", BOB)}, synced=True, config=config)
    bob = wire.parts["participant", BOB]

    def bob_and_his_size() -> Any:
        answer = bob()
        inbox = wire.sites[BOB].aggregator(wire.home).project("MNIST_FL").inbox(BOB)
        if inbox.is_dir() and size is not None:
            (inbox / "dataset_size.json").write_text(
                f'{{"dataset_size": {size}}}', encoding="utf-8"
            )
        return answer

    wire.parts["participant", BOB] = bob_and_his_size
    wire.begin().run()
    said = read_json(wire.agg("done") / "rounds" / "round_1.json")["diagnostics"]
    if size is None:  # then neither samples nor steps are known of him
        assert said == {"tau_eff": 9.0, "steps_unknown": 1.0}  # he is taken to have hers
    else:  # Alice: 6 images, 3 batches an epoch, 9 steps; Bob: one batch an epoch, 3 steps
        assert said == {"tau_eff": pytest.approx((6 * 9 + 30 * 3) / 36), "steps_unknown": 0.0}


def test_under_a_peers_lead_scaffold_waits_and_says_for_what(tmp_path: Path) -> None:
    """The real aggregator knows no control variates: nothing is trained that the project did not ask for."""
    wire = Wire(tmp_path, LEADER, config=small(rounds=2, **SCAFFOLD)).begin_and_approve()
    for _ in range(3):
        wire.participants()
        wire.aggregator()
    (wait,) = waits(wire.participant(ALICE))
    assert (wait.whom, "extra_round_1.bin" in wait.what) == (wire.home, True)
    assert not (wire.cl(ALICE) / "round_weights").exists()


def test_a_control_variate_can_be_looked_at(finished: fk.Network) -> None:
    site = finished[ALICE]
    path = site.client().project("MNIST_FL", "done").extra_for(3)
    seen = view_file(site.data_dir, path.relative_to(site.data_dir).as_posix())
    assert seen.kind == "weights"
    assert any(fact.startswith("sent/fc.weight: 10 x 784") for fact in seen.facts)


def test_the_change_of_a_control_variate_follows_from_the_update(finished: fk.Network) -> None:
    """So it gives nothing away that the update has not: (x - y) / (K eta) - c."""
    home = finished[finished.aggregator].aggregator().project("MNIST_FL", "done")
    for email in (ALICE, BOB):
        steps = read_json(home.update_info(email, 3))["steps"]
        assert steps == 1  # six images in one batch of eight
        x, y = read_state(home.global_model(2)), read_state(home.update(email, 3))
        box = finished[email].client().project("MNIST_FL", "done")
        c = unpack(read_state(box.extra_for(3)))["sent"]
        for name, change in read_state(home.extra(email, 3)).items():
            wanted = (x[name].double() - y[name].double()) / (steps * 0.1) - c[name].double()
            torch.testing.assert_close(change.double(), wanted, rtol=0, atol=1e-6)

"""Plans of rounds: settings that change in between, sampled participants, a no with a reason, and the way back."""

from pathlib import Path

import pytest

import fedkit as fk
from fedkit.base.errors import FedkitError
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.round_plan import read_plan, received_plan
from fedkit.rounds.round import draw
from tests.support.helpers import LINEAR

PEOPLE = [f"p{k}@example.org" for k in range(4)]


def config(**more: object) -> fk.FLConfig:
    return fk.FLConfig.from_dict(
        {
            "project_name": "T",
            "aggregator": "a@example.org",
            "participants": PEOPLE,
            "rounds": 4,
            "epoch": 1,
            "learning_rate": 0.1,
            "model_arch": "model.py",
            "model_weight": "w.pt",
        }
        | more
    )


def network(root: Path, **more: object) -> fk.Network:
    """Four participants with forty images each, launched."""
    digits = fk.load_mnist()
    made = fk.Network.create(root, aggregator="a@example.org", participants=PEOPLE)
    shards = fk.iid(digits.train_images, digits.train_labels, 4, 40, generator=fk.generator(0, "s"))
    for email, shard in zip(PEOPLE, shards, strict=True):
        made.give_data(email, shard)
    made.give_test(fk.as_float(digits.test_images[::20]), digits.test_labels[::20])
    made.launch(config(**more), LINEAR)
    return made


def models(made: fk.Network) -> list[bytes]:
    folder = made["a@example.org"].aggregator().done / "T" / "agg_weights"
    return [(folder / f"agg_model_round_{n}.pt").read_bytes() for n in range(5)]


def test_a_change_acts_from_the_next_round_on_and_stands_in_the_history(tmp_path: Path) -> None:
    made = network(tmp_path, adjustable=["learning_rate", "epoch", "participants_per_round"])
    made.run(approve=fk.approve_all, until_round=2)
    fk.change_settings(made["a@example.org"], "T", learning_rate=0.3, participants_per_round=2)
    history = made.run()
    assert history.done
    assert [r.learning_rate for r in history] == [0.1, 0.1, 0.3, 0.3]
    assert [len(r.contributions) for r in history] == [4, 4, 2, 2]
    crossed = [e.path for e in made.ledger() if e.path.endswith("/round_3.json")]
    assert len(crossed) == 4  # once to each participant, none in the rounds that are as approved
    assert not [e for e in made.ledger() if e.path.endswith("/round_1.json")]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"learning_rate": 0.2}, "adjustable"),
        ({"rounds": 9}, "adjustable"),
        ({"epoch": 0}, "epoch"),
    ],
)
def test_what_was_not_approved_may_not_change(tmp_path: Path, change: dict, field: str) -> None:
    made = network(tmp_path, adjustable=["epoch"])
    made.run(approve=fk.approve_all, until_round=1)
    with pytest.raises(FedkitError) as caught:
        fk.change_settings(made["a@example.org"], "T", **change)
    assert caught.value.field == field
    assert made.run().done


def test_a_client_trains_with_nothing_that_it_did_not_approve(tmp_path: Path) -> None:
    made = network(tmp_path)
    made.run(approve=fk.approve_all, until_round=1)
    mailbox = made["a@example.org"].client(PEOPLE[0]).project("T")
    fk.write_json(
        mailbox.round_settings(2), {"learning_rate": 50.0}
    )  # an aggregator of its own mind
    history = made.run()
    assert len(history) == 1
    said = [fk.render(event) for event in history.waiting if event.email == PEOPLE[0]]
    assert any("50.0" in line and "0.1 was approved" in line for line in said)
    with pytest.raises(FedkitError, match=r"0.1 was approved"):
        received_plan(config(), 2, {"learning_rate": 0.2}, Path("round_2.json"))


def test_a_sample_is_drawn_anew_each_round_and_the_same_again() -> None:
    few = config(participants_per_round=2)
    rounds = [draw(few, PEOPLE, n) for n in range(1, 30)]
    assert all(len(chosen) == 2 and sorted(chosen, key=PEOPLE.index) == chosen for chosen in rounds)
    assert {email for chosen in rounds for email in chosen} == set(PEOPLE)
    assert len({tuple(chosen) for chosen in rounds}) > 3
    assert rounds == [draw(few, PEOPLE, n) for n in range(1, 30)]
    assert draw(config(), PEOPLE, 1) == PEOPLE


def test_who_is_not_asked_does_not_train(tmp_path: Path) -> None:
    made = network(tmp_path, participants_per_round=1)
    history = made.run(approve=fk.approve_all)
    assert history.done
    place = made["a@example.org"].aggregator().project("T", "done")
    for record in history:
        plan = read_plan(place, record.round)
        assert plan is not None
        assert [part.participant for part in record.contributions] == list(plan.participants)
        sent = [email for email in PEOPLE if place.update(email, record.round).exists()]
        assert sent == list(plan.participants)


def test_a_no_reaches_the_aggregator_with_its_reason_and_can_become_a_yes(tmp_path: Path) -> None:
    made = network(tmp_path)
    made.run()
    fk.decline(made[PEOPLE[1]], "T", "  not\nmy kind of model ")
    history = made.run(approve=fk.approve_all)
    assert len(history) == 0
    said = " ".join(fk.render(event) for event in history.waiting)
    assert f"{PEOPLE[1]}: not my kind of model" in said
    assert fk.pending_requests(made[PEOPLE[1]]) == []
    fk.approve(made[PEOPLE[1]], "T")
    assert made.run().done


def test_a_no_does_not_stop_a_quorum(tmp_path: Path) -> None:
    made = network(tmp_path, min_participants=3, approval="quorum")
    made.run()
    fk.decline(made[PEOPLE[1]], "T", "no")
    history = made.run(approve=fk.approve_all)
    assert history.done
    assert all(len(record.contributions) == 3 for record in history)


@pytest.mark.parametrize("to_round", [0, 1, 3, 4])
def test_back_and_on_again_gives_the_same_bits(tmp_path: Path, to_round: int) -> None:
    made = network(tmp_path, strategy={"name": "fedavgm"})
    history = made.run(approve=fk.approve_all)
    before = models(made)
    fk.rewind(made, to_round)
    assert len(made.history()) == to_round
    assert made.run().rounds == history.rounds
    assert models(made) == before


def test_there_is_no_way_back_to_the_future(tmp_path: Path) -> None:
    made = network(tmp_path)
    made.run(approve=fk.approve_all, until_round=1)
    with pytest.raises(FedkitError, match="round 2 has not been reached"):
        fk.rewind(made, 2)


def test_a_pause_within_a_batch_costs_nothing(tmp_path: Path) -> None:
    whole, cut = network(tmp_path / "whole"), network(tmp_path / "cut")
    expected = whole.run(approve=fk.approve_all)
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked % 7 == 0

    for _ in range(200):
        if cut.run(approve=fk.approve_all, stop=stop).done:
            break
    assert cut.history().rounds == expected.rounds
    assert models(cut) == models(whole)


def test_a_schedule_is_the_same_at_everybody_and_nothing_of_it_crosses(tmp_path: Path) -> None:
    made = network(tmp_path, schedule={"name": "step", "every": 2, "factor": 0.5})
    history = made.run(approve=fk.approve_all)
    assert history.done
    assert [r.learning_rate for r in history] == [0.1, 0.1, 0.05, 0.05]
    assert not [e for e in made.ledger() if "/round_" in e.path]
    place = made["a@example.org"].aggregator().project("T", "done")
    for record in history:
        plan = read_plan(place, record.round)
        there = received_plan(FLConfig.load(place.config), record.round, {}, Path("round.json"))
        assert plan == there
        assert there.learning_rate == record.learning_rate


def test_a_schedule_scales_the_rate_that_was_adjusted(tmp_path: Path) -> None:
    """In rounds 3 and 4 of four: half of what the aggregator has set."""
    halved = {"name": "step", "every": 2, "factor": 0.5}
    made = network(tmp_path, adjustable=["learning_rate"], schedule=halved)
    made.run(approve=fk.approve_all, until_round=1)
    fk.change_settings(made["a@example.org"], "T", learning_rate=0.4)
    made.run(until_round=2)
    history = fk.Network.open(tmp_path).run()
    assert history.done
    assert [r.learning_rate for r in history] == [0.1, 0.4, 0.2, 0.2]
    place = made["a@example.org"].aggregator().project("T", "done")
    mailbox = made[PEOPLE[0]].client().project("T", "done")
    told = fk.read_json(mailbox.round_settings(3))
    assert told == {"learning_rate": 0.4}
    assert received_plan(FLConfig.load(place.config), 3, told, Path("r.json")) == read_plan(
        place, 3
    )


def test_a_scheduled_rate_can_not_be_asked_for_as_another_one() -> None:
    scheduled = config(schedule={"name": "cosine"})
    with pytest.raises(FedkitError, match=r"0.1 was approved"):
        received_plan(scheduled, 2, {"learning_rate": 0.05}, Path("round_2.json"))

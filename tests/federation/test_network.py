"""A network of datasites on one machine: from launch to done, under a policy, with its history and its ledger."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fedkit.base.errors import FedkitError
from fedkit.base.events import (
    Event,
    FileRefused,
    Problem,
    ProjectDone,
    RoundEvaluated,
    UpdateRefused,
    Waiting,
)
from fedkit.base.files import is_file, read_json, read_state, same_content, write_state
from fedkit.config.client_config import ClientConfig
from fedkit.data.shards import read_shard
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.paths import ClientProject
from fedkit.federation.network import Go, Network
from fedkit.federation.rewind import rewind
from fedkit.learning.models import load_model, seed_weights
from fedkit.learning.training import evaluate
from fedkit.protocol.approval import Review, approve_all
from fedkit.rounds.history import History
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    CAROL,
    EVE,
    LINEAR,
    PROJECT,
    held_out,
    launched,
    network,
    posix,
    problems,
    shard,
    small,
    snapshot,
    waits,
)


# ------------------------------------------------------------------------------------------- creation
def test_each_datasite_has_a_data_dir_and_a_config_of_its_own(tmp_path: Path) -> None:
    net = network(tmp_path)
    assert list(net.sites) == [AGGREGATOR, ALICE, BOB]
    dirs = {site.data_dir for site in net.sites.values()}
    assert len(dirs) == 3
    configs = [ClientConfig.load(site.data_dir / "config.json") for site in net.sites.values()]
    assert {config.email for config in configs} == set(net.sites)
    assert {config.data_dir for config in configs} == dirs
    assert len({config.port for config in configs}) == 3


def test_creating_or_opening_again_is_the_same_network(tmp_path: Path) -> None:
    network(tmp_path)
    before = snapshot(tmp_path)
    again = Network.create(tmp_path, aggregator=AGGREGATOR, participants=[ALICE, BOB])
    opened = Network.open(tmp_path)
    assert opened.sites == again.sites
    assert (opened.aggregator, opened.participants) == (AGGREGATOR, (ALICE, BOB))
    assert snapshot(tmp_path) == before


def test_data_goes_where_only_its_owner_looks(tmp_path: Path) -> None:
    net = network(tmp_path)
    images, labels = shard([3, 4], 2)
    net.give_data(ALICE, (images, labels))
    got = read_shard(net[ALICE].private_client)
    assert torch.equal(got[0], images)  # what lay there before is gone
    assert torch.equal(got[1], labels)
    net.sync()
    assert net.ledger() == [entry for entry in net.ledger() if "private" not in entry.path]


# ---------------------------------------------------------------------------------- launch to done
def test_a_whole_run(tmp_path: Path) -> None:
    net = launched(tmp_path)
    events: list[Event] = []
    history = net.run(approve=approve_all, on_event=events.append)
    assert history.done
    assert history.project == PROJECT
    assert len(history) == history.total_rounds == 2
    done = {(e.email, e.role) for e in events if isinstance(e, ProjectDone)}
    assert done == {(AGGREGATOR, "aggregator"), (ALICE, "participant"), (BOB, "participant")}
    assert not [e for e in events if isinstance(e, Problem | FileRefused | UpdateRefused)]
    accuracies = [e.accuracy for e in events if isinstance(e, RoundEvaluated)]
    assert accuracies == history.accuracies
    for email in (ALICE, BOB):
        place: ClientProject = net[email].client().project(PROJECT, "done")
        home = net[AGGREGATOR].aggregator().project(PROJECT, "done")
        for n in range(3):
            assert place.global_model(n).read_bytes() == home.global_model(n).read_bytes()
        results = net[email].public_results(PROJECT, AGGREGATOR)
        assert read_json(results / "accuracy_metrics.json")[2]["accuracy"] == accuracies[1]


def test_the_history_is_what_the_models_show(tmp_path: Path) -> None:
    """Accuracy and loss of every round, evaluated again from the files."""
    net = launched(tmp_path)
    history = net.run(approve=approve_all)
    home = net[AGGREGATOR].aggregator().project(PROJECT, "done")
    for record in history:
        again = evaluate(
            load_model(LINEAR), read_state(home.global_model(record.round)), *held_out()
        )
        assert (record.accuracy, record.loss) == again
        assert [part.participant for part in record.contributions] == [ALICE, BOB]
        assert [part.num_samples for part in record.contributions] == [6, 6]
    assert net.history() == History(history.project, history.rounds, history.total_rounds)
    frame = history.to_frame()
    assert list(frame.index) == [1, 2]
    assert frame.loc[2, "accuracy"] == history.accuracies[1]
    assert list(frame["samples"]) == [12, 12]
    parts = history.contributions_frame()
    assert list(parts["participant"]) == [ALICE, BOB, ALICE, BOB]


def test_a_policy_decides_and_a_stopped_run_goes_on(tmp_path: Path) -> None:
    net = launched(tmp_path)
    seen: list[Review] = []

    def policy(asked: Review) -> bool:
        seen.append(asked)
        return asked.participant == ALICE

    history = net.run(approve=policy)
    assert not history.done
    assert {asked.participant for asked in seen} == {ALICE, BOB}
    assert {asked.source for asked in seen} == {LINEAR}
    assert BOB in {wait.whom for wait in waits(list(history.waiting))}
    assert Network.open(tmp_path).run(approve=approve_all).done


def test_a_run_can_stop_after_a_round(tmp_path: Path) -> None:
    net = launched(tmp_path, rounds=3)
    assert len(net.run(approve=approve_all, until_round=1)) == 1
    assert len(net.run(approve=approve_all, until_round=2)) == 2
    assert net.run(approve=approve_all).done


@pytest.mark.parametrize(("answer", "absent"), [(None, ()), ([], (BOB,))], ids=["late", "idle"])
def test_who_is_late_is_waited_for_and_who_does_nothing_is_not(
    tmp_path: Path, answer: list[Event] | None, absent: tuple[str, ...]
) -> None:
    """Bob's machine does not move eight times; a quorum of one could end the round without him."""
    net = launched(tmp_path, min_participants=1, rounds=1)
    model, still = net[BOB].client().project(PROJECT).global_model(0), iter(range(8))

    def actor(site: Datasite, go: Go) -> list[Event] | None:
        waits = site.email == BOB and model.is_file() and next(still, None) is not None
        return answer if waits else go()

    (record,) = net.run(approve=approve_all, actor=actor)
    assert record.absent == absent


def test_the_aggregator_may_take_part(tmp_path: Path) -> None:
    net = network(tmp_path, [ALICE, BOB], aggregator=ALICE)
    net.launch(small(aggregator=ALICE, participants=[ALICE, BOB]), LINEAR)
    assert net.run(approve=approve_all).done
    assert net[ALICE].client().project(PROJECT, "done").path.is_dir()
    assert not [entry for entry in net.ledger() if entry.sender == entry.receiver]


def test_several_projects_one_after_the_other_and_at_once(tmp_path: Path) -> None:
    net = launched(tmp_path)
    net.run(approve=approve_all)
    net.launch(small(project_name="Second", rounds=1), LINEAR)
    assert net.run(approve=approve_all).project == "Second"
    net.launch(small(project_name="Third", rounds=1), LINEAR)
    net.advance()
    net.launch(small(project_name="Fourth", rounds=1), LINEAR)
    net.run(approve=approve_all)
    assert net.projects() == [PROJECT, "Second", "Third", "Fourth"]
    for name in net.projects():
        assert net.history(name).done
    assert net.history().project == "Fourth"


def test_a_name_in_other_letters_is_no_other_name(tmp_path: Path) -> None:
    net = launched(tmp_path)
    net.run(approve=approve_all, until_round=1)
    with pytest.raises(FedkitError, match=f"project_name: .*upper and lower case, '{PROJECT}'"):
        net.launch(small(project_name=PROJECT.lower()), LINEAR)
    assert net.run(approve=approve_all).done


def test_a_name_stands_for_one_launch(tmp_path: Path) -> None:
    net = launched(tmp_path)
    first = net.run(approve=approve_all)
    net.launch(small(), LINEAR)  # the same once more: nothing happens
    assert net.run(approve=approve_all).accuracies == first.accuracies
    others: list[tuple[dict[str, Any], str, str]] = [
        ({"learning_rate": 0.3}, LINEAR, "learning_rate 0.1 → 0.3"),
        ({"min_participants": 1}, LINEAR, "min_participants"),
        ({"seed": 5}, LINEAR, "global_model_weight.pt"),
        ({}, LINEAR + "# other\n", "model.py"),
    ]
    for changes, model, said in others:
        with pytest.raises(FedkitError) as caught:
            net.launch(small(**changes), model)
        assert said in str(caught.value)
        assert "choose another project_name" in str(caught.value)
    assert not list(net[AGGREGATOR].aggregator().launch.glob("*"))
    assert net.history().accuracies == first.accuracies


@pytest.mark.parametrize("how", ["gone", "empty", "cut off"])
def test_a_global_model_that_was_spoilt_at_home_is_aggregated_anew(
    how: str, tmp_path: Path
) -> None:
    whole = launched(tmp_path / "whole")
    whole.run(approve=approve_all)
    net = launched(tmp_path / "spoilt")
    net.run(approve=approve_all, until_round=1)
    path = net[AGGREGATOR].aggregator().project(PROJECT).global_model(1)
    before = path.read_bytes()
    path.write_bytes(b"" if how == "empty" else before[:-100])
    if how == "gone":
        path.unlink()
    history = net.run()
    if how != "gone":  # nobody gets it, and a line says what to do
        assert not history.done
        assert any(
            "remove it: the round is then aggregated anew" in p for p in problems(history.waiting)
        )
        path.unlink()
        history = net.run()
    assert history.done
    for n in (1, 2):
        finished = [x[AGGREGATOR].aggregator().project(PROJECT, "done") for x in (whole, net)]
        assert same_content(*(place.global_model(n) for place in finished))


def test_what_was_launched_last_and_refused_is_told_and_not_hidden_by_an_older_project(
    tmp_path: Path,
) -> None:
    net = launched(tmp_path)
    net.run(approve=approve_all, until_round=1)
    net.launch(small(project_name="Second", strategy={"name": "fedpox"}), LINEAR)
    with pytest.raises(FedkitError, match="fedpox"):
        net.run("Second", approve=approve_all)
    history = net.run(PROJECT, approve=approve_all)
    assert history.project == PROJECT
    assert len(history) == 2


def test_what_is_nobodys_or_no_config_is_refused_in_one_line(tmp_path: Path) -> None:
    net = launched(tmp_path)
    wrong: list[tuple[Callable[[], object], str]] = [
        (lambda: net["nobody@example.org"], "take one of|did you mean"),
        (lambda: net[ALICE.upper()], f"did you mean {ALICE}"),
        (lambda: net.give_data(ALICE.title(), shard([0])), f"did you mean {ALICE}"),
        (lambda: net.give_data(ALICE, [1, 2]), "no pair of tensors"),  # type: ignore[arg-type]
        (lambda: net.launch({"rounds": 3}), "not an FLConfig"),  # type: ignore[arg-type]
        (lambda: net.launch(small(), Path("model.py")), "not the text of a model.py"),  # type: ignore[arg-type]
        (lambda: net.launch(small(), LINEAR, torch.nn.Linear(2, 2)), "model.state_dict"),  # type: ignore[arg-type]
        (lambda: net.run(until_round="1"), "until_round: is '1'"),  # type: ignore[arg-type]
        (lambda: net.run(until_round=-1), "until_round: is -1"),
    ]
    for call, says in wrong:
        with pytest.raises(FedkitError, match=says):
            call()
    net.run(approve=approve_all, until_round=1)
    for n in ("1", None, 1.0):
        with pytest.raises(FedkitError, match="to_round"):
            rewind(net, n)  # type: ignore[arg-type]
    assert len(net.history()) == 1


def test_a_copy_of_a_projects_folder_is_no_project(tmp_path: Path) -> None:
    net = launched(tmp_path)
    net.run(approve=approve_all, until_round=1)
    box = net[AGGREGATOR].aggregator()
    shutil.copytree(box.running / PROJECT, box.running / f"{PROJECT} (1)")
    assert net.projects() == [PROJECT]
    history = net.run()
    assert history.done
    assert len(net.history()) == 2


def test_the_old_folder_names_work_too(tmp_path: Path) -> None:
    net = Network.create(
        tmp_path, aggregator=AGGREGATOR, participants=[ALICE], app_data="api_data", workers=1
    )
    net.give_data(ALICE, shard([0, 1]))
    net.give_test(*held_out())
    net.launch(small(participants=[ALICE]), LINEAR)
    assert net.run(approve=approve_all).done
    assert (net[ALICE].root / "api_data" / "fl_client" / "done" / PROJECT).is_dir()


def test_seed_weights_come_from_the_configs_seed(tmp_path: Path) -> None:
    net = network(tmp_path)
    net.launch(small(seed=5), LINEAR)
    launch = net[AGGREGATOR].aggregator().launch
    wanted = seed_weights(LINEAR, 5)
    got = read_state(launch / "global_model_weight.pt")
    assert all(torch.equal(got[name], wanted[name]) for name in wanted)
    net.launch(small(), LINEAR, {name: torch.zeros_like(v) for name, v in wanted.items()})
    assert not read_state(launch / "global_model_weight.pt")["fc.bias"].any()


# --------------------------------------------------------------------------------- things that go wrong
def test_an_update_of_nan_without_a_quorum_names_its_sender(tmp_path: Path) -> None:
    net = launched(tmp_path, participants=[ALICE, BOB, CAROL])
    poison(net, CAROL)
    history = net.run(approve=approve_all)
    assert not history.done
    (wait,) = [w for w in waits(list(history.waiting)) if w.email == AGGREGATOR]
    assert wait.whom == CAROL
    assert "NaN" in wait.remedy


def test_an_update_of_nan_with_a_quorum_is_left_out(tmp_path: Path) -> None:
    net = launched(tmp_path, participants=[ALICE, BOB, CAROL], min_participants=2)
    poison(net, CAROL)
    events: list[Event] = []
    history = net.run(approve=approve_all, on_event=events.append)
    assert history.done
    refused = [(e.participant, e.round) for e in events if isinstance(e, UpdateRefused)]
    assert refused == [(CAROL, 1), (CAROL, 2)]
    assert [sorted(record.refused) for record in history] == [[CAROL], [CAROL]]
    without = launched(tmp_path / "without", participants=[ALICE, BOB])
    without.run(approve=approve_all)
    one, other = (
        read_state(n[AGGREGATOR].aggregator().project(PROJECT, "done").global_model(2))
        for n in (net, without)
    )
    assert all(
        torch.equal(one[name], other[name]) for name in one
    )  # as if Carol had not been there


def poison(net: Network, email: str) -> None:
    """A participant that always has an update of NaN ready, where others train."""
    place = net[email].client().project(PROJECT)
    state = {name: torch.full_like(v, torch.nan) for name, v in seed_weights(LINEAR).items()}
    advance = net.advance

    def poisoned(*args: Any, **options: Any) -> list[Event]:
        for n in (1, 2):
            if place.path.is_dir() and not is_file(place.trained(n)):
                write_state(place.trained(n), state)
        return advance(*args, **options)

    net.advance = poisoned  # type: ignore[method-assign]


def test_an_absent_participant_with_a_quorum_holds_nobody_up(tmp_path: Path) -> None:
    net = launched(tmp_path, min_participants=1, approval="quorum")
    history = net.run(approve=lambda asked: asked.participant == ALICE)
    rounds = list(history)
    assert len(rounds) == 2
    assert all(len(record.contributions) == 1 for record in rounds)
    # Bob says yes when it is over: nobody waits for him, and he waits for nobody for ever
    late = net.run(approve=approve_all)
    assert [record.contributions for record in late] == [r.contributions for r in rounds]


def test_one_broken_project_stops_no_other(tmp_path: Path) -> None:
    net = launched(tmp_path)
    net.advance()
    net.launch(small(project_name="Broken"), LINEAR)
    (net[AGGREGATOR].aggregator().launch / "model.py").write_text("x = (", encoding="utf-8")
    history = net.run(PROJECT, approve=approve_all)
    assert len(history) == 2
    (problem,) = [event for event in history.waiting if isinstance(event, Problem)]
    assert "syntax error" in str(problem.error)
    (net[AGGREGATOR].aggregator().launch / "model.py").write_text(LINEAR, encoding="utf-8")
    assert net.run("Broken", approve=approve_all).done


@posix
def test_a_data_dir_that_cannot_be_written_stops_the_others_projects_not(tmp_path: Path) -> None:
    """Eve has a link where Alice's mailbox should come: said, and the project of the others ends."""
    net = network(tmp_path, [ALICE, BOB, EVE])
    net.sync()
    box = net[EVE].datasites / AGGREGATOR
    (tmp_path / "elsewhere").mkdir()
    box.symlink_to(tmp_path / "elsewhere")
    net.launch(small(), LINEAR)
    history = net.run(approve=approve_all)
    assert len(history) == 2
    problems = [event for event in history.waiting if isinstance(event, Problem)]
    assert {event.email for event in problems} == {EVE}
    assert all("is a link" in str(event.error) for event in problems)


def test_a_strangers_mischief_is_refused_and_the_project_ends(tmp_path: Path) -> None:
    """Eve belongs to the network, not to the project: she writes where she must not, in her own copies."""
    net = network(tmp_path, [ALICE, BOB, EVE])
    net.launch(small(), LINEAR)
    net.advance(approve_all)
    box = net[EVE].aggregator(AGGREGATOR).project(PROJECT)
    victim = net[EVE].client(ALICE).project(PROJECT)
    weights = seed_weights(LINEAR, 9)
    write_state(box.update(ALICE, 1), weights)
    write_state(box.global_model(1), weights)
    write_state(victim.global_model(0), weights)
    write_state(victim.trained(1), weights)
    events: list[Event] = []
    history = net.run(approve=approve_all, on_event=events.append)
    assert history.done
    refused = {event.path for event in events if isinstance(event, FileRefused)}
    assert len(refused) == 4
    assert all(event.email == EVE for event in events if isinstance(event, FileRefused))
    honest = launched(tmp_path / "honest").run(approve=approve_all)
    assert history.accuracies == honest.accuracies
    held = [p for p in (net[EVE].datasites / AGGREGATOR).rglob("*.pt") if "rejected" not in p.name]
    assert held == []  # not one weight came to Eve


def test_waiting_events_are_for_people(tmp_path: Path) -> None:
    history = launched(tmp_path).run()
    assert all(isinstance(event, Waiting) for event in history.waiting)
    text = str(history)
    assert f"waits for {ALICE}" in text
    assert "0 of 2 rounds" in text


def test_what_the_sync_can_not_look_into_keeps_no_project_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A participant's folder that is deeper than a path may be long; it is named, and all rounds are done."""
    net = launched(tmp_path, participants=[ALICE])
    happened: list[Event] = []
    told = FedkitError("can't be looked into", file=tmp_path, remedy="move it")
    sync = net._sync
    monkeypatch.setattr(net, "_sync", lambda: [*sync(), Problem(ALICE, "", "sync", told)])
    history = net.run(approve=approve_all, on_event=happened.append)
    assert history.done
    assert [e for e in happened if isinstance(e, Problem)] == [Problem(ALICE, "", "sync", told)]

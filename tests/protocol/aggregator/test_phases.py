"""The aggregator's state machine, with participants played by hand: what it writes, for whom it waits, whom it refuses."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fedkit.base.events import Event, Notice, RequestSent, RoundAggregated, UpdateRefused, render
from fedkit.base.files import (
    is_file,
    read_json,
    read_state,
    sha256_bytes,
    write_bytes,
    write_dataset,
    write_json,
    write_state,
)
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.paths import AggregatorProject, ClientProject
from fedkit.datasite.permissions import write_permissions
from fedkit.learning.models import StateDict, load_model
from fedkit.learning.training import evaluate
from fedkit.protocol import advance as node
from fedkit.rounds.history import read_history
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    CAROL,
    LINEAR,
    PROJECT,
    Code,
    held_out,
    linear_weights,
    posix,
    problems,
    put_launch,
    recompressed,
    saved,
    small,
    snapshot,
    sparse_file,
    tutorial,
    waits,
)

Advance = Callable[..., list[Event]]


class World:
    """One shared tree: a real aggregator, and participants whose files the test writes."""

    def __init__(self, root: Path, **changes: Any) -> None:
        self.site = Datasite.create(root, AGGREGATOR)
        self.config = small(**({"participants": [ALICE, BOB]} | changes))
        for email in self.config.participants:
            Datasite.create(root, email)
        write_dataset(self.site.private_aggregator / "mnist_test_dataset.pt", *held_out())

    def launch(self) -> "World":
        put_launch(self.site, self.config)
        self.advance()
        return self

    def advance(self, **options: Any) -> list[Event]:
        return node.advance(self.site, roles=["aggregator"], **options)

    @property
    def place(self) -> AggregatorProject:
        running = self.site.aggregator().project(PROJECT)
        return running if running.path.is_dir() else self.site.aggregator().project(PROJECT, "done")

    def box(self, email: str) -> ClientProject:
        return self.site.client(email).project(PROJECT)

    def ready(self, *emails: str) -> None:
        for email in emails or self.config.participants:
            write_permissions(self.box(email).agg_weights, email, write=[AGGREGATOR])

    def send(self, email: str, n: int, value: Any = 0.0, info: Any = None) -> Path:
        """An update of round n: every weight `value`, or a state dict, or any bytes."""
        if info is not None:
            write_bytes(self.place.update_info(email, n), json.dumps(info).encode())
        path = self.place.update(email, n)
        if isinstance(value, bytes):
            write_bytes(path, value)
        else:
            write_state(path, value if isinstance(value, dict) else filled(value))
        return path

    def model(self, n: int) -> StateDict:
        return read_state(self.place.global_model(n))


def filled(value: float) -> StateDict:
    return {name: torch.full_like(tensor, value) for name, tensor in linear_weights().items()}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Two participants, launched, and both ready."""
    world = World(tmp_path).launch()
    world.ready()
    world.advance()
    return world


# ------------------------------------------------------------------------------------ from launch to done
def test_a_launch_becomes_a_project_with_everything_in_its_place(tmp_path: Path) -> None:
    world = World(tmp_path)
    folder = world.site.aggregator().launch
    write_bytes(folder / "model.py", LINEAR.encode())
    write_bytes(folder / "global_model_weight.pt", saved(linear_weights()))
    write_json(folder / "fl_config.json", tutorial(colour="blue"))
    events = world.advance()
    place = world.place
    assert list(folder.iterdir()) == []
    values = json.loads(place.config.read_bytes())
    assert values == tutorial(colour="blue") | {
        "model_class_name": "FLModel",
        "test_dataset": "mnist_test_dataset.pt",
    }
    assert (place.path / "model.py").read_text(encoding="utf-8") == LINEAR
    assert place.global_model(0).read_bytes() == saved(linear_weights())
    assert [event for event in events if isinstance(event, Notice) and "colour" in event.text]
    assert not [event for event in world.advance() if isinstance(event, Notice)]  # said once
    assert sorted(p.name for p in place.agg_weights.iterdir()) == ["agg_model_round_0.pt"]
    for email in (ALICE, BOB):
        assert is_file(place.inbox(email) / "syft.pub.yaml")
        assert is_file(place.inbox(email) / "syftperm.yaml")


def test_ten_keys_are_left_as_they_were_written(tmp_path: Path) -> None:
    world = World(tmp_path)
    put_launch(world.site, world.config)
    text = json.dumps(json.loads(world.config.to_json()) | {"x": float("nan")})
    path = world.site.aggregator().launch / "fl_config.json"
    path.write_text(text, encoding="utf-8")
    world.advance()
    assert world.place.config.read_text(encoding="utf-8") == text


def test_an_unknown_nan_in_eight_keys_stays_too(tmp_path: Path) -> None:
    world = World(tmp_path)
    put_launch(world.site, world.config)
    path = world.site.aggregator().launch / "fl_config.json"
    path.write_text(json.dumps(tutorial(x=float("nan"))), encoding="utf-8")
    assert problems(world.advance()) == []
    assert "NaN" in world.place.config.read_text(encoding="utf-8")


def test_the_request_holds_the_same_bytes_and_its_config_comes_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, order = World(tmp_path), []
    real = os.replace

    def replace(source: Any, target: Any) -> None:
        real(source, target)
        if "/request/" in Path(target).as_posix():
            order.append(Path(target).name)

    monkeypatch.setattr(os, "replace", replace)
    world.launch()
    assert order == ["model.py", "fl_config.json"] * 2
    for email in (ALICE, BOB):
        asked = world.site.client(email).project(PROJECT, "request")
        for name in ("model.py", "fl_config.json"):
            assert (asked.path / name).read_bytes() == (world.place.path / name).read_bytes()
    assert not [event for event in world.advance() if isinstance(event, RequestSent)]


def test_a_request_that_was_lost_or_changed_is_sent_again(world: World) -> None:
    other = World(world.site.data_dir.parent / "other").launch()
    asked = other.site.client(ALICE).project(PROJECT, "request")
    (asked.path / "model.py").write_text("# somebody else's", encoding="utf-8")
    other.site.client(BOB).project(PROJECT, "request").config.unlink()
    sent = [e.participant for e in other.advance() if isinstance(e, RequestSent)]
    assert sent == [ALICE, BOB]
    assert (asked.path / "model.py").read_text(encoding="utf-8") == LINEAR


def test_a_participant_without_a_mailbox_is_named(tmp_path: Path) -> None:
    world = World(tmp_path)
    shutil.rmtree(world.site.datasites / BOB)
    world.launch()
    (wait,) = waits(world.advance())
    assert wait.whom == BOB
    assert "start its client" in wait.what
    assert not world.site.client(BOB).request.exists()  # it is not ours to make
    assert is_file(world.site.client(ALICE).project(PROJECT, "request").config)


def test_ready_is_a_permission_file_not_a_folder(tmp_path: Path) -> None:
    world = World(tmp_path).launch()
    for email in (ALICE, BOB):
        world.box(email).agg_weights.mkdir(parents=True)
    (wait,) = waits(world.advance())
    assert wait.whom == f"{ALICE}, {BOB}"
    world.ready(ALICE)
    (wait,) = waits(world.advance())
    assert wait.whom == BOB
    assert not is_file(world.box(ALICE).global_model(0))  # nobody begins before the others may
    write_bytes(world.box(BOB).agg_weights / "_.syftperm", b"{}")  # the oldest apps' sign
    world.advance()
    assert is_file(world.box(ALICE).global_model(0))


def test_the_test_set_is_asked_for_before_anybody_trains(tmp_path: Path) -> None:
    world = World(tmp_path).launch()
    world.ready()
    path = world.site.private_aggregator / "mnist_test_dataset.pt"
    path.unlink()
    (wait,) = waits(world.advance())
    assert wait.whom == AGGREGATOR
    assert "mnist_test_dataset.pt" in wait.what
    assert not is_file(world.box(ALICE).global_model(0))


def test_a_whole_project(world: World) -> None:
    for email in (ALICE, BOB):
        assert world.box(email).global_model(0).read_bytes() == saved(linear_weights())
    world.send(ALICE, 1, 1.0)
    world.send(BOB, 1, 3.0)
    world.advance()
    assert torch.equal(world.model(1)["fc.bias"], torch.full((10,), 2.0))
    world.send(ALICE, 2, 4.0)
    world.send(BOB, 2, 6.0)
    events = world.advance()
    assert not world.site.aggregator().project(PROJECT).path.exists()
    assert torch.equal(world.model(2)["fc.bias"], torch.full((10,), 5.0))
    assert [e.round for e in events if isinstance(e, RoundAggregated)] == [2]
    for email in (ALICE, BOB):
        for n in range(3):
            sent = world.box(email).global_model(n)
            assert sent.read_bytes() == world.place.global_model(n).read_bytes()
        assert not is_file(
            world.place.inbox(email) / "syft.pub.yaml"
        )  # nobody writes here any more
    assert sorted(p.name for p in world.place.agg_weights.iterdir()) == [
        f"agg_model_round_{n}.pt" for n in range(3)
    ]
    before = snapshot(world.site.data_dir)
    assert world.advance() == []
    assert snapshot(world.site.data_dir) == before


def test_done_does_not_depend_on_the_participants_folders(world: World) -> None:
    """The real aggregator looks into them first, and seldom ends."""
    for n in (1, 2):
        world.send(ALICE, n)
        world.send(BOB, n)
        world.advance(until_round=n)
    for email in (ALICE, BOB):
        box = world.site.client(email)
        (box.running / PROJECT).rename(box.done / PROJECT)
    world.advance()
    assert world.site.aggregator().project(PROJECT, "done").path.is_dir()


def test_what_is_published_has_the_real_apps_form(world: World) -> None:
    """And its accuracy is the one that a direct evaluation of the global model gives."""
    folder = world.site.public_results(PROJECT)
    assert read_json(folder / "accuracy_metrics.json") == [{"accuracy": 0, "round": 0}]
    write_json(
        world.box(ALICE).state,
        {"dataset_added": True, "model_train_progress": "Training Completed for Round 1"},
    )
    world.send(ALICE, 1, linear_weights(3))
    assert world.advance()
    rows = read_json(folder / "participants.json")
    assert rows[0] == {
        "Email": ALICE,
        "Fl Client Installed": True,
        "Project Approved": True,
        "Added Private Data": True,
        "Round (current/total)": "1/2",
        "Training Progress": "Training Completed for Round 1",
    }
    assert rows[1]["Round (current/total)"] == "0/2"
    assert rows[1]["Training Progress"] == "N/A"
    world.send(BOB, 1, linear_weights(4))
    world.advance()
    accuracy, _ = evaluate(load_model(LINEAR), world.model(1), *held_out())
    assert read_json(folder / "accuracy_metrics.json") == [
        {"accuracy": 0, "round": 0},
        {"round": 1, "accuracy": accuracy},
    ]
    text = (folder / "history.json").read_text(encoding="utf-8")
    assert ALICE not in text  # nothing per participant
    for row in read_json(folder / "participants.json"):
        assert set(row) == set(rows[0])


def test_stray_files_shift_no_round(world: World) -> None:
    for folder in (world.place.agg_weights, world.place.inbox(ALICE), world.box(ALICE).agg_weights):
        (folder / ".ipynb_checkpoints").mkdir()
        for name in (
            ".DS_Store",
            "agg_model_round_9.pt.bak",
            "trained_model_round_1.pt.tmp",
            "x.pt",
        ):
            (folder / name).write_bytes(b"x")
    (wait,) = waits(world.advance())
    assert wait.whom == f"{ALICE}, {BOB}"
    world.send(ALICE, 1, 1.0)
    world.send(BOB, 1, 1.0)
    world.advance()
    assert torch.equal(world.model(1)["fc.bias"], torch.ones(10))


def test_two_projects_go_on_side_by_side(world: World) -> None:
    second = small(project_name="Second", rounds=1)
    put_launch(world.site, second)
    world.advance()
    for email in (ALICE, BOB):
        write_permissions(
            world.site.client(email).project("Second").agg_weights, email, write=[AGGREGATOR]
        )
    world.advance()
    for email in (ALICE, BOB):
        write_state(world.site.aggregator().project("Second").update(email, 1), filled(1))
    world.advance()
    assert world.site.aggregator().project("Second", "done").path.is_dir()
    assert {wait.project for wait in waits(world.advance())} == {PROJECT}


# -------------------------------------------------------------------------------------------- weighting
@pytest.mark.parametrize(
    ("weighting", "infos", "mean"),
    [
        ("samples", ({"num_samples": 100}, {"num_samples": 300}), 4.0),
        ("equal", ({"num_samples": 100}, {"num_samples": 300}), 3.0),
        ("samples", ({"num_samples": 100}, None), 3.0),  # a real client does not say
        ("samples", (None, None), 3.0),
    ],
)
def test_updates_are_weighted_by_samples_where_all_are_known(
    tmp_path: Path, weighting: str, infos: tuple[Any, Any], mean: float
) -> None:
    world = World(tmp_path, weighting=weighting).launch()
    world.ready()
    world.advance()
    world.send(ALICE, 1, 1.0, infos[0])
    world.send(BOB, 1, 5.0, infos[1])
    world.advance()
    assert torch.equal(world.model(1)["fc.bias"], torch.full((10,), mean))
    (record,) = read_history(world.site).rounds
    assert sum(part.weight for part in record.contributions) == pytest.approx(1)
    assert sum(p.weight * v for p, v in zip(record.contributions, (1, 5), strict=True)) == mean


def test_samples_are_known_from_the_state_too(world: World) -> None:
    """A fedkit client tells them in state.json, the oldest apps in dataset_size.json."""
    write_json(world.box(ALICE).state, {"dataset_added": True, "num_samples": 100})
    write_json(world.place.inbox(BOB) / "dataset_size.json", {"dataset_size": 300})
    world.send(ALICE, 1, 1.0)
    world.send(BOB, 1, 5.0)
    world.advance()
    assert torch.equal(world.model(1)["fc.bias"], torch.full((10,), 4.0))


NONSENSE: list[Any] = [
    float("nan"),
    float("inf"),
    10**400,
    -(10**400),
    -3,
    0,
    True,
    "many",
    None,
    [],
    {},
    1.5,
    1e308,
]


@pytest.mark.parametrize("value", NONSENSE, ids=lambda value: repr(value)[:12])
def test_what_an_update_says_about_itself_stops_nothing(world: World, value: Any) -> None:
    info = {"num_samples": value, "loss": value, "seconds": value, "round": value}
    write_bytes(world.box(ALICE).state, json.dumps({"num_samples": value}).encode())
    world.send(ALICE, 1, 1.0, info)
    world.send(BOB, 1, 3.0, {"num_samples": 10})
    assert problems(world.advance()) == []
    assert torch.equal(world.model(1)["fc.bias"], torch.full((10,), 2.0))  # equally: one is unknown
    assert is_file(world.box(ALICE).global_model(1))


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'"x"', b"[" * 10**5, b'{"loss": '])
def test_an_unreadable_word_about_an_update_stops_nothing(world: World, content: bytes) -> None:
    write_bytes(world.place.update_info(ALICE, 1), content)
    write_bytes(world.box(ALICE).state, content)
    world.send(ALICE, 1, 1.0)
    world.send(BOB, 1, 3.0)
    assert problems(world.advance()) == []
    assert is_file(world.place.global_model(1))


@pytest.mark.parametrize("text", ["x" * 10**5, "\ud800", "\x1b[2J", 3, ["a"], {"a": 1}])
def test_what_a_participant_shows_to_the_world_stops_nothing(world: World, text: Any) -> None:
    write_bytes(world.box(ALICE).state, json.dumps({"model_train_progress": text}).encode())
    world.send(ALICE, 1)
    world.send(BOB, 1)
    assert problems(world.advance()) == []
    assert is_file(world.place.global_model(1))
    shown = read_json(world.site.public_results(PROJECT) / "participants.json")
    assert len(shown[0]["Training Progress"]) <= 200


# ------------------------------------------------------------------------------------------ refused updates
def state(**changes: Any) -> StateDict:
    values = {name.replace("_", "."): value for name, value in changes.items()}
    return {k: v for k, v in (linear_weights() | values).items() if v is not ...}


REFUSED: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "code": (lambda m: saved(state(fc_bias=Code(m))), "nothing in it was run"),
    "code, old format": (
        lambda m: saved(state(fc_bias=Code(m)), _use_new_zipfile_serialization=False),
        "nothing in it was run",
    ),
    "a whole model": (lambda m: saved(torch.nn.Linear(2, 2)), "nothing in it was run"),
    "truncated": (lambda m: saved(linear_weights())[:-50], "can't be read as tensors"),
    "empty": (lambda m: b"", "can't be read as tensors"),
    "text": (lambda m: b"sorry, not today\n", "can't be read as tensors"),
    "a list": (lambda m: saved([1, 2]), "holds a list, not a state dict"),
    "missing": (lambda m: saved(state(fc_bias=...)), "fc.bias is missing"),
    "extra": (lambda m: saved(state() | {"\x1b[2J": torch.zeros(1)}), "is not in the model"),
    "shape": (lambda m: saved(state(fc_bias=torch.zeros(9))), "fc.bias has shape"),
    "endless": (
        lambda m: saved(state(fc_bias=torch.zeros(1).expand(10**6, 10**6))),
        "fc.bias has shape",
    ),
    "dtype": (lambda m: saved(state(fc_bias=torch.zeros(10).half())), "fc.bias is torch.float16"),
    "NaN": (lambda m: saved(state(fc_bias=torch.full((10,), torch.nan))), "fc.bias holds NaN"),
    "inf": (lambda m: saved(state(fc_bias=torch.full((10,), torch.inf))), "holds infinite"),
    "no numbers": (
        lambda m: saved(state(fc_bias=torch.zeros(10, device="meta"))),
        "no plain tensor",
    ),
    "sparse": (lambda m: saved(state(fc_bias=torch.zeros(10).to_sparse())), "no plain tensor"),
    "bomb": (lambda m: recompressed(saved({"w": torch.zeros(2**20)})), "can't be read as tensors"),
    "too large": (lambda m: saved({"w": torch.zeros(2**20)}), "more than the"),
}


def spoil(path: Path, content: bytes) -> None:
    """The bytes as an update that has been there for a while (a young one may still be on its way)."""
    write_bytes(path, content)
    os.utime(path, (time.time() - 60, time.time() - 60))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", REFUSED)
def test_a_refused_update_is_waited_for_without_a_quorum(
    world: World, kind: str, tmp_path: Path
) -> None:
    make, says = REFUSED[kind]
    world.send(BOB, 1, 1.0)
    spoil(world.place.update(ALICE, 1), make(tmp_path / "marker"))
    events = world.advance()
    (wait,) = waits(events)
    assert wait.whom == ALICE
    assert "a sound update of round 1" in wait.what
    assert says in wait.remedy
    assert render(wait).isprintable()
    assert not (tmp_path / "marker").exists()
    assert not is_file(world.place.global_model(1))
    assert world.advance() == events
    world.send(ALICE, 1, 3.0)  # put right, the round ends
    world.advance()
    assert torch.equal(world.model(1)["fc.bias"], torch.full((10,), 2.0))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", REFUSED)
def test_a_refused_update_is_left_out_with_a_quorum(tmp_path: Path, kind: str) -> None:
    make, says = REFUSED[kind]
    world = World(tmp_path, participants=[ALICE, BOB, CAROL], min_participants=2).launch()
    world.ready()
    world.advance()
    world.send(BOB, 1, 1.0)
    world.send(CAROL, 1, 3.0)
    spoil(world.place.update(ALICE, 1), make(tmp_path / "marker"))
    events = world.advance()
    (refused,) = [event for event in events if isinstance(event, UpdateRefused)]
    assert (refused.participant, refused.round) == (ALICE, 1)
    assert says in refused.reason
    assert not (tmp_path / "marker").exists()
    assert torch.equal(world.model(1)["fc.bias"], torch.full((10,), 2.0))
    (record,) = read_history(world.site).rounds
    assert dict(record.refused) == {ALICE: refused.reason}
    assert [part.participant for part in record.contributions] == [BOB, CAROL]
    assert is_file(world.box(ALICE).global_model(1))  # it may do better in the next round


@posix
@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "2 GB", "linked folder"])
def test_an_update_that_is_no_file_is_refused(world: World, kind: str, tmp_path: Path) -> None:
    path = world.place.update(ALICE, 1)
    elsewhere = world.send(ALICE, 1, 1.0).rename(tmp_path / "elsewhere.pt")
    if kind == "link":
        path.symlink_to(elsewhere)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "2 GB":
        sparse_file(path, 2**31)
    else:
        inbox = world.place.inbox(ALICE)
        inbox.rename(tmp_path / "inbox")
        elsewhere.rename(tmp_path / "inbox" / path.name)
        inbox.symlink_to(tmp_path / "inbox")
    world.send(BOB, 1, 1.0)
    (wait,) = waits(world.advance())
    assert wait.whom == ALICE
    assert ALICE in wait.remedy
    assert not is_file(world.place.global_model(1))


def test_a_young_unreadable_update_may_still_be_on_its_way(world: World) -> None:
    """The real client rewrites in place: a reader may meet half a file."""
    world.send(BOB, 1, 1.0)
    path = world.send(ALICE, 1, saved(linear_weights())[:300])
    (wait,) = waits(world.advance())
    assert wait.whom == ALICE
    assert "sound" not in wait.what
    assert wait.seconds is not None  # somebody should look again
    os.utime(path, (time.time() - 60, time.time() - 60))
    (wait,) = waits(world.advance())
    assert "can't be read as tensors" in wait.remedy


def test_the_largest_numbers_of_float32_stop_nothing(world: World) -> None:
    """Finite, so they are averaged; what is written about them must be JSON all the same."""
    world.send(ALICE, 1, 3e38)
    world.send(BOB, 1, -3e38)
    assert problems(world.advance()) == []
    assert torch.equal(world.model(1)["fc.bias"], torch.zeros(10))


def test_an_average_that_has_diverged_is_said(world: World) -> None:
    world.send(ALICE, 1, 3e38)
    world.send(BOB, 1, 3e38)
    (text,) = problems(world.advance())
    assert "agg_model_round_1.pt" in text
    assert "learning_rate" in text


# ------------------------------------------------------------------------- quorum, time-out, late and absent
def quorum(root: Path, **changes: Any) -> World:
    world = World(root, participants=[ALICE, BOB, CAROL], min_participants=2, **changes).launch()
    world.ready()
    world.advance()
    return world


def test_without_a_quorum_a_round_waits_for_everybody(world: World) -> None:
    world.send(ALICE, 1)
    for patient in (True, False):
        (wait,) = waits(world.advance(patient=patient))
        assert wait.whom == BOB
        assert "min_participants" in wait.remedy


def test_with_a_quorum_the_others_have_until_the_time_out(tmp_path: Path) -> None:
    world = quorum(tmp_path, round_timeout_s=100.0)
    world.send(ALICE, 1, 1.0)
    world.send(BOB, 1, 3.0)
    (wait,) = waits(world.advance())
    assert wait.whom == CAROL
    assert wait.seconds is not None
    assert 0 < wait.seconds <= 100
    for email in (ALICE, BOB, CAROL):  # as if the round had begun earlier
        os.utime(world.box(email).global_model(0), (time.time() - 101,) * 2)
    os.utime(world.place.global_model(0), (time.time() - 101,) * 2)
    world.advance()
    assert torch.equal(world.model(1)["fc.bias"], torch.full((10,), 2.0))
    assert read_history(world.site).rounds[0].absent == (CAROL,)


def test_the_time_runs_from_when_the_last_one_could_begin(tmp_path: Path) -> None:
    world = quorum(tmp_path, round_timeout_s=100.0)
    world.send(ALICE, 1)
    world.send(BOB, 1)
    for email in (ALICE, BOB):
        os.utime(world.box(email).global_model(0), (time.time() - 101,) * 2)
    os.utime(world.place.global_model(0), (time.time() - 101,) * 2)
    (wait,) = waits(world.advance())
    assert wait.whom == CAROL


def test_below_the_quorum_no_time_out_ends_a_round(tmp_path: Path) -> None:
    world = quorum(tmp_path, round_timeout_s=0.001)
    world.send(ALICE, 1)
    time.sleep(0.01)
    (wait,) = waits(world.advance(patient=False))
    assert wait.whom == f"{BOB}, {CAROL}"
    assert "1 of at least 2" in wait.remedy


def test_absent_in_the_middle_and_back_again(tmp_path: Path) -> None:
    world = quorum(tmp_path, rounds=3)
    for email, value in ((ALICE, 1.0), (BOB, 2.0), (CAROL, 3.0)):
        world.send(email, 1, value)
    world.advance()
    world.send(ALICE, 2, 1.0)
    world.send(CAROL, 2, 2.0)
    world.advance(patient=False)
    assert torch.equal(world.model(2)["fc.bias"], torch.full((10,), 1.5))
    assert is_file(world.box(BOB).global_model(2))
    world.send(BOB, 2, 99.0)  # too late for its round: nothing changes
    for email, value in ((ALICE, 1.0), (BOB, 2.0), (CAROL, 6.0)):
        world.send(email, 3, value)
    world.advance()
    assert torch.equal(world.model(3)["fc.bias"], torch.full((10,), 3.0))
    records = read_history(world.site).rounds
    assert [record.absent for record in records] == [(), (BOB,), ()]
    assert [len(record.contributions) for record in records] == [3, 2, 3]


def test_a_late_joiner_gets_what_was_sent_before(tmp_path: Path) -> None:
    world = World(
        tmp_path, participants=[ALICE, BOB], min_participants=1, approval="quorum", rounds=3
    ).launch()
    (wait,) = waits(world.advance())
    assert wait.whom == f"{ALICE}, {BOB}"
    world.ready(ALICE)
    world.advance()
    world.send(ALICE, 1, 1.0)
    world.advance(patient=False)
    assert is_file(world.place.global_model(1))
    world.ready(BOB)
    world.advance()
    for n in (0, 1):
        assert (
            world.box(BOB).global_model(n).read_bytes() == world.place.global_model(n).read_bytes()
        )
    world.send(ALICE, 2, 1.0)
    world.advance(patient=False)
    world.send(ALICE, 3, 1.0)
    world.send(BOB, 3, 3.0)
    world.advance()
    assert torch.equal(world.model(3)["fc.bias"], torch.full((10,), 2.0))


def test_approval_of_all_is_waited_for_even_with_a_quorum(tmp_path: Path) -> None:
    world = World(tmp_path, participants=[ALICE, BOB], min_participants=1).launch()
    world.ready(ALICE)
    (wait,) = waits(world.advance(patient=False))
    assert wait.whom == BOB
    assert not is_file(world.box(ALICE).global_model(0))


# -------------------------------------------------------------------------------- again after a crash
def test_a_global_model_that_was_not_sent_is_sent_again(world: World) -> None:
    world.send(ALICE, 1)
    world.send(BOB, 1)
    world.advance()
    world.box(BOB).global_model(1).unlink()
    world.box(ALICE).global_model(0).unlink()
    world.advance()
    assert is_file(world.box(BOB).global_model(1))
    assert is_file(world.box(ALICE).global_model(0))


def test_a_round_whose_record_was_written_averages_the_same_updates(tmp_path: Path) -> None:
    """Killed between the record and the model; meanwhile somebody who was absent has sent an update."""
    world = quorum(tmp_path)
    world.send(ALICE, 1, 1.0)
    world.send(BOB, 1, 3.0)
    world.advance(patient=False, until_round=1)
    good = world.place.global_model(1).read_bytes()
    record = json.loads(world.place.record(1).read_bytes())
    world.place.global_model(1).unlink()
    for email in (ALICE, BOB, CAROL):
        world.box(email).global_model(1).unlink(missing_ok=True)
    world.send(CAROL, 1, 99.0)
    world.advance()
    assert world.place.global_model(1).read_bytes() == good
    again = json.loads(world.place.record(1).read_bytes())
    assert [p["participant"] for p in again["contributions"]] == [
        p["participant"] for p in record["contributions"]
    ]
    assert again["absent"] == [CAROL]


def test_the_record_says_who_gave_what(world: World) -> None:
    one = world.send(ALICE, 1, 1.0, {"num_samples": 100, "loss": 0.5, "seconds": 2.0})
    world.send(BOB, 1, 3.0, {"num_samples": 100, "loss": 0.25, "seconds": 1.0})
    digest = sha256_bytes(one.read_bytes())
    world.advance()
    first, second = read_history(world.site).rounds[0].contributions
    assert (first.participant, first.num_samples, first.loss, first.seconds) == (
        ALICE,
        100,
        0.5,
        2.0,
    )
    assert first.sha256 == digest
    assert second.weight == 0.5
    flat = torch.cat([v.flatten() for v in linear_weights().values()])
    assert first.norm == pytest.approx(float((torch.ones(flat.numel()) - flat).norm()), rel=1e-5)

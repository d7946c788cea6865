"""A stranger's bytes are data: nothing that arrives runs, becomes a path, or raises what a caller does not expect.

test_files, test_models, test_names, test_permissions and test_bad_input look at each door; here strangers write anything
anywhere where a wire file is read, and everybody goes on.
"""

import io
import json
import pickle
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedkit.base.errors import FedkitError
from fedkit.base.events import render
from fedkit.base.files import write_bytes, write_dataset, write_state
from fedkit.data.shards import write_shard
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.permissions import write_permissions
from fedkit.protocol import advance as node
from fedkit.protocol.approval import approve, approve_all
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    LINEAR,
    PROJECT,
    Code,
    held_out,
    launched,
    linear_weights,
    problems,
    put_launch,
    saved,
    shard,
    small,
    snapshot,
)


# ------------------------------------------------------------------------- model code, and when it runs
def with_marker(marker: Path, source: str = LINEAR) -> str:
    return f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n{source}"


def test_model_code_runs_only_after_a_person_approved_exactly_these_bytes(tmp_path: Path) -> None:
    """At the participant: not by arriving, not by being looked at, not after it was changed."""
    site, marker = Datasite.create(tmp_path / "data", ALICE), tmp_path / "marker"
    write_shard(site.private_client, shard([0]))
    asked = site.client().project(PROJECT, "request").path
    write_bytes(asked / "model.py", with_marker(marker).encode())
    small(participants=[ALICE]).save(asked / "fl_config.json")
    for _ in range(2):
        node.advance(site)
        node.status(site)
    assert not marker.exists()
    approve(site, PROJECT)
    place = site.client().project(PROJECT)
    node.advance(site)
    assert not marker.exists()  # there is nothing to train yet
    good = (place.path / "model.py").read_bytes()
    (place.path / "model.py").write_bytes(with_marker(marker, "# changed\n" + LINEAR).encode())
    write_state(place.global_model(0), linear_weights())
    assert "has changed since it was approved" in "\n".join(problems(node.advance(site)))
    assert not marker.exists()
    (place.path / "model.py").write_bytes(good)
    node.advance(site)
    assert marker.exists()
    assert place.trained(1).is_file()


def test_the_aggregator_runs_no_code_that_came_from_elsewhere(tmp_path: Path) -> None:
    """Its own launch is its own; nothing in mailboxes and inboxes is, whatever its name."""
    marker = tmp_path / "marker"
    net = launched(tmp_path / "net")
    for _ in range(2):
        net.advance(approve_all)
    place = net[AGGREGATOR].aggregator().project(PROJECT)
    for folder in (place.inbox(ALICE), net[ALICE].client().project(PROJECT).agg_weights):
        for name in ("model.py", "conftest.py", "__init__.py", "sitecustomize.py", "x.pth"):
            write_bytes(folder / name, with_marker(marker).encode())
    for name in ("trained_model_round_1.json", "dataset_size.json", "control.pt", "a.pkl", "b.npy"):
        write_bytes(place.inbox(ALICE) / name, pickle.dumps(Code(marker)))
    assert net.run(approve=approve_all).done
    assert not marker.exists()


@contextmanager
def no_pickle_but_torchs_careful_one() -> Iterator[list[str]]:
    """Any other unpickling in this block is noted: Python's own, and torch's without `weights_only`."""
    used: list[str] = []

    def note(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if name != "torch.load" or options.get("weights_only") is not True:
                used.append(name)
            return real(*args, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pickle, "load", note("pickle.load", pickle.load))
        patch.setattr(pickle, "loads", note("pickle.loads", pickle.loads))
        patch.setattr(torch, "load", note("torch.load", torch.load))
        yield used


def test_no_step_of_a_project_unpickles_without_care(tmp_path: Path) -> None:
    with no_pickle_but_torchs_careful_one() as used:
        assert launched(tmp_path).run(approve=approve_all).done
    assert used == []
    with no_pickle_but_torchs_careful_one() as used:  # the watch works
        torch.load(io.BytesIO(saved(torch.zeros(1))), weights_only=False)
        pickle.loads(pickle.dumps(1))
    assert used[0] == "torch.load"
    assert "pickle.loads" in used


# ------------------------------------------------------------------------------- anything, anywhere
WIRE = [
    # at the participants: the aggregator or anybody may write here
    "{alice}/app_data/fl_client/request/{p}/fl_config.json",
    "{alice}/app_data/fl_client/request/{p}/model.py",
    "{alice}/app_data/fl_client/request/Other/fl_config.json",
    "{alice}/app_data/fl_client/running/{p}/agg_weights/agg_model_round_0.pt",
    "{alice}/app_data/fl_client/running/{p}/agg_weights/agg_model_round_1.pt",
    "{alice}/app_data/fl_client/running/{p}/agg_weights/round_1.json",
    "{alice}/app_data/fl_client/running/{p}/state/state.json",
    "{alice}/app_data/fl_client/declined/{p}/declined.json",
    "{alice}/app_data/fl_client/request/_.syftperm",
    # at the aggregator: the participants write here
    "{agg}/app_data/fl_aggregator/running/{p}/fl_clients/{alice}/trained_model_round_1.pt",
    "{agg}/app_data/fl_aggregator/running/{p}/fl_clients/{alice}/trained_model_round_1.json",
    "{agg}/app_data/fl_aggregator/running/{p}/fl_clients/{alice}/dataset_size.json",
    "{agg}/app_data/fl_aggregator/running/{p}/fl_clients/{alice}/trained_model_round_2.pt",
    "{agg}/public/fl/{p}/history.json",
    "{agg}/public/fl/{p}/participants.json",
    # anybody's own permission files
    "{alice}/syft.pub.yaml",
    "{alice}/app_data/fl_client/request/syftperm.yaml",
    "{alice}/app_data/fl_client/running/{p}/agg_weights/syft.pub.yaml",
]
SCALARS = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        10**400,
        float("nan"),
        float("inf"),
        "",
        "x",
        "\ud800",
        "../..",
        "\x1b[2J\n",
    ]
)
KEYS = st.sampled_from(
    [
        *("num_samples", "loss", "seconds", "dataset_added", "model_train_progress", "reason"),
        *("participants", "learning_rate", "epoch", "rules", "pattern", "access"),
        *("project_name", "x"),
    ]
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)
CONTENTS = st.one_of(
    st.binary(max_size=40),
    VALUES.map(lambda value: json.dumps(value).encode()),
    st.sampled_from(
        [
            b"",
            b"[" * 5000,
            saved(linear_weights()),
            saved(linear_weights())[:-30],
            saved({"fc.weight": torch.zeros(10, 784), "fc.bias": torch.full((10,), torch.nan)}),
            saved([1, "x"]),
            saved(linear_weights() | {"\x1b[2J": torch.zeros(1)}),
        ]
    ),
)
ATTACKS = st.lists(
    st.tuples(st.sampled_from(WIRE), CONTENTS, st.integers(0, 3)), min_size=1, max_size=4
)


def crew(root: Path) -> list[Datasite]:
    """One shared tree in which strangers have every right: an aggregator and two participants."""
    sites = [Datasite.create(root, email) for email in (AGGREGATOR, ALICE, BOB)]
    write_shard(sites[1].private_client, shard([0, 1], 2))
    write_dataset(sites[0].private_aggregator / "mnist_test_dataset.pt", *held_out(20))
    put_launch(sites[0], small(min_participants=1, approval="quorum", linger_s=0))
    put_launch_of_bob(sites[2])
    return sites


def put_launch_of_bob(bob: Datasite) -> None:
    """Bob leads a project of his own with himself: it must end whatever happens to the other."""
    put_launch(bob, small(project_name="Bobs", aggregator=BOB, participants=[BOB], rounds=1))


def of_the_owner(path: str) -> bool:
    """What the owner's own client keeps: what was approved, and what training has spent."""
    return "approvals" in path or "spent" in path


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(ATTACKS)
def test_whatever_strangers_write_everybody_goes_on(
    tmp_path_factory: pytest.TempPathFactory, attacks: list[tuple[str, bytes, int]]
) -> None:
    root = tmp_path_factory.mktemp("crew")
    sites = crew(root)
    private = snapshot(root / "private", skip=of_the_owner)
    for turn in range(5):
        for path, content, when in attacks:
            if when == turn:
                name = path.format(alice=ALICE, agg=AGGREGATOR, p=PROJECT)
                write_bytes(root / "datasites" / name, content)
        for site in sites:
            events = node.advance(site, patient=turn < 4)
            rows = node.status(site)
            if turn == 0 or site.email == BOB:
                for name in ("Bobs", PROJECT):
                    if (site.client().request / name).is_dir() and not (
                        site.client().running / name
                    ).exists():
                        approve_quietly(site, name)
            for event in events:
                text = render(event)
                assert text.isprintable()
                assert "fedkit did not expect this" not in text, text
            assert all(row.project for row in rows)
    assert sites[2].aggregator().project("Bobs", "done").path.is_dir()
    assert snapshot(root / "private", skip=of_the_owner) == private
    allowed = {"apps", "datasites", "private", ".fedkit"}
    assert {path.name for path in root.iterdir()} == allowed
    assert {p.name for p in (root / "datasites").iterdir()} == {AGGREGATOR, ALICE, BOB}


def approve_quietly(site: Datasite, name: str) -> None:
    try:
        approve(site, name)
    except FedkitError as error:
        assert error.remedy is not None or error.field  # noqa: PT017


def test_names_from_a_request_never_become_paths(tmp_path: Path) -> None:
    """What lies outside stays as it is, whatever a config calls its files, its project and its people."""
    site = Datasite.create(tmp_path / "data", ALICE)
    outside = tmp_path / "victim"
    outside.mkdir()
    (outside / "model.py").write_text(LINEAR, encoding="utf-8")
    target = outside.as_posix()
    for field, value in [
        ("model_arch", f"{target}/model.py"),
        ("model_arch", "../../../../../../../victim/model.py"),
        ("project_name", "../../../../victim"),
        ("aggregator", "../../victim@example.org"),
        ("participants", [ALICE, f"{target}@example.org"]),
        ("test_dataset", f"{target}/x.pt"),
    ]:
        folder = site.client().project("Q", "request").path
        values = json.loads(small(project_name="Q", participants=[ALICE]).to_json())
        write_bytes(folder / "fl_config.json", json.dumps(values | {field: value}).encode())
        write_bytes(folder / "model.py", LINEAR.encode())
        before = snapshot(tmp_path)
        (text,) = problems(node.advance(site))
        assert field in text
        assert snapshot(tmp_path) == before


def test_a_deep_or_endless_file_takes_no_thread_with_it(tmp_path: Path) -> None:
    """Even in a thread with a small stack, where Python's own limit comes late."""
    site = Datasite.create(tmp_path, AGGREGATOR)
    Datasite.create(tmp_path, ALICE)
    write_dataset(site.private_aggregator / "mnist_test_dataset.pt", *held_out(20))
    put_launch(site, small(participants=[ALICE]))
    node.advance(site)
    box = site.client(ALICE).project(PROJECT)
    write_permissions(box.agg_weights, ALICE, write=[AGGREGATOR])
    deep = b"[" * 200_000 + b"]" * 200_000
    write_bytes(box.state, deep)
    write_bytes(site.aggregator().project(PROJECT).update_info(ALICE, 1), deep)
    write_state(site.aggregator().project(PROJECT).update(ALICE, 1), linear_weights(1))
    events: list[Any] = []
    old = threading.stack_size(2**19 if sys.platform != "win32" else 0)
    try:
        worker = threading.Thread(target=lambda: events.extend(node.advance(site)))
        worker.start()
        worker.join(60)
    finally:
        threading.stack_size(old)
    assert problems(events) == []
    assert site.aggregator().project(PROJECT).global_model(1).is_file()


def test_what_an_aggregator_publishes_costs_a_participant_little(tmp_path: Path) -> None:
    """Its history is looked into for one word, on every look: 10 MiB of it took 228 MB."""
    network = launched(tmp_path, rounds=2)
    network.run(approve=approve_all, until_round=1)
    results = network[BOB].public_results(PROJECT, AGGREGATOR)
    write_bytes(results / "history.json", b'{"stopped": [' + b"[]," * 3_400_000 + b"1]}")
    tracemalloc.start()
    try:
        node.advance(network[BOB])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30 * 2**20
    assert network.run().done

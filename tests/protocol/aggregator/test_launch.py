"""From a launch to a project: everything in its place, requests as they were written, and who is not ready is named."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from fedkit.base.events import Notice, RequestSent
from fedkit.base.files import is_file, write_bytes, write_json
from tests.support.aggregator import World
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    LINEAR,
    PROJECT,
    linear_weights,
    problems,
    put_launch,
    saved,
    tutorial,
    waits,
)


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

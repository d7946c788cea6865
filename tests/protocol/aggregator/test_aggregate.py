"""The end of a round: whose samples weigh how much, and that nothing said about an update stops it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from fedkit.base.files import is_file, read_json, write_bytes, write_json
from fedkit.rounds.history import read_history
from tests.support.aggregator import World
from tests.support.helpers import ALICE, BOB, PROJECT, problems


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


def test_an_average_that_has_diverged_is_said(world: World) -> None:
    world.send(ALICE, 1, 3e38)
    world.send(BOB, 1, 3e38)
    (text,) = problems(world.advance())
    assert "agg_model_round_1.pt" in text
    assert "learning_rate" in text

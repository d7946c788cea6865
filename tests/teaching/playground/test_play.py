"""The playground's rounds are fedkit's own, and what a frame says of them is true."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import pytest
import torch

import fedkit as fk
from fedkit.base.errors import FedkitError
from fedkit.learning.strategies.registry import STRATEGIES
from fedkit.privacy.dp.account import Mechanism, epsilon_of
from fedkit.teaching.playground.dealt import config_of, deal
from fedkit.teaching.playground.export import cell_of, config_json
from fedkit.teaching.playground.play import Frame, Play, rebuilt_from
from fedkit.teaching.playground.settings import Settings

SHORT: dict[str, Any] = {"rounds": 3, "samples": 12, "participants": 6}


def played(**values: Any) -> tuple[Play, list[Frame]]:
    play = Play(Settings.of(**{**SHORT, **values}))
    with contextlib.closing(play):
        return play, [play.step() for _ in range(play.settings.rounds)]


@pytest.mark.parametrize(
    "values",
    [
        *({"strategy": name} for name in STRATEGIES),
        {"data": "digits", "skew": "labels"},
        {"data": "blobs", "skew": "single", "hostile": 2, "attack": "labels"},
        {"data": "circles", "drop_out": 0.5, "hostile": 1, "attack": "scaled", "per_round": 4},
        {"data": "spirals", "skew": "sizes", "noise": 1.0},
        {"noise": 2.0, "unit": "example", "rounds": 1},
        {"noise": 2.0, "per_round": 1, "rounds": 4},
        {"skew": "swapped", "groups": 2, "split": 1},
        {"skew": "swapped", "groups": 3, "compare": "distance", "split": 2, "strategy": "scaffold"},
        {"groups": 2, "split": 1, "drop_out": 0.5, "hostile": 1, "per_round": 4, "layers": 2},
        {"groups": 2, "split": 1, "noise": 2.0, "unit": "example"},
        {"groups": 2, "split": 3},
    ],
    ids=str,
)
def test_the_cell_gives_the_same_bits(values: dict[str, Any]) -> None:
    """Every strategy, every trouble: what the panel shows is what `fk.simulate` gives where the cell is run."""
    play, frames = played(**values)
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(cell_of(play.settings), names)
    history = names["history"]
    assert history == play.history
    assert [r.loss for r in history] == [frame.loss for frame in frames]
    assert len(history) == play.settings.rounds


def test_the_config_is_one_that_a_file_may_hold(tmp_path: Path) -> None:
    settings = Settings(
        data="blobs", strategy="krum", strength=1, drop_out=0.2, noise=0, per_round=7
    )
    path = tmp_path / "fl_config.json"
    path.write_text(config_json(settings), encoding="utf-8")
    config = fk.FLConfig.load(path)
    assert config == config_of(settings)
    assert config.unknown == ()
    assert (config.strategy, config.min_participants) == ({"name": "krum", "hostile": 1}, 5)


def test_a_frame_says_who_did_what() -> None:
    _, frames = played(drop_out=0.6, hostile=2, per_round=4, rounds=8)
    seen = {person.state for frame in frames for person in frame.people}
    assert seen == {"sent", "dropped out", "not drawn"}
    for before, frame in zip([None, *frames], frames, strict=False):
        assert [p.name for p in frame.people if p.hostile] == ["erin", "frank"]
        came = [p for p in frame.people if p.state == "sent"]
        assert {p.email for p in frame.people if p.accuracy is not None} == set(frame.states) - {""}
        assert set(frame.rebuilt) == {p.email for p in came}
        assert all(p.norm is not None and p.found is not None for p in came)
        assert 1 <= len(came) <= 4
        if before is not None:
            assert (
                frame.bytes_up - before.bytes_up < frame.bytes_down - before.bytes_down
                or len(came) == 4
            )
        assert frame.drift is not None
        assert 0 <= frame.drift.left <= 1 + 1e-9


def test_bytes_are_those_of_the_files() -> None:
    from fedkit.base.tensors import state_bytes

    play, frames = played(strategy="scaffold")
    one = len(state_bytes(play.models[""]))
    beside = frames[-1].bytes_up / (3 * 6) - one
    assert 0 < beside < 2 * one
    plain, plain_frames = played()
    assert plain_frames[-1].bytes_up == 3 * 6 * len(state_bytes(plain.models[""]))
    assert plain_frames[-1].bytes_down == plain_frames[-1].bytes_up


def test_epsilon_is_the_accountants_and_grows() -> None:
    _, frames = played(noise=1.5)
    spent = [frame.epsilon for frame in frames]
    assert spent == [epsilon_of(Mechanism(1.0, 1.5, n), 1e-5, "RDP") for n in (1, 2, 3)]
    assert played()[1][-1].epsilon is None


def test_one_sample_in_one_step_comes_back_whole_and_many_do_not() -> None:
    _, alone = played(samples=1, epoch=1, participants=3)
    assert all(person.found == 1 for person in alone[0].people)
    rebuilt = next(iter(alone[0].rebuilt.values()))
    assert torch.allclose(rebuilt.candidates[0], rebuilt.truth[0].double(), atol=1e-3)
    _, many = played(samples=100, epoch=1, batch_size=100)
    assert sum(p.found or 0 for p in many[0].people) < 0.02 * 600


def test_numbers_that_are_none_rebuild_nothing() -> None:
    before = {"fc1.weight": torch.zeros(4, 2), "fc1.bias": torch.zeros(4)}
    broken = {name: torch.full_like(value, torch.nan) for name, value in before.items()}
    assert rebuilt_from("a", before, broken, torch.ones(3, 2)).found == 0
    assert rebuilt_from("a", before, before, torch.ones(3, 2)).found == 0


def test_a_round_that_overflows_says_so() -> None:
    with pytest.raises(FedkitError, match="grow without bound"):
        played(learning_rate=100, epoch=10, hostile=1, attack="scaled")


def test_own_data_are_opened_by_whoever_has_them_and_no_link_says_where(tmp_path: Path) -> None:
    values = torch.rand(60, 3, generator=fk.generator(0, "own"))
    labels = (values.sum(1) > 1.5).float()
    task = fk.FLConfig.from_dict(
        {
            **config_of(Settings()).model_dump(),
            "task": {"samples": "vectors", "shape": [3], "labels": "binary"},
        }
    ).task
    shards = {f"p{k}@example.org": (values[k::3], labels[k::3]) for k in range(3)}
    fk.write_data_folder(tmp_path / "mine", task, shards, (values, labels))
    digest = fk.read_data_folder(tmp_path / "mine").digest[:16]
    settings = Settings(data="own", own=digest, rounds=2)
    with contextlib.closing(Play(settings, tmp_path / "mine")) as play:
        assert [play.step().round for _ in range(2)] == [1, 2]
        assert [p.email for p in play.frame.people] == list(shards)
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(cell_of(settings, tmp_path / "mine"), names)
    assert names["history"] == play.history
    with pytest.raises(FedkitError, match="none is open here"):
        deal(settings)
    with pytest.raises(FedkitError, match="another folder"):
        deal(settings.changed(own="0" * 16), tmp_path / "mine")


def test_those_who_agree_get_a_model_of_their_own_and_it_is_judged_by_what_they_see() -> None:
    play, frames = played(
        skew="swapped", groups=2, split=3, participants=10, samples=40, rounds=8, learning_rate=1.0
    )
    people = play.config.participants
    assert [bool(frame.groups) for frame in frames] == [False, False, True, *[True] * 5]
    last = frames[-1]
    assert [group.members for group in last.groups] == [people[::2], people[1::2]]
    assert [person.group for person in last.people] == ["A", "B"] * 5
    assert set(last.states) == {*people, "A", "B"}
    assert last.drift is not None
    assert set(last.drift.means) == {"A", "B"}
    assert frames[2].drift is not None
    assert set(frames[2].drift.means) == {""}, "in that round they were together"
    assert frames[2].accuracy is not None
    assert frames[2].accuracy < 0.65
    assert all((group.accuracy or 0) > 0.8 and (group.own or 0) > 0.8 for group in last.groups)
    accuracies = [group.accuracy or 0 for group in last.groups]
    assert last.accuracy == pytest.approx(sum(accuracies) / 2)
    (_, plain), (_, swapped) = (play.dealt.test_of(group.members) for group in last.groups)
    assert torch.equal(plain, 1 - swapped)
    mixed = play.dealt.test[1]
    assert torch.equal(mixed[:150], plain[:150])
    assert torch.equal(mixed[150:], swapped[150:])


def test_a_group_that_is_too_small_for_its_rule_is_said_and_the_round_before_stays() -> None:
    settings = Settings.of(**SHORT, groups=2, split=1, strategy="krum")
    with contextlib.closing(Play(settings)) as play:
        assert play.step().round == 1
        for _ in range(2):
            with pytest.raises(FedkitError, match="can't go on by itself"):
                play.step()
        assert play.frame.round == 1


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_model_has_as_many_hidden_layers_as_are_asked_for(layers: int) -> None:
    play, frames = played(layers=layers, hidden=2)
    weights = [tuple(v.shape) for n, v in frames[-1].states[""].items() if n.endswith("weight")]
    assert weights == [(2, 2)] * (layers + 1)
    assert play.dealt.model.count("torch.relu") == layers


def test_fifty_four_take_part() -> None:
    _, frames = played(participants=54, samples=4, rounds=1)
    assert len(frames[0].people) == 54
    assert {person.state for person in frames[0].people} == {"sent"}

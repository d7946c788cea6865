"""Where models compute: the processor, or a GPU that somebody asked for. Without one, one message everywhere."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from typer.testing import CliRunner

from fedkit.base.events import Problem
from fedkit.cli.main import app
from fedkit.experiments.trial import check_trial
from fedkit.federation.network import Network
from fedkit.learning.device import find_device, place_of
from fedkit.learning.models import load_model
from fedkit.learning.randomness import OwnRandom, _lent, draws, is_repeatable
from fedkit.protocol.approval import approve_all
from fedkit.rounds.simulation import simulate
from tests.support.helpers import LINEAR, complaint, held_out, launched, shard, small

needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="there is no GPU that torch can use here"
)
ABSENT = "xpu" if torch.cuda.is_available() else "cuda"
DROPPING = LINEAR.replace(
    "self.fc(images.flatten(1))",
    "self.fc(torch.nn.functional.dropout(images.flatten(1), 0.5, self.training))",
)
TWO = [shard([0, 1, 2]), shard([3, 4, 5])]


def test_a_device_that_is_not_there_is_one_message_everywhere(tmp_path: Path) -> None:
    said = complaint(lambda: find_device(ABSENT))
    assert said.field == "device"
    assert said.remedy == 'leave it out to train on the processor ("cpu")'
    assert complaint(lambda: simulate(small(), TWO, held_out(), device=ABSENT)).what == said.what
    assert complaint(lambda: check_trial({"device": ABSENT})).what == said.what

    launched(tmp_path / "net", rounds=1)
    net = Network.open(tmp_path / "net", device=ABSENT)
    waiting = net.run(approve=approve_all).waiting
    named = [event.error.what for event in waiting if isinstance(event, Problem)]
    assert named
    assert set(named) == {said.what}
    net = Network.open(tmp_path / "net")  # and without it the project goes on
    assert len(net.run(approve=approve_all)) == 1

    for words in (
        ["run", "--out", str(tmp_path / "out"), "--device", ABSENT],
        [
            "client",
            "--email",
            "a@example.org",
            "--data-dir",
            str(tmp_path / "a"),
            "--config-path",
            str(tmp_path / "c.json"),
            "--port",
            "8080",
            "--device",
            ABSENT,
        ],
    ):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 1
        assert said.what in result.stderr
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "a").exists()


def test_what_takes_no_generator_draws_from_ours_and_leaves_the_shared_one() -> None:
    """As drop-out on a GPU does."""
    shared, own = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
    before = shared.get_state()
    drawn = [_lent(shared, own, lambda: torch.rand(3, generator=shared)) for _ in range(2)]
    assert torch.equal(shared.get_state(), before)
    assert torch.equal(torch.cat(drawn), torch.rand(6, generator=torch.Generator().manual_seed(2)))
    with pytest.raises(ZeroDivisionError):
        _lent(shared, own, lambda: 1 / 0)
    assert torch.equal(shared.get_state(), before)


@needs_gpu
@pytest.mark.parametrize("kind", ["dropout", "randn", "lstm"])
def test_drop_out_on_a_gpu_owns_its_generator(kind: str) -> None:
    place = torch.device("cuda")
    ones = torch.ones(64, device=place)
    network = torch.nn.LSTM(4, 4, 2, dropout=0.5).to(place)
    draw = {
        "dropout": lambda: F.dropout(ones, 0.5, training=True),
        "randn": lambda: torch.randn(64, device=place),
        "lstm": lambda: network(torch.ones(2, 3, 4, device=place))[0],
    }[kind]
    torch.cuda.manual_seed(3)
    before = torch.cuda.get_rng_state()
    with OwnRandom(5):
        one = draw(), draw()
    torch.rand(9, device=place)
    with OwnRandom(5):
        two = draw(), draw()
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert not torch.equal(*one)
    torch.cuda.set_rng_state(before)


@needs_gpu
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"strategy": {"name": "scaffold"}},
        {"dp": {"unit": "example", "epsilon": 8, "delta": 1e-3, "clip": 1.0}},
        {"dp": {"unit": "participant", "epsilon": 8, "delta": 1e-3, "clip": 1.0}},
    ],
)
@pytest.mark.parametrize("model", [LINEAR, DROPPING])
def test_a_gpu_trains_in_both_worlds(
    tmp_path: Path, changes: dict[str, object], model: str
) -> None:
    config = small(rounds=2, **changes)
    built = load_model(model).to("cuda")
    assert place_of(built).type == "cuda"
    assert draws(built, TWO[0][0]) == (model is DROPPING)
    assert is_repeatable(built, TWO[0][0])
    there = simulate(config, TWO, held_out(), model=model, exact=True, device="cuda")
    launched(tmp_path, model, rounds=2, **changes)
    between = Network.open(tmp_path, device="cuda").run(approve=approve_all)
    assert len(between) == len(there) == 2
    assert there.records[-1].loss == pytest.approx(
        simulate(config, TWO, held_out(), model=model, exact=True, device="cuda").records[-1].loss
    )

"""A model that diverges at one participant: it is named everywhere, and nobody else is taken for it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import fedkit as fk
from fedkit.base.errors import FedkitError
from fedkit.base.events import Notice, render
from fedkit.data.shards import Shard
from tests.support.digits import seeded
from tests.support.helpers import ALICE, BOB, CAROL, LINEAR, launched, small

WHO = [ALICE, BOB, CAROL]
# not a number as soon as an image is all white
DIVERGES = LINEAR.replace(
    "return self.fc(images.flatten(1))",
    "white = (images.flatten(1).amin(1) == 1).any()\n"
    "        return self.fc(images.flatten(1)) * (float('nan') if white else 1)",
)


def shards(diverges: int) -> list[Shard]:
    made = [(torch.rand(6, 1, 28, 28, generator=seeded(k)), torch.arange(6)) for k in range(3)]
    made[diverges][0][0] = 1.0
    return made


@pytest.mark.parametrize("diverges", range(3))
@pytest.mark.parametrize("strategy", ["fedavg", "median"])
def test_a_simulation_refuses_the_one_whose_update_is_no_number(
    diverges: int, strategy: str
) -> None:
    config = small(participants=WHO, rounds=1, min_participants=2, strategy={"name": strategy})
    (record,) = fk.simulate(
        config, shards(diverges), shards(diverges - 1)[diverges], model=DIVERGES
    )
    assert record.refused == {WHO[diverges]: "fc.weight holds NaN"}
    assert [part.participant for part in record.contributions] == [
        w for w in WHO if w != WHO[diverges]
    ]


def test_where_all_diverge_the_step_is_named() -> None:
    every = [shards(k)[k] for k in range(3)]
    with pytest.raises(
        FedkitError, match=rf"{ALICE}: fc.weight holds NaN; {BOB}.*smaller learning_rate"
    ):
        fk.simulate(small(participants=WHO), every, shards(0)[1], model=DIVERGES)


def test_files_say_it_to_the_participant_and_to_the_aggregator(tmp_path: Path) -> None:
    net = launched(tmp_path, DIVERGES)
    net.give_data(BOB, shards(0)[0])
    events = list[object]()
    see: Callable[[object], None] = events.append
    waiting = [render(event) for event in net.run(approve=fk.approve_all, on_event=see).waiting]
    (told,) = [e.text for e in events if isinstance(e, Notice) and e.email == BOB]
    assert "fc.weight holds NaN" in told
    assert "a smaller learning_rate" in told
    assert f"{BOB}: fc.weight holds NaN; weights grow without bound" in waiting[0]
    assert "launch anew with a smaller learning_rate" in waiting[0]

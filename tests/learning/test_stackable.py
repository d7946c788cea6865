"""Which models may be trained at once: what their graph does not show is found."""

import pytest
import torch

import fedkit as fk
from fedkit.learning.models import SAMPLE_MODEL, load_model, seed_weights
from fedkit.learning.stackable import stackable
from fedkit.learning.stacked import NotStackable
from tests.support.digits import uneven_shards
from tests.support.kinds import DEEP, INPLACE, KINDS, a_model


@pytest.fixture(scope="module")
def data() -> tuple[list[fk.Shard], fk.Shard]:
    return uneven_shards()


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    ("kind", "why"),
    {
        "forward hook": "hooks",
        "parameter hook": "hooks",
        "weight norm by a hook": "hooks",
        "spectral norm": "buffers",
        "weight norm": "hooks",
        "derived layer": "no chain",
        "forward of one object": "one object's own",
        "one storage": "share",
        "noise": "random",
        "drop-out in training only": "random",
        "own call": "another gradient",  # only the trial sees it
        "linear before flattening": "can't be stacked",
        "branch on the images": "can't be traced",
    }.items(),
)
def test_what_a_graph_does_not_show_is_found(
    data: tuple,  # type: ignore[type-arg]
    kind: str,
    why: str,
) -> None:
    source = KINDS[kind].source
    with pytest.raises(NotStackable, match=why):
        stackable(load_model(source), seed_weights(source), data[1])


def test_what_forward_remembers_is_found(data: tuple) -> None:  # type: ignore[type-arg]
    """Where it makes no difference to the graph: nobody knows when it will."""
    forward = "self.b(self.note(x).flatten(1))"
    for note in (
        "self.calls = getattr(self, 'calls', 0) + 1",
        "self.seen.append(1)",
        "SEEN.append(1)",
        "FLModel.seen.append(1)",
    ):
        source = (
            a_model("self.seen = []", forward)
            + f"""
    seen = []
    def note(self, x):
        {note}
        return x
SEEN = []
"""
        )
        with pytest.raises(NotStackable, match="remembers"):
            stackable(load_model(source), seed_weights(source), data[1])


@pytest.mark.parametrize("source", [SAMPLE_MODEL, DEEP, INPLACE])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_weights_of_zero_and_few_samples_are_tried_too(
    data: tuple,  # type: ignore[type-arg]
    source: str,
    count: int,
) -> None:
    nothing = {name: torch.zeros_like(value) for name, value in seed_weights(source).items()}
    images, labels = data[1]
    assert stackable(load_model(source), nothing, (images[:count], labels[:count]))
    own = KINDS["own call"].source
    nothing = {name: torch.zeros_like(value) for name, value in seed_weights(own).items()}
    with pytest.raises(NotStackable, match="another gradient"):
        stackable(load_model(own), nothing, (images[:count], labels[:count]))

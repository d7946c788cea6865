"""What tests of the aggregator's side ask for."""

from pathlib import Path

import pytest

from tests.support.aggregator import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Two participants, launched, and both ready."""
    world = World(tmp_path).launch()
    world.ready()
    world.advance()
    return world

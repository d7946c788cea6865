"""What tests of the panels ask for."""

import pytest

from fedkit.federation.network import Network
from fedkit.protocol.approval import approve_all
from tests.support.helpers import launched


@pytest.fixture(scope="module")
def after_a_round(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """A network after one round; nobody changes it."""
    net = launched(tmp_path_factory.mktemp("net"))
    net.run(approve=approve_all, until_round=1)
    return net

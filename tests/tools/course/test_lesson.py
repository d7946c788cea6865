"""A lesson's source: its title, and its name."""

from __future__ import annotations

import pytest

from fedkit.base.errors import FedkitError
from tests.support.lessons import write_lesson
from tools.course.lesson import read_lesson

pytestmark = pytest.mark.usefixtures("two_checks")


def test_a_source_is_read_by_its_name(tmp_path):
    write_lesson(tmp_path)
    assert read_lesson(tmp_path / "02_next.py").title == "The next"
    (tmp_path / "helper.py").touch()
    with pytest.raises(FedkitError, match="NN_name"):
        read_lesson(tmp_path / "helper.py")

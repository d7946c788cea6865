"""No number with a unit stands in a lesson that nobody holds: each is listed with its test, or with why it needs none."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.support import ROOT
from tests.support.claims import claims
from tools.course.lesson import read_lesson, source_paths

LISTED = yaml.safe_load(Path(__file__).with_name("claims.yaml").read_text("utf-8"))
PATHS = source_paths(ROOT / "notebooks")


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_what_a_lesson_claims_in_numbers_is_held(path: Path) -> None:
    assert sorted(claims(read_lesson(path))) == sorted(LISTED.get(path.stem[:2], {}))


def test_the_tests_that_hold_a_claim_are_there() -> None:
    assert set(LISTED) <= {path.stem[:2] for path in PATHS}
    for held in [held for lesson in LISTED.values() for held in lesson.values()]:
        if held.startswith("why "):
            continue
        file, name = held.split("::")
        text = (Path(__file__).parent / file).read_text("utf-8")
        assert f"def {name}(" in text, held


def test_numbers_are_found_and_options_claim_nothing(tmp_path: Path) -> None:
    source = tmp_path / "00_x.py"
    source.write_text(
        "# ---\n# jupyter:\n#   fedkit:\n#     budget_s: 1\n#     needs: x\n#     learn:\n#       - x\n# ---\n\n"
        "# %% [markdown]\n# It has 1,893 bytes, Two\n# files, and 97 % of 12 images.\n#\n"
        "# > **Predict.** Is it 5 kB?\n# >\n# > * a) 7 kB\n\n"
        '# %%\nfk.show(figure, f"{n} files, 3 MB, {x:4.0%}")\n\n'
        "# %% [markdown]\n# ## Readings\n#\n# * 8 MB\n",
        encoding="utf-8",
    )
    assert claims(read_lesson(source)) == [
        "1,893 bytes",
        "two files",
        "97%",
        "5 kb",
        "3 mb",
        "40%",
    ]

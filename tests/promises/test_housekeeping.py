"""What a stranger looks for in a repository is there, and agrees with itself."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedkit.base.distribution import VERSION

ROOT = Path(__file__).parents[2]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def test_the_version_is_the_same_wherever_it_stands() -> None:
    newest = re.search(
        r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert newest is not None
    assert newest[1] == VERSION == str(citation["version"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)


def test_the_citation_has_what_its_format_demands() -> None:
    """The required keys of Citation File Format 1.2.0, for the work and for each reference."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    assert citation["license"] == "Apache-2.0"
    assert citation["type"] in ("software", "dataset")
    for reference in citation["references"]:
        assert {"authors", "title", "type"} <= set(reference)


@pytest.mark.parametrize(
    "form", [path for path in FORMS if path.stem != "config"], ids=lambda p: p.stem
)
def test_an_issue_form_has_what_the_site_reads(form: Path) -> None:
    read: dict[str, Any] = yaml.safe_load(form.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(read)
    fields = [field for field in read["body"] if field["type"] != "markdown"]
    names = [field["id"] for field in fields]
    assert fields
    assert len(set(names)) == len(names)
    assert all(field["attributes"]["label"] for field in fields)
    assert any(field.get("validations", {}).get("required") for field in fields)


def test_each_test_that_the_threat_model_names_exists() -> None:
    table = (ROOT / ".github" / "SECURITY.md").read_text(encoding="utf-8")
    named = re.findall(r"`([a-z_/]+/(?:test_\w+\.py)?)`", table)
    assert len(named) > 10
    missing = [
        name for name in named if name != "private/" and not (ROOT / "tests" / name).exists()
    ]
    assert not missing, f"SECURITY.md names what is not in tests/: {missing}"


def test_the_types_travel() -> None:
    assert (ROOT / "fedkit" / "py.typed").is_file()

"""`fedkit client --transport pysyft` before anything is carried: what it asks for, and what it refuses with the reason."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from fedkit.federation.roads import pysyft
from tests.support.cli import fedkit
from tests.support.helpers import ALICE, BOB


def options(folder: Path) -> list[str]:
    where = ["--data-dir", str(folder / "data"), "--config_path", str(folder / "config.json")]
    return ["client", "--email", ALICE, "--port", "8080", *where]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--transport", "pysyft", "--synced"], "are two roads"),
        (["--drive", "x"], "belong to --transport pysyft"),
        (["--peer", BOB], "belong to --transport pysyft"),
        (["--transport", "train"], "is not"),
    ],
)
def test_what_does_not_go_together(tmp_path: Path, more: list[str], said: str) -> None:
    assert said in fedkit(*options(tmp_path), *more, code=2)
    assert not (tmp_path / "data").exists()


def test_there_is_no_option_for_the_token_itself() -> None:
    told = fedkit("client", "--help")
    assert "--token" in told
    assert "FILE" in told


@pytest.mark.parametrize("there", [None, "0.9.5", "0.11.0", "1.0.0"])
def test_pysyft_0_10_must_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str | None
) -> None:
    def version(name: str) -> str:
        if there is None:
            raise metadata.PackageNotFoundError(name)
        return there

    monkeypatch.setattr(pysyft.metadata, "version", version)
    said = fedkit(*options(tmp_path), "--transport", "pysyft", "--once", code=1)
    assert ("syft is not installed" if there is None else f"PySyft {there} is another one") in said
    install = '"syft>=0.10,<0.11"' if there else '".[pysyft]"'
    assert f"pip install {'' if there else '-e '}{install}" in said
    assert not (tmp_path / "data").exists()  # nothing was made, and no road taken

"""`fedkit playground`: says what is missing, refuses what is wrong, and serves a page that asks nobody else (slow)."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fedkit.base.distribution import how_to_install
from fedkit.cli import playground as command
from fedkit.cli.main import app
from tests.support import ROOT

VOILA = "voila>=0.5.13,<0.6"  # as pyproject.toml has it
SHOTS = ROOT / "runs" / "screenshots"


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["playground", *words])


@pytest.fixture
def with_voila(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if Voila were installed; nothing here gets as far as to start it."""
    monkeypatch.setattr(command, "need", lambda *_: None)
    monkeypatch.setattr(command, "_command", lambda *_: pytest.fail("it was started"))


def test_where_voila_is_missing_a_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "voila", None)
    done = run()
    assert done.exit_code == 1
    assert "the playground in a browser needs the extra [playground]" in done.stderr
    assert how_to_install("playground") in done.stderr


@pytest.mark.usefixtures("with_voila")
def test_what_is_wrong_is_said_before_anything_starts(tmp_path: Path) -> None:
    assert "did you mean fedprox?" in run("strategy=fedprocks").stderr
    assert "is no folder" in run("--data", str(tmp_path / "none")).stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run("--port", str(taken.getsockname()[1]))
    assert done.exit_code == 1
    assert "give another one, or 0 for any that is free" in done.stderr


def test_the_page_takes_nothing_from_elsewhere_and_the_secret_no_part_in_the_command_line(
    tmp_path: Path,
) -> None:
    words = command._command(tmp_path, 8866)
    assert "--Voila.ip=127.0.0.1" in words
    assert "--Voila.auto_token=True" in words
    environment = command._environment("a secret", tmp_path)
    assert environment["JUPYTER_TOKEN"] == "a secret"
    assert not any("secret" in word for word in words)
    folder = Path(environment["JUPYTER_PATH"].split(os.pathsep)[0]) / "voila/templates/fedkit"
    assert {path.name for path in folder.iterdir()} == {"conf.json", "index.html.j2", "page.html"}
    for path in folder.iterdir():
        addresses = re.findall(r"https?://[\w.@/-]*", path.read_text(encoding="utf-8"))
        assert set(addresses) <= {"https://"}, path.name  # the one that is taken out


# ------------------------------------------------------------------- Voila itself, in a real browser
@contextlib.contextmanager
def served(python: Path, home: Path, *words: str) -> Iterator[str]:
    """The address that the command prints."""
    data = Path(sys.prefix) / "share" / "jupyter"  # nbconvert's templates, lent as the packages are
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HOME": str(home)}
    environment["JUPYTER_PATH"] = str(data)
    line = [str(python), "-m", "fedkit", "playground", *words, "--no-browser", "--port", "0"]
    with subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            found = re.search(r"http://127\.0\.0\.1:\d+/\S*", server.stdout.readline())
            assert found is not None
            yield found.group()
        finally:
            server.terminate()  # as Ctrl-C, which who runs in the background may ignore
            try:
                assert server.wait(timeout=60) == 0
            finally:
                server.kill()  # or the block would wait for ever


@pytest.fixture(scope="module")
def voila(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has Voila, and lends everything else from the one that runs the tests."""
    folder = tmp_path_factory.mktemp("voila")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    ask = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    here, there = (
        subprocess.run([who, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()
        for who in (sys.executable, str(python))
    )
    (Path(there) / "lent.pth").write_text(f"{here}\n", encoding="utf-8")
    done = subprocess.run(
        [str(python), "-m", "pip", "install", "-q", VOILA],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"Voila can't be installed here: {done.stderr.strip()[-200:]}")
    return python


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_one_plays_in_a_browser_and_no_request_leaves_the_machine(
    browser: Any, voila: Path, tmp_path: Path, scheme: str
) -> None:
    context = browser.new_context(viewport={"width": 1000, "height": 1400}, color_scheme=scheme)
    context.set_default_timeout(180_000)
    page = context.new_page()
    asked: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    with served(voila, tmp_path, "data=circles&hostile=2&rounds=200") as address:
        plain = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with plain.open(address.partition("?")[0]) as answer:  # without the secret
            assert "/login?" in answer.geturl()
        page.goto(address)
        panel = page.locator(".fk-playground").last
        panel.get_by_role("button", name="Play").wait_for()
        assert (
            panel.get_by_label("data", exact=True).evaluate("e => e.selectedOptions[0].text")
            == "circles"
        )
        status = panel.get_by_role("status").first
        page.locator("body").press("Space")  # from anywhere on the page
        status.filter(has_text="plays: round 3 ").wait_for()
        page.locator("body").press("Space")
        panel.get_by_role("button", name="Play").wait_for()
        assert panel.locator(".fk-people img").count() == 10
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 1000
        paper = panel.evaluate("e => getComputedStyle(e).backgroundColor")
        assert (max(map(int, re.findall(r"\d+", paper)[:3])) < 90) == (scheme == "dark")
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SHOTS / f"playground-voila-{scheme}.png", full_page=True)
    context.close()
    assert [
        url for url in asked if not re.match(r"(https?|ws)://127\.0\.0\.1:|data:|blob:", url)
    ] == []
    assert len(asked) > 20
    assert wrong == []

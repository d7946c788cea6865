"""A real JupyterLab on loopback, and the few things that a browser test does with it.

    with running_lab(folder) as lab:                 # a server of its own, with a home of its own
        errors = console_errors(page)
        open_notebook(page, lab, "lesson.ipynb")     # waits until its kernel answers
        run_all(page)
        panel = page.locator(".fk-round-control").last
        set_theme(page, "dark")

Commands go through `window.jupyterapp`, which Lab exposes where it is told to: clicking through menus breaks with every
release. Locators of a test should start at its own panel, since Lab has buttons called "Run" of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import ROOT
from tests.support.cli import free_port

START_S = 60.0
HANG_S = 400.0

# Quiet and steady: no news, no tour, no autosave dialog, all cells in the page.
SETTINGS: dict[str, dict[str, Any]] = {
    "@jupyterlab/apputils-extension/notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
}

# What a browser says although nothing is wrong with the page: files that Lab asks for and does without.
HARMLESS = ("favicon", "custom.css", "ResizeObserver loop")


@dataclass(frozen=True)
class Lab:
    """A running server: its address, the secret that opens it, and the folder that it shows."""

    url: str
    token: str
    root: Path
    output: Path

    def address(self, notebook: str) -> str:
        """Where a notebook opens, in a workspace that remembers nothing."""
        return f"{self.url}/lab/workspaces/w{secrets.token_hex(4)}/tree/{notebook}?token={self.token}&reset"


@contextlib.contextmanager
def running_lab(folder: Path, root: Path | None = None) -> Iterator[Lab]:
    """JupyterLab with home, settings and connection files below `folder`; shows `root` (default: `folder/work`)."""
    root = root or folder / "work"
    root.mkdir(parents=True, exist_ok=True)
    environment = _environment(folder)
    port, token = free_port(), secrets.token_hex(16)
    output = folder / "lab.txt"
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={root}",
        f"--IdentityProvider.token={token}",
        "--LabApp.expose_app_in_browser=True",
        "--LabApp.extension_manager=readonly",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    with output.open("wb") as text:
        server = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=text, stderr=subprocess.STDOUT
        )
    lab = Lab(f"http://127.0.0.1:{port}", token, root, output)
    try:
        _wait_until_it_answers(lab, server)
        yield lab
    finally:
        _stop(lab, server)


def _environment(folder: Path) -> dict[str, str]:
    names = ("CONFIG", "DATA", "RUNTIME")
    jupyter = {f"JUPYTER_{name}_DIR": folder / "jupyter" / name.lower() for name in names}
    lab = {
        f"JUPYTERLAB_{name}_DIR": folder / "lab" / name.lower()
        for name in ("SETTINGS", "WORKSPACES")
    }
    for plugin, values in SETTINGS.items():
        path = lab["JUPYTERLAB_SETTINGS_DIR"] / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values), encoding="utf-8")
    home = folder / "home"
    home.mkdir(exist_ok=True)
    own = {"HOME": home, "USERPROFILE": home, "IPYTHONDIR": folder / "ipython"}
    own["MPLCONFIGDIR"] = folder / "matplotlib"
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        **{name: str(path) for name, path in (jupyter | lab | own).items()},
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": "1",
    }


def _call(lab: Lab, path: str, method: str = "GET") -> Any:
    request = urllib.request.Request(
        f"{lab.url}{path}", headers={"Authorization": f"token {lab.token}"}, method=method
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
        request, timeout=5
    ) as answer:
        data = answer.read()
    return json.loads(data) if data else None


def _wait_until_it_answers(lab: Lab, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if server.poll() is not None:
            break
        with contextlib.suppress(OSError):
            _call(lab, "/api/status")
            return
        time.sleep(0.1)
    raise RuntimeError(
        f"JupyterLab did not start:\n{lab.output.read_text(errors='replace')[-3000:]}"
    )


def _stop(lab: Lab, server: subprocess.Popen[bytes]) -> None:
    """Kernels first: a server that is killed leaves them running."""
    with contextlib.suppress(OSError, ValueError):
        for kernel in _call(lab, "/api/kernels"):
            with contextlib.suppress(OSError):
                _call(lab, f"/api/kernels/{kernel['id']}", "DELETE")
    server.terminate()
    try:
        server.wait(timeout=10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def console_errors(page: Any) -> list[str]:
    """Errors of the page from now on, as a list that grows."""
    found: list[str] = []

    def note(text: str) -> None:
        if not any(word in text for word in HARMLESS):
            found.append(text)

    page.on(
        "console",
        lambda m: note(f"{m.text} ({m.location.get('url')})") if m.type == "error" else None,
    )
    page.on("pageerror", lambda error: note(str(error)))
    return found


_CONNECTED = """() => {
  const shown = window.jupyterapp?.shell.currentWidget;
  const context = shown?.context?.sessionContext;
  return Boolean(context?.isReady && context.session?.kernel?.connectionStatus === 'connected'
    && context.session.kernel.info);
}"""


def open_notebook(page: Any, lab: Lab, notebook: str, sidebar: bool = False) -> None:
    """Open it and wait until its kernel is connected; the icon for that turns too early."""
    page.goto(lab.address(notebook))
    page.wait_for_function(_CONNECTED, timeout=60_000)
    if not sidebar and page.evaluate("() => !window.jupyterapp.shell.leftCollapsed"):
        command(page, "application:toggle-left-area")


_COMMAND = """async ([name, values, most]) => {
  let timer;
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Error(`${name} has not ended after ${most} s`)), 1000 * most);
  });
  await Promise.race([window.jupyterapp.commands.execute(name, values), late]);
  clearTimeout(timer);
}"""


def command(page: Any, name: str, **arguments: Any) -> None:
    """One of Lab's own commands, until it is done; an error after `HANG_S`, since a dead kernel never answers."""
    page.evaluate(_COMMAND, [name, arguments, HANG_S])


def run_all(page: Any) -> None:
    """Run every cell, until the last one has ended. A cell that ends in an error fails the test with its text."""
    command(page, "notebook:run-all-cells")
    errors = page.locator('[data-mime-type="application/vnd.jupyter.stderr"]').all_inner_texts()
    failed = [text for text in errors if "Traceback" in text or "Error" in text]
    assert not failed, failed[0]


def run_cell(page: Any, index: int) -> None:
    """Run one cell, until it has ended."""
    page.evaluate(
        """index => {
          const notebook = window.jupyterapp.shell.currentWidget.content;
          notebook.deselectAll();
          notebook.activeCellIndex = index;
        }""",
        index,
    )
    command(page, "notebook:run-cell")


def set_theme(page: Any, theme: str) -> None:
    """ "light" or "dark"; waits until the page has its colours."""
    command(page, "apputils:change-theme", theme=f"JupyterLab {theme.capitalize()}")
    light = "true" if theme == "light" else "false"
    page.wait_for_function(f"() => document.body.dataset.jpThemeLight === '{light}'")
    page.locator("#jupyterlab-splash").wait_for(state="detached")

"""`fedkit playground`: federated learning to play with, in a browser, without a line of code.

Voila serves the panel of `fk.playground()` on the loopback address. A page needs the secret of this run, which the printed
address holds; no other machine is asked for anything. Each page has a kernel of its own, which ends with the command.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import webbrowser
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from fedkit.base.distribution import need
from fedkit.base.errors import FedkitError
from fedkit.cli.output import say, stopping
from fedkit.teaching.playground import FOLDER

__all__ = ["playground"]

_START_S = 60.0


def playground(
    link: Annotated[
        str, typer.Argument(metavar="[LINK]", help="Settings to begin with, in quotes.")
    ] = "",
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="DIR", help="Your own data: what `fedkit data import` wrote."
        ),
    ] = None,
    port: Annotated[
        int,
        typer.Option("--port", min=0, max=65535, metavar="PORT", help="0 for any that is free."),
    ] = 8866,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page, or only say where it is.")
    ] = True,
) -> None:
    """Federated learning to play with in a browser, without a line of code."""
    need("the playground in a browser", "voila", "nbformat", "ipywidgets", "ipykernel")
    from fedkit.data.folder import read_data_folder  # they bring torch
    from fedkit.teaching.playground.settings import Settings

    query = Settings.of_link(link).link()
    if data is not None:
        read_data_folder(data)  # what is wrong with it is said here
    secret, port = secrets.token_urlsafe(24), _free(port)
    with tempfile.TemporaryDirectory(prefix="fedkit-playground-") as folder, stopping() as stop:
        output = Path(folder) / "voila.txt"
        with output.open("wb") as text:
            server = subprocess.Popen(
                _command(Path(folder), port),
                stdin=subprocess.DEVNULL,
                stdout=text,
                stderr=subprocess.STDOUT,
                env=_environment(secret, data),
                start_new_session=True,  # Ctrl-C is ours to hand on
            )
        try:
            _wait(server, port, output)
            where = f"http://127.0.0.1:{port}/?token={secret}{'&' if query else ''}{query}"
            say(f"The playground is at {where}")
            say("Ctrl-C ends it.")
            if browser:
                webbrowser.open(where)
            while not stop.wait(0.2):
                if server.poll() is not None:
                    raise _ended(output)
        finally:
            _end(server)


def _free(port: int) -> int:
    with socket.socket() as door:
        if (
            os.name == "posix"
        ):  # a port that was closed a moment ago is free; on Windows this means another thing
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind(("127.0.0.1", port))
        except OSError as error:
            raise FedkitError(
                f"{port} can't be taken ({error.strerror})",
                field="port",
                remedy="give another one, or 0 for any that is free",
            ) from error
        return int(door.getsockname()[1])


def _command(folder: Path, port: int) -> list[str]:
    """Voila on a notebook of one cell, in a folder that holds nothing else."""
    import nbformat

    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    cell = "from fedkit.teaching.widgets.playground_page import page\n\npage()"
    notebook.cells = [nbformat.v4.new_code_cell(cell)]
    served = folder / "page"
    served.mkdir()
    nbformat.write(notebook, served / "playground.ipynb")
    return [
        *(sys.executable, "-m", "voila", str(served / "playground.ipynb")),
        "--no-browser",
        "--Voila.ip=127.0.0.1",
        f"--port={port}",
        "--Voila.port_retries=0",
        "--Voila.auto_token=True",
        "--template=fedkit",
        "--VoilaConfiguration.allow_template_override=NO",
        "--VoilaConfiguration.file_allowlist=[]",
        "--VoilaConfiguration.extension_denylist=jupyterlab-jupytext",
        "--show_tracebacks=False",
    ]


def _environment(secret: str, data: Path | None) -> dict[str, str]:
    """The secret goes by the environment: other people on this machine can read command lines."""
    template = str(files("fedkit").joinpath("teaching", "playground", "page"))
    paths = [template, *filter(None, [os.environ.get("JUPYTER_PATH")])]
    own = {"JUPYTER_TOKEN": secret, "JUPYTER_PATH": os.pathsep.join(paths)}
    if data is not None:
        own[FOLDER] = str(data.resolve())
    return {**os.environ, **own}


def _wait(server: subprocess.Popen[bytes], port: int, output: Path) -> None:
    """Until the server answers. Raises FedkitError with what it said where it does not."""
    ask = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + _START_S
    while time.monotonic() < until and server.poll() is None:
        try:
            ask.open(f"http://127.0.0.1:{port}/voila/static/", timeout=2).close()
        except urllib.error.HTTPError:
            return  # it answers, if only with a no
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise _ended(output)


def _ended(output: Path) -> FedkitError:
    said = output.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    last = said[-1][:300] if said else "it said nothing"
    return FedkitError(
        f"Voila has ended: {last}", field="playground", remedy="look at that line, then start again"
    )


def _end(server: subprocess.Popen[bytes]) -> None:
    """Voila ends its kernels itself when it is asked to; whoever does not is ended."""
    server.terminate()
    try:
        server.wait(timeout=15)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()

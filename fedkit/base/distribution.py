"""How fedkit is installed: what the distribution is called, where its course lies, which extras there are, what each gives.

On PyPI the name `fedkit` is another project's (an app for Django), so the distribution is called `fedkit-course`; only the
import and the command are `fedkit`. A wheel carries the course in `fedkit/course`; in a clone it lies at the clone's top.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from fedkit.base.errors import FedkitError

__all__ = [
    "BRANCH",
    "DISTRIBUTION",
    "EXTRAS",
    "HOSTED_EXTRAS",
    "REPOSITORY",
    "VERSION",
    "WHEEL",
    "Extra",
    "clone",
    "course_files",
    "extra_of",
    "how_to_install",
    "is_there",
    "missing_extra",
    "need",
    "need_privacy",
    "requirements",
    "wheel_address",
    "without",
]

VERSION = "0.2.0"
DISTRIBUTION = "fedkit-course"
WHEEL = f"fedkit_course-{VERSION}-py3-none-any.whl"
"""The wheel of this release; until the distribution is registered, installations name it, or the repository."""


REPOSITORY = ""
"""Where the course lies on the web, such as "https://github.com/somebody/fedkit". While it is empty, nothing leads there:
no badge, no button for Colab or Binder, and the cell that installs asks for a wheel beside the notebook."""
BRANCH = "main"
HOSTED_EXTRAS = "hosted,privacy"
"""What the lessons need where a notebook server is given, and must stay as it is."""


@dataclass(frozen=True)
class Extra:
    """What is installed beside the core where it is asked for.

    gives : what one can do with it. modules : names to import, of what only this extra brings.
    """

    gives: str
    modules: tuple[str, ...]


EXTRAS = {
    "notebooks": Extra(
        "the lessons in JupyterLab and in batch, widgets and pictures",
        (
            "jupyterlab",
            "ipykernel",
            "IPython",
            "ipywidgets",
            "jupyter_client",
            "matplotlib",
            "nbformat",
            "papermill",
            "torchvision",
        ),
    ),
    "privacy": Extra("differential privacy", ("opacus", "dp_accounting")),
    "flower": Extra("projects as Flower apps", ("flwr", "ray")),
    "dask": Extra("sweeps on a Dask cluster", ("distributed",)),
    "nvflare": Extra("projects as NVFlare jobs", ("nvflare",)),
    "pysyft": Extra("the road over PySyft", ("syft",)),
    "teacher": Extra("lessons as slides", ("nbconvert",)),
    "playground": Extra("the playground in a browser", ("voila",)),
    "gpu": Extra("what the doctor reads of an NVIDIA card", ("pynvml",)),
}
"""Name -> what it is. `network`, `hosted`, `all`, `book` and `dev` of pyproject.toml are made of these."""


def clone() -> Path | None:
    """The clone that this package runs from; None where it was installed from a wheel."""
    top = Path(__file__).resolve().parents[2]
    return top if (top / "pyproject.toml").is_file() and (top / "notebooks").is_dir() else None


def wheel_address() -> str:
    """Where the release's wheel lies on the web; "" while the repository has no address."""
    return f"{REPOSITORY}/releases/download/v{VERSION}/{WHEEL}" if REPOSITORY else ""


def course_files() -> Path:
    """The folder that has `notebooks/` and `data/`: the clone, or what the wheel brought."""
    return clone() or Path(str(files("fedkit"))) / "course"


@cache
def requirements() -> tuple[str, ...]:
    """Every requirement as pip reads it, those of extras with their marker: of the clone, else as installed.

    Empty where fedkit was neither cloned nor installed.
    """
    top = clone()
    if top is None:
        try:
            return tuple(metadata.requires(DISTRIBUTION) or ())
        except metadata.PackageNotFoundError:
            return ()
    import tomllib

    project = tomllib.loads((top / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = list(project["dependencies"])
    for name, extra in project["optional-dependencies"].items():
        for line in extra:
            what, semicolon, marker = line.partition(";")
            also = f"({marker.strip()}) and " if semicolon else ""
            lines.append(f"{what.strip()}; {also}extra == '{name}'")
    return tuple(lines)


def how_to_install(extra: str) -> str:
    """The command that adds an extra here: in the clone, or from where this fedkit came, by the program that brought it.

    In an environment that uv or pipx made for this command alone no pip adds anything: it is made anew, with all extras.
    """
    if clone() is not None:
        return f'pip install -e ".[{extra}]" in the clone'
    source = _came_from()
    if source is None:
        return f'pip install "./{WHEEL}[{extra}]" (the wheel of the release)'
    starter = _started_by()
    if starter is None:
        return f'pip install "{DISTRIBUTION}[{extra}] @ {source}"'
    too = [name for name in ("notebooks", "privacy") if name != extra and _whole(name)]
    command = f'{starter} "{DISTRIBUTION}[{",".join([*too, extra])}] @ {source}"'
    return f"{command} fedkit ..." if starter == "uvx --from" else command


def _started_by() -> str | None:
    """What made an environment for fedkit alone, as the start of a command that does so again; None for any other."""
    here = Path(sys.prefix)
    if (here / "uv-receipt.toml").is_file():
        return "uv tool install --force"
    if (here / "pipx_metadata.json").is_file():
        return "pipx install --force"
    # in uv's cache: uvx, or a pipx that has found uv
    return "uvx --from" if here.parent.name.startswith(("archive-v", "environments-v")) else None


def _whole(extra: str) -> bool:
    return all(is_there(module) for module in EXTRAS[extra].modules)


def _came_from() -> str | None:
    """The address that this distribution was installed from, as pip and uv note it (PEP 610)."""
    try:
        told = json.loads(
            metadata.distribution(DISTRIBUTION).read_text("direct_url.json") or "null"
        )
        url, vcs = told["url"], told.get("vcs_info")
        return f"{vcs['vcs']}+{url}" if vcs else str(url)
    except (metadata.PackageNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return None


def extra_of(module: str) -> str | None:
    """The extra that brings a module, by the name that an import has; None where the core needs it, or nobody knows it."""
    top = module.partition(".")[0]
    return next((name for name, extra in EXTRAS.items() if top in extra.modules), None)


def missing_extra(error: ModuleNotFoundError, what: str = "this") -> FedkitError | None:
    """What to say of an import that has failed; None where no extra brings what it wanted.

    what : what needs it, as the start of a sentence.
    """
    module = error.name or ""
    return without(module, what) if extra_of(module) is not None else None


def without(module: str, what: str) -> FedkitError:
    """The error of whatever needs a module of `EXTRAS` that is not there. Raises KeyError for another module."""
    extra = extra_of(module)
    if extra is None:
        raise KeyError(module)
    top = module.partition(".")[0]
    return FedkitError(
        f"{what} needs the extra [{extra}] ({EXTRAS[extra].gives}): {top} is not installed",
        remedy=how_to_install(extra),
    )


def need(what: str, *modules: str) -> None:
    """The door of what needs an extra. Raises FedkitError, with what to install, where one of `modules` is not there.

    what : what needs them, as the start of a sentence, such as "`fedkit start`".
    """
    for module in modules:
        if not is_there(module):
            raise without(module, what)


def need_privacy() -> None:
    """The door of what calculates with noise and what it promises. Raises FedkitError."""
    need("differential privacy", "opacus", "dp_accounting")


def is_there(module: str) -> bool:
    """Looked for without importing it, which may take seconds."""
    if module in sys.modules:
        return sys.modules[module] is not None
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False

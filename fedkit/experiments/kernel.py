"""A kernel that is this very Python, whatever kernels the machine or its user have installed.

The notebooks name the kernel `python3`. A kernel spec of that name in a user's folder, from another environment,
would shadow ours and run the lesson with other packages; so the spec is given, not looked up.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

from fedkit.experiments.side_by_side import same_python

__all__ = ["kernel_environment", "kernel_manager", "kill"]


def kernel_environment(workspace: Path, ipython_dir: Path) -> dict[str, str]:
    """The environment variables that make a run the same on every machine.

    A workspace of its own, no start-up files of the user's IPython, and what `same_python` gives.
    """
    places = {"FEDKIT_WORKSPACE": str(workspace), "IPYTHONDIR": str(ipython_dir)}
    return same_python() | places


def kernel_manager(
    environment: Mapping[str, str], alive: list[Any], log: Path
) -> type[AsyncKernelManager]:
    """A class of kernel managers for nbclient.

    Each process started is kept in `alive`, for `kill`; what it says past the notebook (a crash in C) goes to `log`.
    """

    class ThisInterpreter(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            spec = get_kernel_dict(
                extra_arguments=["--HistoryManager.enabled=False", "--log-level=40"]
            )
            return KernelSpec(**{**spec, "env": dict(environment)})

    class Manager(AsyncKernelManager):
        def __init__(self, **traits: Any) -> None:
            super().__init__(
                **{"kernel_spec_manager": ThisInterpreter(), "shutdown_wait_time": 2.0, **traits}
            )

        async def _async_start_kernel(self, **options: Any) -> None:
            with log.open("ab") as stream:  # the kernel inherits it; our own handle may go
                await super()._async_start_kernel(**{"stderr": stream, "stdout": stream, **options})
            alive.append(getattr(self.provisioner, "process", None))

        start_kernel = _async_start_kernel

    return Manager


def kill(alive: list[Any]) -> None:
    """End every kernel that still runs, at once: for Ctrl-C, when nobody waits for an answer any more."""
    for process in alive:
        with contextlib.suppress(OSError, AttributeError):
            process.kill()

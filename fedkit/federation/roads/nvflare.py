"""A project as an NVFlare job: `fedkit export nvflare DIR` writes it, `python DIR/job.py` runs it.

What is written is config, model and seed weights, and two files that call `nvflare_app.py`. NVFlare 2.9 ships the package's
files to nobody: fedkit, torch and nvflare are installed at each site beforehand.
"""

from __future__ import annotations

import re
from pathlib import Path

from fedkit.base.errors import FedkitError
from fedkit.config.fl_config import FLConfig
from fedkit.federation.roads.export import why_not_exported, write_app

__all__ = ["APP", "export_nvflare", "site_of", "why_not_nvflare"]


APP = "app"
"""The folder of the job's own files, which travel to each site."""

_CLIENT = '''"""A participant's side of this job; what it does is fedkit's."""

from pathlib import Path

from fedkit.federation.roads.nvflare_app import train

train(Path(__file__).parent)
'''
_JOB = '''"""Simulates this job, or writes the folder that `nvflare job submit -j` takes: `python job.py --help`."""

from pathlib import Path

from fedkit.federation.roads.nvflare_job import main

if __name__ == "__main__":
    main(Path(__file__).parent)
'''
_README = """# {project} as an NVFlare job

The global models are those of `fedkit run`, to the last bit (one kind of processor, one build of torch).

At each site: the wheel of fedkit-course that you have, which brings torch (on PyPI, fedkit is another project's name), and
`pip install "nvflare>=2.9,<2.10"`. All on one machine, with the data dirs that `fedkit run --out FOLDER` has made:

    python job.py simulate --data FOLDER/network --test-set /path/to/{test_set} --out models

For a federation that is up (provisioned, or `nvflare poc`), whose sites are called {sites}:

    python job.py write JOB --test-set /path/to/{test_set} --out /path/to/a/folder
    nvflare job submit -j JOB/{name}

The two paths are the server's. Each participant says where its samples lie before its site is started:

    export FEDKIT_SAMPLES=/path/to/private/fl_client

A site names its participant: `@` is written `-at-` and `.` is written `-` ({first} is {first_site}).
The controller is a class of fedkit, which a site allows by `class_allow_list` in its local/resources.json, or by letting
custom code in (BYOC). A round goes on without sites that have not answered after `--timeout` seconds, if the quorum of
{quorum} is there, and ends with a sentence where it is not. Whoever runs the server sees every update.
"""


def why_not_nvflare(config: FLConfig) -> FedkitError | None:
    """Why this project does not go to NVFlare, None where it does."""
    refused = why_not_exported(config, "NVFlare")
    if refused is not None:
        return refused
    sites = dict[str, str]()
    for who in config.participants:
        other = sites.setdefault(site_of(who), who)
        if other != who:
            return FedkitError(
                f"{other} and {who} would be the same site, {site_of(who)}",
                field="participants",
                remedy="give one of them another e-mail",
            )
    return None


def site_of(email: str) -> str:
    """A participant's name at NVFlare, which takes no e-mails."""
    return re.sub(r"[^a-z0-9-]", "-", email.lower().replace("@", "-at-"))


def export_nvflare(config: FLConfig, source: bytes, weights: bytes, out: Path) -> list[Path]:
    """Write the job into `out`, a new or an empty folder; returns its files.

    source : the text of model.py. weights : a state dict as `torch.save` writes it. Raises FedkitError where the project
    does not go to NVFlare, or `out` holds something.
    """
    refused = why_not_nvflare(config)
    if refused is not None:
        raise refused
    people = config.participants
    readme = _README.format(
        project=config.project_name,
        name=job_name(config),
        test_set=config.test_dataset,
        sites=", ".join(map(site_of, people[:3])) + (", ..." if len(people) > 3 else ""),
        first=people[0],
        first_site=site_of(people[0]),
        quorum=config.quorum,
    )
    texts = {"README.md": readme, "job.py": _JOB, f"{APP}/client.py": _CLIENT}
    return write_app(out, config, source, weights, package=APP, texts=texts)


def job_name(config: FLConfig) -> str:
    """The job's name: letters, digits and `_`."""
    return re.sub(r"[^A-Za-z0-9]+", "_", config.project_name).strip("_")[:48] or "project"

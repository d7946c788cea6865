"""Sets up the virtual environment of a clone, and does nothing where it is already right.

    python3 tools/setup.py                 what `make run` needs
    python3 tools/setup.py --dev           and what `make test` needs
    python3 tools/setup.py --dev --browser --syncthing
                                           and a Chromium for the browser tests, and Syncthing
    python3 tools/setup.py --book          and what `make book` needs: Sphinx, in runs/book-venv

The Makefile calls it; on Windows, where make is rare, call it yourself. It needs nothing but the
standard library, and runs far enough on an old Python to say that it is too old.

Two small files in the environment are its memory: STAMP, written last, says what was installed;
PARTIAL, written first, says that an installation began. An environment with PARTIAL in it was
killed in the middle and is made anew.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)
STAMP = "fedkit-setup.json"
PARTIAL = "fedkit-setup.partial"
# Looks whether the packages are there without importing them, which would take seconds.
INSTALLED = (
    "from importlib.util import find_spec as f; "
    "assert f('fedkit') and f('torch') and f('jupyterlab')"
)
# What the lessons need beside the core; the test tools have it too.
EXTRAS, DEV_EXTRAS = "notebooks,privacy", "dev"
# Starts playwright's driver and ends it again.
DRIVER = "import sys; sys.argv[1:] = ['--version']; import playwright.__main__ as p; p.main()"
# The names that Chromium and its sisters go by; tests/conftest.py looks for the same.
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class SetupError(Exception):
    """Something a person has to do; the text says what."""


def venv_python(venv):
    """The interpreter inside the environment, on POSIX and on Windows."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def wanted(venv, dev):
    """What STAMP holds when `venv` is right: a change of any of these installs again."""
    return {
        "pyproject": hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest(),
        # An editable install points at the checkout, and scripts at the environment: both by path.
        "checkout": str(ROOT),
        "venv": str(venv),
        "dev": dev,
    }


def is_ready(venv, dev):
    """True where nothing has to be done. An environment with the test tools serves without too."""
    try:
        found = json.loads((venv / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    good = [wanted(venv, True)] if dev else [wanted(venv, True), wanted(venv, False)]
    return found in good and not (venv / PARTIAL).exists() and works(venv, INSTALLED)


def works(venv, statement):
    """True where the environment's interpreter starts and carries out `statement`.

    -I keeps the checkout itself out of the path, so that only what is installed counts.
    """
    try:
        done = subprocess.run(
            [str(venv_python(venv)), "-I", "-c", statement],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0


def apt_available():
    """True where packages of the system may be installed: root, apt-get, and nobody said no."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    return root and bool(shutil.which("apt-get")) and not os.environ.get("FEDKIT_NO_APT")


def apt_install(*packages):
    """Installs Debian packages; False where that did not succeed."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # A list that cannot be refreshed may still be good enough, so only the install decides.
    subprocess.run(["apt-get", "update", "-qq"], env=env, check=False)
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    return subprocess.run(command, env=env, stdout=subprocess.DEVNULL, check=False).returncode == 0


def ensure_venv_module():
    """Debian and Ubuntu leave ensurepip out of python3: gets it, or says how."""
    if importlib.util.find_spec("ensurepip"):
        return
    package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    if apt_available():
        print(f"Python comes without venv here; installing {package}", flush=True)
        if apt_install(package):
            return
    raise SetupError(
        f"this Python ({sys.executable}) cannot make virtual environments: ensurepip is missing.\n"
        f"  -> on Debian and Ubuntu: sudo apt-get install {package}\n"
        "     then run the same command again"
    )


def refuse_borrowed(venv):
    """An environment behind a link may be another clone's: to install this one there would take it from that one."""
    try:
        of = json.loads((venv / STAMP).read_text(encoding="utf-8"))["checkout"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if venv.is_symlink() and of != str(ROOT) and (Path(of) / "pyproject.toml").is_file():
        raise SetupError(
            f"{venv} is a link to the environment of {of}; it is left alone.\n"
            "  -> remove the link, or choose another place: make VENV=path ..."
        )


def make_venv(venv):
    """Makes the environment, anew where the one that lies there is broken or half made."""
    if works(venv, "import pip") and not (venv / PARTIAL).exists():
        return
    foreign = venv.is_dir() and any(venv.iterdir())
    if foreign and not any((venv / name).exists() for name in ("pyvenv.cfg", PARTIAL)):
        raise SetupError(
            f"{venv} exists and is no virtual environment; it is left alone.\n"
            "  -> move it away, or choose another place: make VENV=path ..."
        )
    ensure_venv_module()
    print(f"Making the virtual environment {venv}", flush=True)
    venv.mkdir(parents=True, exist_ok=True)
    # PARTIAL comes first and stays while the old content goes: killed here, we know it is ours.
    (venv / PARTIAL).touch()
    for path in venv.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != PARTIAL:
            path.unlink()
    made = subprocess.run([sys.executable, "-m", "venv", str(venv)], check=False)
    if made.returncode != 0:
        raise SetupError(f"{sys.executable} -m venv {venv} failed; see above")


def has_old_name(venv):
    """True where this project is installed as `fedkit`, which it was called up to 0.1.0: two would own one command."""
    about = venv.glob("[Ll]ib/**/site-packages/fedkit-0.1.0.dist-info/METADATA")
    return any("teaching kit" in path.read_text(encoding="utf-8") for path in about)


def install(venv, dev):
    """Installs fedkit from the checkout, with what it needs. pip keeps whatever already fits."""
    (venv / PARTIAL).touch()
    target = f".[{DEV_EXTRAS if dev else EXTRAS}]"
    print(f"Installing {target} (the first time, PyTorch takes some minutes)", flush=True)
    pip = [str(venv_python(venv)), "-m", "pip"]
    if has_old_name(venv):
        subprocess.run([*pip, "uninstall", "--quiet", "--yes", "fedkit"], check=False)
    command = [*pip, "install", "-e", target]
    if not sys.stdout.isatty():
        # A person watches the bars move; a log file gets only what went wrong.
        command.append("--quiet")
    env = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    if subprocess.run(command, cwd=str(ROOT), env=env, check=False).returncode != 0:
        raise SetupError(
            "pip could not install fedkit; its own words are above.\n"
            "  -> check the network and the free disk space (a CUDA build of PyTorch takes 6 GB,\n"
            "     the CPU build 1 GB: CONTRIBUTING.md says how to get it), then try again"
        )
    stamp = venv / (STAMP + ".new")
    stamp.write_text(json.dumps(wanted(venv, dev), indent=1), encoding="utf-8")
    (venv / PARTIAL).unlink()
    stamp.replace(venv / STAMP)


def ensure_book(home):
    """Sphinx in an environment of its own, with the packages of the extra `book`: learners' has none of them."""
    import tomllib  # not there on a Python that is too old, which has been told so by now

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    packages = project["optional-dependencies"]["book"]
    wants = {"packages": packages, "venv": str(home)}
    try:
        found = json.loads((home / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found == wants and works(home, "import sphinx"):
        return
    make_venv(home)
    (home / PARTIAL).touch()
    print(f"Installing {' '.join(packages)} for the book", flush=True)
    command = [str(venv_python(home)), "-m", "pip", "install", "--quiet", *packages]
    env = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    if subprocess.run(command, env=env, check=False).returncode != 0:
        raise SetupError(
            "pip could not install what builds the book; its own words are above.\n"
            "  -> check the network, then try again"
        )
    (home / STAMP).write_text(json.dumps(wants, indent=1), encoding="utf-8")
    (home / PARTIAL).unlink()


def ensure_browser(venv):
    """What the browser tests need, through apt where that is allowed; else says what is missing."""
    missing = []
    if not os.environ.get("FEDKIT_CHROMIUM") and not any(shutil.which(name) for name in BROWSERS):
        missing += ["chromium", "fonts-liberation"]
    if not works(venv, DRIVER):
        # A bare Debian or Ubuntu lacks the one library that playwright's driver takes from outside.
        missing.append("libatomic1")
    elsewhere = "install Chromium or Chrome, and set FEDKIT_CHROMIUM to its path"
    ensure_packages(missing, "the browser tests", elsewhere)


def ensure_syncthing():
    """Syncthing for the tests of that road, in the same way."""
    missing = [] if shutil.which("syncthing") else ["syncthing"]
    ensure_packages(missing, "the tests over Syncthing", "install Syncthing into PATH")


def ensure_packages(missing, tests, elsewhere):
    """Installs what is missing through apt where that is allowed; else says what is skipped."""
    if missing and apt_available():
        print(f"Installing {' '.join(missing)} for {tests}", flush=True)
        if apt_install(*missing):
            return
    if missing:
        print(
            f"{tests[0].upper()}{tests[1:]} will be skipped.\n"
            f"  -> on Debian and Ubuntu: sudo apt-get install {' '.join(missing)}\n"
            f"     elsewhere: {elsewhere}",
            flush=True,
        )


def main():
    """Returns the exit code: 0 ready, 1 a person has to do something first."""
    parser = argparse.ArgumentParser(description="Set up fedkit's virtual environment.")
    parser.add_argument("--venv", default=".venv", help="where it lies (default: .venv)")
    parser.add_argument("--dev", action="store_true", help="with what the tests need")
    parser.add_argument("--browser", action="store_true", help="with Chromium, where possible")
    parser.add_argument("--syncthing", action="store_true", help="with Syncthing, where possible")
    parser.add_argument("--book", action="store_true", help="with Sphinx, in runs/book-venv")
    args = parser.parse_args()
    venv = (ROOT / args.venv).absolute()
    try:
        if sys.version_info[:2] < OLDEST:
            raise SetupError(
                f"fedkit needs Python {OLDEST[0]}.{OLDEST[1]} or newer; {sys.executable} is "
                f"{sys.version.split()[0]}.\n"
                "  -> install a newer one, or name it: make PYTHON=python3.12 ..."
            )
        if not is_ready(venv, args.dev):
            refuse_borrowed(venv)
            make_venv(venv)
            install(venv, args.dev)
            print(f"Ready: {venv}", flush=True)
        if args.book:
            ensure_book(ROOT / "runs" / "book-venv")
        if args.browser:
            ensure_browser(venv)
        if args.syncthing:
            ensure_syncthing()
    except SetupError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

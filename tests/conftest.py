"""What every test stands on: one thread, a home of its own, and a browser where there is one."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import settings

# Before anything imports torch: one thread a worker, so that two workers share two cores fairly.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

# The same examples in every run, and as long as they take: machines are busy, and no test asserts times.
settings.register_profile("fedkit", deadline=None, derandomize=True)
settings.load_profile("fedkit")

# The settings that the tutorial's .env holds: the shell that runs the tests may have them too.
SETTINGS = ("EMAIL", "DATA_DIR", "CONFIG_PATH", "PORT", "SYFTBOX_CLIENT_CONFIG_PATH")
# The same names as in tools/setup.py.
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# A quiet Chromium: nothing that calls out on its own, nothing that needs a GPU.
CHROMIUM_ARGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is marked `slow` belongs to `make test-all`; named by its id, it runs anywhere."""
    from tests.support.mutations import EXAMPLES

    if EXAMPLES > 1 or any("::" in argument for argument in config.args):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if not item.get_closest_marker("slow")]


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home for the whole run, so that no test reads or writes the user's own settings."""
    folder = tmp_path_factory.mktemp("home")
    # Workers of one run share matplotlib's font cache, which takes seconds to make.
    shared = folder.parent.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with pytest.MonkeyPatch.context() as patch:
        for name in SETTINGS:
            patch.delenv(name, raising=False)
        for name in ("HOME", "USERPROFILE"):
            patch.setenv(name, str(folder))
        patch.setenv("MPLCONFIGDIR", str(shared / "matplotlib"))
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        for kind in ("CONFIG", "DATA", "RUNTIME"):
            patch.setenv(f"JUPYTER_{kind}_DIR", str(folder / "jupyter" / kind.lower()))
        yield folder


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A network after two rounds of two participants; nobody changes it."""
    from fedkit.protocol.approval import approve_all
    from tests.support.helpers import launched

    net = launched(tmp_path_factory.mktemp("done"))
    assert net.run(approve=approve_all).done
    return net


@pytest.fixture
def arrivals(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, bytes]]:
    """The bytes of every file that the sync puts into a datasite, versions that are replaced later included."""
    from fedkit.base.files import write_bytes
    from fedkit.federation import sync

    seen: list[tuple[Path, bytes]] = []

    def write(path: Path, data: bytes, **options: Any) -> None:
        write_bytes(path, data, **options)
        seen.append((path, data))

    monkeypatch.setattr(sync, "write_bytes", write)
    return seen


@pytest.fixture
def two_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks that the tiny lessons of `tests/support/lessons.py` call."""
    from fedkit.teaching.check.base import REGISTRY, Check

    for name in ("_one", "_two"):
        monkeypatch.setitem(REGISTRY, name, Check(name, name, "hint", lambda answer: "yes", True))


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The Chromium that browser tests drive; skips, and says what is missing, where there is none.

    FEDKIT_CHROMIUM names one outside of PATH. With FEDKIT_REQUIRE_BROWSER set, none is a failure.
    """
    named = os.environ.get("FEDKIT_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found and Path(found).exists():
        return found
    no_browser(
        f"FEDKIT_CHROMIUM names {named}, which is not there"
        if named
        else f"no Chromium: none of {', '.join(BROWSERS)} is in PATH, FEDKIT_CHROMIUM is not set"
    )


def no_browser(why: str) -> NoReturn:
    """Skips; fails where FEDKIT_REQUIRE_BROWSER says that a browser has to be there."""
    if os.environ.get("FEDKIT_REQUIRE_BROWSER"):
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Any]:
    """A running headless Chromium, one a test module, as a playwright `Browser`."""
    # Imported here: playwright is needed by browser tests alone. One a module, since its event
    # loop occupies the thread for as long as it runs, and other tests start loops of their own.
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    # Chromium's sandbox refuses to run as root.
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    args = [*CHROMIUM_ARGS, *(["--no-sandbox"] if root else [])]
    with ExitStack() as stack:
        try:
            playwright = stack.enter_context(api.sync_playwright())
            chromium = playwright.chromium.launch(executable_path=chromium_path, args=args)
        except Exception as error:
            no_browser(
                f"the browser does not start: {error}. `playwright --version` tells whether its "
                "driver does; on a bare Debian or Ubuntu that needs the package libatomic1"
            )
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """An empty page with no cookies, as a playwright `Page`; waits at most 15 s for anything."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(15_000)
    yield context.new_page()
    context.close()

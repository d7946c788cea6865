"""The rules that hold for the project as a whole: floors, sizes, docstrings, what is committed.

Each rule is a function that returns complaints, so that one test can hold it against the project
and another against a small project that breaks it.
"""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from tests.support import ROOT

PACKAGE = ROOT / "fedkit"

# --------------------------------------------------------------------------------------- floors
# An import goes to a package on a lower floor, or to a sibling in its own package as long as there is no circle.
FLOORS = {
    "base": 1,
    "config": 2,
    "data": 3,
    "learning": 4,
    "datasite": 5,
    "privacy": 6,
    "rounds": 7,
    "protocol": 8,
    "federation": 9,
    "experiments": 10,
    "teaching": 11,
    "cli": 12,
}
# The face of the package, which names what all floors give, and `python -m fedkit`.
ROOF = {"__init__", "__main__"}
# What a model.py on the wire looks like: text for the learner, no part of the package's code.
NOT_CODE = {"sample_models"}


def modules(package: Path) -> dict[str, Path]:
    """Every module of a package by dotted name, `__init__` for the package itself."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        if NOT_CODE & set(parts):
            continue
        if len(parts) > 1 and parts[-1] == "__init__":
            parts = parts[:-1]
        found[".".join(parts)] = path
    return found


def imports(package: Path) -> dict[str, set[str]]:
    """For each module, the modules of the same package that it imports, anywhere in its text."""
    known = modules(package)
    graph: dict[str, set[str]] = {}
    for name, path in known.items():
        graph[name] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for target in imported(node, name, path, package.name):
                # `from fedkit import files` names a module, `from fedkit.base.files import x` a thing.
                while target and target not in known:
                    target = target.rpartition(".")[0]
                graph[name].add(target or "__init__")
        graph[name].discard(name)
    return graph


def imported(node: ast.AST, name: str, path: Path, package: str) -> Iterator[str]:
    """Dotted names inside `package` that an import statement asks for, without the package's."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name.split(".")[0] == package:
                yield alias.name.partition(".")[2]
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            here = name.split(".") if name != "__init__" else []
            depth = node.level - (1 if path.name == "__init__.py" else 0)
            above = here[: len(here) - depth] if depth else here
            base = ".".join([package, *above, *([node.module] if node.module else [])])
        if base.split(".")[0] == package:
            inner = base.partition(".")[2]
            for alias in node.names:
                yield f"{inner}.{alias.name}".strip(".")


def climbs(package: Path) -> list[str]:
    """Imports that go to no lower floor and to no sibling, and modules that are in no room."""
    complaints = []
    for name, targets in imports(package).items():
        room = name.split(".")[0]
        if room in ROOF:
            continue
        if room not in FLOORS:
            complaints.append(f"{name} is in none of the twelve packages")
            continue
        for target in sorted(targets):
            there = target.split(".")[0]
            if there != room and FLOORS.get(there, 99) >= FLOORS[room]:
                complaints.append(f"{name} (floor {FLOORS[room]}) imports {target}")
    return complaints


def circle(package: Path) -> list[str]:
    """The modules of one import circle in order, or nothing."""
    graph = imports(package)
    done: set[str] = set()

    def walk(name: str, trail: list[str]) -> list[str]:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name in done:
            return []
        for target in sorted(graph.get(name, ())):
            if found := walk(target, [*trail, name]):
                return found
        done.add(name)
        return []

    return next(filter(None, (walk(name, []) for name in graph)), [])


def small_package(folder: Path, texts: dict[str, str]) -> Path:
    """A package `fedkit` below `folder`, with a text for each path, and an empty `__init__.py`."""
    package = folder / "fedkit"
    for name, text in {"__init__.py": "", **texts}.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return package


def test_imports_only_go_down() -> None:
    assert climbs(PACKAGE) == []


def test_no_import_circle() -> None:
    assert circle(PACKAGE) == []


@pytest.mark.parametrize(
    ("path", "text", "complaint"),
    [
        (
            "base/files.py",
            "from fedkit.config.dp import N",
            "base.files (floor 1) imports config.dp",
        ),
        ("config/dp.py", "from ..learning import N", "config.dp (floor 2) imports learning"),
        (
            "config/dp.py",
            "def f():\n    from ..learning import N",
            "config.dp (floor 2) imports learn",
        ),
        ("config/dp.py", "from fedkit import learning", "config.dp (floor 2) imports learning"),
        ("config/dp.py", "import fedkit.learning", "config.dp (floor 2) imports learning"),
        ("config/dp.py", "import fedkit as fk", "config.dp (floor 2) imports __init__"),
        ("cli/main.py", "from fedkit.__main__ import x", "cli.main (floor 12) imports __main__"),
        ("lounge.py", "", "lounge is in none of the twelve packages"),
        ("lounge/sofa.py", "", "lounge.sofa is in none of the twelve packages"),
    ],
)
def test_floors_complain(tmp_path: Path, path: str, text: str, complaint: str) -> None:
    plain = {"config/dp.py": "N = 1", "learning/__init__.py": "N = 1", "__main__.py": "x = 1"}
    package = small_package(tmp_path, {**plain, path: text})
    assert len(climbs(package)) == 1
    assert climbs(package)[0].startswith(complaint)


def test_floors_allow_what_goes_down(tmp_path: Path) -> None:
    texts = {
        "__init__.py": "from fedkit.federation.network import N\nfrom fedkit.base import files",
        "__main__.py": "from fedkit.cli.main import run",
        "base/files.py": "import json\nx = 1",
        "learning/strategies/__init__.py": "from .fedavg import rule",
        "learning/strategies/fedavg.py": "from ...base.files import x\nrule = 1",
        "federation/network.py": "from fedkit.base import files\nfrom fedkit.learning.strategies import rule",
        "cli/main.py": "from fedkit.cli.run import run",
        "cli/run.py": "from ..federation.network import N\nrun = 1",
    }
    package = small_package(tmp_path, texts)
    assert climbs(package) == []
    assert circle(package) == []
    assert imports(package)["federation.network"] == {"base.files", "learning.strategies"}


def test_the_twelve_floors_are_whole_numbers_from_one_to_twelve() -> None:
    assert sorted(FLOORS.values()) == list(range(1, 13))
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name[0] not in "_."}
    assert rooms == set(FLOORS)


def test_the_root_of_the_package_holds_nothing_but_its_face() -> None:
    files = {path.name for path in PACKAGE.iterdir() if path.is_file()}
    assert files == {"__init__.py", "__main__.py", "py.typed"}


def test_circles_are_found(tmp_path: Path) -> None:
    texts = {"cli/main.py": "from fedkit.cli.run import run", "cli/run.py": "from . import main"}
    package = small_package(tmp_path, texts)
    assert climbs(package) == []
    assert circle(package) == ["cli.main", "cli.run", "cli.main"]


# ---------------------------------------------------------------------- the tests stand as the package stands
# What is told across rooms, and what tests share. Everywhere else a test file is named after its module.
NO_MIRROR = {"browser", "lessons", "promises", "support"}
# One story of several modules of one room.
STORIES = {
    "learning/strategies/test_drift.py",  # SCAFFOLD and FedNova on the same quadratics, where FedAvg goes astray
    "learning/strategies/test_oracles.py",  # each rule beside somebody else's
    "rounds/test_refused_models.py",  # who refuses a model, when, and that the remedy is one
    "teaching/plots/test_every_picture.py",  # what holds for all pictures
}


def out_of_place(root: Path) -> list[str]:
    """Files in rooms of `root`/tests that are about no module of that room in fedkit/ or tools/."""
    complaints = []
    for path in sorted((root / "tests").glob("*/**/*.py")):
        name = path.relative_to(root / "tests")
        if name.parts[0] in NO_MIRROR or path.name == "conftest.py" or name.as_posix() in STORIES:
            continue
        room = (root if name.parts[0] in ("tools", "benchmarks") else root / "fedkit") / name.parent
        module = path.stem.removeprefix("test_")
        if module == path.stem:
            complaints.append(f"{name.as_posix()} is no test; what tests share stands in support/")
        elif not any((room / it).exists() for it in (f"{module}.py", f"__{module}__.py", module)):
            complaints.append(f"{name.as_posix()} is about nothing in {name.parent.as_posix()}/")
    return complaints


def test_a_test_stands_where_its_module_stands() -> None:
    assert out_of_place(ROOT) == []
    assert [story for story in sorted(STORIES) if not (ROOT / "tests" / story).is_file()] == []


def test_tests_out_of_place_are_found(tmp_path: Path) -> None:
    rooms = (
        "fedkit/base/files.py",
        "fedkit/cli/page/a.css",
        "tools/setup.py",
        "tools/up/__main__.py",
    )
    right = ("base/test_files.py", "base/conftest.py", "cli/test_page.py", "tools/test_setup.py")
    told = ("tools/up/test_main.py", "promises/test_all.py", "support/any.py", "test_project.py")
    wrong = (
        "base/test_setup.py",
        "base/deep/test_files.py",
        "lounge/test_files.py",
        "cli/files.py",
    )
    for name in (*rooms, *(f"tests/{name}" for name in (*right, *told, *wrong))):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert out_of_place(tmp_path) == [
        "base/deep/test_files.py is about nothing in base/deep/",
        "base/test_setup.py is about nothing in base/",
        "cli/files.py is no test; what tests share stands in support/",
        "lounge/test_files.py is about nothing in lounge/",
    ]


# --------------------------------------------------------------------------- sizes and docstrings
LONGEST = 400


def test_modules_are_small() -> None:
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in modules(PACKAGE).values()
    }
    assert {name: n for name, n in lengths.items() if n > LONGEST} == {}


def undocumented(package: Path) -> list[str]:
    """Modules and public functions, classes and methods without a docstring.

    A method of a derived class may leave it to the method of the same name that has one.
    """
    described: set[str] = set()
    missing: list[tuple[str, str]] = []

    def look(body: list[ast.stmt], prefix: str, derived: bool) -> None:
        for node in body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            if node.name.startswith("_"):
                continue
            overload = any("overload" in ast.unparse(d) for d in node.decorator_list)
            if (ast.get_docstring(node) or "").strip():
                described.add(node.name)
            elif not overload:
                missing.append((prefix + node.name, node.name if derived else ""))
            if isinstance(node, ast.ClassDef):
                look(node.body, f"{prefix}{node.name}.", bool(node.bases))

    for name, path in modules(package).items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if not ast.get_docstring(tree):
            missing.append((name, ""))
        look(tree.body, f"{name}.", False)
    return [where for where, inherited in missing if inherited not in described]


def test_everything_public_has_a_docstring() -> None:
    assert undocumented(PACKAGE) == []


def test_missing_docstrings_are_found(tmp_path: Path) -> None:
    base = "'''m'''\nclass B:\n  '''d'''\n  def show(self):\n    '''Shows.'''\n"
    texts = {
        "__init__.py": "'''The package.'''",
        "files.py": "def f():\n  pass\ndef _g(): ...\nclass C:\n  '''d'''\n  def m(self):\n    ''' '''\n",
        "plots.py": base + "class D(B):\n  '''d'''\n  def show(self): ...\n  def hide(self): ...\n",
        "watch.py": "'''m'''\ndef show(): ...\n",
    }
    missing = ["files", "files.f", "files.C.m", "plots.D.hide", "watch.show"]
    assert undocumented(small_package(tmp_path, texts)) == missing


# -------------------------------------------------------------------------------- what is committed
PRODUCED = {"runs", "__pycache__", "node_modules"}
BINARY = {".npz", ".pt", ".png", ".jpg", ".gz"}


def committed() -> list[Path]:
    """Every file that git tracks or would track; without git, every file that is not produced."""
    ask = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(ask, cwd=ROOT, capture_output=True, check=True).stdout.decode()
        paths = [ROOT / name for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        # Names with a dot in front are caches and environments here, but for a few.
        parts = {path: path.relative_to(ROOT).parts for path in ROOT.rglob("*")}
        paths = [
            path
            for path, names in parts.items()
            if not PRODUCED & set(names)
            and (names[0][0] != "." or names[0] in {".ci", ".gitignore", ".gitattributes"})
        ]
    return sorted(path for path in set(paths) if path.is_file())


# A path that exists on one machine only. What a learner types is relative, or in a placeholder.
MACHINE_PATH = re.compile(
    r"(?<![\w.~}>:/-])/(?:home|root|Users|work|workspace|opt|mnt|media|srv)/+[\w.-]+"
    r"|\b[A-Za-z]:[\\/]+Users\b"
)
# Written apart, so that this file does not name them.
HOSTS = [
    ".".join(parts)
    for parts in [
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("deb", "debian", "org"),
        ("ubuntu", "com"),
        ("download", "pytorch", "org"),
        ("anaconda", "org"),
        ("anaconda", "com"),
        ("ossci-datasets", "s3"),
        ("yann", "lecun", "com"),
    ]
]
HOST = re.compile("|".join(map(re.escape, HOSTS)), re.IGNORECASE)
LEFTOVER = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX)\b|\b[Ii]ss" + r"ue\s*#?\d+")


def unwanted(text: str) -> list[str]:
    """Machine paths, registry hosts and leftovers of work in a text, as they stand there."""
    return [hit.group() for rule in (MACHINE_PATH, HOST, LEFTOVER) for hit in rule.finditer(text)]


def test_nothing_of_one_machine_is_committed() -> None:
    found = {}
    for path in committed():
        if path.suffix in BINARY:
            continue
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                texts = (
                    archive.read(name).decode("utf-8", "replace") for name in archive.namelist()
                )
                hits = [hit for text in texts for hit in unwanted(text)]
            if hits:
                found[path.relative_to(ROOT).as_posix()] = hits
            continue
        try:
            text = path.read_bytes().decode("utf-8")
        except UnicodeDecodeError:
            hits = ["neither text nor among BINARY"]
        else:
            hits = unwanted(text) + (["CRLF"] if "\r\n" in text else [])
        if hits:
            found[path.relative_to(ROOT).as_posix()] = hits
    assert found == {}


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        ("open('/" + "home/alice/x.pt')", ["/" + "home/alice"]),
        ("C:\\" + "Users\\bob", ["C:\\" + "Users"]),
        ("https://" + HOSTS[0] + "/simple", [HOSTS[0]]),
        ("# TO" + "DO later", ["TO" + "DO"]),
        ("fixes iss" + "ue #12", ["iss" + "ue #12"]),
        ("datasites/a@example.org/public, ~/home/x, see pytorch.org", []),
        ("an issue of 3 files; D/private/work/x; the rooted path", []),
    ],
)
def test_machine_traces_are_found(text: str, hits: list[str]) -> None:
    assert unwanted(text) == hits


def outputs(notebook: dict) -> list[str]:
    """Cells of a notebook that carry what an execution left."""
    left = []
    for index, cell in enumerate(notebook["cells"]):
        if cell.get("outputs") or cell.get("execution_count") is not None:
            left.append(f"cell {index}")
        if {"execution", "papermill"} & set(cell.get("metadata", {})):
            left.append(f"cell {index}: metadata")
    if {"papermill", "widgets"} & set(notebook.get("metadata", {})):
        left.append("metadata")
    return left


def test_notebooks_are_committed_without_outputs() -> None:
    left = {
        path.name: found
        for path in committed()
        if path.suffix == ".ipynb"
        if (found := outputs(json.loads(path.read_text(encoding="utf-8"))))
    }
    assert left == {}


def test_outputs_are_found() -> None:
    clean = {"cell_type": "code", "outputs": [], "execution_count": None, "metadata": {}}
    assert outputs({"cells": [clean, {"cell_type": "markdown", "metadata": {}}]}) == []
    dirty = [
        {**clean, "outputs": [{"text": "1"}]},
        {**clean, "execution_count": 3},
        {**clean, "metadata": {"papermill": {}}},
    ]
    notebook = {"cells": dirty, "metadata": {"widgets": {}}}
    assert outputs(notebook) == ["cell 0", "cell 1", "cell 2: metadata", "metadata"]


# ------------------------------------------------------------------------------------ dependencies
# Where conda-forge's name is another than the one pip knows.
CONDA_NAMES = {"torch": "pytorch-cpu", "matplotlib": "matplotlib-base"}
FROM_PIP = ["dp-accounting>=0.5"]
# Where the name to import is another than the one pip knows.
IMPORT_NAMES = {
    "PIL": "pillow",
    "dotenv": "python-dotenv",
    "yaml": "pyyaml",
    "fluke": "fluke-fl",
    "sklearn": "scikit-learn",
    "pynvml": "nvidia-ml-py",
}
# Needed although fedkit never imports them: what the learner starts, and tqdm's bars in a notebook.
NOT_IMPORTED = {"jupyterlab"}


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def extra(*names: str) -> list[str]:
    """What the extras bring, those that they name among them in their place."""
    found = []
    for name in names:
        for line in project()["optional-dependencies"][name]:
            requirement = Requirement(line)
            ours = requirement.name == project()["name"]
            found += extra(*sorted(requirement.extras)) if ours else [line]
    return found


def course() -> list[str]:
    """What the lessons need: the core, and two extras."""
    return [*project()["dependencies"], *extra("notebooks", "privacy")]


def bounds(requirements: list[str]) -> dict[str, str]:
    """Name -> specifier as written, names in the one spelling that pip and conda share."""
    parsed = [Requirement(line) for line in requirements]
    return {r.name.lower().replace("_", "-"): str(r.specifier) for r in parsed}


def test_conda_environment_agrees_with_pyproject() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    lines = environment["dependencies"]
    # What conda-forge may lack comes from pip, in one part at the end, after everything that conda can solve.
    assert [line for line in lines if not isinstance(line, str)] == [{"pip": FROM_PIP}]
    conda = bounds([*lines[:-1], *FROM_PIP])
    pip = {CONDA_NAMES.get(k, k): v for k, v in bounds(course()).items()}
    assert conda.pop("python") == project()["requires-python"]
    assert conda.pop("pip") == ""
    assert conda == pip
    assert environment["channels"] == ["conda-forge", "nodefaults"]


def test_every_dependency_has_a_lower_bound_only() -> None:
    """But for other engines, whose insides a road knows: those are of one version."""
    every = bounds([*course(), *extra("gpu", "teacher", "dev")])
    assert {k: v for k, v in every.items() if not re.fullmatch(r">=[\d.]+", v)} == {}
    voila = [line for line in extra("playground") if line.startswith("voila")]
    roads = bounds([*extra("network"), *voila])
    fits = r">=[\d.]+,<[\d.]+|<[\d.]+,>=[\d.]+"
    assert {k: v for k, v in roads.items() if not re.fullmatch(fits, v)} == {}


def test_installed_versions_fit() -> None:
    """The environment that runs the tests is one that pyproject.toml allows."""
    for line in course():
        requirement = Requirement(line)
        assert requirement.specifier.contains(metadata.version(requirement.name), prereleases=True)


def third_party(folder: Path) -> set[str]:
    """What the modules of a folder import from elsewhere, by the names that pip knows."""
    names = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names.add(node.module.split(".")[0])
    ours = {path.stem for path in folder.rglob("*.py")} | {"fedkit"}
    if folder.name != "fedkit":  # the package is installed without them
        ours |= {"benchmarks", "tests", "tools"}
    names -= set(sys.stdlib_module_names) | ours
    return {IMPORT_NAMES.get(name, name).lower().replace("_", "-") for name in names}


@pytest.mark.parametrize("folder", ["fedkit", "benchmarks", "notebooks", "tools", "tests"])
def test_what_is_imported_is_declared(folder: str) -> None:
    declared = set(bounds(course()))
    if folder == "fedkit":  # what a road needs, imported only where it is taken
        declared |= set(bounds(extra("all")))
    if folder in ("tests", "tools"):
        declared |= set(bounds(extra("dev")))
    if folder == "tools":  # what Sphinx reads, in the book's own environment
        declared |= set(bounds(extra("book")))
    if folder == "tests":  # what it installs into an environment of its own
        from tests.support.pysyft_network import PYSYFT
        from tests.support.syftbox_network import SYFTBOX

        declared |= set(bounds([SYFTBOX, PYSYFT]))
    if folder == "benchmarks":  # what it installs into environments of their own
        from benchmarks.field import PEERS

        declared |= set(bounds([peer.requirement for peer in PEERS.values()]))
    assert third_party(ROOT / folder) - declared == set()


def test_what_is_declared_is_needed() -> None:
    needed = third_party(PACKAGE) | third_party(ROOT / "notebooks") | NOT_IMPORTED
    assert set(bounds(course())) - needed == set()


def top_level_imports(path: Path) -> set[str]:
    """What importing a module imports at once: all but what stands in functions, or for type checkers."""
    found, todo = set(), list(ast.parse(path.read_text(encoding="utf-8")).body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.split(".")[0])
        todo += list(ast.iter_child_nodes(node))
    return found


# What is imported only where the extra is taken, and never elsewhere: pictures, panels, engines.
OF_EXTRAS = re.compile(
    r"teaching/(plots|widgets)/|federation/roads/(flower_app|nvflare_app|pysyft_\w+)\.py"
)


def test_the_core_is_imported_without_extras() -> None:
    from fedkit.base.distribution import EXTRAS

    theirs = {module for extra in EXTRAS.values() for module in extra.modules}
    found = {
        (name, module)
        for path in PACKAGE.rglob("*.py")
        if not OF_EXTRAS.match(name := path.relative_to(PACKAGE).as_posix())
        for module in top_level_imports(path) & theirs
    }
    assert found == set()


def test_extras_are_said_as_they_are_declared() -> None:
    """Every extra that the package knows brings the modules it says, and nothing of the core."""
    from fedkit.base.distribution import EXTRAS

    core = set(bounds(project()["dependencies"]))
    for name, known in EXTRAS.items():
        brings = set(bounds(extra(name)))
        modules = {IMPORT_NAMES.get(m, m).lower().replace("_", "-") for m in known.modules}
        assert modules <= brings | {"ray"}, name  # ray comes with flwr[simulation]
        assert not modules & core, name
    made_of = {"network", "hosted", "all", "dev", "book"}
    assert set(project()["optional-dependencies"]) == set(EXTRAS) | made_of


def test_third_party_imports_are_found(tmp_path: Path) -> None:
    package = small_package(
        tmp_path,
        {
            "files.py": "import os, torch.nn\ndef f():\n    from yaml import x\n    import tools.course"
        },
    )
    assert third_party(package) == {"torch", "pyyaml", "tools"}


# ------------------------------------------------------------------------- commands and documents
DOCUMENTS = ("README.md", "CONTRIBUTING.md")
AT_A_PROMPT = "tools/book/pages/prompt.md"


def fedkit_commands() -> set[str]:
    """The subcommands that `fedkit --help` lists."""
    # Imported here: no other test of this file needs the command line.
    import typer

    from fedkit.cli import main as cli

    return set(typer.main.get_command(cli.app).commands)


def make_targets() -> set[str]:
    """The targets that `make help` describes."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r'@echo ".*?make (\w+)', text))


def named(text: str, program: str) -> set[str]:
    """Subcommands of `program` that stand in a text as code: `program sub ...` or on a line."""
    return set(re.findall(rf"(?:`|^\s*(?:\$ )?){program} ([a-z]+)\b", text, re.MULTILINE))


def test_documents_name_every_command() -> None:
    text = {name: (ROOT / name).read_text(encoding="utf-8") for name in (*DOCUMENTS, AT_A_PROMPT)}
    assert fedkit_commands() == named(text[AT_A_PROMPT], "fedkit")
    assert {"run", "test", "lab"} - named(text["README.md"], "make") == set()
    assert make_targets() - named("\n".join(text.values()), "make") == set()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_name_only_commands_that_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    assert named(text, "fedkit") - fedkit_commands() == set()
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert named(text, "make") - set(re.findall(r"^(\w+):", makefile, re.MULTILINE)) == set()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_link_to_what_exists(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", prose) if "://" not in link]
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_keep_the_voice(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    # In double quotes, a forbidden word is only spoken of.
    text = re.sub(r"\"[^\"\n]*\"|“[^”\n]*”", "", text)
    assert re.findall(r"\b(?:simply|just|obviously)\b", text, re.IGNORECASE) == []


def test_make_knows_what_the_design_promises() -> None:
    assert make_targets() >= {"run", "test", "lab", "course", "bench"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no executable bit")
def test_ci_runs_make_test() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert re.search(r"^make test\b", script.read_text(encoding="utf-8"), re.MULTILINE)

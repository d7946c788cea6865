"""The book's sources: every lesson, command, key and name has its place, links lead there, nothing comes from outside."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fedkit.base.distribution import REPOSITORY
from fedkit.base.errors import FedkitError
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.paths import AggregatorProject, ClientProject
from tests.support import ROOT
from tools.book import npm, reference, sources

COURSE = ROOT / "notebooks"
LINK = re.compile(r"\]\(([^)\s]+)\)")
OUTSIDE = re.compile(
    r"""!\[[^\]]*\]\(\w+://|<(?:img|script|iframe|link|source)\b[^>]*?(?:src|href)=["']?(?:\w+:)?//"""
    r"""|url\(\s*["']?(?:\w+:)?//|@import\s+["'](?:\w+:)?//|\b(?:fetch|import)\(\s*["'](?:\w+:)?//"""
)


@cache
def written() -> dict[str, str]:
    return sources.written(COURSE)


def lessons() -> list[str]:
    return sorted(path.stem for path in (COURSE / "src").glob("*.py"))


# ------------------------------------------------------------------------------------- complete
def test_every_page_stands_once_in_the_contents() -> None:
    listed = [page for pages in sources.contents(COURSE).values() for page in pages]
    assert len(listed) == len(set(listed))
    files = {name.removesuffix(".md") for name in written()} | {f"notebooks/{n}" for n in lessons()}
    below = {name for name in files if name.startswith(("api/", "notebooks/teaching/"))}
    assert files - below - {"index"} == set(listed) - below
    trees = re.findall(r"```\{toctree\}\n(.*?)```", "\n".join(written().values()), re.DOTALL)
    entries = " ".join(trees)
    for name in below - {"api/index", "notebooks/teaching/README"}:
        assert re.search(rf"\b{name.rpartition('/')[2]}\b", entries), name


def test_the_first_page_has_every_lesson_with_its_promise() -> None:
    table = [line for line in written()["index.md"].splitlines() if re.match(r"\| \d\d \|", line)]
    assert [re.search(r"notebooks/(\w+)\.ipynb", line)[1] for line in table] == lessons()  # type: ignore[index]
    assert min(len(line.split("|")[-2].split()) for line in table) > 5


def test_every_name_of_fk_says_what_it_is() -> None:
    silent = [
        name
        for name, home, value in reference.public_names()
        if not reference.summary(value, name.rpartition(".")[2], home)
    ]
    assert silent == []


def test_every_name_of_fk_has_its_entry() -> None:
    text = "\n".join(text for name, text in written().items() if name.startswith("api/"))
    entries = set(re.findall(r"^:+\{py:(?:class|function|data)\} ([\w.]+)", text, re.MULTILINE))
    assert {name for name, _, _ in reference.public_names()} == entries


def test_every_command_and_option_has_help() -> None:
    import typer

    silent = []
    for names, command in reference.commands():
        silent += [names] if not (command.help or "").strip() else []
        context = typer.Context(command, info_name=names[-1])
        for parameter in command.get_params(context):
            record = parameter.get_help_record(context)
            # [required] and [default: 0] are typer's own words
            if record and not re.sub(r"\\?\[[^]]*\]", "", record[1]).strip():
                silent.append((*names, record[0]))
            if record and "RANGE" in record[0]:
                silent.append((*names, f"{record[0]} is no name of a value"))
    assert silent == []


def test_every_command_stands_on_its_page() -> None:
    page = written()["reference/commands.md"]
    anchors = set(re.findall(r"^\((fedkit[\w-]*)\)=$", page, re.MULTILINE))
    assert anchors == {"-".join(["fedkit", *names]) for names, _ in reference.commands()}
    assert "--help" not in re.findall(r"^\| `([^`]+)`", page, re.MULTILINE)


def test_every_key_stands_on_its_page() -> None:
    page = written()["reference/fl_config.md"]
    for name in FLConfig.model_fields:
        assert f"| `{name}` |" in page
    objects = {
        name
        for name, field in FLConfig.model_json_schema()["properties"].items()
        if "$ref" in json.dumps(field)
    }
    assert objects == set(reference.SETTINGS)


def test_the_protocol_names_every_file_that_crosses() -> None:
    page = written()["protocol.md"]
    client, aggregator = ClientProject(Path("P")), AggregatorProject(Path("P"))
    crossing = [
        client.global_model(7),
        client.state,
        client.round_settings(7),
        client.extra_for(7),
        client.trained(7),
        client.training_log(7),
        client.secure_list(7, "LIST"),
        aggregator.update("i", 7),
        aggregator.update_info("i", 7),
        aggregator.message("i", 7, "STEP"),
        aggregator.settings,
        aggregator.stopped,
    ]
    missing = [path.name for path in crossing if path.name.replace("7", "n") not in page]
    assert missing == []


def test_the_protocol_has_the_phases_in_their_order() -> None:
    from fedkit.protocol.aggregator import phases as aggregator
    from fedkit.protocol.client import phases as client

    page = written()["protocol.md"]
    for side in (client, aggregator):
        names = [phase.__name__.strip("_").replace("_", " ") for phase in side.PHASES]
        assert ", ".join(names) in page


# ---------------------------------------------------------------------------------------- links
def targets() -> set[str]:
    pages = set(written()) | {f"notebooks/{name}.ipynb" for name in lessons()}
    pictures = {f"notebooks/pictures/{p.name}" for p in (COURSE / "pictures").glob("*.png")}
    return pages | pictures


def anchors(page: str) -> set[str]:
    text = written().get(page, "")
    named = set(re.findall(r"^\(([\w-]+)\)=$", text, re.MULTILINE))
    directives = re.findall(r"^:+\{py:(?:class|function|data)\} ([\w.]+)", text, re.MULTILINE)
    return named | {f"fk.{name}" for name in directives}


def test_links_between_pages_lead_somewhere() -> None:
    lost = []
    every = set().union(*(anchors(page) for page in written()))
    for page, text in written().items():
        prose = re.sub(r"```.*?```|`[^`\n]*`", "`", text, flags=re.DOTALL)
        for link in LINK.findall(prose):
            path, _, anchor = link.partition("#")
            if "://" in link:
                continue
            to = (Path(page).parent / path).as_posix() if path else page
            to = re.sub(r"(?:^|(?<=/))(?!\.\./)[^/]+/\.\./", "", to)
            to = re.sub(r"(?:^|(?<=/))(?!\.\./)[^/]+/\.\./", "", to)
            if to not in targets() or (anchor and anchor not in (anchors(to) if path else every)):
                lost.append(f"{page}: {link}")
    assert lost == []


@pytest.mark.parametrize("folder", ["pages", "sphinx"])
def test_no_source_takes_anything_from_outside(folder: str) -> None:
    paths = [
        p
        for p in (ROOT / "tools/book" / folder).rglob("*")
        if p.suffix in (".md", ".css", ".js", ".html", ".py")
    ]
    assert paths
    assert [path for path in paths if OUTSIDE.search(path.read_text(encoding="utf-8"))] == []


def test_no_page_takes_anything_from_outside() -> None:
    prose = {
        f"src/{name}": (COURSE / "src" / f"{name}.py").read_text("utf-8") for name in lessons()
    }
    assert [name for name, text in {**written(), **prose}.items() if OUTSIDE.search(text)] == []


@pytest.mark.parametrize(
    "text",
    [
        "![a](https://example.org/a.png)",
        '<script async src="//example.org/a.js">',
        "a { background: url('http://example.org/a.png') }",
        '@import "https://example.org/a.css"',
        'fetch("https://example.org")',
    ],
)
def test_what_comes_from_outside_is_found(text: str) -> None:
    assert OUTSIDE.search(text)
    assert not OUTSIDE.search("[a link](https://example.org) and ![a picture](a.png)")


def test_no_button_leads_nowhere() -> None:
    """Binder, Colab and the repository have buttons once the course has an address, and not before."""
    settings = (ROOT / "tools/book/sphinx/conf.py").read_text(encoding="utf-8")
    assert settings.count("binderhub_url") == 1
    assert settings.index('if FACTS["repository"]') < settings.index("binderhub_url")
    assert REPOSITORY == "" or re.fullmatch(r"https://[\w./-]+", REPOSITORY)


# ----------------------------------------------------------------------------------- docstrings
@pytest.mark.parametrize(
    ("doc", "gives"),
    [
        ("A norm ||w_k|| and [N,1].", r"A norm \|\|w\_k\|\| and \[N,1\]."),
        ("Keep `a_b` as it is.", "Keep `a_b` as it is."),
        ("w = sum_k w_k   (paper)", "```text\nw = sum_k w_k   (paper)\n```"),
        (
            "one : first. two : second\n    and more.",
            "`one`\n: first.\n\n`two`\n: second and more.",
        ),
        ("one : first.\nRaises FedkitError.", "`one`\n: first.\n\nRaises FedkitError."),
        ('Such as {"mu": 0.1}.', 'Such as `{"mu": 0.1}`.'),
        ("Parameters\n----------\nfig : a figure.", "**Parameters**\n\n`fig`\n: a figure."),
        ("It costs $5 <b>", r"It costs \$5 \<b>"),
        ("constant : 1.", "`constant`\n: 1\\."),
        ('It is {"a": [{"b"}, "c"]}: so.', 'It is `{"a": [{"b"}, "c"]}`: so.'),
        (
            "one : first. Raises FedkitError for none.",
            "`one`\n: first.\n\nRaises FedkitError for none.",
        ),
    ],
)
def test_a_docstring_says_the_same_on_a_page(doc: str, gives: str) -> None:
    assert reference.markdown(doc) == gives


def test_no_page_shows_a_place_on_this_machine() -> None:
    """A default that is a path would: it lies wherever the book is built."""
    assert [name for name, text in written().items() if str(ROOT) in text] == []
    assert "path: Path = 'recorded.json'" in written()["api/roads.md"]


def test_a_signature_shows_no_address_and_no_source() -> None:
    text = "\n".join(text for name, text in written().items() if name.startswith("api/"))
    assert " at 0x" not in text
    signatures = re.findall(r"^:+\{py:\w+\} (.*)$", text, re.MULTILINE)
    assert max(map(len, signatures)) < 1500
    assert (
        "fedavg(updates: Sequence[Update], weighting: str = 'samples') -> StateDict" in signatures
    )


# --------------------------------------------------------------------------------------- glossary
def test_the_glossary_has_every_row() -> None:
    rows = (COURSE / "GLOSSARY.md").read_text(encoding="utf-8").count("\n| ") - 1
    terms = sources.glossary(COURSE)
    assert len(terms) == rows > 90
    assert [
        row["term"]
        for row in terms
        if f"\n{row['term']}\n  " not in written()["notebooks/GLOSSARY.md"]
    ] == []


def test_a_broken_row_of_the_glossary_is_named(tmp_path: Path) -> None:
    (tmp_path / "GLOSSARY.md").write_text("| term | what | lesson |\n|---|---|---|\n| a | b |\n")
    with pytest.raises(FedkitError, match="no term"):
        sources.glossary(tmp_path)


# -------------------------------------------------------------------------------------------- npm
def test_other_bytes_than_the_pinned_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetches: list[Any] = []
    monkeypatch.setattr(
        npm, "_packed", lambda package: fetches.append(package) or b"something else"
    )
    with pytest.raises(FedkitError, match="not what it was"):
        npm.fetched(npm.MATHJAX, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert fetches == [npm.MATHJAX]


def test_without_npm_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(FedkitError, match="npm is missing"):
        npm.fetched(npm.MATHJAX, tmp_path)

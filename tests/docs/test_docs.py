"""What the documentation says is so: its commands run, its files and links are there, its pages build without a network."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from typer.main import get_command

from bench.cli import app
from tests.docs.pages import BIN, ROOT, Block, Reader, blocks, commands, prints

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
DELEGATED = re.compile(r"Every command on this page is\s+run\s+by\s+`(tests/\S+\.py)`")
LANGUAGES = {"sh", "text", "python", "yaml", "diff", "robotframework", "hex", "toml", "json", "js"}


def _id(page: Path) -> str:
    return page.name


@cache
def _delegate(page: Path) -> str:
    found = DELEGATED.search(page.read_text(encoding="utf-8"))
    return found[1] if found else ""


@pytest.fixture(scope="module")
def readers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Path, Future[int]]]:
    """The selected pages, two being followed at a time; each by a reader of its own, so that they don't meet."""
    pages = [i.callspec.params["page"] for i in request.session.items if "readers" in getattr(i, "fixturenames", ())]
    with ThreadPoolExecutor(2) as two:
        yield {page: two.submit(Reader(page, tmp_path_factory.mktemp(page.stem)).follow) for page in pages}


@pytest.mark.parametrize("page", [p for p in PAGES if not _delegate(p)], ids=_id)
def test_a_reader_who_follows_the_page_gets_what_it_says(page: Path, readers: dict[Path, Future[int]]) -> None:
    said = [b for b in blocks(page) if b.kind == "sh" and not b.mark.startswith("not run") and not b.title]
    assert readers[page].result() == sum(len(commands(block.body)) for block in said)


@pytest.mark.parametrize("page", [p for p in PAGES if _delegate(p)], ids=_id)
def test_a_page_that_another_test_follows_is_named_there(page: Path) -> None:
    assert page.name in (ROOT / _delegate(page)).read_text(encoding="utf-8")


def test_what_is_not_run_says_why_and_is_rare() -> None:
    unrun = [(page, block) for page in PAGES for block in blocks(page) if block.mark.startswith("not run")]
    assert all(len(block.mark) > len("not run: ") + 15 for _, block in unrun)
    assert len(unrun) <= 3, unrun


LONG = {
    "make certify-wall": "make certify-wall WALL=C3-BR-02",
    "make soak": "make soak SOAK='--seeds 1 --only C3-FR-15'",
    "make bench": "make bench BENCH=display",
    "twinbench defects --matrix": "twinbench defects no_receipt --matrix",
}
"""Commands that pages name within a line and that take many minutes: the same with less to do, which tests/docs/test_long.py
runs."""
NAMED = {
    "make lint": ".ci/run begins with it",
    "make test": ".ci/run runs it: it is what runs this very file",
    "make certify": ".ci/run ends with it",
    "make docs": "tests/docs/test_docs.py builds the pages by it",
    "make help": "tests/docs/test_docs.py runs it",
    "make trace": "tests/docs/test_docs.py runs it",
    "make node-client": "tests/mirror/test_outsiders.py fails where it was not run",
    "make lock": "tests/docs/test_long.py runs it in a copy",
    "python docs/draw_opcua.py": "tests/mirror/test_picture.py holds the picture against what it draws",
    "twinbench certify --defect no_receipt --only C3-FR-15": "tests/bench/test_cli.py runs it",
    "twinbench defects": "docs/prepayment.md runs one of them",
    "twinbench defects --json": "tests/bench/test_cli.py runs one of them",
    "twinbench fleet --meters 5000000 --days 30": "tests/docs/test_long.py runs it",
    **LONG,
}
"""Every command that pages name within a line and have in no block: what runs it, or why nothing does."""


def _named(page: Path) -> set[str]:
    """Commands within the lines of a page; not mere names of verbs, nor patterns with a word in capitals to be filled in."""
    prose = re.sub(r"^(`{3,})\w*.*?^\1$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`((?:twinbench [a-z]|make [a-z]|python )[^`]*)`", prose)
    return {span for span in spans if not re.search(r"\b(ID|NAME|FILE)\b", span)}


def test_a_command_within_a_line_is_run_too_or_stands_in_a_list() -> None:
    everywhere = [
        command for page in PAGES for block in blocks(page) if block.kind == "sh" for command in commands(block.body)
    ]
    named = {span for page in PAGES for span in _named(page)}
    alone = {span for span in named if not any(command.startswith(span) for command in everywhere)}
    assert alone - NAMED.keys() == set(), "neither in a block nor in the list"
    assert NAMED.keys() - named == set(), "in the list, and on no page"
    for command, why in NAMED.items():
        for path in re.findall(r"(?:tests|docs|requirements)/[\w./-]+|\.ci/run", why):
            assert (ROOT / path).exists(), f"{command}: {path}"


def test_the_pages_tell_which_commands_are_run_with_less_to_do() -> None:
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    (told,) = re.findall(r"what takes many minutes or an hour is run with less to do: (.*?)\. Of", text, re.DOTALL)
    assert set(re.findall(r"`([^`]+)`", told)) == {
        *LONG,
        "twinbench defects",
    }  # without a name: docs/prepayment.md gives one


def test_the_jobs_that_are_only_named_and_quick_run(tmp_path: Path) -> None:
    reader = Reader(ROOT / "docs" / "index.md", tmp_path)
    assert "certify-wall" in reader.run("make help", 1)
    assert "C3-FR-15" in reader.run("make trace", 1)


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_blocks_are_of_a_kind_that_is_checked(page: Path) -> None:
    for block in blocks(page):
        assert block.kind in LANGUAGES, f"{page.name}:{block.line}: {block.kind or 'no language'}"
        if block.kind == "python":
            compile(block.body, f"{page.name}:{block.line}", "exec")
        elif block.kind == "yaml":
            yaml.safe_load(block.body)
        elif block.kind == "json":
            json.loads(block.body)


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_links_and_files_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path = link.partition("#")[0]
        if path and not re.match(r"\w+:", link):
            assert (page.parent / path).exists(), f"{page.name}: {link}"
    made = {block.title for block in blocks(page) if block.title} | {"benchmarks/latest.json"}
    folders = "bench|benchmarks|docs|drivers|examples|inventory|requirements|robot|tests|twins"
    for name in re.findall(rf"`((?:{folders})/[\w./-]+)`", text):
        assert (ROOT / name).exists() or name in made, f"{page.name}: {name}"


@cache
def _options() -> dict[str, set[str]]:
    verbs = get_command(app).commands  # type: ignore[attr-defined]
    return {name: {o for p in verb.params for o in p.opts} | {"--help"} for name, verb in verbs.items()}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "examples" / "README.md"], ids=_id)
def test_verbs_and_options_that_a_page_names_are_known(page: Path) -> None:
    text = re.sub(r"\n```text\n.*?\n```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for verb, rest in re.findall(r"(?<![\w/-])twinbench ([a-z]+)((?: +[^\s`|;&]+)*)", text):
        if verb in _options():
            for option in re.findall(r"(?<!\S)--[a-z-]+", rest.partition("  #")[0]):
                assert option in _options()[verb], f"{page.name}: twinbench {verb} {option}"
    for verb in re.findall(r"`twinbench ([a-z]+)(?=[ `])", text):
        assert verb in _options(), f"{page.name}: twinbench {verb}"


def test_targets_of_make_that_pages_name_are_known() -> None:
    known = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in PAGES:
        named = re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert set(named) <= known, f"{page.name}: {set(named) - known}"


def test_the_runner_of_pages_can_fail(tmp_path: Path) -> None:
    """A wrong output, a wrong exit code, a change that doesn't fit: each is told."""
    assert prints("a…d\nf", "x\nabcd\ne\nf\n")
    assert not prints("f\na…d", "x\nabcd\ne\nf\n")
    page = ROOT / "docs" / "index.md"
    reader = Reader(page, tmp_path)
    with pytest.raises(AssertionError, match=r"false: exits 1"):
        reader.run("false", 1)
    with pytest.raises(AssertionError, match=r"true  # exits 1: exits 0"):
        reader.run("true  # exits 1", 1)
    with pytest.raises(AssertionError, match="has not once"):
        reader._write(Block("diff", " nowhere\n+new\n", "", "README.md", 1))
    with pytest.raises(AssertionError, match="is not ready"):
        reader._start(Block("sh", "false\n", "runs until stopped", "", 1), "")


# --- The site -------------------------------------------------------------------------------------------------------------


@cache
def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built by `make docs` in a checkout of its own that has no way to the network to build it with."""
    reader = Reader(ROOT / "docs" / "index.md", tmp_path_factory.mktemp("site"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        reader._environment[name] = "http://127.0.0.1:9"
    assert "pages" in reader.run("make docs", 1)
    return reader.home / "build" / "docs"


def test_the_site_has_every_page_and_the_keywords(site: Path) -> None:
    for page in sorted((ROOT / "docs").rglob("*.md")):
        assert (site / page.relative_to(ROOT / "docs").with_suffix(".html")).is_file(), page.name
    for library in sorted((ROOT / "robot" / "keywords").glob("*.py")):
        assert "libdoc" in (site / "keywords" / f"{library.stem}.html").read_text(encoding="utf-8")
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert all(str(p.relative_to(ROOT / "docs")) in nav for p in sorted((ROOT / "docs").rglob("*.md")))


def test_the_reference_has_every_public_class_and_function(site: Path) -> None:
    shown = "".join(page.read_text(encoding="utf-8") for page in sorted((site / "reference").glob("*.html")))
    for name in (
        "drivers.roles.Meter.connect",
        "drivers.relays.waveshare.WaveshareRelayDriver.pulse",
        "twins.clock.SteppedClock",
        "bench.bench.Bench",
        "drivers.wire.c1218.Result",
    ):
        assert f'id="{name}"' in shown, name
    for top in ("drivers", "twins", "bench"):
        for path in sorted((ROOT / top).rglob("*.py")):
            if path.name != "__init__.py":
                module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                assert f'id="{module}"' in shown, module


def test_a_broken_link_breaks_the_site(site: Path, tmp_path: Path) -> None:
    build = _module(ROOT / "docs" / "build.py")
    assert build.check(site) > 1000
    for bad in ('<a href="nowhere.html">', '<a href="#nowhere">', '<script src="https://cdn.example/x.js"></script>'):
        (tmp_path / "index.html").write_text(f"<html><body>{bad}</body></html>", encoding="utf-8")
        with pytest.raises(build.BrokenSite, match="index"):
            build.check(tmp_path)


# --- The pictures ---------------------------------------------------------------------------------------------------------


def test_the_plan_of_the_house_shows_its_floors() -> None:
    """The picture is what its script draws, and its floors are those that the imports keep to."""
    house = _module(ROOT / "docs" / "draw_house.py")
    assert (ROOT / "docs" / "house.svg").read_text(encoding="utf-8") == house.draw()
    kept = _module(ROOT / "tests" / "test_house.py")
    floor_of = {room: floor for floor, rooms in enumerate(house.FLOORS) for room in rooms}
    assert set(floor_of) == {*kept.MAY, *house.DATA}
    for room, may in kept.MAY.items():
        for other in may & set(floor_of):
            assert floor_of[other] <= floor_of[room], f"{room} may import {other}, which the picture has above it"


def test_the_picture_of_the_verdicts_can_be_drawn_again(tmp_path: Path) -> None:
    drawn = tmp_path / "certify.svg"
    command = [str(BIN / "python"), "docs/draw_certify.py", str(drawn), "--only", "C3-FR-15"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    committed = (ROOT / "docs" / "certify.svg").read_text(encoding="utf-8")
    for text in (drawn.read_text(encoding="utf-8"), committed):
        assert "https://" not in re.sub(r'xmlns\S*="[^"]*"', "", text)
        shown = re.sub(r"<[^>]+>", "", text).replace("&#160;", " ")
        for wanted in ("requirement", "system", "verdict", "C3-FR-15", "PASS"):
            assert wanted in shown

"""Builds the site under build/docs from the pages under docs/: `make docs`.

What Zensical cannot know is prepared first: the keywords' documentation (Robot's libdoc), what the command's help prints, the
list of modules, and a page for each file of the project that a page links to. Afterwards the site is checked: links lead
somewhere, and nothing is loaded from the network.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from robot.libdocpkg import LibraryDocumentation
from typer.main import get_command

from bench.cli import app

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = ROOT / "build" / "pages"
SITE = ROOT / "build" / "docs"

_LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s]+)(?=\))")
_LANGUAGE = {".py": "python", ".yaml": "yaml", ".md": "markdown", ".robot": "robotframework", ".ini": "ini"}


class BrokenSite(Exception):
    """The site was built and has a link that leads nowhere, or loads something from the network."""


# --- Preparing ---------------------------------------------------------------------------------------------------------


def prepare() -> None:
    """Fill build/pages with what Zensical reads."""
    shutil.rmtree(PAGES, ignore_errors=True)
    for source in sorted(DOCS.rglob("*")):
        target = PAGES / source.relative_to(DOCS)
        if source.suffix == ".md":
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(_prepared(source), encoding="utf-8")
        elif source.suffix in (".svg", ".png"):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)


def _prepared(source: Path) -> str:
    text = source.read_text(encoding="utf-8")
    text = re.sub(
        r"^::: ([\w.]+)\.\*$", lambda m: "\n".join(f"::: {name}" for name in _modules(m[1])), text, flags=re.M
    )
    text = text.replace("<!-- keywords -->", _keywords())
    text = text.replace("<!-- help -->", _help())
    return _LINK.sub(lambda m: _link(source, m[1]), text)


def _modules(package: str) -> Iterator[str]:
    for path in sorted((ROOT / package.replace(".", "/")).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if path.name != "__init__.py":
            yield name


def _keywords() -> str:
    rows = ["| library | is for | keywords |", "|---|---|---|"]
    for path in sorted((ROOT / "robot" / "keywords").glob("*.py")):
        library = LibraryDocumentation(str(path))
        target = PAGES / "keywords" / f"{path.stem}.html"
        target.parent.mkdir(parents=True, exist_ok=True)
        library.save(str(target), format="HTML")
        rows.append(f"| [{path.stem}](../keywords/{path.stem}.html) | {library.doc} | {len(library.keywords)} |")
    return "\n".join(rows)


def _help() -> str:
    command = get_command(app)
    parts = [("twinbench", command), *((f"twinbench {name}", one) for name, one in command.commands.items())]  # type: ignore[attr-defined]
    shown = []
    for name, one in parts:
        printed = one.get_help(one.context_class(one, info_name=name, terminal_width=100))
        shown.append(f"## {name}\n\n```text\n{printed}\n```")
    return "\n\n".join(shown)


def _link(source: Path, link: str) -> str:
    """A link out of docs/ leads to a page that shows the file (or lists the folder)."""
    path, hash_, anchor = link.partition("#")
    target = (source.parent / path).resolve()
    if not path or target.is_relative_to(DOCS) or not target.is_relative_to(ROOT):
        return link
    if not target.exists():
        raise BrokenSite(f"{source.relative_to(ROOT)}: {link} is not there")
    page = _shown(target)
    return Path(os.path.relpath(page, PAGES / source.relative_to(DOCS).parent)).as_posix() + hash_ + anchor


def _shown(target: Path) -> Path:
    name = target.relative_to(ROOT)
    page = PAGES / "files" / f"{name.as_posix().replace('/', '--')}.md"
    if page.exists():
        return page
    page.parent.mkdir(parents=True, exist_ok=True)
    head = f"---\nsearch:\n  exclude: true\n---\n# {name.as_posix()}\n\n"
    if target.is_dir():
        page.write_text(head, encoding="utf-8")
        inside = sorted(p for p in target.iterdir() if p.is_dir() or p.suffix in _LANGUAGE)
        listed = [f"- [{p.name}]({_shown(p).name})" for p in inside if p.name != "__pycache__"]
        page.write_text(head + "\n".join(listed) + "\n", encoding="utf-8")
    else:
        body = target.read_text(encoding="utf-8")
        page.write_text(f"{head}`````{_LANGUAGE.get(target.suffix, 'text')}\n{body}\n`````\n", encoding="utf-8")
    return page


# --- Checking ----------------------------------------------------------------------------------------------------------


class _Page(HTMLParser):
    """What a page names: its anchors, where its links lead, what a browser loads for it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        of = dict(attrs)
        self.anchors |= {value for key in ("id", "name") if (value := of.get(key))}
        if tag == "a" and of.get("href"):
            self.links.append(of["href"] or "")
        elif tag == "link" and of.get("rel") not in ("canonical", "prev", "next", "edit") and of.get("href"):
            self.loads.append(of["href"] or "")
        elif tag in ("script", "img", "iframe", "source", "object") and (of.get("src") or of.get("data")):
            self.loads.append(of.get("src") or of.get("data") or "")


def check(site: Path) -> int:
    """Check the built pages; BrokenSite names the first thing wrong. Returns how many links and loaded files were followed."""
    pages = {path: _Page(path) for path in sorted(site.rglob("*.html")) if path.parent.name != "keywords"}
    followed = 0
    for path, page in pages.items():
        if path.name == "404.html":  # served from anywhere: its links are absolute
            continue
        where = path.relative_to(site)
        for load in page.loads:
            if urlsplit(load).scheme not in ("", "data") or urlsplit(load).netloc:
                raise BrokenSite(f"{where} loads {load} from the network")
        for link in (*page.links, *page.loads):
            to = urlsplit(link)
            if to.scheme or to.netloc:
                continue
            target = (path.parent / unquote(to.path)).resolve() if to.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                raise BrokenSite(f"{where}: {link} leads nowhere")
            if to.fragment and target in pages and unquote(to.fragment) not in pages[target].anchors:
                raise BrokenSite(f"{where}: {link} names a place that is not on that page")
            followed += 1
    return followed


def main() -> None:
    """Prepare, build, check; the exit code is 1 where a link is broken or a docstring cannot be read."""
    try:
        prepare()
        command = [str(Path(sys.executable).parent / "zensical"), "build", "--strict", "--clean"]
        built = subprocess.run(command, cwd=ROOT, env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True)
        if built.returncode:
            raise BrokenSite(built.stdout + built.stderr)
        followed = check(SITE)
    except BrokenSite as no:
        sys.exit(f"docs: {no}")
    print(f"{SITE.relative_to(ROOT)}: {len(list(SITE.rglob('*.html')))} pages, {followed} links followed")
    print(f"open {SITE.relative_to(ROOT)}/index.html; its search wants a server: python -m http.server -d build/docs")


if __name__ == "__main__":
    main()

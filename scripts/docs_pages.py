#!/usr/bin/env python3
"""What mdBook does not do for this repository's documentation.

preprocess  a preprocessor of mdBook, called by book.toml
check DIR   links of a book that was built into DIR, and that SUMMARY.md lists every page

The documentation reads well in two places: as files in the repository, and as a site. Two things differ between them.

- Some pages stand where they belong (SECURITY.md, k8s/README.md). In docs/ each of them has a page with a link and the comment
  `<!-- page: ../SECURITY.md -->`. In the site, the file takes the place of that page.
- A relative link may lead to a file that is no page of the book. In the site, the link leads to the repository.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
DOCS = Path("docs")
PAGE = re.compile(r"<!-- page: (\S+) -->")
CODE = re.compile(r"(`+(?:[^`\n]|\n(?!\n))+`+)")
TARGET = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"\s*(`{3,}|~{3,})")


def normal(path: Path) -> Path:
    """The path without `..`, relative to the repository."""
    return Path(os.path.normpath(path))


def origin(source: Path, content: str) -> Path:
    """The file that a page of docs/ shows: itself, or the file that its comment names."""
    named = PAGE.search(content)
    return normal(source.parent / named[1]) if named else source


def chapters(items: list[Any]) -> Iterator[dict[str, Any]]:
    """All chapters of a book that have a page, as mdBook describes them."""
    for item in items:
        if isinstance(item, dict) and (chapter := item.get("Chapter")):
            if chapter["source_path"]:
                yield chapter
            yield from chapters(chapter["sub_items"])


def picture(path: Path) -> str:
    """A picture of the repository as a data URL, so that the site needs no copy of it."""
    kind = {".svg": "image/svg+xml", ".png": "image/png"}[path.suffix]
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


class Links:
    """Rewrites the links of one page."""

    def __init__(self, pages: dict[Path, Path], repository: str, root: Path = ROOT) -> None:
        self.pages, self.repository, self.root = pages, repository, root

    def rewrite(self, target: str, shown: Path, page: Path) -> str:
        """The target of a link in the file `shown`, for the page `page` of the book."""
        if "://" in target or target.startswith(("#", "mailto:")):
            return target
        path, _, anchor = target.partition("#")
        file = normal(shown.parent / path)
        anchor = f"#{anchor}" if anchor else ""
        if file.suffix in (".svg", ".png") and not file.is_relative_to(DOCS):
            return picture(self.root / file)
        to = self.pages.get(file) or self.pages.get(file / "README.md")
        if to is not None:
            return os.path.relpath(to, page.parent) + anchor
        if file.is_relative_to(DOCS) and (self.root / file).is_file() and file.suffix != ".md":
            return target
        return f"{self.repository}/{file}{anchor}"

    def in_text(self, text: str, shown: Path, page: Path) -> str:
        """The text with its links rewritten, except in code."""

        def replaced(match: re.Match[str]) -> str:
            return f"]({self.rewrite(match[1], shown, page)})"

        done, prose, fence = [], "", ""
        for line in [*text.splitlines(keepends=True), ""]:
            mark = FENCE.match(line)
            if not (mark or fence) and line:
                prose += line
                continue
            # A span of code may go on in the next line.
            parts = CODE.split(prose)
            parts[::2] = [TARGET.sub(replaced, part) for part in parts[::2]]
            done += [*parts, line]
            prose = ""
            if mark:
                fence = "" if fence and mark[1].startswith(fence) else fence or mark[1]
        return "".join(done)


def preprocess(context: dict[str, Any], book: dict[str, Any], root: Path = ROOT) -> dict[str, Any]:
    """The book as the site shows it."""
    repository = context["config"]["preprocessor"]["pages"]["repository"].rstrip("/")
    found = list(chapters(book["items"]))
    shown = {}
    pages = {}
    for chapter in found:
        source = DOCS / chapter["source_path"]
        shown[chapter["source_path"]] = file = origin(source, chapter["content"])
        # A link may lead to the file itself or to the page that stands for it.
        pages[file] = pages[source] = Path(chapter["path"])
    links = Links(pages, repository, root)
    for chapter in found:
        file = shown[chapter["source_path"]]
        if file != DOCS / chapter["source_path"]:
            chapter["content"] = (root / file).read_text()
        chapter["content"] = links.in_text(chapter["content"], file, Path(chapter["path"]))
    return book


class Page(HTMLParser):
    """The links and anchors of a page of the site."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if name == "id" or (tag == "a" and name == "name"):
                self.anchors.add(value)
            elif name in ("href", "src"):
                self.links.append(value)


def broken_links(site: Path) -> list[str]:
    """Links of the site that lead nowhere. Links to other sites are not followed."""
    pages = {path: Page(path.read_text()) for path in sorted(site.rglob("*.html"))}
    broken = []
    for path, page in pages.items():
        # The page of error 404 has addresses from the site's root, and print.html repeats all others.
        if path.name in ("404.html", "print.html"):
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or (not parts.path and not parts.fragment):
                continue
            there = (path.parent / unquote(parts.path)).resolve() if parts.path else path.resolve()
            if there.is_dir():
                there /= "index.html"
            if not there.exists():
                broken.append(f"{path.relative_to(site)}: {link} does not exist")
            elif parts.fragment and unquote(parts.fragment) not in pages[site / there.relative_to(site.resolve())].anchors:
                broken.append(f"{path.relative_to(site)}: {link}: no such heading")
    return broken


def forgotten_pages(docs: Path) -> list[str]:
    """Pages of docs/ that SUMMARY.md does not list."""
    listed = {docs / target for target in TARGET.findall((docs / "SUMMARY.md").read_text())}
    pages = {path for path in docs.rglob("*.md") if path.name != "SUMMARY.md"}
    return [f"docs/SUMMARY.md does not list {path.relative_to(docs)}" for path in sorted(pages - listed)]


def main(arguments: list[str]) -> int:
    match arguments:
        case ["preprocess", "supports", _]:
            return 0
        case ["preprocess"]:
            context, book = json.load(sys.stdin)
            json.dump(preprocess(context, book), sys.stdout)
            return 0
        case ["check", directory]:
            wrong = forgotten_pages(ROOT / DOCS) + broken_links(Path(directory))
            for line in wrong:
                print(f"docs: {line}", file=sys.stderr)
            return 1 if wrong else 0
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

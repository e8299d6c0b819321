"""Tests of docs_pages.py: python3 -B -m unittest discover --start-directory scripts --pattern 'test_docs_pages.py'."""

import tempfile
import unittest
from pathlib import Path

from docs_pages import Links, Page, broken_links, forgotten_pages, origin, preprocess


def chapter(source: str, path: str, content: str) -> dict[str, object]:
    return {"Chapter": {"source_path": source, "path": path, "content": content, "sub_items": []}}


class RewritingLinks(unittest.TestCase):
    def setUp(self) -> None:
        pages = {Path("docs/host.md"): Path("host.md"), Path("k8s/README.md"): Path("manifests.md")}
        self.links = Links(pages, "https://example.com/blob")

    def rewritten(self, target: str, shown: str = "docs/a/b.md", page: str = "a/b.md") -> str:
        return self.links.rewrite(target, Path(shown), Path(page))

    def test_a_page_is_linked_within_the_book(self) -> None:
        self.assertEqual(self.rewritten("../host.md#tls"), "../host.md#tls")
        self.assertEqual(self.rewritten("docs/host.md", "SECURITY.md", "security.md"), "host.md")

    def test_a_file_that_is_shown_as_a_page_is_linked_by_its_page(self) -> None:
        self.assertEqual(self.rewritten("../../k8s/README.md#redis"), "../manifests.md#redis")
        self.assertEqual(self.rewritten("../../k8s"), "../manifests.md")

    def test_any_other_file_leads_to_the_repository(self) -> None:
        self.assertEqual(self.rewritten("../../spin.toml"), "https://example.com/blob/spin.toml")

    def test_addresses_and_anchors_stay(self) -> None:
        for target in ("https://example.org/a", "#below", "mailto:a@example.org"):
            self.assertEqual(self.rewritten(target), target)

    def test_code_stays(self) -> None:
        text = "`[a](../host.md)` `x\ny` [`b`](../host.md)\n```sh\n[c](../host.md)\n```\n"
        expected = "`[a](../host.md)` `x\ny` [`b`](host.md)\n```sh\n[c](../host.md)\n```\n"
        self.assertEqual(self.links.in_text(text, Path("docs/a/b.md"), Path("b.md")), expected)


class ShowingFiles(unittest.TestCase):
    def test_a_comment_names_the_file_that_a_page_shows(self) -> None:
        self.assertEqual(origin(Path("docs/a.md"), "# A\n<!-- page: ../SECURITY.md -->\n"), Path("SECURITY.md"))
        self.assertEqual(origin(Path("docs/a.md"), "# A\n"), Path("docs/a.md"))

    def test_the_file_takes_the_place_of_the_page_with_its_own_links(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            (root / "SECURITY.md").write_text("[host](docs/host.md) [code](host/lib.rs)")
            items = [chapter("host.md", "host.md", ""), chapter("a.md", "a.md", "<!-- page: ../SECURITY.md -->")]
            context = {"config": {"preprocessor": {"pages": {"repository": "https://example.com/blob/"}}}}
            book = preprocess(context, {"items": items}, root)
            content = book["items"][1]["Chapter"]["content"]
            self.assertEqual(content, "[host](host.md) [code](https://example.com/blob/host/lib.rs)")


class CheckingASite(unittest.TestCase):
    def test_files_and_anchors_have_to_exist(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            site = Path(name)
            (site / "a.html").write_text('<a href="b.html#there">b</a><a href="b.html#gone">b</a><a href="c.html">c</a>')
            (site / "b.html").write_text('<h1 id="there">b</h1><a href="https://example.com/x">x</a><a href="#there">t</a>')
            self.assertEqual(broken_links(site), ["a.html: b.html#gone: no such heading", "a.html: c.html does not exist"])

    def test_each_page_is_listed(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            docs = Path(name)
            (docs / "SUMMARY.md").write_text("- [A](a.md)\n")
            (docs / "a.md").touch()
            (docs / "b.md").touch()
            self.assertEqual(forgotten_pages(docs), ["docs/SUMMARY.md does not list b.md"])

    def test_a_page_has_links_and_anchors(self) -> None:
        page = Page('<p id="x"><a href="y">y</a><img src="z">')
        self.assertEqual((page.links, page.anchors), (["y", "z"], {"x"}))


if __name__ == "__main__":
    unittest.main()

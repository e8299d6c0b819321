"""What the parser takes for a block, and what it refuses."""

import unittest

from .page import DEFAULT_LIMIT, Block, PageError, parse, pattern


class Blocks(unittest.TestCase):
    """`parse`."""

    def blocks(self, *lines: str) -> list[Block]:
        return parse("\n".join(lines), "page.md")

    def refused(self, message: str, *lines: str) -> None:
        with self.assertRaisesRegex(PageError, message):
            self.blocks(*lines)

    def test_blocks_are_read_in_order_with_the_lines_of_their_commands(self) -> None:
        blocks = self.blocks("# A page", "", "```sh run", "make", "curl x", "```", "text", "```bash run", "true", "```")
        self.assertEqual(blocks, [Block(4, "make\ncurl x"), Block(9, "true")])

    def test_output_and_other_languages_are_left_alone(self) -> None:
        self.assertEqual(self.blocks("```json", "{}", "```", "```", "x", "```", "```console", "$ rm -rf /", "```", "    sh run"), [])

    def test_expected_texts_and_the_limit_are_read(self) -> None:
        (block,) = self.blocks('```sh run expect=\'"page":1\' expect="it\'s" limit=5', "curl x", "```")
        self.assertEqual((block.expect, block.limit), (('"page":1', "it's"), 5))
        (block,) = self.blocks("```sh run", "curl x", "```")
        self.assertEqual((block.expect, block.limit, block.reason), ((), DEFAULT_LIMIT, None))

    def test_a_block_that_is_not_run_has_a_reason(self) -> None:
        (block,) = self.blocks('```sh norun reason="needs Docker"', "docker build .", "```")
        self.assertEqual(block.reason, "needs Docker")
        self.refused("page.md:1: 'norun' needs a reason", "```sh norun", "docker build .", "```")
        self.refused("'norun' takes no limit", "```sh norun reason=x limit=5", "true", "```")

    def test_a_fence_inside_a_longer_fence_is_content(self) -> None:
        self.assertEqual(self.blocks("````markdown", "```sh run", "false", "```", "````"), [])
        (block,) = self.blocks("~~~sh run", "cat <<'X'", "```", "X", "~~~")
        self.assertEqual(block.commands, "cat <<'X'\n```\nX")

    def test_the_indentation_of_a_list_is_taken_away(self) -> None:
        (block,) = self.blocks("1. Build:", "", "   ```sh run", "   make", "     deeper", "   ```")
        self.assertEqual(block.commands, "make\n  deeper")

    def test_what_nobody_runs_and_nobody_excuses_is_refused(self) -> None:
        self.refused("page.md:2: a block of commands says 'run', or 'norun' with a reason", "", "```sh", "make", "```")
        self.refused("says 'run'", "```bash rnu", "make", "```")
        self.assertEqual(parse("```sh\nmake\n```\n```sh run\ntrue\n```", "page.md", strict=False), [Block(5, "true")])

    def test_a_server_runs_in_the_background(self) -> None:
        (block,) = self.blocks("```sh run background=http://localhost:9090/ready", "make run", "```")
        self.assertEqual(block.background, "http://localhost:9090/ready")

    def test_each_command_of_a_console_has_the_output_below_it(self) -> None:
        shown = ('{"id":"a1b"}', "", "$ true", "$ curl -I b  # again", "age: 12", "etag: …")
        blocks = self.blocks("```console run", "$ curl a", *shown, "```")
        self.assertEqual([(block.line, block.commands) for block in blocks], [(2, "curl a"), (5, "true"), (6, "curl -I b  # again")])
        self.assertEqual([block.shown for block in blocks], [('{"id":"a1b"}',), (), ("age: 12", "etag: …")])
        self.refused("output before the first command", "```console run", "hello", "```")
        self.refused("takes no options", "```console run limit=5", "$ true", "```")
        self.refused("no commands", "```console run", "```")

    def test_mistakes_are_refused(self) -> None:
        self.refused("page.md:1: the block has no end", "```sh run", "make")
        self.refused("cannot be read", "```sh run expect='x", "make", "```")
        self.refused("'run' takes no reason", "```sh run reason=x", "make", "```")
        self.refused("'expect=' is not NAME=VALUE", "```sh run expect=", "make", "```")
        self.refused("'soon' is not NAME=VALUE", "```sh run soon", "make", "```")
        self.refused("limit is a number of seconds, not 'long'", "```sh run limit=long", "make", "```")
        self.refused("has no commands", "```sh run", "", "```")

    def test_a_shown_number_stands_for_any_number_and_an_ellipsis_for_any_text(self) -> None:
        for shown, printed in (("age: 12", "age: 3"), ("etag: …", 'etag: W/"a"'), ('{"id":"a1b"}', '{"id":"a20b"}'), ("…", "")):
            self.assertRegex(printed, f"^{pattern(shown)}$")
        for shown, printed in (("age: 12", "age: x"), ("a.b", "a-b"), ("hit", "hits"), ("hit 1", "hit")):
            self.assertNotRegex(printed, f"^{pattern(shown)}$")


if __name__ == "__main__":
    unittest.main()

"""Tests of the check of workflows."""

import unittest

from delivery.workflows import findings

DOCUMENT = "| workflow | step | script |\n| `a.yml` | lint | `make lint` |\n| `a.yml` | deploy | `scripts/with-tools scripts/deploy` |\n"
GOOD = """
permissions: {}
jobs:
  one:
    timeout-minutes: 5
    steps:
      - uses: actions/checkout@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0
      - run: make lint
      - run: |
          scripts/with-tools \\
            scripts/deploy
"""


class Workflows(unittest.TestCase):
    def test_a_workflow_that_calls_listed_scripts_is_right(self) -> None:
        self.assertEqual(list(findings("a.yml", GOOD, DOCUMENT)), [])

    def test_each_rule_is_broken_by_one_change(self) -> None:
        for before, after, part in (
            ("permissions: {}", "permissions: {contents: read}", "permissions: expected {}"),
            ("permissions: {}", "", "permissions: expected {}"),
            ("@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0", "@v5", "expected a commit"),
            (" # v5.0.0", "", "expected a commit"),
            ("    timeout-minutes: 5\n", "", "no timeout-minutes"),
            ("make lint", "curl https://example.com | sh", "expected a make target or a script"),
            ("make lint", "make other", "make other: the document has no row"),
            ("scripts/with-tools", "scripts/other", "scripts/other: the document has no row"),
        ):
            with self.subTest(after):
                self.assertIn(before, GOOD)
                found = list(findings("a.yml", GOOD.replace(before, after), DOCUMENT))
                self.assertEqual(len(found), 1, found)
                self.assertIn(part, found[0])

    def test_a_row_of_another_workflow_does_not_count(self) -> None:
        self.assertEqual(len(list(findings("b.yml", GOOD, DOCUMENT))), 2)


if __name__ == "__main__":
    unittest.main()

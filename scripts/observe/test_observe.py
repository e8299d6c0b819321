"""The checks themselves: what they read, and that they object."""

from __future__ import annotations

import unittest

try:
    from observe import rules, series
    from observe.promql import Selector, selectors
except ModuleNotFoundError as missing:
    raise unittest.SkipTest(f"needs {missing.name}: make test-monitoring") from missing

TEXT = """\
# TYPE requests_total counter
requests_total{route="/{name}",status="200"} 3
# TYPE seconds histogram
seconds_bucket{le="1"} 1
seconds_bucket{le="+Inf"} 1
seconds_sum 0.5
seconds_count 1
# TYPE traps_total counter
"""


class Reading(unittest.TestCase):
    def test_selectors_are_found_and_words_are_not(self) -> None:
        expression = """
          sum by (a, b) (rate(x_total{l="{}\\"",m!~"1|2"}[5m] offset 1h)) # by y
          / on (a) group_left (c) max without (d) (histogram_quantile(0.9, z:z:p99_5m)) > bool 1e3
          and ignoring(e) w unless sum(v) by (f) == +Inf"""
        found = [str(one) for one in selectors(expression)]
        self.assertEqual(found, ['x_total{l="{}\\"",m!~"1|2"}', "z:z:p99_5m", "w", "v"])

    def test_anchors_are_as_a_forge_makes_them(self) -> None:
        self.assertEqual(rules.anchors("# A b\ntext # no\n### GistsDown\n## C, d: e!"), {"a-b", "gistsdown", "c-d-e"})


class Objecting(unittest.TestCase):
    def setUp(self) -> None:
        self.scrape = series.Scrape.parse(TEXT)

    def complaint(self, expression: str) -> str | None:
        return self.scrape.complaint(selectors(expression)[0])

    def test_what_is_exported_passes(self) -> None:
        for good in (
            "requests_total",
            'requests_total{job="x",namespace="y",route!="/",status=~"2.."}',
            "seconds_bucket",
            'traps_total{kind="any"}',
        ):
            self.assertIsNone(self.complaint(good), good)

    def test_an_unknown_name_label_or_value_does_not(self) -> None:
        for bad in ("request_total", "seconds", 'requests_total{route="/"}', 'requests_total{code!="200"}'):
            self.assertIsNotNone(self.complaint(bad), bad)

    def test_an_alert_without_a_quiet_test_is_named(self) -> None:
        alert = rules.Rule("f", "GistsUnheardOf", "up", True, {}, {})
        self.assertEqual(len(rules.untested([alert])), 2)
        self.assertEqual(Selector("up", ()).accepts({}), True)


if __name__ == "__main__":
    unittest.main()

"""Runs every check on every rendering: `main.py WORK SCHEMAS`. Prints all findings and how much was checked."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import capacity
import chart
import linters
import network
import policies
import render
import repository
import traffic
from exceptions import Exceptions
from render import Rendered

# The rules that every rendering must meet.
OF_OBJECTS: tuple[Callable[[Rendered], Iterator[str]], ...] = (
    policies.restricted,
    policies.settled,
    policies.apart_from_its_namespace,
    traffic.bounded,
    traffic.routed,
    traffic.connects_in_time,
    capacity.taken_over,
    capacity.drainable,
    policies.identified,
    policies.apart,
    policies.released,
    network.let_out,
    traffic.meshed_alike,
    network.one_way_out,
    capacity.within_githubs_limit,
    traffic.limits_each_client,
)


class Report:
    """Counts the checks and prints the findings."""

    def __init__(self) -> None:
        self.failed = 0
        self.passed = 0

    def check(self, what: str, wrong: Iterable[str]) -> None:
        found = list(wrong)
        if found:
            self.failed += 1
            print(f"--- {what}", *found, sep="\n", flush=True)
        else:
            self.passed += 1


def main(work: Path, schemas: Path) -> int:
    started = time.monotonic()
    for old in ("rendered", "combinations"):
        shutil.rmtree(work / old, ignore_errors=True)
    report = Report()
    allowed = Exceptions()
    manifests = render.everything(work)
    base, traced = (next(r for r in manifests if r.name == name) for name in ("k8s/base", "base + tracing"))
    charts, wrong = chart.renderings(work / "rendered")
    everything = manifests + charts

    report.check("chart: values", wrong)
    report.check("chart: a canary", chart.canary_is_not_scaled(charts))
    report.check("chart: equal to the base", chart.equals(base, {}))
    report.check("chart: equal to the base with tracing", chart.equals(traced, {"tracing": {"enabled": True}}))
    report.check("helm lint", linters.plain("helm", "lint", "--strict", "--quiet", *chart.whole()))
    report.check("one version", repository.one_version())
    report.check("canary equal to the base", repository.canary_follows())
    report.check("services", repository.services_are_deployed(everything))
    report.check("settings of the artifact", repository.artifact_knows_settings())
    report.check("addresses of monitoring", network.monitoring_addresses(manifests))
    report.check("DNS servers in policies", network.names_everywhere())
    report.check("versions to install", repository.installed_versions())
    roots = [root for root in render.ROOTS if Path(root).exists()]
    report.check("yamllint", linters.plain("yamllint", "--strict", "--config-file", "k8s/lint/yamllint.yaml", *roots))
    report.check("hadolint", linters.plain("hadolint", "--no-color", "Dockerfile", "runtime-class/kind/Dockerfile"))
    report.check("kubeconform", linters.kubeconform([r.file for r in everything], schemas))
    with ThreadPoolExecutor(2) as pool:
        for name, linter in (("istioctl analyze", linters.istioctl), ("kube-score", linters.kube_score)):
            answers = pool.map(lambda r, linter=linter: linter(r, allowed), everything)
            for rendered, found in zip(everything, answers, strict=True):
                report.check(f"{name}: {rendered.name}", found)
    for rendered in everything:
        for policy in OF_OBJECTS:
            report.check(f"{policy.__name__}: {rendered.name}", policy(rendered))
    report.check("exceptions", allowed.stale())
    if shutil.which("kube-linter"):
        report.check("kube-linter", linters.plain("kube-linter", "lint", *(r.file for r in manifests if r.is_overlay)))
    else:
        print("lint-k8s: NOT RUN: kube-linter (not on the PATH)")

    overlays = sum(r.is_overlay for r in manifests)
    print(
        f"lint-k8s: {overlays} overlays, {len(manifests) - overlays} other kustomizations, combinations and files, {len(charts)} renderings"
        f" of charts, {sum(len(r.objects) for r in everything)} objects, {time.monotonic() - started:.0f} s"
    )
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))

"""Tests of scripts/platform, with programs of their own in place of Helm and kubectl.

python3 -B -m unittest discover --start-directory scripts/delivery --top-level-directory scripts
"""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from oci.inputs import ROOT

SCRIPT = str(ROOT / "scripts/platform")
RELEASES = {
    "istio": ["istio-base", "istio-cni", "istiod", "istio-ingressgateway", "istio-egressgateway"],
    "argocd": ["argocd"],
    "observability": ["kube-prometheus-stack"],
    "security": ["cert-manager", "kyverno"],
}
# Both note how they were called. helm knows the repositories in $REPOSITORIES and fails for the release $BROKEN.
HELM = """#!/bin/sh
case "$*" in
"repo list"*) for name in $REPOSITORIES; do echo "{\\"name\\": \\"$name\\"}"; done; exit ;;
list*) printf '\none \\tns   \\t1\\tnow \\tdeployed\\tchart-1.0\\t1.0\\n'; exit ;;
esac
echo "helm $*" >>"$CALLED"
case "$*" in *" --install $BROKEN "*) exit 1 ;; esac
"""
# kubectl reaches no cluster if $DOWN is set, and shows $WORKLOADS.
KUBECTL = """#!/bin/sh
case "$*" in
"get --raw"*) [ -z "$DOWN" ] || { echo "connection refused" >&2; exit 1; } ;;
*"get namespace"*) echo namespace/x ;;
*"get deployments"*) printf '%b' "$WORKLOADS" ;;
*"get secret"*) [ -z "$WITHOUT_KEYS" ] ;;
*"create secret"*) echo secret ;;
*"--filename -") cat >/dev/null ;;
*) echo "kubectl $*" >>"$CALLED" ;;
esac
"""


class Platform(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = Path(scratch.name)
        for name, text in (("helm", HELM), ("kubectl", KUBECTL)):
            program = self.scratch / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(text)
            program.chmod(0o755)

    def run_script(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "PATH": f"{self.scratch}/bin:{os.environ['PATH']}",
            "CALLED": str(self.scratch / "called"),
            "REPOSITORIES": "istio argo prometheus-community jetstack kyverno",
            "BROKEN": "none",
        }
        return subprocess.run([SCRIPT, *arguments], env=environment | variables, capture_output=True, text=True, check=False, timeout=60)

    def called(self) -> list[str]:
        called = self.scratch / "called"
        return called.read_text().splitlines() if called.exists() else []

    def releases(self) -> list[str]:
        return [call.split()[3] for call in self.called() if call.startswith("helm upgrade --install ")]

    def test_each_command_installs_its_releases_in_order_and_in_a_fixed_version(self) -> None:
        for command, releases in RELEASES.items():
            with self.subTest(command):
                (self.scratch / "called").unlink(missing_ok=True)
                done = self.run_script(command)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(self.releases(), releases)
                for call in self.called():
                    self.assertTrue(call.startswith("kubectl ") or (" --version " in call and " --wait " in call), call)

    def test_a_dry_run_prints_the_same_commands_and_calls_nothing(self) -> None:
        for command in (*RELEASES, "apps", "status"):
            with self.subTest(command):
                done = self.run_script(command, "--dry-run", DOWN="yes")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(self.called(), [])
                printed = [line.split()[3] for line in done.stdout.splitlines() if line.startswith("helm upgrade ")]
                self.assertEqual(printed, RELEASES.get(command, []))
        done = self.run_script("apps", "--dry-run", "--overlay", "staging", "--", "--image", "a=b:1")
        self.assertEqual(
            done.stdout.splitlines(),
            [
                "kubectl apply --kustomize k8s/namespaces/staging",
                "scripts/deploy staging --kustomize k8s/overlays/staging --timeout 300 --image a=b:1",
            ],
        )

    def test_wrong_arguments_are_named_and_change_nothing(self) -> None:
        for arguments, part in (
            ([], "platform istio"),
            (["mesh"], "unknown command mesh"),
            (["istio", "more"], "unexpected more"),
            (["istio", "--quick"], "unknown option --quick"),
            (["istio", "--charts"], "--charts needs a value"),
            (["istio", "--charts", "/nonexistent"], "--charts /nonexistent: expected a directory"),
            (["istio", "--charts", str(self.scratch)], "no chart with the name base"),
            (["istio", "--values", "istiod"], "--values istiod: expected RELEASE=FILE"),
            (["istio", "--values", "istiod=/nonexistent"], "there is no file /nonexistent"),
            (["istio", "--timeout", "1m"], "--timeout 1m: expected seconds"),
            (["apps", "--overlay", "prod"], "--overlay prod: expected dev, staging or production"),
            (["istio", "--", "--image"], "only apps passes options on: unexpected --image"),
        ):
            with self.subTest(arguments):
                done = self.run_script(*arguments)
                self.assertEqual(done.returncode, 2)
                self.assertIn(part, done.stderr)
                self.assertEqual(self.called(), [])

    def test_what_is_missing_is_named_before_anything_changes(self) -> None:
        for command, variables, part in (
            ("istio", {"DOWN": "yes"}, "no cluster answers; set KUBECONFIG: connection refused"),
            ("istio", {"REPOSITORIES": "argo"}, "helm knows no charts of istio: 'helm repo add istio URL'"),
            ("observability", {"WITHOUT_KEYS": "yes"}, "no Secret alertmanager-keys"),
        ):
            with self.subTest(part):
                done = self.run_script(command, **variables)
                self.assertEqual(done.returncode, 2)
                self.assertIn(part, done.stderr)
                self.assertEqual(self.called(), [])
        for program in ("kubectl", "helm"):
            with self.subTest(program):
                # The machine may have the program elsewhere on the PATH.
                tools = self.scratch / f"without-{program}"
                tools.mkdir()
                for name in ("bash", "dirname", "find", "sort", "paste", "sed"):
                    (tools / name).symlink_to(next(p for p in (Path("/usr/bin", name), Path("/bin", name)) if p.exists()))
                other = {"kubectl": "helm", "helm": "kubectl"}[program]
                (tools / other).symlink_to(self.scratch / "bin" / other)
                done = self.run_script("istio", PATH=str(tools))
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn(f"{program} is not on the PATH", done.stderr)

    def test_charts_come_from_a_directory_or_a_registry_too(self) -> None:
        for name in ("base", "cni", "istiod", "gateway"):
            chart = self.scratch / "charts" / f"of-{name}" / "Chart.yaml"
            chart.parent.mkdir(parents=True)
            chart.write_text(f"apiVersion: v2\nname: {name}\nversion: 1.0.0\n")
        values = self.scratch / "values.yaml"
        values.touch()
        options = ["--skip", "istio-cni", "--skip", "istio-egressgateway", "--values", f"istiod={values}"]
        done = self.run_script("istio", "--charts", str(self.scratch / "charts"), *options, REPOSITORIES="")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.releases(), ["istio-base", "istiod", "istio-ingressgateway"])
        istiod = self.called()[1]
        self.assertIn(f" {self.scratch}/charts/of-istiod ", istiod)
        self.assertNotIn("--version", istiod)
        # The later file wins.
        self.assertTrue(istiod.endswith(f"--values k8s/cluster/istio/istiod.yaml --values {values}"), istiod)
        done = self.run_script("argocd", "--charts", "oci://registry.example.com/charts", REPOSITORIES="")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(" oci://registry.example.com/charts/argo-cd --version ", self.called()[-1])

    def test_a_release_that_is_not_ready_ends_the_installation(self) -> None:
        done = self.run_script("istio", "--timeout", "7", BROKEN="istiod")
        self.assertEqual(done.returncode, 1)
        self.assertIn("istiod is not ready within 7 s: look at kubectl --namespace istio-system get pods", done.stderr)
        self.assertEqual(self.releases(), RELEASES["istio"][:3])

    def test_the_status_fails_when_a_workload_is_not_ready(self) -> None:
        for workloads, code, line in (
            (r"Deployment api 2 2\nDaemonSet cni 3 3\n", 0, "2 of 2 ready"),
            (r"Deployment api 2 1\n", 1, "1 of 2 ready  <--"),
            (r"StatefulSet redis 1 \n", 1, "0 of 1 ready  <--"),
            (r"Deployment none 0 \n", 0, "0 of 0 ready"),
        ):
            with self.subTest(workloads):
                done = self.run_script("status", WORKLOADS=workloads)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertIn(line, done.stdout)
                # Helm prints an empty line where there is no release.
                self.assertEqual(done.stdout.count("release "), 6)
                self.assertEqual(done.stdout.count("chart-1.0, deployed"), 6)


if __name__ == "__main__":
    unittest.main()

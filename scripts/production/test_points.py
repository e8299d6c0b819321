"""Each point of the checklist, on a document with which it holds, and on one with which it does not."""

from __future__ import annotations

import base64
import copy
import subprocess
import tempfile
import unittest
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from . import points

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CONTAINER: dict = {
    "name": "api",
    "image": "registry.example.com/api@sha256:00",
    "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
    "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
    "readinessProbe": {},
    "livenessProbe": {},
    "env": [{"name": "GITHUB_TOKEN", "valueFrom": {}}, {"name": "ADMIN_TOKEN_FILE", "value": "/settings/token"}],
}
POD: dict = {
    "metadata": {"name": "api-1"},
    "spec": {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [CONTAINER, {"name": "istio-proxy", "image": "proxy:1"}],
    },
}
DEPLOYMENT: dict = {
    "metadata": {"name": "api"},
    "spec": {"template": {"spec": {"affinity": {"podAntiAffinity": {}}, "topologySpreadConstraints": [{}]}}},
    "status": {"availableReplicas": 2},
}
SCALER: dict = {
    "metadata": {"name": "api"},
    "spec": {"maxReplicas": 10},
    "status": {"currentReplicas": 3, "conditions": [{"type": "ScalingActive", "status": "True"}]},
}
DENY: dict = {"metadata": {"name": "deny"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}}


def many(*items: dict) -> dict:
    return {"items": copy.deepcopy(list(items))}


def without(pods: dict, key: str) -> dict:
    del pods["items"][0]["spec"]["containers"][0][key]
    return pods


class Points(unittest.TestCase):
    def told(self, check: Callable[[dict, datetime], list[str]], document: dict) -> str:
        return "; ".join(check(document, NOW))

    def test_the_namespace(self) -> None:
        label = "pod-security.kubernetes.io/enforce"
        self.assertEqual(self.told(points.restricted, {"metadata": {"labels": {label: "restricted"}}}), "")
        self.assertIn("is baseline", self.told(points.restricted, {"metadata": {"labels": {label: "baseline"}}}))
        self.assertIn("is not set", self.told(points.restricted, {"metadata": {}}))

    def test_pods(self) -> None:
        checks = (
            points.confined,
            points.by_digest,
            points.without_token,
            points.without_secrets,
            points.with_resources,
            points.with_probes,
        )
        for check in checks:
            self.assertEqual(self.told(check, many(POD)), "", check.__name__)
            self.assertEqual(self.told(check, many()), "no pod runs here", check.__name__)
        self.assertIn("container api: lacks allowPrivilegeEscalation", self.told(points.confined, without(many(POD), "securityContext")))
        self.assertIn("lacks requests.cpu, requests.memory", self.told(points.with_resources, without(many(POD), "resources")))
        self.assertIn("lacks livenessProbe", self.told(points.with_probes, without(many(POD), "livenessProbe")))
        container = CONTAINER | {
            "image": "api:1",
            "volumeMounts": [{"mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
            "env": [{"name": "REDIS_PASSWORD", "value": "x"}],
        }
        wrong = many(POD | {"spec": {"containers": [container]}})
        self.assertIn("image api:1", self.told(points.by_digest, wrong))
        self.assertIn("mounts /var/run/secrets", self.told(points.without_token, wrong))
        self.assertIn("values of REDIS_PASSWORD", self.told(points.without_secrets, wrong))
        self.assertEqual(self.told(points.by_digest, many(POD, wrong["items"][0] | {"status": {"phase": "Succeeded"}})), "")

    def test_deployments(self) -> None:
        for check in (points.available, points.spread):
            self.assertEqual(self.told(check, many(DEPLOYMENT)), "")
            self.assertIn("there is no Deployment", self.told(check, many()))
        self.assertIn("1 available", self.told(points.available, many(DEPLOYMENT | {"status": {"availableReplicas": 1}})))
        self.assertIn("neither", self.told(points.spread, many(DEPLOYMENT | {"spec": {"template": {"spec": {}}}})))

    def test_budgets_and_autoscalers(self) -> None:
        budget = {"metadata": {"name": "api"}, "status": {"disruptionsAllowed": 1}}
        self.assertEqual(self.told(points.budgets, many(budget)), "")
        self.assertIn("no disruption", self.told(points.budgets, many(budget | {"status": {}})))
        self.assertEqual(self.told(points.autoscalers, many(SCALER)), "")
        full = SCALER | {"status": SCALER["status"] | {"currentReplicas": 10}}
        self.assertIn("maximum of 10", self.told(points.autoscalers, many(full)))
        self.assertIn("no condition yet", self.told(points.autoscalers, many(SCALER | {"status": {}})))

    def test_network_policies(self) -> None:
        self.assertEqual(self.told(points.default_deny, many(DENY)), "")
        self.assertIn("denies Egress", self.told(points.default_deny, many(DENY | {"spec": {"podSelector": {}}})))
        for spec in ({"podSelector": {"matchLabels": {"app": "x"}}}, DENY["spec"] | {"ingress": [{}], "egress": [{}]}):
            self.assertIn("denies Ingress", self.told(points.default_deny, many(DENY | {"spec": spec})))

    def test_the_mesh(self) -> None:
        peers = {"metadata": {"name": "api"}, "spec": {"mtls": {"mode": "STRICT"}}}
        self.assertEqual(self.told(points.strict, many(peers)), "")
        self.assertIn("mode PERMISSIVE", self.told(points.strict, many(peers | {"spec": {"mtls": {"mode": "PERMISSIVE"}}})))
        self.assertIn("there is no PeerAuthentication", self.told(points.strict, many()))

    def test_callers(self) -> None:
        pod = {"kind": "Pod", "metadata": {"name": "api-1", "labels": {"app": "api", "track": "stable"}}}
        selects = {"kind": "AuthorizationPolicy", "spec": {"selector": {"matchLabels": {"app": "api"}}}}
        for policy in (selects, {"kind": "AuthorizationPolicy"}, {"kind": "AuthorizationPolicy", "spec": {"rules": [{}]}}):
            self.assertEqual(self.told(points.known_callers, many(pod, policy)), "", policy)
        other = {"kind": "AuthorizationPolicy", "spec": {"selector": {"matchLabels": {"app": "other"}}}}
        for policy in (other, {"kind": "AuthorizationPolicy", "spec": {"action": "DENY", "rules": [{}]}}):
            self.assertIn("selects pod api-1", self.told(points.known_callers, many(pod, policy)), policy)
        self.assertEqual(self.told(points.known_callers, many(selects)), "no pod runs here")

    def test_the_certificate(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            key, file = Path(directory, "key"), Path(directory, "certificate")
            command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"]
            subprocess.run([*command, "-days", "30", "-keyout", key, "-out", file], check=True, capture_output=True)
            secret = {"data": {"tls.crt": base64.b64encode(file.read_bytes()).decode()}}
        now = datetime.now(UTC)
        self.assertEqual(points.certificate(secret, now), [])
        self.assertIn("it ends at", "".join(points.certificate(secret, now.replace(year=now.year + 1))))
        self.assertEqual(points.certificate({}, now), ["tls.crt is no certificate"])

    def test_prometheus(self) -> None:
        def answer(value: str) -> dict:
            return {"data": {"result": [{"metric": {"pod": "api-1"}, "value": [0, value]}]}}

        self.assertEqual(self.told(points.scraped, answer("1")), "")
        self.assertIn("api-1 is down", self.told(points.scraped, answer("0")))
        self.assertIn("knows no pod", self.told(points.scraped, {"data": {"result": []}}))
        self.assertEqual(self.told(points.alerted, answer("1")), "")
        self.assertIn("no Alertmanager", self.told(points.alerted, answer("0")))


if __name__ == "__main__":
    unittest.main()

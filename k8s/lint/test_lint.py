"""The lint's own parts: what they have to catch."""

from __future__ import annotations

import unittest
from pathlib import Path

import capacity
import chart
import network
import policies
import render
import schemas
import traffic
from render import Rendered


def rendered(*objects: dict, overlay: str = "") -> Rendered:
    return Rendered(overlay or "some", Path("some.yaml"), list(objects), bool(overlay))


def deployment(container: dict | None = None, pod: dict | None = None, name: str = "api") -> dict:
    good = {
        "name": "c",
        "image": "github-gists-api:1",
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
    }
    whole = {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [good | (container or {})],
    }
    return {"kind": "Deployment", "metadata": {"name": name}, "spec": {"template": {"spec": whole | (pod or {})}}}


class Schemas(unittest.TestCase):
    def test_an_object_is_closed_unless_it_says_otherwise(self) -> None:
        inner = {"type": "object", "properties": {"x": {"type": "string"}}}
        self.assertIs(schemas.closed(inner)["additionalProperties"], False)
        self.assertNotIn("additionalProperties", schemas.closed(inner | {"x-kubernetes-preserve-unknown-fields": True}))
        self.assertEqual(schemas.closed(inner | {"additionalProperties": {"type": "string"}})["additionalProperties"], {"type": "string"})

    def test_a_member_called_like_a_keyword_stays(self) -> None:
        schema = {"type": "object", "properties": {"description": {"type": "string"}, "properties": {"type": "object"}}}
        self.assertEqual(set(schemas.closed(schema)["properties"]), {"description", "properties"})

    def test_branches_do_not_close_what_they_are_part_of(self) -> None:
        part = {"properties": {"a": {}}, "additionalProperties": False}
        made = schemas.branches({"oneOf": [part], "properties": {"oneOf": part}, "additionalProperties": False})
        self.assertNotIn("additionalProperties", made["oneOf"][0])
        self.assertIs(made["additionalProperties"], False)
        self.assertIs(made["properties"]["oneOf"]["additionalProperties"], False)


class Policies(unittest.TestCase):
    def test_a_restricted_pod_passes(self) -> None:
        self.assertEqual(list(policies.restricted(rendered(deployment()))), [])

    def test_each_lack_is_named(self) -> None:
        self.assertEqual(len(list(policies.restricted(rendered(deployment({"securityContext": {}}))))), 3)
        self.assertEqual(len(list(policies.restricted(rendered(deployment(pod={"securityContext": {}}))))), 2)
        init = deployment(pod={"initContainers": [{"name": "i"}]})
        self.assertEqual(len(list(policies.restricted(rendered(init)))), 3)
        bare = deployment({"securityContext": {}})
        job = {"kind": "CronJob", "metadata": {"name": "job"}, "spec": {"jobTemplate": {"spec": bare["spec"]}}}
        self.assertEqual(len(list(policies.restricted(rendered(job)))), 3)

    def test_all_pods_together_stay_within_githubs_limit(self) -> None:
        def pods(settings: dict, most: int, kind: str) -> Rendered:
            api = deployment({"envFrom": [{"configMapRef": {"name": "settings"}}]}, name="github-gists-api")
            api["metadata"]["labels"] = {"app": "github-gists-api"}
            limit = {"HorizontalPodAutoscaler": "maxReplicas", "ScaledObject": "maxReplicaCount"}[kind]
            scaler = {"kind": kind, "metadata": {"name": "a"}, "spec": {"scaleTargetRef": {"name": "github-gists-api"}, limit: most}}
            return rendered(api, scaler, {"kind": "ConfigMap", "metadata": {"name": "settings"}, "data": settings})

        def found(settings: dict, most: int = 10, kind: str = "HorizontalPodAutoscaler") -> int:
            return len(list(capacity.within_githubs_limit(pods(settings, most, kind))))

        # Ten pods and one more during a rolling update.
        self.assertEqual(found({}), 1)
        self.assertEqual(found({"UPSTREAM_CONCURRENCY": "10"}), 1)
        self.assertEqual(found({"UPSTREAM_CONCURRENCY": "9"}), 0)
        self.assertEqual(found({"UPSTREAM_CONCURRENCY": "9"}, 11), 1)
        self.assertEqual(found({"UPSTREAM_CONCURRENCY": "9"}, 11, "ScaledObject"), 1)
        self.assertEqual(found({"UPSTREAM_CONCURRENCY": "20", "CACHE_STORE": "shared"}, 50), 0)
        self.assertEqual(found({"UPSTREAM_CONCURRENCY": "101", "CACHE_STORE": "shared"}), 1)

    def test_a_hashed_config_map_has_to_be_immutable(self) -> None:
        settings = {"kind": "ConfigMap", "metadata": {"name": "settings-0123456789"}}
        self.assertEqual(len(list(policies.settled(rendered(settings)))), 1)
        self.assertEqual(list(policies.settled(rendered(settings | {"immutable": True}))), [])

    def test_a_config_map_that_is_nowhere(self) -> None:
        wants = deployment({"envFrom": [{"configMapRef": {"name": "settings"}}]})
        self.assertEqual(len(list(policies.settled(rendered(wants)))), 1)
        self.assertEqual(list(policies.settled(rendered(wants, {"kind": "ConfigMap", "metadata": {"name": "settings"}}))), [])

    def test_a_volume_of_a_config_map_that_is_nowhere(self) -> None:
        settings = {"kind": "ConfigMap", "metadata": {"name": "settings"}}
        for source in ({"configMap": {"name": "settings"}}, {"projected": {"sources": [{"configMap": {"name": "settings"}}]}}):
            wants = deployment(pod={"volumes": [{"name": "v", **source}]})
            self.assertEqual(len(list(policies.settled(rendered(wants)))), 1)
            self.assertEqual(list(policies.settled(rendered(wants, settings))), [])

    def test_a_policy_for_all_workloads_of_the_namespace(self) -> None:
        def policy(kind: str, spec: dict | None) -> list[str]:
            return list(traffic.bounded(rendered({"kind": kind, "metadata": {"name": "deny-all"}, "spec": spec})))

        for kind in ("AuthorizationPolicy", "PeerAuthentication", "Telemetry"):
            self.assertIn("no selector", policy(kind, {})[0])
            self.assertIn("no selector", policy(kind, None)[0])
            self.assertIn("no selector", policy(kind, {"selector": {}})[0])
            for field in ("selector", "targetRefs"):
                self.assertEqual(policy(kind, {field: {"matchLabels": {"app": "api"}}}), [])

    def test_a_namespace_that_goes_with_the_service(self) -> None:
        namespace = {"kind": "Namespace", "metadata": {"name": "production"}}
        api = deployment()
        api["metadata"]["labels"] = {"app.kubernetes.io/component": "service"}
        self.assertEqual(len(list(policies.apart_from_its_namespace(rendered(api, namespace)))), 1)
        self.assertEqual(list(policies.apart_from_its_namespace(rendered(namespace))), [])

    def test_a_scaled_object_beside_the_autoscaler(self) -> None:
        def found(annotations: dict, config: dict) -> int:
            spec: dict = {"scaleTargetRef": {"name": "api"}, "maxReplicaCount": 1, "advanced": {"horizontalPodAutoscalerConfig": config}}
            meta = {"name": "api", "annotations": annotations}
            return len(list(capacity.taken_over(rendered({"kind": "ScaledObject", "metadata": meta, "spec": spec}))))

        transfer = {"scaledobject.keda.sh/transfer-hpa-ownership": "true"}
        self.assertEqual(found(transfer, {"name": "api"}), 0)
        self.assertEqual(found({}, {"name": "api"}), 1)
        self.assertEqual(found(transfer, {}), 1)
        self.assertEqual(found(transfer, {"name": "keda-hpa-api"}), 1)

    def test_a_budget_that_blocks_a_drain(self) -> None:
        def found(budget: int | str, replicas: int, canary: int = 0, least: int = 0) -> int:
            objects: list[dict] = [
                {
                    "kind": "PodDisruptionBudget",
                    "metadata": {"name": "api"},
                    "spec": {"minAvailable": budget, "selector": {"matchLabels": {"app": "api"}}},
                }
            ]
            for name, number in (("api", replicas), ("canary", canary)):
                pods = deployment(name=name)
                pods["spec"]["replicas"] = number
                pods["spec"]["template"]["metadata"] = {"labels": {"app": "api", "version": name}}
                objects += [pods] if number else []
            if least:
                spec = {"scaleTargetRef": {"name": "api"}, "minReplicas": least}
                objects.append({"kind": "HorizontalPodAutoscaler", "metadata": {"name": "api"}, "spec": spec})
            return len(list(capacity.drainable(rendered(*objects))))

        self.assertEqual(found(2, 3), 0)
        self.assertEqual(found(2, 2), 1)
        self.assertEqual(found(2, 2, canary=1), 0)
        self.assertEqual(found(2, 5, least=2), 1)
        self.assertEqual(found("50%", 1), 1)
        self.assertEqual(found("50%", 2), 0)
        self.assertEqual(found(0, 1), 0)

    def test_a_deployment_that_the_mesh_has_not(self) -> None:
        def pods(name: str, labels: dict) -> dict:
            made = deployment(name=name)
            made["metadata"]["labels"] = {"app": "github-gists-api"}
            made["spec"]["template"]["metadata"] = {"labels": labels}
            return made

        meshed = {"sidecar.istio.io/inject": "true"}
        self.assertEqual(list(traffic.meshed_alike(rendered(pods("a", meshed), pods("b", meshed)))), [])
        self.assertEqual(len(list(traffic.meshed_alike(rendered(pods("a", meshed), pods("b", {}))))), 1)

    def test_a_way_past_the_egress_gateway(self) -> None:
        def found(mode: str, cidr: str) -> int:
            sidecar = {"kind": "Sidecar", "metadata": {"name": "s"}, "spec": {"outboundTrafficPolicy": {"mode": mode}}}
            spec = {"podSelector": {}, "egress": [{"to": [{"ipBlock": {"cidr": cidr}}]}]}
            return len(list(network.one_way_out(rendered(sidecar, {"kind": "NetworkPolicy", "metadata": {"name": "p"}, "spec": spec}))))

        self.assertEqual(found("REGISTRY_ONLY", "0.0.0.0/0"), 1)
        self.assertEqual(found("REGISTRY_ONLY", "169.254.20.10/32"), 0)
        self.assertEqual(found("ALLOW_ANY", "0.0.0.0/0"), 0)

    def test_one_bucket_for_all_clients(self) -> None:
        def found(limit: dict, most: int = 10) -> list[str]:
            limit = {"@type": "type.googleapis.com/x.v3.LocalRateLimit", **limit}
            patch = {"patch": {"value": {"typed_per_filter_config": {"envoy.filters.http.local_ratelimit": limit}}}}
            scaler = {"kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"}, "spec": {"maxReplicas": most}}
            envoy = {"kind": "EnvoyFilter", "metadata": {"name": "limit"}, "spec": {"configPatches": [patch]}}
            return list(traffic.limits_each_client(rendered(scaler, envoy)))

        def bucket(tokens: int) -> dict:
            return {"token_bucket": {"tokens_per_fill": tokens, "fill_interval": "1s"}}

        client = {"rate_limits": [{"actions": [{"remote_address": {}}]}], "descriptors": [{"entries": [{"key": "remote_address"}]}]}
        self.assertEqual(found({}), [])
        self.assertIn("one bucket for all clients", found(bucket(5000))[0])
        self.assertEqual(found(bucket(5000) | client), [])
        self.assertIn("11 pods", found(bucket(5000) | client, 11)[0])
        # A descriptor that no request has, or of one address.
        self.assertEqual(len(found(bucket(5000) | client | {"rate_limits": []})), 1)
        one = {"descriptors": [{"entries": [{"key": "remote_address", "value": "203.0.113.1"}]}]}
        self.assertEqual(len(found(bucket(5000) | client | one)), 1)

    def test_a_route_to_what_is_not_there(self) -> None:
        def route(**destination: object) -> Rendered:
            service = {"kind": "Service", "metadata": {"name": "api"}, "spec": {"ports": [{"port": 80}]}}
            pods = {"kind": "Deployment", "metadata": {"name": "api"}, "spec": {"template": {"metadata": {"labels": {"version": "1"}}}}}
            subsets = [{"name": "one", "labels": {"version": "1"}}]
            rule = {"kind": "DestinationRule", "metadata": {"name": "api"}, "spec": {"host": "api", "subsets": subsets}}
            spec = {"http": [{"route": [{"destination": destination}]}]}
            return rendered(service, pods, rule, {"kind": "VirtualService", "metadata": {"name": "api"}, "spec": spec})

        self.assertEqual(list(traffic.routed(route(host="api", subset="one", port={"number": 80}))), [])
        self.assertEqual(list(traffic.routed(route(host="api.github.com"))), [])
        for wrong in ({"host": "apy"}, {"host": "api", "subset": "two"}, {"host": "api", "port": {"number": 81}}):
            self.assertEqual(len(list(traffic.routed(route(**wrong)))), 1, wrong)

    def test_a_lost_pod_that_takes_too_long_to_connect(self) -> None:
        def found(connect: str, attempts: int, one: str = "12s", whole: str = "30s") -> int:
            rule = {"host": "api", "trafficPolicy": {"connectionPool": {"tcp": {"connectTimeout": connect}}}}
            route: dict = {"route": [{"destination": {"host": "api"}}], "timeout": whole}
            route |= {"retries": {"attempts": attempts, **({"perTryTimeout": one} if attempts else {})}}
            objects = [
                {"kind": "DestinationRule", "metadata": {"name": "api"}, "spec": rule},
                {"kind": "VirtualService", "metadata": {"name": "api"}, "spec": {"http": [route]}},
            ]
            return len(list(traffic.connects_in_time(rendered(*objects))))

        self.assertEqual(found("3s", 3), 0)
        self.assertEqual(found("3s", 0), 0)
        self.assertEqual(found("30s", 3), 1)
        self.assertEqual(found("12s", 1), 1)
        self.assertEqual(found("8s", 3), 1)
        self.assertEqual(found("30s", 0), 1)

    def test_an_image_of_another_version_than_is_said(self) -> None:
        labels = {"environment": "dev", "app.kubernetes.io/component": "service", "version": "stable"}
        api = deployment()
        api["metadata"]["labels"] = labels
        for version, wrong in (("1", 0), ("2", 1)):
            api["spec"]["template"]["metadata"] = {"labels": {"app.kubernetes.io/version": version}}
            self.assertEqual(len(list(policies.identified(rendered(api, overlay="k8s/overlays/dev")))), wrong)
        self.assertEqual(len(list(policies.identified(rendered(api, overlay="k8s/overlays/staging")))), 2)

    def test_a_canary_with_the_stable_image(self) -> None:
        def both(image: str, overlay: str = "") -> int:
            stable = deployment({"image": "github-gists-api-plain:1"}, name="github-gists-api")
            canary = deployment({"image": image}, name="github-gists-api-canary")
            return len(list(policies.apart(rendered(stable, canary, overlay=overlay))))

        self.assertEqual(both("github-gists-api-canary-plain:1"), 0)
        self.assertEqual(both("github-gists-api-plain:2"), 1)
        self.assertEqual(both("registry.example.com/github-gists-api-plain:1", "k8s/overlays/dev"), 0)
        self.assertEqual(both("github-gists-api-canary-plain:1", "k8s/overlays/dev"), 1)

    def test_what_a_pipeline_cannot_or_would_not_release(self) -> None:
        rule = {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["create", "patch"]}
        role = {"kind": "Role", "metadata": {"name": "github-gists-deployer"}, "rules": [rule]}
        labels = {"app": "github-gists-api", "app.kubernetes.io/component": "service"}
        api = deployment() | {"apiVersion": "apps/v1", "metadata": {"name": "api", "labels": labels}}
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "api", "labels": labels}}
        self.assertEqual(list(policies.released(rendered(role, api))), [])
        self.assertEqual(len(list(policies.released(rendered(role, account)))), 1)
        rule["verbs"].remove("patch")
        self.assertEqual(len(list(policies.released(rendered(role, api)))), 1)
        del labels["app.kubernetes.io/component"]
        self.assertEqual(len(list(policies.released(rendered(api)))), 1)

    def test_a_way_out_without_names(self) -> None:
        def policy(app: str | None, port: int, namespace: str = "gists") -> dict:
            spec = {"podSelector": {"matchLabels": {"app": app}} if app else {}, "egress": [{"ports": [{"port": port}]}]}
            return {"kind": "NetworkPolicy", "metadata": {"name": "p", "namespace": namespace}, "spec": spec}

        api = policy("api", 6379)
        self.assertEqual(list(network.let_out(rendered(api, policy(None, 53)))), [])
        self.assertEqual(list(network.let_out(rendered(api, policy("api", 53)))), [])
        for other in (policy("other", 53), policy(None, 53, "elsewhere"), policy("api", 443)):
            self.assertIn("p: forbids", next(network.let_out(rendered(api, other)), ""), other)


class Rendering(unittest.TestCase):
    def test_needs_come_first_and_once(self) -> None:
        self.assertEqual(render.needs("istio-canary"), ["istio-ingress"])
        self.assertEqual(render.needs("redis"), [])


class Chart(unittest.TestCase):
    def test_names_and_hashes_are_compared_as_they_should_be(self) -> None:
        def objects(digest: str, replicas: int) -> list[dict]:
            settings = {"kind": "ConfigMap", "metadata": {"name": f"settings-{digest}", "labels": {"helm.sh/chart": digest}}}
            return [
                settings,
                {"kind": "Deployment", "metadata": {"name": "api"}, "spec": {"from": f"settings-{digest}", "replicas": replicas}},
            ]

        self.assertEqual(chart.normal(objects("0123456789", 1)), chart.normal(objects("abcdefghij", 1)))
        self.assertNotEqual(chart.normal(objects("0123456789", 1)), chart.normal(objects("0123456789", 2)))


if __name__ == "__main__":
    unittest.main()

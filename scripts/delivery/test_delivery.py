"""Tests of what is published and attested; the cluster tests push to a real registry.

python3 -B -m unittest discover --start-directory scripts/delivery --top-level-directory scripts
"""

import os
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from oci.images import IMAGES

from delivery.attestations import component, packages, provenance
from delivery.publish import CHART, PARTS, Publisher, PublishError, Signing

METADATA: dict[str, Any] = {
    "packages": [
        {"id": "a", "name": "api", "version": "1.0.0", "source": None, "license": "MIT"},
        {"id": "b", "name": "lib", "version": "2.0.0", "source": "registry", "license": "MIT/Apache-2.0"},
        {"id": "t", "name": "test", "version": "3.0.0", "source": "registry", "license": None},
        {"id": "x", "name": "api", "version": "9.0.0", "source": "registry", "license": None},
    ],
    "resolve": {
        "nodes": [
            {"id": "a", "deps": [{"pkg": "b", "dep_kinds": [{"kind": None}]}, {"pkg": "t", "dep_kinds": [{"kind": "dev"}]}]},
            {"id": "b", "deps": [{"pkg": "a", "dep_kinds": [{"kind": None}]}]},
            {"id": "t", "deps": []},
        ]
    },
}


class Chart(unittest.TestCase):
    def test_the_chart_is_where_it_is_looked_for(self) -> None:
        self.assertIn("name: github-gists-api\n", (CHART / "Chart.yaml").read_text())


class Attestations(unittest.TestCase):
    def test_an_sbom_has_what_is_linked_and_not_what_only_tests_use(self) -> None:
        self.assertEqual(sorted(packages("api", METADATA)), ["a", "b"])

    def test_a_package_has_its_address_and_its_licence_as_an_expression(self) -> None:
        entry = component(METADATA["packages"][1])
        self.assertEqual(entry["purl"], "pkg:cargo/lib@2.0.0")
        self.assertEqual(entry["licenses"], [{"expression": "MIT OR Apache-2.0"}])
        self.assertNotIn("licenses", component(METADATA["packages"][2]))

    def test_the_provenance_names_the_commit_and_the_workflow(self) -> None:
        github = {
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_REPOSITORY": "o/r",
            "GITHUB_RUN_ID": "7",
            "GITHUB_WORKFLOW_REF": "o/r/.github/workflows/release.yml@refs/tags/v1",
        }
        with mock.patch.dict(os.environ, github):
            predicate = provenance("example.com/team/api@sha256:0")
        self.assertEqual(predicate["buildDefinition"]["externalParameters"]["image"], "api")
        self.assertEqual(predicate["runDetails"]["metadata"]["invocationId"], "https://github.com/o/r/actions/runs/7")
        self.assertEqual(predicate["runDetails"]["builder"]["id"], "https://github.com/o/r/.github/workflows/release.yml@refs/tags/v1")


class Publishing(unittest.TestCase):
    def test_every_image_that_ships_is_published(self) -> None:
        # The services of `services/` are examples, and no release has them.
        self.assertEqual(set(PARTS), {image.name for image in IMAGES if image.group not in ("test", "services")})

    def test_a_wrong_tag_is_refused_before_anything_is_pushed(self) -> None:
        for tags, part in ((["main"], "has to be a version"), (["0.1.0", "a b"], "not a tag"), (["0.1"], "has to be a version")):
            with self.subTest(tags), self.assertRaisesRegex(PublishError, part):
                Publisher("example.com", tags, None, Signing(None, False))

    def test_a_missing_layout_is_named(self) -> None:
        publisher = Publisher("example.com", ["0.1.0"], None, Signing(None, False))
        with publisher, self.assertRaisesRegex(PublishError, "github-gists-api: no OCI layout: run 'make image"):
            list(publisher.publish(Path("/nonexistent")))

    def test_the_login_is_only_in_a_private_file(self) -> None:
        with mock.patch.dict(os.environ, {"REGISTRY_USERNAME": "u", "REGISTRY_PASSWORD": "secret"}):
            with Publisher("example.com/team", ["0.1.0"], None, Signing(None, False)) as publisher:
                [login] = Path(publisher._environment["DOCKER_CONFIG"]).glob("*.json")
                self.assertEqual(login.stat().st_mode & 0o777, 0o600)
                self.assertIn('"example.com"', login.read_text())
            self.assertFalse(login.exists())


if __name__ == "__main__":
    unittest.main()

"""Makes the images that the cluster itself runs, out of the programs in the cluster's cache: `images.py CACHE [--istio]`.

An image that is newer than its program and than this script stays. The layers are not compressed, because the images never
leave this machine.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPTS = HERE.parent / "scripts"
sys.path.insert(0, str(SCRIPTS))
sys.dont_write_bytecode = True

from oci.inputs import InputError, libraries, read  # noqa: E402 - its path is set above
from oci.layout import CONFIG, OCI, Layout, canonical, digest_of  # noqa: E402
from oci.tree import EXECUTABLE, READABLE, SHARED_DIRECTORY, Tree  # noqa: E402

LAYER = OCI + "layer.v1.tar"
XTABLES = Path("/usr/lib/x86_64-linux-gnu/xtables")
IPTABLES = Path("/usr/sbin/xtables-nft-multi")
# The same for every image: the bytes do not depend on when an image was made.
CREATED = "1970-01-01T00:00:00Z"
SEARCH_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Image:
    """An image of one program. `name` has a tag other than `latest`, as the kubelet pulls that one."""

    name: str
    program: Path
    entrypoint: str
    environment: list[str] = field(default_factory=lambda: [SEARCH_PATH])
    user: str = ""
    tree: Tree = field(default_factory=Tree)

    def write(self, tar: Path) -> None:
        """Writes the image as an OCI layout in a tar."""
        self.tree.file(self.entrypoint, self.program.read_bytes(), EXECUTABLE)
        layout = Layout(f"localhost/{self.name}")
        data = self.tree.tar()
        layer = layout.blob(LAYER, data)
        config = {"Entrypoint": [self.entrypoint], "Env": self.environment, "WorkingDir": "/"}
        document = {
            "created": CREATED,
            "os": "linux",
            "architecture": "amd64",
            "config": config | ({"User": self.user} if self.user else {}),
            "rootfs": {"type": "layers", "diff_ids": [digest_of(data)]},
        }
        manifest = layout.manifest(layout.blob(CONFIG, canonical(document)), [layer], {})
        layout.name_root(manifest | {"platform": {"os": "linux", "architecture": "amd64"}})
        layout.write(tar.with_suffix(""))


def add_with_libraries(tree: Tree, path: str, program: Path) -> None:
    """Puts a program and the shared libraries that it needs into the tree."""
    tree.file(path, read(program, "run 'apt-get install iptables', and local-cluster/build again"), EXECUTABLE)
    for library in libraries(program):
        tree.file(str(library), library.resolve().read_bytes(), EXECUTABLE)


def add_iptables(tree: Tree) -> None:
    """Puts iptables with its extensions into the tree."""
    add_with_libraries(tree, str(IPTABLES), IPTABLES)
    for family in ("iptables", "ip6tables"):
        for action in ("", "-save", "-restore"):
            tree.link(f"/usr/sbin/{family}{action}", IPTABLES.name)
    for extension in sorted(XTABLES.iterdir()):
        if extension.is_symlink():
            tree.link(str(extension), str(extension.readlink()))
        else:
            tree.file(str(extension), extension.read_bytes(), READABLE)


def proxy_tree(cache: Path) -> Tree:
    """What Istio's sidecar and gateway need beside pilot-agent: Envoy with its first configuration, and iptables."""
    tree = Tree()
    add_with_libraries(tree, "/usr/local/bin/envoy", cache / "bin/envoy")
    bootstrap = (cache / "istio/envoy_bootstrap.json").read_bytes()
    tree.file("/var/lib/istio/envoy/envoy_bootstrap_tmpl.json", bootstrap, READABLE)
    add_iptables(tree)
    for directory in ("/etc/istio/proxy", "/var/lib/istio/data", "/run"):
        tree.directory(directory)
    tree.directory("/tmp", SHARED_DIRECTORY)
    return tree


def cni_tree(cache: Path) -> Tree:
    """What the agent of Istio's CNI plug-in needs: the plug-in, which the agent copies to the node, and iptables to repair pods."""
    tree = with_tmp()
    tree.file("/opt/cni/bin/istio-cni", (cache / "bin/istio-cni").read_bytes(), EXECUTABLE)
    add_iptables(tree)
    # iptables has its lock here.
    tree.directory("/run")
    return tree


def with_tmp() -> Tree:
    """A tree with a /tmp that anybody may write to."""
    tree = Tree()
    tree.directory("/tmp", SHARED_DIRECTORY)
    return tree


def kubernetes(cache: Path) -> list[Image]:
    """The images of the cluster's own pods, tagged with the versions that go.mod pins."""
    modules = (HERE / "go/go.mod").read_text()

    def version(module: str) -> str:
        found = re.search(rf"^\t{re.escape(module)} (v\S+)", modules, re.MULTILINE)
        if found is None:
            sys.exit(f"images.py: go.mod does not pin {module}")
        return found[1]

    programs = cache / "bin"
    return [
        Image("pause:1", programs / "pause", "/pause"),
        Image(f"coredns:{version('github.com/coredns/coredns')}", programs / "coredns", "/coredns"),
        Image(f"metrics-server:{version('sigs.k8s.io/metrics-server')}", programs / "metrics-server", "/metrics-server", tree=with_tmp()),
        Image(
            f"kube-network-policies:{version('sigs.k8s.io/kube-network-policies')}",
            programs / "kube-network-policies",
            "/kube-network-policies",
        ),
    ]


def kyverno(cache: Path) -> list[Image]:
    """The image of Kyverno's admission controller, which only the test of signatures loads. Of the user that its chart expects."""
    tag = (cache / "kyverno/module").read_text().strip()
    return [Image(f"kyverno:{tag}", cache / "bin/kyverno", "/kyverno", user="65534:65534", tree=with_tmp())]


def istio(cache: Path) -> list[Image]:
    """Istio's images, tagged as its charts expect."""
    tag = (cache / "istio/VERSION").read_text().strip()
    envoy = (cache / "bin/.envoy").read_text().strip()
    environment = [f"ISTIO_META_ISTIO_PROXY_SHA=envoy:{envoy}", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    pilot, agent, cni = (cache / "bin" / program for program in ("pilot-discovery", "pilot-agent", "install-cni"))
    return [
        Image(f"pilot:{tag}", pilot, "/usr/local/bin/pilot-discovery", user="1337:1337", tree=with_tmp()),
        Image(f"proxyv2:{tag}", agent, "/usr/local/bin/pilot-agent", environment=environment, tree=proxy_tree(cache)),
        Image(f"install-cni:{tag}", cni, "/usr/local/bin/install-cni", tree=cni_tree(cache)),
    ]


def main() -> None:
    """Writes CACHE/images/NAME.tar for each image that is missing or old."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--istio", action="store_true", help="Istio's images too")
    asked = parser.parse_args()
    code = max(path.stat().st_mtime for path in (Path(__file__), *(SCRIPTS / "oci").glob("*.py")))
    for image in kubernetes(asked.cache) + kyverno(asked.cache) + (istio(asked.cache) if asked.istio else []):
        tar = asked.cache / "images" / f"{image.name.split(':')[0]}.tar"
        if not tar.exists() or tar.stat().st_mtime < max(code, image.program.stat().st_mtime):
            tar.parent.mkdir(exist_ok=True)
            image.write(tar)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"images.py: {error}")

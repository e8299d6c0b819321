"""Builds an image's layout from its description and the input files."""

from collections.abc import Sequence

from .architecture import ARCHITECTURES, own_architecture
from .component import world
from .images import Image
from .inputs import Inputs, read
from .layout import CONFIG, LAYER, WASM_CONFIG, WASM_LAYER, Layout, canonical, digest_of
from .tree import Tree

ANNOTATION = "org.opencontainers.image."
# Our own labels: the Cargo profile of the native programs, and whether the host was built with profile guidance.
BUILD_PROFILE, PROFILE_GUIDED = "build.wasi-http/profile", "build.wasi-http/profile-guided"


def annotations(image: Image, inputs: Inputs) -> dict[str, str]:
    """Returns the metadata that an image for the architecture of `inputs` has as labels and as annotations."""
    values = {
        "title": image.title,
        "description": image.description,
        "version": inputs.version,
        "revision": inputs.revision,
        "created": inputs.created,
        "licenses": "MIT",
    }
    labels = {ANNOTATION + key: value for key, value in values.items()}
    if image.native:
        labels |= {BUILD_PROFILE: inputs.profile, PROFILE_GUIDED: str(inputs.guided).lower()}
    return labels


def assemble(image: Image, builds: Sequence[Inputs], name: str) -> Layout:
    """Builds the image's layout under a name with a tag.

    `builds` has the inputs for each architecture, the first of which also serve images without programs of scripts/programs.
    """
    layout = Layout(name)
    layout.name_root(_artifact(layout, image, builds[0]) if image.artifact else _images(layout, image, builds))
    return layout


def _images(layout: Layout, image: Image, builds: Sequence[Inputs]) -> dict:
    """Adds an image for each architecture. Returns the descriptor of their index, or of the only one."""
    manifests = []
    for inputs in builds if image.native else builds[:1]:
        tree = Tree()
        image.fill(tree, inputs)
        tar, compressed = tree.layer()
        layer = layout.blob(LAYER, compressed)
        one = inputs.architecture if image.native else own_architecture()
        for architecture in ARCHITECTURES if image.portable else (one,):
            manifests.append(_manifest(layout, image, inputs, architecture, layer, digest_of(tar)))
    if len(manifests) == 1:
        return manifests[0]
    # What is true of each of the images.
    shared = set.intersection(*(set(annotations(image, inputs).items()) for inputs in builds))
    return layout.index(manifests, dict(shared))


def _manifest(layout: Layout, image: Image, inputs: Inputs, architecture: str, layer: dict, diff_id: str) -> dict:
    notes = annotations(image, inputs)
    platform = {"os": "linux", "architecture": architecture}
    document = {
        "created": inputs.created,
        **platform,
        "config": _config(image, notes),
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": inputs.created, "created_by": "scripts/image", "comment": image.title}],
    }
    config = layout.blob(CONFIG, canonical(document))
    return layout.manifest(config, [layer], notes) | {"platform": platform}


def _config(image: Image, labels: dict[str, str]) -> dict:
    values = {
        "User": image.user,
        "WorkingDir": image.directory,
        "Entrypoint": image.entrypoint,
        "Cmd": image.command,
        "Env": [f"{key}={value}" for key, value in image.environment.items()],
        "ExposedPorts": {f"{port}/tcp": {} for port in image.ports},
        "Labels": labels,
        "Healthcheck": _health_check(image),
    }
    return {key: value for key, value in values.items() if value}


def _health_check(image: Image) -> dict:
    """Returns Docker's extension of the configuration, which Podman reads too, and Kubernetes does not."""
    check = image.health_check
    if check is None:
        return {}
    second = 1_000_000_000
    return {
        "Test": ["CMD", *check.command],
        "Interval": check.interval * second,
        "Timeout": check.timeout * second,
        "StartPeriod": check.start_period * second,
        "Retries": check.retries,
    }


def _artifact(layout: Layout, image: Image, inputs: Inputs) -> dict:
    """Builds a WebAssembly artifact as the CNCF defines it: the layer is the component, the configuration lists imports and exports."""
    wasm = read(inputs.component, "run 'make build'")
    layer = layout.blob(WASM_LAYER, wasm)
    names = world(wasm)
    document = {
        "created": inputs.created,
        "architecture": "wasm",
        # The format's name for components of every WASI version.
        "os": "wasip2",
        "layerDigests": [layer["digest"]],
        "component": {"imports": names.imports, "exports": names.exports, "target": None},
    }
    config = layout.blob(WASM_CONFIG, canonical(document))
    # Without a platform, because containerd imports only images of its own platform by default.
    return layout.manifest(config, [layer], annotations(image, inputs))

"""Builds an image's layout from its description and the input files."""

from .component import world
from .images import Image
from .inputs import Inputs, read
from .layout import CONFIG, LAYER, WASM_CONFIG, WASM_LAYER, Layout, canonical, digest_of
from .tree import Tree

ANNOTATION = "org.opencontainers.image."
# Our own labels: the Cargo profile of the native programs, and whether the host was built with profile guidance.
BUILD_PROFILE, PROFILE_GUIDED = "build.wasi-http/profile", "build.wasi-http/profile-guided"


def annotations(image: Image, inputs: Inputs) -> dict[str, str]:
    """Returns the metadata that an image has as labels and as annotations."""
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
        labels |= {BUILD_PROFILE: inputs.profile, PROFILE_GUIDED: str(inputs.profile == "dist").lower()}
    return labels


def assemble(image: Image, inputs: Inputs, name: str) -> Layout:
    """Builds the image's layout under a name with a tag."""
    layout = Layout(name)
    layout.name_root(_artifact(layout, image, inputs) if image.artifact else _image(layout, image, inputs))
    return layout


def _image(layout: Layout, image: Image, inputs: Inputs) -> dict:
    tree = Tree()
    image.fill(tree, inputs)
    tar, compressed = tree.layer()
    layer = layout.blob(LAYER, compressed)
    notes = annotations(image, inputs)
    manifests = []
    for platform in image.platforms:
        system, architecture = platform.split("/")
        document = {
            "created": inputs.created,
            "os": system,
            "architecture": architecture,
            "config": _config(image, notes),
            "rootfs": {"type": "layers", "diff_ids": [digest_of(tar)]},
            "history": [{"created": inputs.created, "created_by": "scripts/image", "comment": image.title}],
        }
        config = layout.blob(CONFIG, canonical(document))
        manifest = layout.manifest(config, [layer], notes)
        manifests.append(manifest | {"platform": {"os": system, "architecture": architecture}})
    return manifests[0] if len(manifests) == 1 else layout.index(manifests, notes)


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

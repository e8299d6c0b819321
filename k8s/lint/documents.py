"""Reads YAML files of several documents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Takes a lone `=` for text, as Go's YAML does: it is a matcher in Alertmanager's configuration."""


Loader.add_constructor("tag:yaml.org,2002:value", lambda loader, node: node.value)


def documents(text: str) -> Iterator[dict]:
    """The documents of a text that are objects."""
    for document in yaml.load_all(text, Loader):
        if isinstance(document, dict):
            yield document


def read(path: Path) -> list[dict]:
    """The documents of a file; a file that is no YAML ends the lint and names it."""
    try:
        return list(documents(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise SystemExit(f"lint-k8s: {path}: {error}") from error

"""Reads YAML files with several documents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml


class Loader(yaml.CSafeLoader):
    """Reads a lone `=` as text, as Go's YAML library does. Alertmanager's configuration has such values as matchers."""


Loader.add_constructor("tag:yaml.org,2002:value", lambda _, node: node.value)


def documents(text: str) -> Iterator[dict]:
    """Yields those documents of the text that are objects."""
    for document in yaml.load_all(text, Loader):
        if isinstance(document, dict):
            yield document


def read(path: Path) -> list[dict]:
    """Returns the documents of a file. Ends the lint with the file's name when the file is not YAML."""
    try:
        return list(documents(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise SystemExit(f"lint-k8s: {path}: {error}") from error

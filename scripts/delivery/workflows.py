"""Checks GitHub's workflows: `workflows.py DIRECTORY DOCUMENT`.

Each step runs a command of this repository, which anybody can run, and has a row in the document's table. Each action is pinned to a
commit, with its version beside it. A workflow grants no permission that a job does not ask for.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

# How a command of this repository begins.
OWN = ("make ", "scripts/", ".ci/", "local-cluster/", "sudo env ")
# Other commands, which only the runner or GitHub has.
FOREIGN = ("sudo chown ", "gh release create ")
PINNED = re.compile(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")


def commands(step: dict[str, Any]) -> Iterator[str]:
    """The commands of a step, with continued lines joined."""
    for line in step.get("run", "").replace("\\\n", " ").splitlines():
        if line.strip():
            yield " ".join(line.split())


def findings(name: str, text: str, document: str) -> Iterator[str]:
    """What is wrong with a workflow."""
    workflow = yaml.safe_load(text)
    if workflow.get("permissions") != {}:
        yield "permissions: expected {} for the workflow; a job asks for what it needs"
    for line in text.splitlines():
        if "uses: " in line and "uses: ./" not in line and not PINNED.search(line.strip().removeprefix("- ")):
            yield f"{line.strip()}: expected a commit, and its version as a comment"
    for job_name, job in workflow["jobs"].items():
        if "uses" not in job and "timeout-minutes" not in job:
            yield f"{job_name}: no timeout-minutes"
        for step in job.get("steps", []):
            for command in commands(step):
                if not command.startswith(OWN + FOREIGN):
                    yield f"{job_name}: {command}: expected a make target or a script of this repository"
                program = " ".join(command.split()[:2]) if command.startswith("make ") else command.split()[0]
                if command.startswith(OWN) and not re.search(rf"^\| `{re.escape(name)}` \|.*`{re.escape(program)}", document, re.MULTILINE):
                    yield f"{job_name}: {program}: the document has no row of {name} with it"


def main() -> int:
    directory, document = Path(sys.argv[1]), Path(sys.argv[2])
    text = document.read_text()
    status = 0
    for path in sorted(directory.glob("*.yml")):
        for finding in findings(path.name, path.read_text(), text):
            print(f"{path}: {finding}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())

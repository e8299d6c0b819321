"""Reads what iptables-save prints, and writes the input for iptables-restore --noflush that removes the cluster's chains:
those of the kubelet and kube-proxy, and those that CNI plug-ins made for the network "cluster"."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field

CLUSTER_PREFIX = "KUBE-"
# The port mapper's three common chains, which other networks may use too.
SHARED_PREFIX = "CNI-HOSTPORT-"
NETWORK = re.compile(r"name: \W*cluster\W")


@dataclass
class Table:
    """A table of iptables: its own chains, and its rules in the order of iptables-save."""

    name: str
    chains: set[str] = field(default_factory=set)
    rules: list[str] = field(default_factory=list)

    def jumps(self) -> list[tuple[str, str, str]]:
        """The rules that jump or go to a target, as (chain, target, rule)."""
        found = ((re.match(r"-A (\S+).* -[jg] (\S+)", rule), rule) for rule in self.rules)
        return [(match[1], match[2], rule) for match, rule in found if match]

    def removal(self) -> list[str]:
        """Lines that delete the cluster's chains and the jumps to them; none where there are no such chains."""
        jumps = self.jumps()
        ours = {chain for chain in self.chains if chain.startswith(CLUSTER_PREFIX)}
        ours |= {target for _, target, rule in jumps if target in self.chains and NETWORK.search(rule)}
        # The common chains go when no other network's rules are left in them.
        shared = {chain for chain in self.chains if chain.startswith(SHARED_PREFIX)}
        if all(target in ours | shared or target not in self.chains for chain, target, _ in jumps if chain in shared):
            ours |= shared
        if not ours:
            return []
        deleted = ["-D" + rule[2:] for chain, target, rule in jumps if target in ours and chain not in ours]
        flushed, removed = ([f"{option} {chain}" for chain in sorted(ours)] for option in ("-F", "-X"))
        return [self.name, *deleted, *flushed, *removed, "COMMIT"]


def tables(saved: str) -> list[Table]:
    """The tables in what iptables-save printed."""
    found: list[Table] = []
    for line in saved.splitlines():
        if line.startswith("*"):
            found.append(Table(line))
        elif chain := re.match(r":(\S+) -", line):
            found[-1].chains.add(chain[1])
        elif line.startswith("-A "):
            found[-1].rules.append(line)
    return found


if __name__ == "__main__":
    for table in tables(sys.stdin.read()):
        for removal in table.removal():
            print(removal)

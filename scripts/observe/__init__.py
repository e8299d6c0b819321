"""The parts of `scripts/monitoring`: the generators of dashboards and rules, and their checks."""

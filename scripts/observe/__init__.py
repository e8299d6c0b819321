"""What `scripts/monitoring` is made of: dashboards, rules, and what is checked of both."""

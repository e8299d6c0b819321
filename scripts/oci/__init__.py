"""Builds container images without a container engine, as OCI image layouts."""

"""Container images without a container engine: OCI image layouts made of files."""

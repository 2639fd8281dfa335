"""OCI image layouts in the place of a registry."""

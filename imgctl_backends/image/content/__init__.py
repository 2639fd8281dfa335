"""What images are made of: digests, manifests and the graph they span."""

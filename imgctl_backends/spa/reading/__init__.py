"""What buckets hold: lists, heads, and which contents are the same."""

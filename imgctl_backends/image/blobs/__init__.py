"""Bringing blobs: one queue for all promotions, resumed reads, fed uploads."""

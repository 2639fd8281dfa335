"""What goes wrong with SPA builds in browsers and caches, found before they are promoted.

Rules are pure functions over what was listed and read; `inspection` reads, and asks them.
Lint changes nothing: what a build's files are served with is copied as it is.
"""

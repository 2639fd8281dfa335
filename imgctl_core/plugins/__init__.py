"""Find, load, classify and keep plugins."""

"""How results, errors and progress look."""

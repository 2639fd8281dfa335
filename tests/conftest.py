"""What every test gets: the kit's fixtures, an empty home, and no way out of the loopback."""

from __future__ import annotations

import pytest

pytest_plugins = ["imgctl_core.testing.fixtures"]
pytest.register_assert_rewrite("imgctl_core.testing.contract")


@pytest.fixture(autouse=True)
def _isolated(isolated: None) -> None:
    """Apply the kit's isolation to every test."""

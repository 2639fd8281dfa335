"""The part `auth` measures what it says: two servers over TLS, called in turns."""

from __future__ import annotations

from pathlib import Path

from imgctl_core.audit import read
from tests.bench import auth


def test_both_servers_are_called_and_compared(tmp_path: Path) -> None:
    said: list[str] = []
    result = auth.measure(tmp_path, 1, 0.01, said.append)
    assert [row.tool for row in result.rows] == ["imgctl server", "a gRPC server that echoes"]
    assert all(row.samples[0].seconds > 0 and row.samples[0].peak_bytes > 0 for row in result.rows)
    (check,) = result.checks
    assert check.value is not None
    assert check.value > 0
    assert "ms against echo" in said[0]
    # Every call was checked, and is on record.
    events = [record["event"] for record in read(tmp_path / "audit.jsonl")]
    assert events.count("auth.checked") == auth.WARM_UP + 100
    assert "server.limited" not in events

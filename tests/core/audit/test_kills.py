"""Killed at any moment, the log has every promotion that wrote anything, and stays whole."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from imgctl_core.audit import AuditLog, read, verify

KILLS = 200
SEED = 20_261_125


def test_200_kills_lose_nothing(tmp_path: Path) -> None:
    script = Path(__file__).with_name("killing.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), str(SEED), str(KILLS)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    path = tmp_path / "audit.jsonl"
    # What the last kill left is for one more start to clear up.
    last = AuditLog(path)
    open_ones = [str(entry["audit_id"]) for entry in last.interrupted]
    last.close()
    files = [*sorted(tmp_path.glob("audit.*.jsonl")), path]
    result = verify(*files)
    assert (result.problems, result.first) == ((), 1)

    records = list(read(*files))
    events = Counter(str(record["event"]) for record in records)
    assert events["server.started"] == KILLS
    requested = Counter(
        str(record["audit_id"]) for record in records if record["event"] == "promotion.requested"
    )
    wrote = {path.name for path in (tmp_path / "wrote").iterdir()}
    assert len(wrote) > KILLS
    assert wrote <= set(requested)
    assert set(requested.values()) == {1}

    # Each has one end, or is the last start's to tell of.
    ends = Counter(
        str(record["audit_id"])
        for record in records
        if str(record["event"]) in ("promotion.promoted", "promotion.interrupted")
    )
    assert set(ends.values()) == {1}
    assert set(requested) == set(ends) | set(open_ones)
    assert not set(ends) & set(open_ones)
    assert events["promotion.interrupted"] > KILLS / 10

    # Whatever anybody was told is there, under the head that they were told.
    heads = {(record.get("audit_id"), record["hash"]) for record in records}
    lines = (tmp_path / "told.jsonl").read_text().splitlines()
    assert lines
    for line in lines:
        told = json.loads(line)
        assert (told["id"], told["head"]) in heads

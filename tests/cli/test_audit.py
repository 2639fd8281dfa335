from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from imgctl_core.audit import AuditLog
from imgctl_core.models import JSON

ALICE: dict[str, JSON] = {"sub": "CgVhbGljZRIDc3No", "name": "alice", "email": "alice@example.com"}
BOB: dict[str, JSON] = {"sub": "x", "name": "bob\x1b[1m", "email": ""}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return a log of six records, really written."""
    path = tmp_path / "audit.jsonl"
    writer = AuditLog(path)
    about: dict[str, JSON] = {
        "audit_id": "pr_1",
        "actor": ALICE,
        "source": "dev",
        "destination": "prod",
    }
    writer.record("server.started", {"version": "1"})
    writer.record("promotion.requested", {**about, "items": [{"ref": "a:1"}, {"ref": "b:1"}]})
    writer.record("promotion.promoted", {**about, "items": [{"ref": "a:1"}, {"ref": "b:1"}]})
    writer.record(
        "authz.denied",
        {"actor": BOB, "refs": ["c:1"], "source": "", "destination": "int", "why": "no group"},
    )
    writer.record("plan.made", {**about, "audit_id": "pr_2", "refs": ["d:1"]})
    writer.record("authn.denied", {"method": "Promote", "cause": "expired", "peer": "127.0.0.1"})
    writer.close()
    return path


@pytest.fixture
def shown(run: Any, log: Path) -> Any:
    """Return a function from filters to the numbers of the records that pass them."""

    def call(*args: str) -> list[int]:
        ran = run("audit", "show", "--file", str(log), "-o", "json", *args)
        assert (ran.code, ran.err) == (0, "")
        return [record["seq"] for record in json.loads(ran.out)["records"]]

    return call


class TestShow:
    def test_a_line_a_record(self, run: Any, log: Path) -> None:
        ran = run("audit", "show", "--file", str(log))
        assert (ran.code, ran.err) == (0, "")
        lines = [line.split("  ") for line in ran.out.splitlines()]
        assert len(lines) == 6
        assert lines[2][-4:] == ["alice@example.com", "a:1, b:1", "dev -> prod", "pr_1"]
        assert lines[3][-4:] == ["bob\ufffd[1m", "c:1", "? -> int", "no group"]
        assert lines[5][-2:] == ["Promote", "expired"]

    @pytest.mark.parametrize(
        ("args", "records"),
        [
            ([], [1, 2, 3, 4, 5, 6]),
            (["--event", "promotion.promoted"], [3]),
            (["--event", "promotion.*"], [2, 3]),
            (["--event", "promotion"], []),
            (["--actor", "alice@example.com"], [2, 3, 5]),
            (["--actor", "alice"], [2, 3, 5]),
            (["--actor", "x"], [4]),
            (["--id", "pr_1"], [2, 3]),
            (["-d", "int"], [4]),
            (["--since", "2020-01-01"], [1, 2, 3, 4, 5, 6]),
            (["--since", "2999-01-01T00:00:00"], []),
            (["-n", "2"], [5, 6]),
            (["--actor", "alice", "--last", "1", "-d", "prod"], [5]),
        ],
    )
    def test_filters(self, shown: Any, args: list[str], records: list[int]) -> None:
        assert shown(*args) == records

    def test_the_file_is_named_by_variable_or_lies_in_the_state_folder(
        self, run: Any, log: Path, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("IMGCTL_AUDIT_LOG", str(log))
        assert len(run("audit", "show").out.splitlines()) == 6
        monkeypatch.delenv("IMGCTL_AUDIT_LOG")
        default = home / ".local" / "state" / "imgctl" / "audit.jsonl"
        assert str(default) in run("audit", "show").err
        default.parent.mkdir(parents=True)
        default.write_bytes(log.read_bytes())
        assert len(run("audit", "show").out.splitlines()) == 6

    def test_a_file_that_is_not_there(self, run: Any) -> None:
        ran = run("audit", "show", "--file", "/no/such", "-o", "json")
        assert ran.code == 1
        assert json.loads(ran.err)["error"]["reason"] == "AUDIT_UNAVAILABLE"

    @pytest.mark.parametrize(
        ("text", "shift"),
        [
            ("{:%Y-%m-%dT%H:%M:%SZ}", 0),
            ("{:%Y-%m-%d %H:%M:%S}", 0),
            ("{:%Y-%m-%dT%H:%M}", 0),
            ("{:%Y-%m-%dT%H:%M:%S.%f}+00:00", 0),
            ("{:%Y-%m-%dT%H:%M:%S}+02:00", 2),
            ("{:%Y-%m-%dT%H:%M:%S}-05:30", -5.5),
        ],
    )
    def test_moments(self, shown: Any, text: str, shift: float) -> None:
        now = datetime.now(UTC) + timedelta(hours=shift)
        before, after = now - timedelta(minutes=3), now + timedelta(minutes=3)
        assert len(shown("--since", text.format(before), "--until", text.format(after))) == 6
        assert shown("--since", text.format(after)) == []
        assert shown("--until", text.format(before)) == []

    @pytest.mark.parametrize("text", ["300s", "5m", "2h", "7d", "3w"])
    def test_so_long_ago(self, shown: Any, text: str) -> None:
        assert len(shown("--since", text)) == 6
        assert shown("--until", text) == []

    @pytest.mark.parametrize(
        "args",
        [
            ["--since", "yesterday"],
            ["--since", ""],
            ["--since", "2026-13-01"],
            ["--since", "999999w"],
            ["--until", "0001-01-01T00:00+14:00"],
            ["--since", "\x1b[31m"],
            ["-n", "0"],
        ],
    )
    def test_a_filter_that_makes_no_sense(self, run: Any, log: Path, args: list[str]) -> None:
        ran = run("audit", "show", "--file", str(log), *args)
        assert ran.code == 2
        assert "\x1b" not in ran.err


class TestVerify:
    def test_a_sound_log(self, run: Any, log: Path) -> None:
        ran = run("audit", "verify", "--file", str(log))
        assert ran.code == 0
        assert ran.out.startswith("sound: 6 records, head ")
        head = ran.out.split()[-1]
        assert run("audit", "verify", "--file", str(log), "--expect-head", head).code == 0
        answer = json.loads(run("audit", "verify", "--file", str(log), "-o", "json").out)
        assert answer == {
            "schema_version": 1,
            "sound": True,
            "first": 1,
            "records": 6,
            "head": head,
            "problems": [],
        }

    def test_a_changed_record(self, run: Any, log: Path) -> None:
        log.write_text(log.read_text().replace("no group", "no groups"))
        ran = run("audit", "verify", "--file", str(log))
        assert ran.code == 1
        assert ran.out == f"not sound: {log}\n  line 4 was changed\n"
        answer = json.loads(run("audit", "verify", "--file", str(log), "-o", "json").out)
        assert (answer["sound"], answer["problems"]) == (False, ["line 4 was changed"])

    def test_a_tail_that_was_cut_off_shows_against_a_head_kept_elsewhere(
        self, run: Any, log: Path
    ) -> None:
        head = run("audit", "verify", "--file", str(log)).out.split()[-1]
        log.write_text("".join(log.read_text().splitlines(keepends=True)[:-1]))
        assert run("audit", "verify", "--file", str(log)).code == 0
        ran = run("audit", "verify", "--file", str(log), "--expect-head", head)
        assert ran.code == 1
        assert head in ran.out

    @pytest.mark.parametrize("head", ["", " ", "abc", "g" * 64, "0" * 65])
    def test_a_head_that_is_none_is_not_taken_for_no_question(
        self, run: Any, log: Path, head: str
    ) -> None:
        ran = run("audit", "verify", "--file", str(log), "--expect-head", head)
        assert (ran.code, ran.out) == (2, "")
        assert "64 hexadecimal digits" in ran.err

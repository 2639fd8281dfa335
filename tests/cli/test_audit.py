from __future__ import annotations

import gzip
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
        assert lines[5][-3:] == ["from 127.0.0.1", "Promote", "expired"]

    def test_what_the_line_of_an_event_tells(self, run: Any, tmp_path: Path) -> None:
        one, other = "sha256:" + "1" * 64, "sha256:" + "2" * 64
        error: JSON = {"reason": "NOT_FOUND", "message": "dev holds no a:1", "id": ""}
        ends: dict[str, JSON] = {"source": "dev", "destination": "prod", "audit_id": "pr_1"}
        log = AuditLog(tmp_path / "audit.jsonl")
        plugins: list[JSON] = [
            {"name": "image", "version": "1.2", "status": "active"},
            {"name": "odd", "version": None, "status": "quarantined"},
        ]
        log.record("server.started", {"plugins": plugins})
        log.record("server.limited", {"actor": None, "peer": "10.0.0.7:1", "cause": "too many"})
        log.record("server.limited", {"actor": ALICE, "peer": "10.0.0.7:1"})
        moved: JSON = {
            "ref": "a:1", "outcome": "promoted", "digest": one, "previous_digest": other,
        }  # fmt: skip
        fresh: JSON = {"ref": "b:1", "outcome": "promoted", "digest": one, "previous_digest": ""}
        same: JSON = {"ref": "c:1", "outcome": "promoted", "digest": one, "previous_digest": one}
        log.record("promotion.promoted", {**ends, "items": [moved, fresh, same]})
        kept: JSON = {
            "ref": "a:1", "outcome": "conflict", "digest": one, "previous_digest": other,
        }  # fmt: skip
        log.record("promotion.conflict", {**ends, "items": [kept]})
        failed: list[JSON] = [{"ref": "a:1", "outcome": "failed", "error": error}] * 2
        log.record("promotion.failed", {**ends, "items": failed})
        many: list[JSON] = [
            {"ref": "a:1", "error": {"reason": "INTERNAL", "message": f"{number}"}}
            for number in range(5)
        ]
        log.record("promotion.failed", {**ends, "items": many})
        log.close()
        ran = run("audit", "show", "--file", str(tmp_path / "audit.jsonl"))
        shown = [line.split("  ") for line in ran.out.splitlines()]
        assert len(shown) == 7
        assert shown[0][-1] == "plugins image 1.2, odd ? (quarantined)"
        assert shown[1][-2:] == ["from 10.0.0.7:1", "too many"]
        assert shown[2][-2:] == ["alice@example.com", "from 10.0.0.7:1"]
        assert shown[3][-3:] == ["dev -> prod", "replaced a:1 (was sha256:222222222222…)", "pr_1"]
        assert "replaced" not in " ".join(shown[4])
        assert shown[5][-3:] == ["dev -> prod", "NOT_FOUND: dev holds no a:1", "pr_1"]
        assert shown[6][-3:] == ["INTERNAL: 2", "and 2 more errors", "pr_1"]

    @pytest.mark.parametrize(
        ("args", "records"),
        [
            ([], [1, 2, 3, 4, 5, 6]),
            (["--event", "promotion.promoted"], [3]),
            (["--event", "promotion.*"], [2, 3]),
            (["--event", "promotion.r*"], [2]),
            (["--event", "AUTHZ.denied"], [4]),
            (["--event", "*"], [1, 2, 3, 4, 5, 6]),
            (["--event", "audit.rotated"], []),
            (["--actor", "alice@example.com"], [2, 3, 5]),
            (["--actor", "alice"], [2, 3, 5]),
            (["--actor", "x"], [4]),
            (["--id", "pr_1"], [2, 3]),
            (["-d", "int"], [4]),
            (["-d", "INT "], [4]),
            (["--environment", "PROD"], [2, 3, 5]),
            (["--environment", "pro"], []),
            (["--since", "2020-01-01"], [1, 2, 3, 4, 5, 6]),
            (["--since", "2999-01-01T00:00:00"], []),
            (["--since", "1h"], [1, 2, 3, 4, 5, 6]),
            (["--until", "1h"], []),
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

    def test_a_file_that_is_no_log(self, run: Any, tmp_path: Path) -> None:
        (tmp_path / "server.toml").write_text("[server]\n")
        ran = run("audit", "show", "--file", str(tmp_path / "server.toml"))
        assert (ran.code, ran.out) == (1, "")
        assert "server.toml is no audit log" in ran.err

    @pytest.mark.parametrize(
        "time",
        [
            "2026-11-25T18:11:00Z", "2026-11-25T18:11:00", "2026-11-25 18:11",
            "2026-11-25T19:11:00+01:00", "2026-11-25 18:11Z", " 2026-11-25T13:11-05:00 ",
        ],
    )  # fmt: skip
    def test_one_time_written_in_many_ways(self, run: Any, tmp_path: Path, time: str) -> None:
        moments = iter(datetime(2026, 11, 25, 18, minute, tzinfo=UTC) for minute in (10, 11, 12))
        log = AuditLog(tmp_path / "audit.jsonl", now=lambda: next(moments))
        for _ in range(3):
            log.record("auth.checked", {})
        log.close()
        for flag, numbers in (("--since", [2, 3]), ("--until", [1])):
            ran = run(
                "audit", "show", "--file", str(tmp_path / "audit.jsonl"), "-o", "json", flag, time
            )
            assert [record["seq"] for record in json.loads(ran.out)["records"]] == numbers

    @pytest.mark.parametrize(("age", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200),
                                                  ("7d", 604800), ("1w", 604800)])  # fmt: skip
    def test_ages_count_back_from_now(
        self, run: Any, tmp_path: Path, age: str, seconds: int
    ) -> None:
        now = datetime.now(UTC)
        moments = iter(now - timedelta(seconds=seconds + after) for after in (60, -60))
        log = AuditLog(tmp_path / "audit.jsonl", now=lambda: next(moments))
        for _ in range(2):
            log.record("auth.checked", {})
        log.close()
        ran = run("audit", "show", "--file", str(tmp_path / "audit.jsonl"), "--since", age)
        assert [line.split()[0] for line in ran.out.splitlines()] == ["2"]

    @pytest.mark.parametrize(
        "args",
        [
            ["--since", "yesterday"], ["--since", ""], ["--since", "999999999w"],
            ["--until", "0001-01-01T00:00:00+14:00"], ["--since", "-2h"], ["-n", "0"],
        ],
    )  # fmt: skip
    def test_a_filter_that_makes_no_sense(self, run: Any, log: Path, args: list[str]) -> None:
        ran = run("audit", "show", "--file", str(log), *args)
        assert (ran.code, ran.out) == (2, "")
        assert "%" not in ran.err

    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("authz.denyed", "did you mean 'authz.denied'?"),
            ("promotion", "did you mean 'promotion.*'?"),
            ("promotoin.*", "did you mean 'promotion.*'?"),
            ("promotion.denied", "did you mean"),
            ("", "known are: "),
        ],
    )
    def test_an_event_that_there_is_not(self, run: Any, log: Path, name: str, hint: str) -> None:
        ran = run("audit", "show", "--file", str(log), "--event", name)
        assert (ran.code, ran.out) == (2, "")
        assert f"there is no event {name!r}: " in ran.err
        assert hint in ran.err

    def test_the_log_is_found_where_the_servers_settings_say(
        self, run: Any, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # What the file lacks the server has from variables that are not here.
        config = tmp_path / "server.toml"
        config.write_text(f'[server]\ntls_cert = "/none"\naudit_log = "{log}"\n')
        for command in ("show", "verify"):
            ran = run("audit", command, "--config", str(config))
            assert (ran.code, ran.err) == (0, "")
        monkeypatch.setenv("IMGCTL_CONFIG", str(config))
        assert len(run("audit", "show").out.splitlines()) == 6
        # A variable and an option come first, as with the server.
        assert run("audit", "show", "--file", "/no/such").code == 1
        monkeypatch.setenv("IMGCTL_AUDIT_LOG", "/no/such")
        assert "/no/such" in run("audit", "show").err

    @pytest.mark.parametrize("text", ["[server", "[servr]", "server = 1", "[server]\naudit_log=1"])
    def test_settings_that_can_not_be_used(self, run: Any, tmp_path: Path, text: str) -> None:
        config = tmp_path / "server.toml"
        config.write_text(text)
        ran = run("audit", "show", "--config", str(config))
        assert (ran.code, ran.out) == (2, "")

    def test_settings_that_name_no_log_mean_the_default(
        self, run: Any, tmp_path: Path, home: Path
    ) -> None:
        config = tmp_path / "server.toml"
        config.write_text("[oidc]\n")
        default = home / ".local" / "state" / "imgctl" / "audit.jsonl"
        assert str(default) in run("audit", "show", "--config", str(config)).err


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

    @pytest.mark.parametrize(
        "head", ["", " ", "abc", "A" * 64, "0" * 63, "0" * 65, "0" * 64 + "\n"]
    )
    def test_an_expected_head_that_is_no_hash(self, run: Any, log: Path, head: str) -> None:
        ran = run("audit", "verify", "--file", str(log), "--expect-head", head)
        assert (ran.code, ran.out) == (2, "")
        assert ("64 lower hex digits" if head.strip() else "it is empty") in ran.err

    def test_a_compressed_file_is_a_part_of_the_log(self, run: Any, log: Path) -> None:
        sound = run("audit", "verify", "--file", str(log)).out
        lines = log.read_bytes().splitlines(keepends=True)
        older = log.with_name("audit.jsonl.1.gz")
        older.write_bytes(gzip.compress(b"".join(lines[:3])))
        log.write_bytes(b"".join(lines[3:]))
        assert run("audit", "verify", str(older), str(log)).out == sound
        assert len(run("audit", "show", str(older), str(log)).out.splitlines()) == 6

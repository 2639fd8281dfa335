"""Copies of the log: whole and in order, and nobody who isn't asked waits for them."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgctl_core.audit import AuditLog, read
from imgctl_core.audit import copies as copies_module
from imgctl_core.audit.copies import Copy
from imgctl_core.audit.sinks import StandardOutput, Syslog, SyslogAddress
from imgctl_core.errors import AuditUnavailable, InvalidSetting


class Place:
    """A sink that does as told."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.error: Exception | None = None
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.closed = threading.Event()

    def write(self, line: bytes) -> None:
        assert self.may_go_on.wait(30)
        if self.error is not None:
            raise self.error
        self.lines.append(line)

    def close(self) -> None:
        self.closed.set()


@pytest.fixture
def place() -> Iterator[Place]:
    place = Place()
    yield place
    place.may_go_on.set()


def test_every_record_is_copied_as_it_is(tmp_path: Path, place: Place) -> None:
    path = tmp_path / "audit.jsonl"
    audit = AuditLog(path, max_bytes=800, copies=[Copy("place", place, required=True)])
    for number in range(6):
        audit.record("auth.checked", {"number": number})
    audit.settle()
    files = [*sorted(tmp_path.glob("audit.*.jsonl")), path]
    assert b"".join(place.lines) == b"".join(file.read_bytes() for file in files)
    audit.close()
    assert place.closed.wait(10)


def test_nobody_waits_for_a_place_that_is_not_required(tmp_path: Path, place: Place) -> None:
    place.may_go_on.clear()
    audit = AuditLog(tmp_path / "audit.jsonl", copies=[Copy("place", place)])
    audit.record("auth.checked", {})
    audit.settle(seconds=30)
    place.may_go_on.set()
    audit.close()
    assert len(place.lines) == 1


def test_a_required_place_that_fails_is_said_and_gets_all_of_it_later(
    tmp_path: Path, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.error = ConnectionRefusedError(111, "Connection refused")
    audit = AuditLog(tmp_path / "audit.jsonl", copies=[Copy("place", place, required=True)])
    for _ in range(3):
        audit.record("auth.checked", {})
    for _ in range(2):
        with pytest.raises(AuditUnavailable, match="copy to place lags behind: Connection refused"):
            audit.settle(seconds=30)
    place.error = None
    audit.settle(seconds=30)
    audit.close()
    assert [json.loads(line)["seq"] for line in place.lines] == [1, 2, 3]
    # Once when it broke and once when it was well again.
    assert caplog.text.count("not copied to place") == 1
    assert "copied to place again: 0 lost" in caplog.text


def test_a_required_place_that_hangs_is_waited_for_no_longer_than_allowed(
    tmp_path: Path, place: Place
) -> None:
    place.may_go_on.clear()
    audit = AuditLog(tmp_path / "audit.jsonl", copies=[Copy("place", place, required=True)])
    audit.record("auth.checked", {})
    with pytest.raises(AuditUnavailable, match="no answer"):
        audit.settle(seconds=0.05)
    place.may_go_on.set()
    audit.close()


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies_module, "MAX_WAITING", 5)
    monkeypatch.setattr(copies_module, "RESERVED", 2)


@pytest.mark.usefixtures("little_room")
def test_memory_for_a_place_that_is_gone_has_an_end(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.may_go_on.clear()
    copy = Copy("place", place)
    for number in range(10):
        copy.take(b"%d\n" % number)
    for number in range(10, 20):
        copy.take(b"%d\n" % number, must_have=True)
    place.may_go_on.set()
    copy.close(30)
    # Denials leave room for outcomes.
    assert place.lines == [b"0\n", b"1\n", b"2\n", b"10\n", b"11\n"]
    assert "15 lost" in caplog.text


@pytest.mark.usefixtures("little_room")
def test_a_required_place_gets_all_that_promotions_depend_on(
    tmp_path: Path, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.may_go_on.clear()
    audit = AuditLog(tmp_path / "audit.jsonl", copies=[Copy("place", place, required=True)])
    for number in range(20):
        audit.record("authz.denied", {"number": number})
        audit.record("promotion.failed", {"number": number}, durable=True)
    with pytest.raises(AuditUnavailable, match="lags behind"):
        audit.settle(seconds=0)
    place.may_go_on.set()
    audit.settle(seconds=30)
    audit.close()
    copied = [json.loads(line) for line in place.lines]
    outcomes = [record["number"] for record in copied if record["event"] == "promotion.failed"]
    assert outcomes == list(range(20))
    denials = len(copied) - len(outcomes)
    assert 0 < denials < 5
    assert f"{20 - denials} lost" in caplog.text
    assert copied == sorted(copied, key=lambda record: record["seq"])


def test_nobody_waits_for_what_comes_later() -> None:
    """A place that is slower than the log is written still has what came before."""
    more = threading.Event()
    more.set()

    class Behind:
        def write(self, line: bytes) -> None:
            if more.is_set():
                copy.take(b"and another\n")

        def close(self) -> None:
            """Nothing to give back."""

    copy = Copy("place", Behind(), required=True)
    copy.take(b"one\n")
    began = time.monotonic()
    try:
        copy.settle(20)
        assert time.monotonic() - began < 20
    finally:
        more.clear()
        copy.close(30)


def test_whatever_a_place_raises_is_the_reason_and_it_is_tried_again(
    tmp_path: Path, place: Place
) -> None:
    place.error = UnicodeError("label empty or too long")
    audit = AuditLog(tmp_path / "audit.jsonl", copies=[Copy("place", place, required=True)])
    audit.record("auth.checked", {})
    with pytest.raises(AuditUnavailable, match="label empty or too long"):
        audit.settle(seconds=30)
    place.error = None
    audit.settle(seconds=30)
    audit.close()
    assert len(place.lines) == 1


def test_what_a_place_never_took_is_told_at_the_end(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.error = OSError("gone")
    copy = Copy("place", place)
    copy.take(b"1\n")
    copy.close()
    assert "1 records were not copied to place" in caplog.text


def test_standard_output_gets_whole_lines() -> None:
    reader, writer = os.pipe()
    sink = StandardOutput(writer)
    sink.write(b"one\n")
    sink.write(b"two\n")
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        assert stream.read() == b"one\ntwo\n"
    with pytest.raises(OSError, match="Bad file descriptor"):
        sink.write(b"three\n")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:/dev/log", SyslogAddress("unix", "/dev/log")),
        ("udp:logs.example.com", SyslogAddress("udp", "logs.example.com", 514)),
        ("tcp:10.0.0.1:6514", SyslogAddress("tcp", "10.0.0.1", 6514)),
        ("tcp:[2001:db8::1]", SyslogAddress("tcp", "2001:db8::1", 601)),
        ("udp:[::1]:9", SyslogAddress("udp", "::1", 9)),
    ],
)
def test_addresses_of_syslog(text: str, address: SyslogAddress) -> None:
    assert SyslogAddress.parse(text) == address


@pytest.mark.parametrize(
    "text",
    ["unix:/dev/log", "udp:logs.example.com:514", "tcp:10.0.0.1:6514", "tcp:[2001:db8::1]:601"],
)
def test_messages_name_all_of_an_address(text: str) -> None:
    assert str(SyslogAddress.parse(text)) == f"syslog at {text.removeprefix('unix:')}"


@pytest.mark.parametrize(
    "text",
    ["", "unix:", "unix:dev/log", "udp:", "udp::1", "tcp:h:x", "tcp:h:0", "tcp:h:65536",
     "tls:h:1", "/dev/log", "tcp:[::1", "tcp:[::1]9", "udp:h:1:2", "udp:logs..example.com",
     f"tcp:{'x' * 64}.example.com:601", "udp:logs example.com", "udp:logs\0.example.com:514",
     "tcp:\ud800"],
)  # fmt: skip
def test_what_is_no_address_of_syslog(text: str) -> None:
    with pytest.raises(InvalidSetting, match="syslog address") as caught:
        SyslogAddress.parse(text)
    assert "unix:/dev/log" in caught.value.fix


RFC5424 = re.compile(
    rb"<86>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z [!-~]+ imgctl \d+ auth\.checked - (\{.*\})"
)


def _log(tmp_path: Path, address: str) -> AuditLog:
    sink = Syslog(SyslogAddress.parse(address))
    return AuditLog(tmp_path / "audit.jsonl", copies=[Copy("syslog", sink, required=True)])


def test_syslog_over_udp(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        audit = _log(tmp_path, f"udp:127.0.0.1:{server.getsockname()[1]}")
        audit.record("auth.checked", {"text": "é\n"})
        audit.settle()
        found = RFC5424.fullmatch(server.recv(70_000))
        assert found is not None
        assert found[1] + b"\n" == (tmp_path / "audit.jsonl").read_bytes()
        # Too long for a datagram: what anchors the chain comes all the same.
        audit.record("auth.checked", {"many": ["x" * 4000] * 20})
        audit.settle()
        found = RFC5424.fullmatch(server.recv(70_000))
        assert found is not None
        short = json.loads(found[1])
        assert short["shortened"]
        assert short["hash"] == audit.head
        audit.close()


def test_syslog_over_tcp_counts_its_octets_and_comes_back_after_a_restart(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        audit = _log(tmp_path, f"tcp:127.0.0.1:{listener.getsockname()[1]}")
        for number in range(2):
            audit.record("auth.checked", {"number": number})
            connection, _ = listener.accept()
            connection.settimeout(10)
            with connection, connection.makefile("rb") as stream:
                length = b""
                while (char := stream.read(1)) != b" ":
                    length += char
                found = RFC5424.fullmatch(stream.read(int(length)))
                assert found is not None
                assert json.loads(found[1])["number"] == number
            # The connection is closed, and the next record goes through another one.
        audit.settle()
        audit.close()


def test_syslog_that_is_not_there_holds_promotions_back(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        audit = _log(tmp_path, f"tcp:127.0.0.1:{taken.getsockname()[1]}")
        audit.record("auth.checked", {})
        with pytest.raises(AuditUnavailable, match="Connection refused"):
            audit.settle(30)
        audit.close()
    assert len(list(read(tmp_path / "audit.jsonl"))) == 1


def test_syslog_of_this_machine(tmp_path: Path) -> None:
    path = os.path.relpath(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        server.settimeout(10)
        audit = _log(tmp_path, f"unix:{tmp_path / 'log'}")
        audit.record("auth.checked", {"number": 1})
        audit.settle()
        found = re.fullmatch(
            rb"<86>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d imgctl\[\d+\]: (\{.*\})", server.recv(9999)
        )
        assert found is not None
        assert json.loads(found[1])["number"] == 1
        audit.close()


def test_a_syslog_that_was_started_anew_gets_the_next_record_at_once(tmp_path: Path) -> None:
    path = os.path.relpath(tmp_path / "log")
    audit = _log(tmp_path, f"unix:{tmp_path / 'log'}")
    for _ in range(3):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
            server.bind(path)
            server.settimeout(10)
            audit.record("auth.checked", {})
            audit.settle()
            assert server.recv(9999)
        Path(path).unlink()
    audit.close()

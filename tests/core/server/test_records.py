"""Denials are recorded, and nobody fills the disk with them."""

from __future__ import annotations

import pytest

from imgctl_core.errors import AuditUnavailable, NotAuthorized
from imgctl_core.models import Actor
from imgctl_core.peer import Peer
from imgctl_core.server.caller import Caller
from imgctl_core.server.records import PER_HOST, PER_MINUTE, Records, Sampler


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_host_gets_a_few_a_minute_and_the_rest_are_counted() -> None:
    clock = Clock()
    sampler = Sampler(clock)
    assert [sampler.take("h") for _ in range(PER_HOST + 7)] == [0] * PER_HOST + [None] * 7
    assert sampler.take("other") == 7
    clock.now += 60
    assert sampler.take("h") == 0


def test_many_hosts_get_no_more_in_all() -> None:
    sampler = Sampler(Clock())
    taken = [sampler.take(f"h{n}") for n in range(PER_MINUTE + 5)]
    assert taken.count(None) == 5


def test_ports_do_not_make_another_host() -> None:
    events: list[str] = []
    records = Records(lambda event, fields: events.append(event), Clock())
    for port in range(PER_HOST + 5):
        records.authn_denied("/m", Peer(f"10.0.0.1:{port}"), "no token")
    for port in range(PER_HOST + 5):
        records.authn_denied("/m", Peer(f"[2001:db8::1]:{port}"), "no token")
    assert len(events) == 2 * PER_HOST


def test_strangers_do_not_hide_the_denials_of_people() -> None:
    events: list[str] = []
    records = Records(lambda event, fields: events.append(event), Clock())
    for _ in range(PER_HOST + 5):
        records.authn_denied("/m", Peer("10.0.0.1:1"), "no token")
    records.authz_denied("/m", Peer("10.0.0.1:1"), Actor("i", "s"), NotAuthorized("no"))
    assert events[-1] == "authz.denied"


def test_who_asks_who_they_are_hears_no_path(caplog: pytest.LogCaptureFixture) -> None:
    def audit(event: str, fields: object) -> None:
        raise AuditUnavailable("the audit log /srv/audit.jsonl can't be written")

    caller = Caller(Actor("i", "s"), Peer("10.0.0.1:1"))
    with pytest.raises(AuditUnavailable) as caught:
        Records(audit).auth_checked(caller, None)
    assert "/srv" not in caught.value.message + caught.value.fix
    assert "auth.checked not recorded: the audit log /srv/audit.jsonl can't" in caplog.text


def test_a_broken_log_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def audit(event: str, fields: object) -> None:
        raise AuditUnavailable("the disk is full")

    Records(audit).authn_denied("/m", Peer("10.0.0.1:1"), "no token")
    assert "authn.denied not recorded: the disk is full" in caplog.text

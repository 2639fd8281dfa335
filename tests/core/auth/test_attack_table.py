"""The attack table: one test a row, the row's number in its id, over a real channel.

It runs against every verifier there is. For our own each row also fixes the code that the
server's log gets, so that a token is known to be refused for what is wrong with it and not
for an accident of the test. The rows are in `attacks.py`; those about headers, keys and the
issuer have files of their own, `test_attack_*.py`.
"""

from __future__ import annotations

import json
import logging
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from imgctl_core.errors import TokenRefused
from tests.core.auth.attacks import ACCEPTED, AT_THE_DOOR, BOTH, DENIED, REFUSED, UNSENDABLE, Build
from tests.core.auth.door import TEXT, Answer
from tests.core.auth.kit import VERIFIERS

if TYPE_CHECKING:
    from tests.core.auth.door import Door
    from tests.core.auth.kit import Kit

FIX = "run `imgctl auth-check`: it compares your own copy of the token with what the server expects"


@pytest.mark.parametrize("library", VERIFIERS)
@pytest.mark.parametrize(
    ("code", "build"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_refused(
    door: Door,
    kit: Kit,
    caplog: pytest.LogCaptureFixture,
    code: str,
    build: Build,
    library: str,
) -> None:
    token = str(build(kit))
    door.use(kit.verifier(library))
    caplog.set_level(logging.DEBUG, "imgctl")
    answer = door.knock(token)
    assert (answer.code, answer.details) == (grpc.StatusCode.UNAUTHENTICATED, TEXT)
    logged = [record.getMessage() for record in caplog.records]
    if library == "python-jose":
        assert logged == [f"token refused: {code}"]
    assert_nothing_told(answer, logged, door, token)
    assert answer == door.knock("rubbish"), "one answer for all"
    assert door.knock(kit.token()).name == "alice", "the good token must pass beside it"


@pytest.mark.parametrize("build", [row[2] for row in AT_THE_DOOR], ids=[r[0] for r in AT_THE_DOOR])
def test_refused_at_the_door(
    door: Door, kit: Kit, caplog: pytest.LogCaptureFixture, build: Build
) -> None:
    caplog.set_level(logging.DEBUG, "imgctl.auth")
    token = str(build(kit))
    answer = door.knock(token)
    assert_nothing_told(answer, caplog.messages, door, token)
    assert caplog.messages == []
    assert answer == door.knock("rubbish"), "one answer for all"


@pytest.mark.parametrize("library", VERIFIERS)
@pytest.mark.parametrize(
    ("code", "build"),
    [row[1:] for row in AT_THE_DOOR + UNSENDABLE],
    ids=[row[0] for row in AT_THE_DOOR + UNSENDABLE],
)
def test_refused_by_the_verifier(
    kit: Kit, caplog: pytest.LogCaptureFixture, code: str, build: Build, library: str
) -> None:
    token: Any = build(kit)
    verifier = kit.verifier(library)
    caplog.set_level(logging.DEBUG, "imgctl")
    with pytest.raises(TokenRefused) as refused:
        verifier.verify(token)
    assert (refused.value.message, refused.value.fix) == (TEXT, FIX)
    assert refused.value.__cause__ is None
    if library == "python-jose":
        assert refused.value.__context__ is None
        assert getattr(refused.value, "code", "") == code
        assert [record.getMessage() for record in caplog.records] == [f"token refused: {code}"]
    assert verifier.verify(kit.token()).name == "alice", "the good token must pass beside it"


@pytest.mark.parametrize("library", VERIFIERS)
@pytest.mark.parametrize(
    ("said", "build"), [row[1:] for row in DENIED], ids=[row[0] for row in DENIED]
)
def test_denied(door: Door, kit: Kit, said: str, build: Build, library: str) -> None:
    door.use(kit.verifier(library))
    answer = door.knock(str(build(kit)))
    assert answer.code is grpc.StatusCode.PERMISSION_DENIED
    if library == "python-jose" or "group" in said:
        assert said in answer.details


@pytest.mark.parametrize("library", VERIFIERS)
@pytest.mark.parametrize("build", [row[1] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED])
def test_accepted(door: Door, kit: Kit, build: Build, library: str) -> None:
    door.use(kit.verifier(library))
    assert door.knock(str(build(kit))) == Answer(grpc.StatusCode.OK, name="alice")


@pytest.mark.parametrize("library", VERIFIERS)
def test_36_only_named_parties(door: Door, kit: Kit, library: str) -> None:
    door.use(kit.verifier(library, authorized_parties=("cli",)))
    assert door.knock(kit.token(aud=BOTH, azp="cli")).name == "alice"
    for azp in ("x", "CLI", None):
        assert door.knock(kit.token(azp=azp)) == door.knock("rubbish")


@pytest.mark.parametrize("library", VERIFIERS)
def test_64_a_token_may_be_used_again(door: Door, kit: Kit, library: str) -> None:
    door.use(kit.verifier(library))
    token = kit.token()
    assert door.knock(token) == door.knock(token) == Answer(grpc.StatusCode.OK, name="alice")


@pytest.mark.parametrize("library", VERIFIERS)
def test_65_no_refusal_takes_long(kit: Kit, library: str) -> None:
    """In CPU time, so that a busy machine does not count."""
    verifier = kit.verifier(library)
    for name, _, build in REFUSED + AT_THE_DOOR + UNSENDABLE:
        token: Any = build(kit)

        def seconds(token: Any = token) -> float:
            began = time.thread_time()
            with pytest.raises(TokenRefused):
                verifier.verify(token)
            return time.thread_time() - began

        assert min(seconds(), seconds(), seconds()) < 0.02, name


def assert_nothing_told(answer: Answer, logged: list[str], door: Door, token: str) -> None:
    """Row 65: nothing of a token is in the answer, the log or the audit log."""
    told = repr(answer) + repr(logged) + json.dumps(door.events)
    parts = [part for part in (token, *token.split(".")) if len(part) > 8]
    assert not any(part in told for part in parts)
    assert "alice" not in told


def test_65_every_row_is_somewhere() -> None:
    """The numbers are those of the table; a row that nobody tests would be missing here."""
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("*.py"))
    found = set(re.findall(r'"(\d+b?)-[^"]+"', text)) | set(re.findall(r"def test_(\d+b?)_", text))
    assert found == {*map(str, range(1, 66)), "22b"}

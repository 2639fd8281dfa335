"""Rules as JSON spells them, for the proxy as a program."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from imgctl_core.testing.httpd import Fault, HttpServer, Injected, Response

_NUMBER: Final = (int,)
_SWITCH: Final = (bool,)
#: The fields of `Fault` that a rule may set, with the types that they take.
_FAULTS: Final[Mapping[str, tuple[type, ...]]] = {
    "late": _SWITCH,
    "delay": (int, float),
    "drop": _SWITCH,
    "lose": _SWITCH,
    "cut_request_after": _NUMBER,
    "stall_request_after": _NUMBER,
    "corrupt_request": _SWITCH,
    "cut_after": _NUMBER,
    "short_after": _NUMBER,
    "stall_after": _NUMBER,
    "truncate": _NUMBER,
    "corrupt": _SWITCH,
    "rate": (int, float),
}
_WORDS: Final[Mapping[str, tuple[type, ...]]] = {
    "method": (str,),
    "pattern": (str,),
    "times": (int, type(None)),
    "skip": _NUMBER,
    "status": _NUMBER,
    "headers": (dict,),
    "body": (str,),
    **_FAULTS,
}


@dataclass(frozen=True)
class Rule:
    """Which requests fail, and how; see `HttpServer.inject`."""

    fault: Fault
    method: str = ""
    pattern: str = ""
    times: int | None = 1
    skip: int = 0

    def apply(self, server: HttpServer) -> Injected:
        """Let the rule hold on a server from now on."""
        return server.inject(
            self.fault,
            method=self.method,
            pattern=self.pattern,
            times=self.times,
            skip=self.skip,
        )


def parse_rule(text: str) -> Rule:
    """Read one rule, a JSON object.

    Its keys are the words of `Fault` and of `HttpServer.inject`, and `status`, `headers`
    and `body` for an answer.

    Raises:
        ValueError: it is no such object, or has a key that nobody knows.
    """
    try:
        given = json.loads(text)
    except ValueError as error:
        raise ValueError(f"a rule is a JSON object: {error}") from None
    if not isinstance(given, dict):
        raise ValueError("a rule is a JSON object")
    for key, value in given.items():
        wanted = _WORDS.get(key)
        if wanted is None:
            raise ValueError(f"a rule has no {key!r}; it may have {', '.join(sorted(_WORDS))}")
        if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
            raise ValueError(f"{key} of a rule can't be {value!r}")
    return _rule(given)


def _rule(given: Mapping[str, Any]) -> Rule:
    answer = None
    if "status" in given:
        body = given.get("body", "").encode()
        answer = Response(given["status"], given.get("headers", {}), body)
    elif "headers" in given or "body" in given:
        raise ValueError("a rule with headers or a body has a status, too")
    wrong = {key: given[key] for key in _FAULTS if key in given}
    return Rule(
        Fault(answer=answer, **wrong),
        given.get("method", ""),
        given.get("pattern", ""),
        given.get("times", 1),
        given.get("skip", 0),
    )

"""What a registry asks for with a 401 (RFC 9110, section 11.6.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_PARAMETER = re.compile(
    r'([A-Za-z0-9_-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))', re.ASCII
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9-]*(?=[\s,]|$)", re.ASCII)
_GAP = re.compile(r"[\s,]*")

#: Header text beyond this is not looked at.
_LIMIT = 8192


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate. `scheme` and the parameters' names are lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenges(values: Iterable[str]) -> dict[str, Challenge]:
    """Return the challenges of all WWW-Authenticate headers by scheme, first ones winning."""
    found: dict[str, Challenge] = {}
    for value in values:
        for challenge in _parse(value[:_LIMIT]):
            found.setdefault(challenge.scheme, challenge)
    return found


def _parse(text: str) -> list[Challenge]:
    challenges: list[Challenge] = []
    parameters: dict[str, str] = {}
    at = 0
    while True:
        at = _gap(text, at)
        if parameter := _PARAMETER.match(text, at):
            name, quoted, plain = parameter.groups()
            value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
            parameters.setdefault(name.lower(), value)
            at = parameter.end()
        elif scheme := _SCHEME.match(text, at):
            parameters = {}
            challenges.append(Challenge(scheme[0].lower(), parameters))
            at = scheme.end()
        else:
            return challenges


def _gap(text: str, at: int) -> int:
    gap = _GAP.match(text, at)
    return gap.end() if gap else at

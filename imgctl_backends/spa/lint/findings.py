"""What lint found, as records and as lines for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from imgctl_backends.spa.references import Place
from imgctl_core.errors import LintFailed

_SHOWN: Final = 3


class Rule(str, Enum):
    """A rule's name, which never changes once released. The worst comes first."""

    MISSING_REFERENCE = "missing-reference"
    EMPTY_ENTRY_POINT = "empty-entry-point"
    CONTENT_TYPE = "content-type"
    CONTENT_ENCODING = "content-encoding"
    ENTRY_POINT_CACHED = "entry-point-cached"
    ENTRY_POINT_UNCONTROLLED = "entry-point-uncontrolled"
    ASSET_NOT_IMMUTABLE = "asset-not-immutable"
    SOURCE_MAP = "source-map"
    PAGE_TOO_LARGE = "page-too-large"
    PAGES_UNREAD = "pages-unread"
    DIRECTORY_MARKERS = "directory-markers"

    @property
    def blames(self) -> bool:
        """Whether the build is to blame; the others say what lint or the copy leaves out."""
        return self not in (Rule.PAGES_UNREAD, Rule.DIRECTORY_MARKERS)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a rule found.

    `key` is the file's as listed, "" for the build as a whole. `among` is how many files
    the rule looked at, 0 for every one that it is about.
    """

    rule: Rule
    key: str
    sentence: str
    among: int = 0


def about(rule: Rule, key: str, what: str) -> Finding:
    """Return a finding about one file, whose name begins the sentence."""
    return Finding(rule, key, f"{key!r} {what}")


def fold(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Return one line per rule, the worst rule first; its first findings stand for all."""
    by_rule: dict[Rule, list[Finding]] = {}
    for finding in findings:
        by_rule.setdefault(finding.rule, []).append(finding)
    return tuple(f"{rule.value}: {_line(by_rule[rule])}" for rule in Rule if rule in by_rule)


def failure(findings: Sequence[Finding], place: Place) -> LintFailed | None:
    """Return the error that a strict promotion ends with, None when it may go on."""
    blamed = [finding for finding in findings if finding.rule.blames]
    if not blamed:
        return None
    problems = "1 problem" if len(blamed) == 1 else f"{len(blamed):,} problems"
    return LintFailed(
        f"the build in {place.url} (environment {place.environment}) has {problems}: "
        + "; ".join(fold(blamed)),
        fix="repair the build and publish it under a new version, or promote it without --strict",
    )


def _line(found: Sequence[Finding]) -> str:
    first = found[0]
    looked_at = f" of {first.among:,} files looked at" if first.among else " files"
    if len(found) == 1:
        return f"1{looked_at}: {first.sentence}" if first.among else first.sentence
    names = ", ".join(repr(finding.key[:200]) for finding in found[:_SHOWN])
    what = first.sentence.removeprefix(f"{first.key!r} ")
    return f"{len(found):,}{looked_at}, such as {names}: the first one {what}"

"""Lists of a registry, page by page: a repository's tags, and what refers to a manifest."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from imgctl_backends.image.content.manifests import OCI_INDEX, Descriptor, parse_descriptor, texts
from imgctl_backends.image.distribution.failures import failure
from imgctl_backends.image.distribution.registry import Answer, Registry
from imgctl_backends.image.signin.tokens import Scopes
from imgctl_backends.image.wire.flight import Flight
from imgctl_core.errors import EndpointFailed

#: What registries answer that have no such list.
_ABSENT: Final = frozenset({400, 404, 405, 406, 415, 501})

#: The most that Amazon ECR gives at once; others give fewer if they like.
_TAGS_A_PAGE: Final = 1000

#: Above this, asking for single tags is cheaper than reading all of them.
_MOST_TAG_PAGES: Final = 20
_MOST_REFERRER_PAGES: Final = 100

_NEXT = re.compile(r'<([^<>]*)>\s*;[^<>]*\brel="?next\b', re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Referral:
    """One entry of a list of referrers."""

    descriptor: Descriptor
    annotations: Mapping[str, str]


def list_tags(
    registry: Registry, flight: Flight, repository_url: str, scopes: Scopes
) -> frozenset[str] | None:
    """Return a repository's tags, None when there is no list of them or it is endless."""
    found: set[str] = set()
    url = f"{repository_url}/tags/list?n={_TAGS_A_PAGE}"
    for _ in range(_MOST_TAG_PAGES):
        answer = registry.call(flight, "GET", url, scopes, limit=registry.settings.manifest_bytes)
        document = _document(registry, answer, "list tags")
        if document is None:
            return frozenset() if answer.status == 404 else None
        tags = document.get("tags") or []
        if not isinstance(tags, list):
            raise EndpointFailed(f"the registry {registry} sent a list of tags that is none")
        found.update(tag for tag in tags if isinstance(tag, str))
        url = _next(url, answer)
        if not url:
            return frozenset(found)
    return None


def list_referrers(
    registry: Registry, flight: Flight, repository_url: str, subject: str, scopes: Scopes
) -> tuple[Referral, ...] | None:
    """Return what refers to a manifest, None when the registry has no such API.

    Raises:
        EndpointFailed: the list makes no sense, or has no end.
        EndpointDenied: we may not see it.
    """
    found: list[Referral] = []
    url = f"{repository_url}/referrers/{subject}"
    for _ in range(_MOST_REFERRER_PAGES):
        answer = registry.call(
            flight,
            "GET",
            url,
            scopes,
            headers={"Accept": OCI_INDEX},
            limit=registry.settings.manifest_bytes,
        )
        document = _document(registry, answer, "list referrers")
        if document is None:
            return None
        found += parse_referrals(str(registry), document)
        url = _next(url, answer)
        if not url:
            return tuple(found)
    raise EndpointFailed(f"the registry {registry} sent a list of referrers without an end")


def parse_referrals(where: str, document: Mapping[str, Any]) -> tuple[Referral, ...]:
    """Read an index of referrers: an answer of the API, or a fallback tag's.

    Raises:
        EndpointFailed: it is none.
    """
    entries = document.get("manifests")
    if not isinstance(entries, list):
        raise EndpointFailed(f"{where} sent a list of referrers that is none")
    return tuple(
        Referral(parse_descriptor("of referrers", entry), texts(entry.get("annotations")))
        for entry in entries
    )


def _document(registry: Registry, answer: Answer, doing: str) -> dict[str, Any] | None:
    if answer.status in _ABSENT:
        return None
    if answer.status != 200:
        raise failure(str(registry), doing, answer.problem)
    # A user interface beside the registry may answer what the registry doesn't know.
    if "json" not in (answer.header("Content-Type") or "json").lower():
        return None
    try:
        document = json.loads(answer.content)
    except (ValueError, RecursionError) as error:
        raise EndpointFailed(
            f"the registry {registry} sent no JSON when we wanted to {doing}"
        ) from error
    if not isinstance(document, dict):
        raise EndpointFailed(f"the registry {registry} sent no list when we wanted to {doing}")
    return document


def _next(url: str, answer: Answer) -> str:
    """Return the next page's URL: where we are, with the query that the registry names.

    Returns "" when there is no next page.

    Only the query is taken: a registry behind a proxy seldom knows its own address, and
    a hostile one must not choose where we go.
    """
    for value in answer.reply.headers("Link"):
        named = _NEXT.search(value)
        query = urlsplit(named[1]).query if named else ""
        if query and query != urlsplit(url).query:
            return f"{url.partition('?')[0]}?{query}"
    return ""

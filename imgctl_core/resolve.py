"""From what was typed to what is meant: references, kinds and environments."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imgctl_core.activator import Activator
from imgctl_core.errors import (
    AmbiguousReference,
    EndpointNotFound,
    EnvironmentNotFound,
    InvalidReference,
    MissingEnvironment,
    NotActivatable,
    PluginUnavailable,
    RequestError,
    SameEndpoint,
    UnknownKind,
)
from imgctl_core.models import (
    ActivationRequest,
    ArtifactRef,
    OnConflict,
    PluginStatus,
    PromotionItem,
    PromotionRequest,
    Request,
)
from imgctl_core.names import canonical_name
from imgctl_core.plugins.registry import PluginRegistry
from imgctl_core.promoter import Promoter
from imgctl_core.steps import ActivationSteps, Steps
from imgctl_core.suggest import nearest

#: The kind of a reference that names none.
DEFAULT_KIND = "image"

# As long as a kind can be: a longer word is no kind that nobody knows, but no kind.
_KIND_PREFIX = re.compile(r"([a-z][a-z0-9-]{0,31}):(.*)", re.ASCII | re.DOTALL)

# What follows a host's name, and no kind's: image references say what to do about hosts.
_PORT = re.compile(r"[0-9]{1,5}/", re.ASCII)


@dataclass(frozen=True)
class Resolved:
    """A request whose every word is understood."""

    source: str
    destination: str
    items: tuple[tuple[Steps, PromotionItem], ...]


class Resolver:
    """Knows the environments and the promoters, and nothing of who asks."""

    def __init__(
        self,
        promoters: Mapping[str, Promoter[Any, Any]],
        registry: PluginRegistry,
        *,
        environments: Collection[str],
        allow_replace: Collection[str],
        default_source: str,
    ) -> None:
        self._promoters = promoters
        self._registry = registry
        self._environments = frozenset(environments)
        self._allow_replace = frozenset(allow_replace)
        self._default_source = default_source

    def resolve(self, request: Request) -> Resolved:
        """Understand a request.

        Raises:
            RequestError: it makes no sense, in one of the ways of that family.
            NotFound: an environment, or its endpoint for a kind, does not exist.
            PluginUnavailable: the promoter of a kind is quarantined.
        """
        if isinstance(request, ActivationRequest):
            return self._activation(request)
        return self._promotion(request)

    def _promotion(self, request: PromotionRequest) -> Resolved:
        if not request.refs:
            raise RequestError("no reference was given", fix="name one, for example myapp:v1.0.0")
        parsed = [self.parse(text) for text in request.refs]
        _check_once(request.refs, [ref for _, ref in parsed])
        _check_options(request, [promoter for promoter, _ in parsed])
        source, destination = self._ends(request)
        replace = request.on_conflict is OnConflict.REPLACE and destination in self._allow_replace
        items: list[tuple[Steps, PromotionItem]] = []
        for text, (promoter, ref) in zip(request.refs, parsed, strict=True):
            self._check_endpoints(promoter, source, destination)
            options = {k: v for k, v in request.options.items() if k in promoter.options}
            item = PromotionItem(text, ref, source, destination, replace, request.deep, options)
            items.append((promoter, item))
        return Resolved(source, destination, tuple(items))

    def _activation(self, request: ActivationRequest) -> Resolved:
        kind, rest = _split(request.ref)
        promoter = self._promoters.get(kind)
        if not isinstance(promoter, Activator):
            raise self._not_activatable(request.ref)
        ref = _what_goes_live(request, rest.removeprefix(":"), promoter.parse, promoter.parse_name)
        if not request.environment:
            raise MissingEnvironment(
                "no environment was given",
                fix="name one with --destination or IMGCTL_DEFAULT_DESTINATION",
            )
        name = self.environment(request.environment)
        _check_endpoint(promoter, name)
        item = PromotionItem(request.ref, ref, name, name, wait=request.wait)
        return Resolved(name, name, ((ActivationSteps(promoter), item),))

    def parse(self, text: str) -> tuple[Promoter[Any, Any], ArtifactRef]:
        """Find the promoter of a reference and let it parse the rest.

        `<kind>:<rest>` is that kind when its promoter accepts the rest; anything else is
        an image. A text that both accept is refused; `<kind>::<rest>` and
        `image:<reference>` say which one is meant.
        """
        kind, rest = _split(text)
        if rest.startswith(":"):
            return self._parse_as(kind, rest[1:])
        if kind == DEFAULT_KIND and self._accepts(DEFAULT_KIND, rest) is not None:
            return self._parse_as(kind, rest)
        out_of_use = self._registry.out_of_use(kind) if kind else None
        if out_of_use is not None and out_of_use.status is PluginStatus.QUARANTINED:
            raise self._quarantined(kind)
        own = self._accepts(kind, rest) if kind else None
        image = self._accepts(DEFAULT_KIND, text)
        if own is not None and image is not None and kind != DEFAULT_KIND:
            raise AmbiguousReference(
                f"{text!r} is a reference of kind {kind!r} and an image as well",
                fix=f"type {kind}::{rest} or {DEFAULT_KIND}:{text}",
            )
        if own is not None:
            return self._promoters[kind], own
        if image is not None:
            return self._promoters[DEFAULT_KIND], image
        if kind in self._promoters:
            return self._parse_as(kind, rest)
        images = DEFAULT_KIND in self._promoters
        if kind and (not images or (":" in rest and not _PORT.match(rest))):
            raise self._unknown(kind)
        return self._parse_as(DEFAULT_KIND, text)

    def environment(self, name: str) -> str:
        """Return an environment's own spelling of its name.

        Raises:
            EnvironmentNotFound: there is none.
        """
        known = canonical_name(name)
        if known not in self._environments:
            raise EnvironmentNotFound(
                f"there is no environment {name!a}", fix=nearest(known, self._environments)
            )
        return known

    def _parse_as(self, kind: str, rest: str) -> tuple[Promoter[Any, Any], ArtifactRef]:
        if kind not in self._promoters:
            if self._registry.out_of_use(kind) is not None:
                raise self._quarantined(kind)
            raise self._unknown(kind)
        promoter = self._promoters[kind]
        return promoter, promoter.parse(rest)

    def _accepts(self, kind: str, rest: str) -> ArtifactRef | None:
        promoter = self._promoters.get(kind)
        if promoter is None:
            return None
        try:
            return promoter.parse(rest)
        except InvalidReference:
            return None

    def _unknown(self, kind: str) -> UnknownKind:
        return UnknownKind(
            f"no promoter for kind {kind!r} is loaded", fix=nearest(kind, self._promoters)
        )

    def _quarantined(self, kind: str) -> PluginUnavailable:
        info = self._registry.out_of_use(kind)
        assert info is not None  # noqa: S101 - the callers looked
        if info.status is PluginStatus.DISABLED:
            return PluginUnavailable(
                f"the plugin {info.name!r} of {info.distribution} {info.version} is not in "
                "use: the server's settings disable it, or do not allow it"
            )
        return PluginUnavailable(
            f"the plugin {info.name!r} of {info.distribution} {info.version} is quarantined: "
            f"{info.phase} failed: {info.error}",
            fix=f"have it mended or uninstalled; an image of that name is {DEFAULT_KIND}:{kind}:…",
        )

    def _not_activatable(self, text: str) -> NotActivatable:
        """Return why this can't go live, when it is no reference of a kind that can.

        Raises:
            UnknownKind, PluginUnavailable: that is what is wrong, rather.
        """
        can = [kind for kind, each in self._promoters.items() if isinstance(each, Activator)]
        fix = f"type it with its kind; those that can: {', '.join(can) or 'none on this server'}"
        try:
            promoter, _ = self.parse(text)
        except InvalidReference:
            return NotActivatable(f"{text!r} names no kind that can go live", fix=fix)
        return NotActivatable(
            f"{text!r} is of kind {promoter.kind!r}, and nothing of that kind can go live", fix=fix
        )

    def _ends(self, request: PromotionRequest) -> tuple[str, str]:
        if not request.destination:
            raise MissingEnvironment(
                "no destination was given",
                fix="name one with --destination or IMGCTL_DEFAULT_DESTINATION",
            )
        if not request.source and not self._default_source:
            raise MissingEnvironment(
                "no source was given, and the server has no default",
                fix="name one with --source or IMGCTL_DEFAULT_SOURCE",
            )
        source = self.environment(request.source or self._default_source)
        destination = self.environment(request.destination)
        if source == destination:
            raise SameEndpoint(
                f"source and destination are both {source!r}", fix="name two environments"
            )
        return source, destination

    def _check_endpoints(self, promoter: Promoter[Any, Any], source: str, destination: str) -> None:
        for name in (source, destination):
            _check_endpoint(promoter, name)
        if promoter.same(promoter.endpoints[source], promoter.endpoints[destination]):
            raise SameEndpoint(
                f"{source!r} and {destination!r} are one and the same place for kind "
                f"{promoter.kind!r}",
                fix="ask the server's operator: two names stand for one endpoint",
            )


def _split(text: str) -> tuple[str, str]:
    """Return the kind that a reference may begin with, and what follows it."""
    match = _KIND_PREFIX.fullmatch(text)
    return (match[1], match[2]) if match else ("", "")


def _check_endpoint(promoter: Promoter[Any, Any], environment: str) -> None:
    if environment not in promoter.endpoints:
        raise EndpointNotFound(
            f"environment {environment!r} has no endpoint for kind {promoter.kind!r}",
            fix="those that have one: " + (", ".join(promoter.endpoints) or "none"),
        )


def _what_goes_live(
    request: ActivationRequest,
    rest: str,
    parse_version: Callable[[str], ArtifactRef],
    parse_name: Callable[[str], ArtifactRef],
) -> ArtifactRef:
    """Parse a version, or the name alone when the one that was live before is meant.

    Raises:
        RequestError: both are said, or neither.
        InvalidReference: the text is no reference of its kind.
    """
    wanted, other = parse_version, parse_name
    if request.previous:
        wanted, other = other, wanted
    try:
        return wanted(rest)
    except InvalidReference as error:
        refused = error
    try:
        found = other(rest)
    except InvalidReference:
        raise refused from None
    name = f"{found.kind}:{found.name}"
    if request.previous:
        raise RequestError(
            f"{request.ref!r} names a version, and the one that was live before is asked for, too",
            fix=f"type {name} with --previous, or {request.ref} without it",
        )
    raise RequestError(
        f"{request.ref!r} names no version to make live",
        fix=f"type {name}:<version>, or {name} with --previous for the one before",
    )


def _check_once(texts: Sequence[str], refs: Sequence[ArtifactRef]) -> None:
    """Check that no artifact is named twice, in whatever spelling: it would be written twice.

    Raises:
        RequestError: one is.
    """
    named: dict[tuple[str, ...], str] = {}
    for text, ref in zip(texts, refs, strict=True):
        written = (ref.kind, ref.name, ref.version or ref.digest or "")
        if written in named:
            raise RequestError(
                f"{named[written]} and {text} are the same artifact, given twice",
                fix="give each one once",
            )
        named[written] = text


def _check_options(request: PromotionRequest, promoters: list[Promoter[Any, Any]]) -> None:
    """Refuse an option that none of the request's kinds has: it would be ignored."""
    for name, value in request.options.items():
        having = [promoter for promoter in promoters if name in promoter.options]
        if not having:
            raise RequestError(
                f"none of the kinds asked for has an option {name!r}",
                fix=nearest(name, {known for p in promoters for known in p.options}),
            )
        for promoter in having:
            if value not in promoter.options[name]:
                raise RequestError(
                    f"{value!r} is no value of option {name!r} of kind {promoter.kind!r}",
                    fix=nearest(value, promoter.options[name]),
                )

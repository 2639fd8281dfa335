"""Every error imgctl can give, as one tree.

    ImgctlError
    ├── RequestError                what was asked makes no sense
    │   ├── InvalidReference
    │   ├── AmbiguousReference
    │   ├── UnknownKind
    │   ├── NotActivatable          nothing of that kind can go live
    │   ├── MissingEnvironment      no destination, or no source and no default
    │   ├── SameEndpoint
    │   └── InvalidSetting          a setting, flag, variable or file is wrong
    ├── NotAuthenticated            we do not know who is asking
    │   ├── TokenRefused            the server's one answer for every bad token
    │   ├── NoUsableKey
    │   ├── AgentUnavailable        locked, hung or not there
    │   └── LoginRefused            Dex said no
    ├── NotAuthorized               we know, and they may not
    ├── Conflict                    the destination holds something else
    ├── NotFound
    │   ├── EnvironmentNotFound
    │   ├── EndpointNotFound        the environment has none for this kind
    │   ├── ArtifactNotFound
    │   ├── PromotionNotFound
    │   └── ManifestNotFound        the promotion has none, or none yet
    ├── Unreachable                 imgctl's server or Dex
    │   ├── ServerUnreachable
    │   ├── IssuerUnreachable
    │   ├── StreamCut               lost midway
    │   └── ServerBusy              no slot free
    │       └── RateLimited         too many calls
    ├── PromotionError              the work itself went wrong
    │   ├── EndpointUnreachable     a registry, a bucket
    │   ├── EndpointDenied
    │   ├── EndpointFailed          it answered, with something we can't use
    │   ├── VerificationFailed
    │   ├── LintFailed              the artifact has problems that were to count
    │   ├── DeadlineExceeded
    │   ├── AuditUnavailable
    │   ├── PluginUnavailable       quarantined
    │   └── InternalError           a bug, ours or a plugin's; has an incident id
    └── Cancelled

`reason` is the machine's word and part of the outside contract: it travels in
google.rpc.ErrorInfo and in JSON output, and never changes once released. The gRPC status
of each class stands in `imgctl_core.server.status`, its exit code in `imgctl_cli.exits`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar


class ImgctlError(Exception):
    """An error with something to say to the person who meets it.

    `message` is one sentence with the reason in it; `fix` says what to do, or is empty;
    `id` is a promotion's or an incident's; `temporary` says that the same request may
    succeed later. None of them may hold a secret: they are shown, sent and stored.
    """

    reason: ClassVar[str] = "ERROR"
    temporary: ClassVar[bool] = False

    def __init__(self, message: str, *, fix: str = "", id: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.id = id

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.fix, self.id))


def _rebuild(cls: type[ImgctlError], message: str, fix: str, id: str) -> ImgctlError:
    return cls(message, fix=fix, id=id)


class RequestError(ImgctlError):
    """What was asked can't be done as asked, by anyone."""

    reason = "REQUEST_INVALID"


class InvalidReference(RequestError):
    """The text is no reference of its kind."""

    reason = "REFERENCE_INVALID"


class AmbiguousReference(RequestError):
    """The text is a reference of more than one kind."""

    reason = "REFERENCE_AMBIGUOUS"


class UnknownKind(RequestError):
    """No promoter of that kind is loaded."""

    reason = "KIND_UNKNOWN"


class NotActivatable(RequestError):
    """Nothing of that kind can go live."""

    reason = "KIND_NOT_ACTIVATABLE"


class MissingEnvironment(RequestError):
    """No destination was given, or no source and the server has no default."""

    reason = "ENVIRONMENT_MISSING"


class SameEndpoint(RequestError):
    """Source and destination are one and the same place."""

    reason = "ENDPOINTS_SAME"


class InvalidSetting(RequestError):
    """A flag, a variable or a key of the settings file is wrong or missing."""

    reason = "SETTING_INVALID"


class NotAuthenticated(ImgctlError):
    """We don't know who is asking."""

    reason = "UNAUTHENTICATED"


class TokenRefused(NotAuthenticated):
    """The server's one answer for every token it doesn't accept."""

    reason = "TOKEN_REFUSED"


class NoUsableKey(NotAuthenticated):
    """There is no SSH key to log in with."""

    reason = "NO_USABLE_KEY"


class AgentUnavailable(NotAuthenticated):
    """The SSH agent is locked, hung or not there, and nothing else could sign."""

    reason = "AGENT_UNAVAILABLE"


class LoginRefused(NotAuthenticated):
    """Dex refused the exchange."""

    reason = "LOGIN_REFUSED"


class NotAuthorized(ImgctlError):
    """We know who is asking, and they may not."""

    reason = "NOT_AUTHORIZED"


class Conflict(ImgctlError):
    """The destination holds something else under this name. Nothing was written.

    `digest` is what was to be promoted and `current` what is there, where they are known.
    """

    reason = "CONFLICT"

    def __init__(
        self, message: str, *, fix: str = "", id: str = "", digest: str = "", current: str = ""
    ) -> None:
        super().__init__(message, fix=fix, id=id)
        self.digest = digest
        self.current = current


class NotFound(ImgctlError):
    """Something named in the request does not exist."""

    reason = "NOT_FOUND"


class EnvironmentNotFound(NotFound):
    """The server knows no environment of that name."""

    reason = "ENVIRONMENT_NOT_FOUND"


class EndpointNotFound(NotFound):
    """The environment exists, and has no endpoint for this kind."""

    reason = "ENDPOINT_NOT_FOUND"


class ArtifactNotFound(NotFound):
    """The source holds no such tag, digest or version."""

    reason = "ARTIFACT_NOT_FOUND"


class PromotionNotFound(NotFound):
    """There is no such promotion, or it is not this actor's to see."""

    reason = "PROMOTION_NOT_FOUND"


class ManifestNotFound(NotFound):
    """There is no manifest of that promotion or item, or none yet."""

    reason = "MANIFEST_NOT_FOUND"


class Unreachable(ImgctlError):
    """imgctl's server or Dex could not be reached."""

    reason = "UNREACHABLE"
    temporary = True


class ServerUnreachable(Unreachable):
    """imgctl's server could not be reached."""

    reason = "SERVER_UNREACHABLE"


class IssuerUnreachable(Unreachable):
    """Dex could not be reached, or did not answer as an OpenID provider does."""

    reason = "ISSUER_UNREACHABLE"


class StreamCut(Unreachable):
    """The connection was lost before all of the answer had arrived."""

    reason = "STREAM_CUT"


class ServerBusy(Unreachable):
    """The server has no slot free."""

    reason = "SERVER_BUSY"


class RateLimited(ServerBusy):
    """Too many calls from one address or of one actor.

    `wait` is how many seconds to wait before the next one, 0 when that is not known.
    """

    reason = "RATE_LIMITED"

    def __init__(self, message: str, *, fix: str = "", id: str = "", wait: float = 0.0) -> None:
        super().__init__(message, fix=fix, id=id)
        self.wait = wait


class PromotionError(ImgctlError):
    """The work itself went wrong. Nothing half-visible was left behind."""

    reason = "PROMOTION_FAILED"


class EndpointUnreachable(PromotionError):
    """A registry, a bucket or a plugin's own endpoint could not be reached."""

    reason = "ENDPOINT_UNREACHABLE"
    temporary = True


class EndpointDenied(PromotionError):
    """An endpoint refused the server's own credentials."""

    reason = "ENDPOINT_DENIED"


class EndpointFailed(PromotionError):
    """An endpoint answered with an error, or with something we can't use."""

    reason = "ENDPOINT_FAILED"


class VerificationFailed(PromotionError):
    """What is at the destination is not what was promoted."""

    reason = "VERIFICATION_FAILED"


class LintFailed(PromotionError):
    """The artifact has problems that the request says must not be promoted."""

    reason = "LINT_FAILED"


class DeadlineExceeded(PromotionError):
    """There was not enough time."""

    reason = "DEADLINE_EXCEEDED"
    temporary = True


class AuditUnavailable(PromotionError):
    """The audit log can't be written, so nothing is promoted."""

    reason = "AUDIT_UNAVAILABLE"
    temporary = True


class PluginUnavailable(PromotionError):
    """The plugin of this kind is quarantined."""

    reason = "PLUGIN_UNAVAILABLE"


class InternalError(PromotionError):
    """A bug, ours or a plugin's. The server's log has the details under `id`."""

    reason = "INTERNAL"


class Cancelled(ImgctlError):
    """Somebody asked the promotion to stop."""

    reason = "CANCELLED"


def all_errors() -> Iterator[type[ImgctlError]]:
    """Yield every class of the tree, parents before their children."""
    waiting = [ImgctlError]
    while waiting:
        cls = waiting.pop(0)
        yield cls
        waiting.extend(child for child in cls.__subclasses__() if child.__module__ == __name__)


def error_for(reason: str) -> type[ImgctlError] | None:
    """Return the class whose `reason` this is, or None for one that we don't know."""
    return next((cls for cls in all_errors() if cls.reason == reason), None)

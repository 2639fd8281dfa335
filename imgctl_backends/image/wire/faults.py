"""What can go wrong on the wire, before it becomes an error for people.

A `Fault` never leaves this package: it is tried again, or turned into an `ImgctlError`
by `imgctl_backends.image.distribution.failures`.
"""

from __future__ import annotations


class Fault(Exception):
    """A connection broke, stalled or never came about. The same call may work later.

    `where` is the host and port, `reason` completes the sentence "…: <reason>". A
    `lasting` one (refused, unknown name) is not worth many attempts.
    """

    def __init__(self, where: str, reason: str, *, lasting: bool = False, fix: str = "") -> None:
        super().__init__(f"{where}: {reason}")
        self.where = where
        self.reason = reason
        self.lasting = lasting
        self.fix = fix


class TrustFault(Fault):
    """The peer's certificate is not good enough, or it speaks no TLS. Not tried again."""


class WrongBytes(Fault):
    """A blob's bytes or their number are not those that its digest and size promise."""


class Interrupted(Fault):
    """An answer says that the call may work later: 408, 429, 5xx.

    `status` is HTTP's, `retry_after` what the header of that name said.
    """

    def __init__(self, where: str, status: int, reason: str, retry_after: str | None) -> None:
        super().__init__(where, reason)
        self.status = status
        self.retry_after = retry_after


class Renewed(Fault):
    """Our credentials were refused in the middle of an upload, and are renewed now."""


class Abandoned(Exception):
    """Another part of the same work has failed, so this one stopped."""


class BlobUnknown(Exception):
    """The destination refuses a manifest because it misses a blob or a child of it."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class TagRefused(Exception):
    """The destination won't put a tag: it is immutable there and exists."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

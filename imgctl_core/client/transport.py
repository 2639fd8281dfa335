"""Where a secret may be sent: over TLS, or to this very machine."""

from __future__ import annotations

from dataclasses import dataclass

from imgctl_core.errors import InvalidSetting
from imgctl_core.hosts import is_loopback
from imgctl_core.text import one_line


@dataclass(frozen=True)
class Url:
    """An http or https address that a secret may be sent to. `text` is as it was given."""

    text: str
    scheme: str
    host: str
    port: int

    @property
    def origin(self) -> tuple[str, str, int]:
        return (self.scheme, self.host, self.port)

    @property
    def loopback(self) -> bool:
        return is_loopback(self.host)


def safe_url(text: str, name: str, example: str) -> Url:
    """Read a URL that a secret will be sent to; `name` and `example` go into errors.

    Raises:
        InvalidSetting: it is no plain absolute URL, or is http to another machine.
    """
    from urllib.parse import urlsplit

    fix = f"give it as {example}"
    shown = one_line(text, 200)
    # urlsplit drops tabs and newlines silently, and others read a backslash as a slash.
    if not text.isascii() or any(char <= " " or char in '\\"<>^`{|}\x7f' for char in text):
        raise InvalidSetting(f"{name} {shown!r} has characters that no URL may have", fix=fix)
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise InvalidSetting(f"{name} {shown!r} is not a URL: {error}", fix=fix) from None
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidSetting(f"{name} {shown!r} is not an https:// URL", fix=fix)
    if parts.username is not None or parts.password is not None:
        raise InvalidSetting(f"{name} must not hold a user name or password", fix=fix)
    if "?" in text or "#" in text:
        raise InvalidSetting(f"{name} {shown!r} must have no query and no fragment", fix=fix)
    if parts.scheme == "http" and not is_loopback(host):
        raise InvalidSetting(
            f"{name} {shown!r} is not encrypted, and a login sends secrets there",
            fix=f"use https://{parts.netloc}{parts.path}; http is only for 127.0.0.1, ::1"
            " and localhost",
        )
    return Url(text, parts.scheme, host, port or (443 if parts.scheme == "https" else 80))

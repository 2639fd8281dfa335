"""Places that the audit log is copied to: standard output, and syslog in its three transports."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
from dataclasses import dataclass
from datetime import datetime
from logging.handlers import SysLogHandler
from typing import Final, Self

from imgctl_core.errors import InvalidSetting

#: Seconds for a connection, and for handing over a line.
_SECONDS: Final = 2.0
_DEFAULT_PORTS: Final = {"udp": 514, "tcp": 601}  # RFC 5426, RFC 6587
_EXAMPLE: Final = "write it as unix:/dev/log, udp:logs.example.com:514 or tcp:logs.example.com:601"

#: What a datagram carries of a record that is too long for one: enough to anchor the chain.
_ANCHOR: Final = ("schema", "seq", "ts", "event", "audit_id", "prev_hash", "hash")


class StandardOutput:
    """Writes lines to standard output."""

    def __init__(self, fd: int = 1) -> None:
        self._fd = fd
        self._torn = False

    def write(self, line: bytes) -> None:
        left = b"\n" + line if self._torn else line
        while left:
            left = left[os.write(self._fd, left) :]
            self._torn = bool(left)

    def close(self) -> None:
        """Nothing to give back: it is the process's."""


@dataclass(frozen=True, slots=True)
class SyslogAddress:
    """Where syslog listens: `transport` is unix, udp or tcp; `host` of unix is a path."""

    transport: str
    host: str
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `unix:/path`, `udp:host[:port]` or `tcp:host[:port]`.

        Raises:
            InvalidSetting: it is none of them.
        """
        transport, _, rest = text.partition(":")
        if transport == "unix" and rest.startswith("/"):
            return cls(transport, rest)
        if transport not in _DEFAULT_PORTS or not rest:
            raise _bad(text)
        host, port = rest, ""
        if rest.startswith("["):
            host, bracket, port = rest[1:].partition("]")
            if not bracket or (port and not port.startswith(":")):
                raise _bad(text)
            port = port.removeprefix(":")
        elif ":" in rest:
            host, _, port = rest.partition(":")
        if not host or not (port == "" or (port.isascii() and port.isdigit())):
            raise _bad(text)
        number = int(port) if port else _DEFAULT_PORTS[transport]
        if not 0 < number <= 65535 or not _is_name(host):
            raise _bad(text)
        return cls(transport, host, number)

    def __str__(self) -> str:
        if self.transport == "unix":
            return f"syslog at {self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"syslog at {self.transport}:{host}:{self.port}"


class Syslog:
    """Writes records to syslog.

    Over a network in the form of RFC 5424: UDP as RFC 5426 says, TCP with counted octets
    as RFC 6587 does. To this machine's own socket in the older form that syslog(3) uses,
    which is what listens there.
    """

    def __init__(self, address: SyslogAddress, facility: str = "authpriv") -> None:
        self._address = address
        severity = SysLogHandler.LOG_INFO
        self._priority = SysLogHandler.facility_names[facility] * 8 + severity
        self._host = _printable(socket.gethostname(), 255)
        self._socket: socket.socket | None = None

    def write(self, line: bytes) -> None:
        # What was connected may have been started anew since: that is worth another try now,
        # or whoever waits for this record would be told that it failed.
        known = self._socket is not None
        try:
            self._send(line.rstrip(b"\n"))
        except OSError:
            self.close()
            if not known:
                raise
            self.write(line)

    def close(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None

    def _send(self, record: bytes) -> None:
        if self._socket is None:
            self._socket = _connected(self._address)
        if self._address.transport == "tcp":
            _check_open(self._socket)
            message = self._message(record)
            self._socket.sendall(b"%d %s" % (len(message), message))
            return
        try:
            self._socket.send(self._message(record))
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            self._socket.send(self._message(_anchor(record)))

    def _message(self, record: bytes) -> bytes:
        found = json.loads(record)
        written = datetime.fromisoformat(str(found["ts"]))
        if self._address.transport == "unix":
            when = written.astimezone().strftime("%b %e %H:%M:%S")
            head = f"<{self._priority}>{when} imgctl[{os.getpid()}]: "
        else:
            event = _printable(str(found["event"]), 32)
            when = written.isoformat(timespec="microseconds").replace("+00:00", "Z")
            head = f"<{self._priority}>1 {when} {self._host} imgctl {os.getpid()} {event} - "
        return head.encode("ascii") + record


def _connected(address: SyslogAddress) -> socket.socket:
    if address.transport == "unix":
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        target: object = address.host
    elif address.transport == "tcp":
        return socket.create_connection((address.host, address.port), _SECONDS)
    else:
        family, kind, _, _, target = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_DGRAM
        )[0]
        sock = socket.socket(family, kind)
    sock.settimeout(_SECONDS)
    try:
        sock.connect(target)  # type: ignore[arg-type] # each family has an address of its own
    except OSError:
        sock.close()
        raise
    return sock


def _check_open(sock: socket.socket) -> None:
    """Notice a server that went away: what is sent to it would be lost without a word.

    Raises:
        OSError: it did.
    """
    sock.setblocking(False)
    try:
        if sock.recv(1024) == b"":
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
    except BlockingIOError:
        pass
    finally:
        sock.settimeout(_SECONDS)


def _anchor(record: bytes) -> bytes:
    found = json.loads(record)
    short = {name: found[name] for name in _ANCHOR if name in found}
    return json.dumps({**short, "shortened": True}, separators=(",", ":")).encode("ascii")


def _printable(text: str, length: int) -> str:
    """Return a header field: printable ASCII without spaces, `-` when nothing is left."""
    return "".join(char for char in text if "!" <= char <= "~")[:length] or "-"


def _is_name(host: str) -> bool:
    """Return whether a resolver can be asked for it: it encodes names as this does."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return host.isprintable() and " " not in host


def _bad(text: str) -> InvalidSetting:
    return InvalidSetting(f"the syslog address {text[:120]!a} is wrong", fix=_EXAMPLE)

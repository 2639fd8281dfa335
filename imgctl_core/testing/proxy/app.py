"""The proxy: passes bytes between a client and a target, over a line that may be bad."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Final, Self

from imgctl_core.testing.proxy.line import Direction, Line

_PIECE: Final = 16 * 1024
_STOP_SECONDS: Final = 10.0
#: Pieces on their way; with no latency few, so that the sender feels the rate.
_WAITING: Final = {True: 512, False: 2}

_Queue = asyncio.Queue[tuple[float, bytes]]


class FaultProxy:
    """Listens on a port of its own and passes everything to `target`, `host:port`.

    A context manager. `line` may be set at any time: a connection keeps the line that it
    began with. Bytes go as they are, so TLS and every protocol pass. `connections`
    counts those made so far.
    """

    def __init__(self, target: str, line: Line | None = None, *, port: int = 0) -> None:
        host, _, target_port = target.rpartition(":")
        self.line = line or Line()
        self.port = port
        self.connections = 0
        self._target = (host.strip("[]"), int(target_port))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._open: set[asyncio.Task[None]] = set()

    @property
    def host(self) -> str:
        """Where it listens, as in `127.0.0.1:5001`."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Listen. A port chosen once is kept for a later start."""
        loop = asyncio.new_event_loop()
        try:
            listening = asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=_PIECE)
            server = loop.run_until_complete(listening)
        except BaseException:
            loop.close()
            raise
        self.port = server.sockets[0].getsockname()[1]
        self._loop = loop
        self._thread = threading.Thread(target=self._run, args=(loop, server), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Break every connection, close the port, wait for the thread. Idempotent."""
        loop, self._loop = self._loop, None
        if loop is not None and self._thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join(_STOP_SECONDS)

    def reset_all(self) -> None:
        """Break the connections that are open now."""
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._end_all(), self._loop).result(_STOP_SECONDS)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self, loop: asyncio.AbstractEventLoop, server: asyncio.Server) -> None:
        try:
            loop.run_forever()
            server.close()
            loop.run_until_complete(self._end_all())
        finally:
            loop.close()

    async def _end_all(self) -> None:
        tasks = set(self._open)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # One more turn, in which the transports that were aborted really close.
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        if task is not None:
            self._open.add(task)
            task.add_done_callback(self._open.discard)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._link(reader, writer, self.line)
        await asyncio.sleep(0)

    async def _link(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: Line
    ) -> None:
        writers = [writer]
        try:
            if line.refuse:
                raise ConnectionResetError
            far_reader, far_writer = await asyncio.open_connection(*self._target, limit=_PIECE)
            writers.append(far_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(_pass(reader, far_writer, "up", line))
                group.create_task(_pass(far_reader, writer, "down", line))
            for end in writers:
                end.close()
        except* OSError:
            _reset(writers)
        except* asyncio.CancelledError:
            _reset(writers)


async def _pass(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction, line: Line
) -> None:
    """Pass bytes one way until their end; raise when the line breaks."""
    waiting: _Queue = asyncio.Queue(_WAITING[line.latency > 0])
    async with asyncio.TaskGroup() as group:
        group.create_task(_take(reader, waiting, line))
        group.create_task(_give(waiting, writer, direction, line))


async def _take(reader: asyncio.StreamReader, waiting: _Queue, line: Line) -> None:
    clock = asyncio.get_running_loop().time
    free = clock()
    while True:
        piece = await reader.read(_PIECE)
        if line.rate:
            free = max(free, clock()) + len(piece) / line.rate
        await waiting.put((max(free, clock()) + line.latency, piece))
        if not piece:
            return


async def _give(
    waiting: _Queue, writer: asyncio.StreamWriter, direction: Direction, line: Line
) -> None:
    clock = asyncio.get_running_loop().time
    passed = 0
    while True:
        due, piece = await waiting.get()
        await asyncio.sleep(max(0.0, due - clock()))
        room = line.room(direction, passed)
        writer.write(piece[:room])
        await writer.drain()
        passed += len(piece)
        if room is not None and len(piece) >= room:
            if line.cuts:
                raise ConnectionResetError
            await asyncio.Event().wait()
        if not piece:
            if writer.can_write_eof():
                writer.write_eof()
            return


def _reset(writers: list[asyncio.StreamWriter]) -> None:
    for writer in writers:
        found = writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            # Lingering for no time makes the close a reset, as of a line that broke.
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

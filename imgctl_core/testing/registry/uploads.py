"""Uploads of blobs: in one request, in two, in chunks; mounts; status and cancelling."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from imgctl_core.testing.httpd import Request, Response
from imgctl_core.testing.registry.errors import RegistryError
from imgctl_core.testing.registry.grammar import check_digest, check_name, parse_chunk
from imgctl_core.testing.registry.state import State
from imgctl_core.testing.registry.storage import Draft, digest_of_draft


@dataclass(slots=True)
class Session:
    """One upload that has begun."""

    id: str
    name: str
    draft: Draft
    busy: threading.Lock = field(default_factory=threading.Lock)
    short_chunk: bool = False


class Uploads:
    """The upload endpoints.

    `may_read` says whether the asker may read another repository, which a mount needs.
    """

    def __init__(
        self,
        state: State,
        *,
        chunk_min_length: int,
        absolute_url: Callable[[str], str],
        mount: bool,
        may_read: Callable[[Request, str], bool],
    ) -> None:
        self._state = state
        self._chunk_min_length = chunk_min_length
        self._absolute_url = absolute_url
        self._mount = mount
        self._may_read = may_read
        self._sessions: dict[str, Session] = {}

    @property
    def open(self) -> int:
        """How many uploads have begun and not ended."""
        return len(self._sessions)

    def begin(self, request: Request, name: str, reference: str) -> Response:
        """Answer POST: a mount, a whole blob, or the beginning of a session."""
        if request.parameter("mount"):
            mounted = self._mounted(request, name)
            if mounted is not None:
                return mounted
        elif request.parameter("digest"):
            return self._whole(request, name)
        algorithm = request.parameter("digest-algorithm")
        if algorithm not in ("", "sha256", "sha512"):
            raise RegistryError("DIGEST_INVALID", f"{algorithm!r} is no algorithm that we know")
        request.body.drain(0)
        session = self._open(name)
        headers = self._headers(session)
        if self._chunk_min_length:
            headers["OCI-Chunk-Min-Length"] = str(self._chunk_min_length)
        return Response(202, headers)

    def status(self, request: Request, name: str, reference: str) -> Response:
        """Answer GET: how much has come in."""
        return Response(204, self._headers(self._session(name, reference)))

    def append(self, request: Request, name: str, reference: str) -> Response:
        """Answer PATCH: one chunk, or with no Content-Range a stream.

        What arrived before a connection broke stays, so that a client can go on from it.
        """
        session = self._session(name, reference)
        if not session.busy.acquire(blocking=False):
            raise self._out_of_order(session, "another chunk is on its way")
        try:
            self._check_chunk(session, request)
            before = session.draft.size
            for piece in request.body:
                session.draft.append(piece)
            session.short_chunk = session.draft.size - before < self._chunk_min_length
        finally:
            session.busy.release()
        return Response(202, self._headers(session))

    def finish(self, request: Request, name: str, reference: str) -> Response:
        """Answer PUT: the last bytes, if any, and the digest of all."""
        session = self._session(name, reference)
        digest = check_digest(request.parameter("digest"))
        if not session.busy.acquire(blocking=False):
            raise self._out_of_order(session, "another chunk is on its way")
        try:
            if request.headers.get("Content-Range"):
                self._check_chunk(session, request)
            for piece in request.body:
                session.draft.append(piece)
            self._sessions.pop(session.id, None)
            return self._kept(name, session.draft, digest)
        finally:
            session.busy.release()

    def cancel(self, request: Request, name: str, reference: str) -> Response:
        """Answer DELETE: what came in is thrown away."""
        session = self._session(name, reference)
        self._sessions.pop(session.id, None)
        session.draft.discard()
        return Response(204)

    def _open(self, name: str) -> Session:
        self._state.make(name)
        session = Session(uuid.uuid4().hex, name, self._state.storage.draft())
        self._sessions[session.id] = session
        return session

    def _mounted(self, request: Request, name: str) -> Response | None:
        digest = check_digest(request.parameter("mount"))
        source = request.parameter("from")
        holders = (check_name(source),) if source else self._state.holders(digest)
        for holder in holders if self._mount else ():
            if self._can_mount(name, holder, digest) and self._may_read(request, holder):
                with self._state.lock:
                    self._state.make(name).blobs.add(digest)
                return self._created(name, digest)
        return None

    def _can_mount(self, name: str, holder: str, digest: str) -> bool:
        return self._state.has_blob(holder, digest)

    def _whole(self, request: Request, name: str) -> Response:
        digest = check_digest(request.parameter("digest"))
        draft = self._state.storage.draft()
        try:
            for piece in request.body:
                draft.append(piece)
        except BaseException:
            draft.discard()
            raise
        return self._kept(name, draft, digest)

    def _kept(self, name: str, draft: Draft, digest: str) -> Response:
        actual = digest_of_draft(draft, digest.partition(":")[0])
        if actual != digest:
            draft.discard()
            raise RegistryError(
                "DIGEST_INVALID",
                "what came in has another digest",
                details=({"digest": digest, "actual": actual},),
            )
        with self._state.lock:
            self._state.storage.keep(draft, digest)
            self._state.make(name).blobs.add(digest)
        return self._created(name, digest)

    def _created(self, name: str, digest: str) -> Response:
        location = self._absolute_url(f"/v2/{name}/blobs/{digest}")
        return Response(201, {"Location": location, "Docker-Content-Digest": digest})

    def _session(self, name: str, reference: str) -> Session:
        session = self._sessions.get(reference)
        if session is None or session.name != name:
            raise RegistryError("BLOB_UPLOAD_UNKNOWN", "there is no such upload")
        return session

    def _check_chunk(self, session: Session, request: Request) -> None:
        text = request.headers.get("Content-Range")
        if not text and "Content-Range" not in request.headers:
            return
        chunk = parse_chunk(text)
        if chunk is None:
            raise self._out_of_order(session, f"{text[:100]!r} is no range of a chunk")
        if chunk[0] != session.draft.size:
            raise self._out_of_order(session, f"the next chunk begins at {session.draft.size}")
        length = request.headers.get("Content-Length")
        if length and int(length) != chunk[1] - chunk[0] + 1:
            raise RegistryError("SIZE_INVALID", "Content-Range and Content-Length disagree")
        if session.short_chunk:
            raise self._out_of_order(session, "the chunk before was too short not to be the last")

    def _out_of_order(self, session: Session, message: str) -> RegistryError:
        return RegistryError(
            "BLOB_UPLOAD_INVALID", message, status=416, headers=self._headers(session)
        )

    def _headers(self, session: Session) -> dict[str, str | tuple[str, ...]]:
        size = session.draft.size
        # The query is opaque, and there so that clients that rebuild the URL notice.
        path = f"/v2/{session.name}/blobs/uploads/{session.id}?_state={size:x}"
        return {
            "Location": self._absolute_url(path),
            "Range": f"0-{max(0, size - 1)}",
            "Docker-Upload-UUID": session.id,
        }

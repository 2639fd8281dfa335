"""Uploads as ECR takes them."""

from __future__ import annotations

from collections.abc import Callable

from imgctl_core.testing.ecr.repositories import Repositories
from imgctl_core.testing.httpd import Request, Response
from imgctl_core.testing.registry.errors import RegistryError
from imgctl_core.testing.registry.grammar import parse_chunk
from imgctl_core.testing.registry.manifests import parts_of
from imgctl_core.testing.registry.state import State
from imgctl_core.testing.registry.uploads import Session, Uploads


class EcrUploads(Uploads):
    """The upload endpoints with ECR's ways.

    PATCH answers 201. Range tells what the first PATCH brought, for ever. A body that
    does not begin where the session stands is 416: a session can't be used again after
    an upload into it broke. A POST with the whole blob only begins a session.

    blob_mounting
        Whether blobs are mounted at all: ECR's account setting of that name. It takes
        those only that a manifest of the other repository needs, and that are encrypted
        alike.
    """

    def __init__(
        self,
        state: State,
        repositories: Repositories,
        *,
        least_part: int,
        absolute_url: Callable[[str], str],
        committed: Callable[[str, str], None],
    ) -> None:
        super().__init__(
            state,
            chunk_min_length=least_part,
            absolute_url=absolute_url,
            mount=True,
            may_read=lambda request, name: True,
        )
        self.blob_mounting = False
        self._repositories = repositories
        self._committed = committed
        self._reached: dict[str, int] = {}

    def begin(self, request: Request, name: str, reference: str) -> Response:
        mounted = self._mounted(request, name) if request.parameter("mount") else None
        return mounted or Response(202, self._headers(self._open(name)))

    def append(self, request: Request, name: str, reference: str) -> Response:
        session = self._session(name, reference)
        self._check_begin(session, request)
        super().append(request, name, reference)
        self._reached.setdefault(session.id, session.draft.size)
        return Response(201, self._headers(session))

    def finish(self, request: Request, name: str, reference: str) -> Response:
        session = self._session(name, reference)
        if request.body.length != 0:
            self._check_begin(session, request)
        response = super().finish(request, name, reference)
        self._reached.pop(session.id, None)
        self._committed(name, request.parameter("digest"))
        return response

    def _check_begin(self, session: Session, request: Request) -> None:
        chunk = parse_chunk(request.headers.get("Content-Range"))
        first = chunk[0] if chunk else 0
        if first != session.draft.size:
            raise RegistryError(
                "BLOB_UPLOAD_INVALID",
                f"First byte of the layer part is {first} instead of {session.draft.size}.",
                status=416,
            )

    def _can_mount(self, name: str, holder: str, digest: str) -> bool:
        here, there = self._repositories.find(name), self._repositories.find(holder)
        if not self.blob_mounting or here is None or there is None:
            return False
        with self._state.lock:
            held = self._state.repository(holder)
            needed = any(
                digest == part
                for manifest in held.manifests.values()
                for _, part in parts_of(manifest)
            )
        return needed and digest in held.blobs and here.same_encryption(there)

    def _headers(self, session: Session) -> dict[str, str | tuple[str, ...]]:
        reached = self._reached.get(session.id, 0)
        return {**super()._headers(session), "Range": f"0-{max(0, reached - 1)}"}

"""Reading from and writing to one repository of a registry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

from imgctl_backends.image.content.digests import is_digest, matches, sha256
from imgctl_backends.image.content.manifests import ACCEPT, Descriptor, Manifest, parse_manifest
from imgctl_backends.image.distribution.failures import failure, read_problem
from imgctl_backends.image.distribution.listings import Referral, list_referrers, list_tags
from imgctl_backends.image.distribution.registry import Answer, Registry
from imgctl_backends.image.signin.tokens import Scopes
from imgctl_backends.image.wire.faults import BlobUnknown, Fault, TagRefused, WrongBytes
from imgctl_backends.image.wire.flight import Flight
from imgctl_backends.image.wire.hosts import follow
from imgctl_backends.image.wire.transport import Body, Reply
from imgctl_core.context import Context
from imgctl_core.errors import ArtifactNotFound, EndpointFailed, ImgctlError

_UNKNOWN_CONTENT: Final = {"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"}
_TAG_TAKEN: Final = {"TAG_INVALID", "IMAGE_TAG_ALREADY_EXISTS"}

#: Answers of a registry that takes no blob in a single PUT.
_NO_MONOLITH: Final = frozenset({405, 411, 415, 501})

#: What a session says that it has. The specification has no unit in it, some send one.
_HELD: Final = re.compile(r"(?:bytes[ =])?0-([0-9]{1,15})", re.ASCII)

#: A session that is given up is cancelled within this time, or left to the registry.
_ABANDON_SECONDS: Final = 1.0


class NoMonolith(Fault):
    """The registry wants blobs by PATCH."""


class Repository:
    """One repository, with the token scope that we need there."""

    def __init__(self, registry: Registry, name: str, *, push: bool) -> None:
        self.registry = registry
        self.name = name
        self._scopes: Scopes = (f"repository:{name}:{'pull,push' if push else 'pull'}",)

    def __str__(self) -> str:
        return f"{self.registry}/{self.name}"

    def find(self, flight: Flight, reference: str) -> str | None:
        """Return the digest of a tag or digest, None when the registry has no such thing.

        One HEAD, and a GET only for a registry that does not say the digest.
        """
        answer = self._call(flight, "HEAD", f"manifests/{reference}", accept=ACCEPT)
        if answer.status == 404:
            return None
        if answer.status == 200:
            if is_digest(reference):
                return reference
            named = answer.header("Docker-Content-Digest")
            if named is not None and is_digest(named) and named.startswith("sha256:"):
                return named
        elif answer.status != 405:
            raise failure(str(self.registry), f"look up {self.name}", answer.problem)
        found = self._manifest_bytes(flight, reference)
        return None if found is None else sha256(found.content)

    def digest_of(self, flight: Flight, reference: str) -> str | None:
        """Return the digest of the bytes under a tag or digest, None when there are none."""
        found = self._manifest_bytes(flight, reference)
        return None if found is None else sha256(found.content)

    def manifest(self, flight: Flight, digest: str) -> Manifest:
        """Read a manifest, and check that it is the one that was asked for.

        Raises:
            ArtifactNotFound: the registry does not have it.
            EndpointFailed: it sent other bytes, or what we can't copy.
        """
        answer = self._manifest_bytes(flight, digest)
        if answer is None:
            raise ArtifactNotFound(f"{self} has no manifest {digest}")
        if not matches(digest, answer.content):
            raise EndpointFailed(
                f"the registry {self.registry} sent wrong bytes for the manifest {digest}"
            )
        return parse_manifest(digest, answer.content, answer.header("Content-Type") or "")

    def read(self, flight: Flight, reference: str) -> tuple[bytes, str] | None:
        """Return a manifest's bytes, unchecked, and the media type that came with them."""
        answer = self._manifest_bytes(flight, reference)
        if answer is None:
            return None
        return answer.content, answer.header("Content-Type") or ""

    def tags(self, flight: Flight) -> frozenset[str] | None:
        """Return all tags, None when the registry does not list them, or far too many."""
        return list_tags(self.registry, flight, self._url(flight, "")[:-1], self._scopes)

    def referrers(self, flight: Flight, subject: str) -> tuple[Referral, ...] | None:
        """Return what refers to a manifest, None where there is no referrers API.

        Raises:
            EndpointDenied: we may not see it.
        """
        base = self._url(flight, "")[:-1]
        return list_referrers(self.registry, flight, base, subject, self._scopes)

    def put_manifest(self, flight: Flight, reference: str, manifest: Manifest) -> bool:
        """Put a manifest under a tag or its digest, its bytes as they are.

        Returns whether the registry lists it among the referrers of its subject by
        itself: it says so with OCI-Subject (distribution-spec, "Pushing Manifests with
        Subject").

        Raises:
            BlobUnknown: the registry misses something that it points at.
            TagRefused: the tag is immutable.
        """
        answer = self._call(
            flight,
            "PUT",
            f"manifests/{reference}",
            content_type=manifest.media_type,
            body=manifest.content,
        )
        if answer.status in (200, 201, 202, 204):
            return answer.header("OCI-Subject") is not None
        problem = answer.problem
        said = problem.detail.lower()
        if _UNKNOWN_CONTENT & set(problem.codes):
            raise BlobUnknown(str(problem))
        if (
            _TAG_TAKEN & set(problem.codes)
            or "immutable" in said
            or "imagetagalreadyexists" in said
        ):
            raise TagRefused(str(problem))
        raise self._failed(f"put a manifest in {self.name}", answer)

    def has_blob(self, flight: Flight, blob: Descriptor) -> bool:
        """Return whether the blob is there, in its right size where the registry says it."""
        answer = self._call(flight, "HEAD", f"blobs/{blob.digest}")
        if answer.status == 404:
            return False
        if answer.status != 200:
            raise failure(str(self.registry), f"look for a blob in {self.name}", answer.problem)
        size = answer.header("Content-Length")
        return size is None or size == str(blob.size)

    def open_blob(self, flight: Flight, blob: Descriptor) -> Reply:
        """Begin to read a blob.

        Raises:
            Fault: try again.
            ArtifactNotFound: the registry does not have it.
        """
        url = self._url(flight, f"blobs/{blob.digest}")
        reply = self.registry.call_once(flight, "GET", url, self._scopes)
        if reply.status == 200:
            size = reply.header("Content-Length")
            if size is None or size == str(blob.size):
                return reply
            reply.close()
            raise WrongBytes(reply.where, f"the blob {blob.digest} has the wrong size")
        with reply:
            if reply.status == 404:
                raise ArtifactNotFound(f"{self} has no blob {blob.digest}")
            raise failure(str(self.registry), f"read a blob of {self.name}", read_problem(reply))

    def open_rest(self, flight: Flight, blob: Descriptor, start: int) -> Reply | None:
        """Begin to read a blob at byte `start`, None when the registry can't do that.

        Raises:
            Fault: try again.
            ArtifactNotFound: the registry does not have it.
        """
        url = self._url(flight, f"blobs/{blob.digest}")
        reply = self.registry.call_once(
            flight, "GET", url, self._scopes, headers={"Range": f"bytes={start}-"}
        )
        said = reply.header("Content-Range") or ""
        if reply.status == 206 and said == f"bytes {start}-{blob.size - 1}/{blob.size}":
            return reply
        with reply:
            if reply.status in (200, 206, 416):
                return None
            if reply.status == 404:
                raise ArtifactNotFound(f"{self} has no blob {blob.digest}")
            raise failure(str(self.registry), f"read a blob of {self.name}", read_problem(reply))

    def mount(self, flight: Flight, blob: Descriptor, neighbour: str) -> str | None:
        """Have the registry take a blob from another of its repositories.

        Returns None when it did, the location of an ordinary upload session when it
        opened one instead, and "" when it did neither.
        """
        query = urlencode({"mount": blob.digest, "from": neighbour})
        scopes = (*self._scopes, f"repository:{neighbour}:pull")
        url = self._url(flight, f"blobs/uploads/?{query}")
        answer = self.registry.call(flight, "POST", url, scopes, headers={"Content-Length": "0"})
        if answer.status == 201:
            return None
        return self._location(answer) if answer.status == 202 else ""

    def begin_upload(self, flight: Flight) -> str:
        """Open an upload session and return its location."""
        url = self._url(flight, "blobs/uploads/")
        answer = self.registry.call(
            flight, "POST", url, self._scopes, headers={"Content-Length": "0"}
        )
        if answer.status == 202:
            return self._location(answer)
        raise self._failed(f"upload to {self.name}", answer)

    def put_blob(self, flight: Flight, location: str, blob: Descriptor, body: Body) -> None:
        """Send a whole blob into a session.

        Raises:
            NoMonolith: the registry wants `patch_blob`, in a new session.
            Fault: try again, in a new session.
        """
        reply = self._send(flight, "PUT", _with_digest(location, blob.digest), blob.size, body)
        with reply:
            if reply.status in (200, 201, 204):
                return
            self._refuse_upload(reply, monolith=True)

    def upload_state(self, flight: Flight, location: str) -> tuple[int, str]:
        """Ask an upload session how many bytes it has; also its location from now on.

        No bytes and no location when it is gone or does not say. ECR's Range does not
        advance, so it is not asked.
        """
        answer = self.registry.call(flight, "GET", location, self._scopes)
        said = _HELD.fullmatch(answer.header("Range") or "")
        if answer.status not in (200, 204) or said is None:
            return 0, ""
        # "0-0" is said of an empty session, too.
        held = int(said[1]) + 1 if int(said[1]) else 0
        return held, follow(location, answer.header("Location") or location)

    def patch_blob(
        self, flight: Flight, location: str, blob: Descriptor, body: Body, start: int = 0
    ) -> None:
        """Send a blob, from byte `start` on, by PATCH and close the session.

        Raises:
            Fault: try again, in a new session.
        """
        if start < blob.size or not start:
            location = self._patched(flight, location, blob, body, start)
        with self._send(flight, "PUT", _with_digest(location, blob.digest), 0, b"") as reply:
            if reply.status not in (200, 201, 204):
                self._refuse_upload(reply, monolith=False)

    def _patched(
        self, flight: Flight, location: str, blob: Descriptor, body: Body, start: int
    ) -> str:
        headers = {"Content-Range": f"{start}-{blob.size - 1}"} if start else {}
        with self._send(flight, "PATCH", location, blob.size - start, body, headers) as reply:
            # ECR answers 201 where the specification has 202.
            if reply.status not in (200, 201, 202, 204):
                self._refuse_upload(reply, monolith=False)
            return follow(location, reply.header("Location") or location)

    def abandon(self, location: str) -> None:
        """Cancel an upload session, if the registry is quick about it."""
        # Not the promotion's flight: that may be cut, which is why we are here.
        with Flight(Context()) as flight:
            try:
                self.registry.call_once(
                    flight, "DELETE", location, self._scopes, seconds=_ABANDON_SECONDS
                ).close()
            except (Fault, ImgctlError):
                return

    def _refuse_upload(self, reply: Reply, *, monolith: bool) -> None:
        problem = read_problem(reply)
        if monolith and (reply.status in _NO_MONOLITH or "UNSUPPORTED" in problem.codes):
            raise NoMonolith(reply.where, "it takes no blob in one piece")
        if "DIGEST_INVALID" in problem.codes:
            raise WrongBytes(reply.where, "the blob arrived damaged")
        if reply.status in (404, 416) or "BLOB_UPLOAD_UNKNOWN" in problem.codes:
            raise Fault(reply.where, "the upload session was lost")
        raise failure(str(self.registry), f"upload a blob to {self.name}", problem)

    def _send(
        self,
        flight: Flight,
        method: str,
        url: str,
        size: int,
        body: Body,
        more: Mapping[str, str] | None = None,
    ) -> Reply:
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(size),
            **(more or {}),
        }
        return self.registry.call_once(
            flight, method, url, self._scopes, headers=headers, body=body
        )

    def _failed(self, doing: str, answer: Answer) -> ImgctlError:
        if answer.status == 404:
            return EndpointFailed(
                f"the registry {self.registry} has no repository {self.name} ({answer.problem})",
                fix="create the repository, with the settings that it should have",
            )
        return failure(str(self.registry), doing, answer.problem)

    def _location(self, answer: Answer) -> str:
        return follow(answer.reply.url, answer.header("Location") or "")

    def _manifest_bytes(self, flight: Flight, reference: str) -> Answer | None:
        answer = self._call(
            flight,
            "GET",
            f"manifests/{reference}",
            accept=ACCEPT,
            limit=self.registry.settings.manifest_bytes,
        )
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise failure(str(self.registry), f"read {self.name}", answer.problem)
        return answer

    def _call(
        self,
        flight: Flight,
        method: str,
        path: str,
        *,
        accept: str = "",
        content_type: str = "",
        body: bytes | None = None,
        limit: int | None = None,
    ) -> Answer:
        headers = {"Accept": accept} if accept else {}
        if content_type:
            headers["Content-Type"] = content_type
        url = self._url(flight, path)
        if limit is None:
            return self.registry.call(flight, method, url, self._scopes, headers=headers, body=body)
        return self.registry.call(
            flight, method, url, self._scopes, headers=headers, body=body, limit=limit
        )

    def _url(self, flight: Flight, path: str) -> str:
        return f"{self.registry.url(flight)}/v2/{self.name}/{path}"


def _with_digest(location: str, digest: str) -> str:
    return f"{location}{'&' if '?' in location else '?'}digest={digest}"

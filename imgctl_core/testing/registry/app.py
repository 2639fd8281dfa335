"""The registry: its options, and the way from a path to what answers it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from imgctl_core.testing.httpd import HttpServer, Request, Response
from imgctl_core.testing.images import SampleManifest, sample_image
from imgctl_core.testing.registry.access import TOKEN_PATH, Access, Auth
from imgctl_core.testing.registry.blobs import delete_blob, get_blob
from imgctl_core.testing.registry.errors import RegistryError
from imgctl_core.testing.registry.grammar import check_name, digest_of
from imgctl_core.testing.registry.listings import list_referrers, list_tags
from imgctl_core.testing.registry.manifests import (
    ManifestRules,
    delete_manifest,
    get_manifest,
    put_manifest,
    read_manifest,
)
from imgctl_core.testing.registry.state import Manifest, State
from imgctl_core.testing.registry.storage import FolderStorage, MemoryStorage
from imgctl_core.testing.registry.uploads import Uploads

#: The specification asks for at least 4 MiB.
LARGEST_MANIFEST: Final = 4 * 1024 * 1024

_VERSION: Final = {"Docker-Distribution-API-Version": "registry/2.0"}
_ROUTES: Final = {
    "tags": re.compile(r"/v2/(?P<name>.+)/tags/list"),
    "upload": re.compile(r"/v2/(?P<name>.+)/blobs/uploads/(?P<reference>[^/]+)"),
    "uploads": re.compile(r"/v2/(?P<name>.+)/blobs/uploads/?"),
    "blob": re.compile(r"/v2/(?P<name>.+)/blobs/(?P<reference>[^/]+)"),
    "manifest": re.compile(r"/v2/(?P<name>.+)/manifests/(?P<reference>[^/]+)"),
    "referrers": re.compile(r"/v2/(?P<name>.+)/referrers/(?P<reference>[^/]+)"),
}
_ACTIONS: Final = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}

_Endpoint = Callable[[Request, str, str], Response]


class Registry(HttpServer):
    """A registry as the OCI distribution specification 1.1 says, in this process.

    A context manager; `url` and `host` say where it is, `requests` what it was asked,
    `faults` and `inject` make it fail. Keyword arguments:

    auth, username, password
        "none", "basic", or "bearer" with a token endpoint of its own.
    anonymous_pull, token_lifetime
        Whether everybody may read; seconds for which a bearer token is good.
    referrers
        False: that API answers 404, as older registries do.
    read_only, delete, mount
        What is refused with 405; False for `mount` makes every mount an upload.
    immutable_tags
        Moving a tag is refused with 400 TAG_INVALID, as ECR does.
    sparse
        Manifests are taken even when what they name is not there.
    page_size
        The most that one page of a list has, 0 for all.
    chunk_min_length
        Announced as OCI-Chunk-Min-Length, and enforced.
    absolute_locations
        Location headers name the host, too.
    folder
        Keeps blobs in files there, not in memory.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls_cert: Path | None = None,
        tls_key: Path | None = None,
        auth: Auth = "none",
        username: str = "",
        password: str = "",
        anonymous_pull: bool = False,
        token_lifetime: float = 300.0,
        referrers: bool = True,
        read_only: bool = False,
        delete: bool = True,
        mount: bool = True,
        immutable_tags: bool = False,
        sparse: bool = False,
        largest_manifest: int = LARGEST_MANIFEST,
        page_size: int = 0,
        chunk_min_length: int = 0,
        absolute_locations: bool = False,
        folder: Path | None = None,
    ) -> None:
        super().__init__(self._respond, host=host, port=port, tls_cert=tls_cert, tls_key=tls_key)
        self.username = username
        self.password = password
        self._state = State(FolderStorage(folder) if folder else MemoryStorage())
        self._rules = ManifestRules(largest_manifest, sparse, immutable_tags, referrers)
        self._access = Access(
            auth,
            username,
            password,
            anonymous_pull=anonymous_pull,
            lifetime=token_lifetime,
            url=lambda: self.url,
        )
        self._uploads = Uploads(
            self._state,
            chunk_min_length=chunk_min_length,
            absolute_url=lambda path: self.url + path if absolute_locations else path,
            mount=mount,
            may_read=lambda request, name: self._access.allows(request, name, "pull"),
        )
        self._read_only = read_only
        self._delete = delete
        self._page_size = page_size
        self._endpoints = self._table()

    def expire_tokens(self) -> None:
        """Refuse every bearer token issued until now."""
        self._access.expire_tokens()

    @property
    def open_uploads(self) -> int:
        """How many uploads have begun and neither ended nor been cancelled."""
        return self._uploads.open

    @property
    def repositories(self) -> tuple[str, ...]:
        return self._state.names()

    def tags(self, repository: str) -> dict[str, str]:
        """Return a repository's tags with their digests; none when it does not exist."""
        if repository not in self._state.names():
            return {}
        with self._state.lock:
            return dict(sorted(self._state.repository(repository).tags.items()))

    def manifest(self, repository: str, reference: str) -> Manifest | None:
        """Return what a tag or digest names, without a request."""
        if repository not in self._state.names():
            return None
        with self._state.lock:
            return self._state.repository(repository).resolve(reference)

    def manifests(self, repository: str) -> frozenset[str]:
        """Return the digests of all manifests of a repository."""
        if repository not in self._state.names():
            return frozenset()
        with self._state.lock:
            return frozenset(self._state.repository(repository).manifests)

    def blobs(self, repository: str) -> frozenset[str]:
        """Return the digests of all blobs of a repository."""
        if repository not in self._state.names():
            return frozenset()
        with self._state.lock:
            return frozenset(self._state.repository(repository).blobs)

    def put_blob(self, repository: str, content: bytes, algorithm: str = "sha256") -> str:
        """Put a blob there, without a request. Return its digest."""
        digest = f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"
        with self._state.lock:
            self._state.storage.put(content, digest)
            self._state.make(check_name(repository)).blobs.add(digest)
        return digest

    def put_manifest(
        self, repository: str, content: bytes, media_type: str = "", tags: tuple[str, ...] = ()
    ) -> str:
        """Put a manifest there, unchecked and without a request. Return its digest."""
        manifest = read_manifest(media_type, content, digest_of(content))
        with self._state.lock:
            held = self._state.make(check_name(repository))
            held.manifests[manifest.digest] = manifest
            held.tags.update(dict.fromkeys(tags, manifest.digest))
        return manifest.digest

    def put_image(
        self, repository: str, tag: str = "", image: SampleManifest | None = None
    ) -> SampleManifest:
        """Put an image there with all its parts, without a request. Return it.

        Without an `image`, one is made for that repository and tag: two architectures,
        three layers each.
        """
        put = image or sample_image(f"{repository}:{tag}")
        for blob in put.all_blobs().values():
            self.put_blob(repository, blob)
        for manifest in put.all_manifests():
            tags = (tag,) if tag and manifest is put else ()
            self.put_manifest(repository, manifest.content, manifest.media_type, tags)
        return put

    def delete_tag(self, repository: str, tag: str) -> None:
        """Take a tag away, without a request."""
        with self._state.lock:
            self._state.repository(repository).tags.pop(tag)

    def _table(self) -> Mapping[str, Mapping[str, _Endpoint]]:
        state, uploads, rules, page = self._state, self._uploads, self._rules, self._page_size
        return {
            "tags": {"GET": partial(list_tags, state, page)},
            "uploads": {"POST": uploads.begin},
            "upload": {
                "GET": uploads.status,
                "PATCH": uploads.append,
                "PUT": uploads.finish,
                "DELETE": uploads.cancel,
            },
            "blob": {
                "GET": partial(get_blob, state),
                "HEAD": partial(get_blob, state),
                "DELETE": partial(delete_blob, state),
            },
            "manifest": {
                "GET": partial(get_manifest, state),
                "HEAD": partial(get_manifest, state),
                "PUT": partial(put_manifest, state, rules),
                "DELETE": partial(delete_manifest, state),
            },
            "referrers": {"GET": partial(list_referrers, state, page)},
        }

    def _respond(self, request: Request) -> Response:
        try:
            return self._route(request)
        except RegistryError as error:
            return error.response()

    def _route(self, request: Request) -> Response:
        path = request.path
        if path == TOKEN_PATH and self._access.auth == "bearer":
            return self._access.issue(request)
        if path in ("/v2/", "/v2"):
            if request.method not in ("GET", "HEAD"):
                raise _not_allowed(("GET", "HEAD"))
            self._access.check(request, "", "pull")
            return Response(200, {"Content-Type": "application/json", **_VERSION}, b"{}")
        for kind, pattern in _ROUTES.items():
            found = pattern.fullmatch(path)
            if found and (kind != "referrers" or self._rules.referrers):
                return self._dispatch(request, kind, found)
        raise RegistryError("UNSUPPORTED", "there is no such endpoint", status=404)

    def _dispatch(self, request: Request, kind: str, found: re.Match[str]) -> Response:
        name = check_name(found["name"])
        source = request.parameter("from") if kind == "uploads" else ""
        self._access.check(request, name, _ACTIONS.get(request.method, "push"), source)
        methods = self._endpoints[kind]
        endpoint = methods.get(request.method)
        if endpoint is None:
            raise _not_allowed(tuple(methods))
        writes = request.method not in ("GET", "HEAD")
        refused = self._read_only or (
            request.method == "DELETE" and kind != "upload" and not self._delete
        )
        if writes and refused:
            raise _not_allowed(("GET", "HEAD"))
        return endpoint(request, name, found.groupdict().get("reference", ""))


def _not_allowed(methods: tuple[str, ...]) -> RegistryError:
    return RegistryError(
        "UNSUPPORTED", "this can't be done here", headers={"Allow": ", ".join(methods)}
    )

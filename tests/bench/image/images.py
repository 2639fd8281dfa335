"""Images to copy: put into a source registry blob by blob, never in memory as a whole."""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
import os
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

_PIECE: Final = 1_048_576
_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
_LAYER: Final = "application/vnd.oci.image.layer.v1.tar+gzip"


class Loader:
    """Pushes images of random bytes into a registry. Every blob is a new one."""

    def __init__(self, host: str, ca_file: Path) -> None:
        self._connection = http.client.HTTPSConnection(
            host, context=ssl.create_default_context(cafile=ca_file), timeout=60
        )
        self._noise = os.urandom(_PIECE)
        self._serial = itertools.count()

    def layer(self, repository: str, size: int) -> dict[str, Any]:
        """Push a new layer of `size` bytes and return its descriptor."""
        location = self._begin(repository)
        digest = hashlib.sha256()
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        location = self._ask("PATCH", location, self._bytes(size, digest), headers)
        name = f"sha256:{digest.hexdigest()}"
        self._ask("PUT", f"{location}&digest={name}", b"")
        return {"mediaType": _LAYER, "digest": name, "size": size}

    def share(self, repository: str, layer: dict[str, Any], other: str) -> None:
        """Make a layer of another repository one of this repository's, too."""
        self._ask("POST", f"/v2/{repository}/blobs/uploads/?mount={layer['digest']}&from={other}")

    def image(self, repository: str, tag: str, layers: Sequence[dict[str, Any]]) -> None:
        """Push an image of layers that are there, with a config of its own."""
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Labels": {"serial": f"{repository}:{tag}:{next(self._serial)}"}},
                "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
            }
        ).encode()
        digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
        self._ask("PUT", f"{self._begin(repository)}&digest={digest}", config)
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": {"mediaType": _CONFIG, "digest": digest, "size": len(config)},
            "layers": list(layers),
        }
        self._ask(
            "PUT",
            f"/v2/{repository}/manifests/{tag}",
            json.dumps(manifest).encode(),
            {"Content-Type": _MANIFEST},
        )

    def close(self) -> None:
        self._connection.close()

    def _begin(self, repository: str) -> str:
        return self._ask("POST", f"/v2/{repository}/blobs/uploads/")

    def _bytes(self, size: int, digest: Any) -> Iterator[bytes]:
        while size > 0:
            # Nothing of this compresses or repeats between blobs, and it costs no time.
            head = f"{os.getpid()}/{next(self._serial)}/".encode()
            piece = (head + self._noise)[: min(size, _PIECE)]
            digest.update(piece)
            size -= len(piece)
            yield piece

    def _ask(
        self,
        method: str,
        url: str,
        body: bytes | Iterator[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> str:
        parts = urlsplit(url)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        sent = {"Content-Length": "0"} if body is None else {}
        self._connection.request(method, target, body, {**sent, **(headers or {})})
        answer = self._connection.getresponse()
        said = answer.read()
        if answer.status not in (201, 202):
            raise RuntimeError(f"{method} {url} gave {answer.status}: {said[:300]!r}")
        return answer.headers["Location"] or ""

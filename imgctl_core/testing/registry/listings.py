"""Lists: tags, and what refers to a manifest, both in pages."""

from __future__ import annotations

import json
from typing import Final
from urllib.parse import urlencode

from imgctl_core.testing.httpd import Request, Response
from imgctl_core.testing.registry.errors import RegistryError
from imgctl_core.testing.registry.grammar import check_digest
from imgctl_core.testing.registry.state import State

_INDEX: Final = "application/vnd.oci.image.index.v1+json"


def list_tags(state: State, page: int, request: Request, name: str, reference: str) -> Response:
    """Answer GET of the tags, in ASCII order. `page` is the most that one answer has."""
    asked = request.parameter("n")
    if asked and not (asked.isascii() and asked.isdigit()):
        raise RegistryError("PAGINATION_NUMBER_INVALID", "n is a number, 0 or more")
    with state.lock:
        tags = sorted(state.repository(name).tags)
    last = request.parameter("last")
    after = [tag for tag in tags if tag > last]
    count = min(int(asked) if asked else len(after), page or len(after))
    shown = after[:count]
    headers = {"Content-Type": "application/json"}
    if shown and len(shown) < len(after):
        query = urlencode({"n": asked or count, "last": shown[-1]})
        headers["Link"] = f'</v2/{name}/tags/list?{query}>; rel="next"'
    return Response(200, headers, json.dumps({"name": name, "tags": shown}).encode())


def list_referrers(
    state: State, page: int, request: Request, name: str, reference: str
) -> Response:
    """Answer GET of the referrers, as an index: an empty one when there are none."""
    subject = check_digest(reference)
    wanted = request.parameter("artifactType")
    found = state.referrers(
        name, subject, lambda manifest: not wanted or manifest.artifact_type == wanted
    )
    last = request.parameter("last")
    after = [manifest for manifest in found if manifest.digest > last]
    shown = after[: page or len(after)]
    headers = {"Content-Type": _INDEX}
    if wanted:
        headers["OCI-Filters-Applied"] = "artifactType"
    if len(shown) < len(after):
        query = urlencode(
            {**({"artifactType": wanted} if wanted else {}), "last": shown[-1].digest}
        )
        headers["Link"] = f'</v2/{name}/referrers/{subject}?{query}>; rel="next"'
    index = {
        "schemaVersion": 2,
        "mediaType": _INDEX,
        "manifests": [manifest.descriptor() for manifest in shown],
    }
    return Response(200, headers, json.dumps(index).encode())

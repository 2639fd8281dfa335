"""The registry on the wire: statuses, headers and bodies as the specification has them."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest

from imgctl_core.testing.httpd import Fault
from imgctl_core.testing.images import (
    OCI_IMAGE,
    digest_of,
    make_artifact,
    make_image,
    make_index,
    make_layer,
    sample_image,
)
from imgctl_core.testing.registry import LARGEST_MANIFEST, Registry
from imgctl_core.testing.tls import TlsFiles

CONTENT = bytes(range(256)) * 40
DIGEST = digest_of(CONTENT)
NOWHERE = "sha256:" + "0" * 64


class Answer(Protocol):
    status: int
    headers: Mapping[str, str]
    body: bytes


class Ask(Protocol):
    def __call__(self, url: str, method: str = "GET", *args: Any, **kwargs: Any) -> Answer: ...


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as started:
        yield started


def _code(answer: Answer) -> str:
    return str(json.loads(answer.body)["errors"][0]["code"])


def _begin(registry: Registry, ask: Ask, name: str = "app") -> str:
    answer = ask(f"{registry.url}/v2/{name}/blobs/uploads/", "POST")
    assert answer.status == 202
    return registry.url + answer.headers["Location"]


class TestBlobs:
    def test_whole_in_one_request(self, registry: Registry, ask: Ask) -> None:
        put = ask(f"{registry.url}/v2/a/b/blobs/uploads/?digest={DIGEST}", "POST", CONTENT)
        assert (put.status, put.headers["Location"]) == (201, f"/v2/a/b/blobs/{DIGEST}")
        got = ask(registry.url + put.headers["Location"])
        assert (got.status, got.body) == (200, CONTENT)
        assert got.headers["Docker-Content-Digest"] == DIGEST

    def test_a_head_has_the_length_and_no_body(self, registry: Registry, ask: Ask) -> None:
        registry.put_blob("app", CONTENT)
        head = ask(f"{registry.url}/v2/app/blobs/{DIGEST}", "HEAD")
        assert (head.status, head.headers["Content-Length"]) == (200, str(len(CONTENT)))
        assert head.body == b""

    @pytest.mark.parametrize(
        ("asked", "first", "last"),
        [
            ("bytes=0-9", 0, 9),
            ("bytes=100-", 100, 10239),
            ("bytes=-5", 10235, 10239),
            ("bytes=10000-99999", 10000, 10239),
        ],
    )
    def test_a_part(self, registry: Registry, ask: Ask, asked: str, first: int, last: int) -> None:
        registry.put_blob("app", CONTENT)
        got = ask(f"{registry.url}/v2/app/blobs/{DIGEST}", headers={"Range": asked})
        assert (got.status, got.body) == (206, CONTENT[first : last + 1])
        assert got.headers["Content-Range"] == f"bytes {first}-{last}/{len(CONTENT)}"

    def test_a_part_that_is_not_there(self, registry: Registry, ask: Ask) -> None:
        registry.put_blob("app", CONTENT)
        got = ask(f"{registry.url}/v2/app/blobs/{DIGEST}", headers={"Range": "bytes=10240-"})
        assert (got.status, got.headers["Content-Range"]) == (416, "bytes */10240")

    @pytest.mark.parametrize("asked", ["items=0-1", "bytes=0-1,5-6", "bytes=x"])
    def test_other_ranges_are_the_whole(self, registry: Registry, ask: Ask, asked: str) -> None:
        registry.put_blob("app", CONTENT)
        got = ask(f"{registry.url}/v2/app/blobs/{DIGEST}", headers={"Range": asked})
        assert (got.status, len(got.body)) == (200, len(CONTENT))

    def test_another_repositorys_blob_is_unknown(self, registry: Registry, ask: Ask) -> None:
        registry.put_blob("app", CONTENT)
        got = ask(f"{registry.url}/v2/other/blobs/{DIGEST}")
        assert (got.status, _code(got)) == (404, "BLOB_UNKNOWN")

    def test_sha512(self, registry: Registry, ask: Ask) -> None:
        digest = registry.put_blob("app", CONTENT, "sha512")
        wrong = digest[:-1] + ("0" if digest[-1] != "0" else "1")
        post = f"{registry.url}/v2/new/blobs/uploads/?digest="
        assert ask(post + digest, "POST", CONTENT).status == 201
        assert _code(ask(post + wrong, "POST", CONTENT)) == "DIGEST_INVALID"
        assert ask(f"{registry.url}/v2/new/blobs/{digest}").body == CONTENT

    def test_deleting_takes_it_from_one_repository(self, registry: Registry, ask: Ask) -> None:
        registry.put_blob("a", CONTENT)
        registry.put_blob("b", CONTENT)
        assert ask(f"{registry.url}/v2/a/blobs/{DIGEST}", "DELETE").status == 202
        assert ask(f"{registry.url}/v2/a/blobs/{DIGEST}").status == 404
        assert ask(f"{registry.url}/v2/b/blobs/{DIGEST}").body == CONTENT
        assert _code(ask(f"{registry.url}/v2/a/blobs/{DIGEST}", "DELETE")) == "BLOB_UNKNOWN"


class TestUploads:
    def test_chunks_in_order(self, registry: Registry, ask: Ask) -> None:
        location = _begin(registry, ask)
        for start in (0, 4000, 8000):
            piece = CONTENT[start : start + 4000]
            span = f"{start}-{start + len(piece) - 1}"
            sent = ask(location, "PATCH", piece, {"Content-Range": span})
            assert (sent.status, sent.headers["Range"]) == (202, f"0-{start + len(piece) - 1}")
            location = registry.url + sent.headers["Location"]
        status = ask(location)
        assert (status.status, status.headers["Range"]) == (204, "0-10239")
        assert ask(f"{location}&digest={DIGEST}", "PUT").status == 201
        assert registry.open_uploads == 0
        assert ask(location).status == 404

    @pytest.mark.parametrize("span", ["4000-4999", "0-999", "bytes 1000-1999", "1999-1000"])
    def test_out_of_order(self, registry: Registry, ask: Ask, span: str) -> None:
        location = _begin(registry, ask)
        assert ask(location, "PATCH", bytes(1000), {"Content-Range": "0-999"}).status == 202
        refused = ask(location, "PATCH", bytes(1000), {"Content-Range": span})
        assert (refused.status, refused.headers["Range"]) == (416, "0-999")
        assert refused.headers["Location"]

    def test_a_stream_of_unknown_length(self, registry: Registry, ask: Ask) -> None:
        location = _begin(registry, ask)
        pieces = iter([CONTENT[:5000], CONTENT[5000:]])
        assert ask(location, "PATCH", pieces).status == 202
        assert ask(f"{location}&digest={DIGEST}", "PUT").status == 201

    def test_what_arrived_before_a_cut_stays(self, registry: Registry, ask: Ask) -> None:
        location = _begin(registry, ask)
        registry.inject(Fault(cut_request_after=3000), method="PATCH")
        with pytest.raises(OSError, match=r".*"):
            ask(location, "PATCH", CONTENT, {"Content-Range": f"0-{len(CONTENT) - 1}"})
        assert ask(location).headers["Range"] == "0-2999"
        rest = {"Content-Range": f"3000-{len(CONTENT) - 1}"}
        assert ask(location, "PATCH", CONTENT[3000:], rest).status == 202
        assert ask(f"{location}&digest={DIGEST}", "PUT").status == 201

    def test_the_wrong_digest_is_refused(self, registry: Registry, ask: Ask) -> None:
        location = _begin(registry, ask)
        refused = ask(f"{location}&digest={NOWHERE}", "PUT", CONTENT)
        assert (refused.status, _code(refused)) == (400, "DIGEST_INVALID")
        assert registry.blobs("app") == frozenset()

    def test_no_digest_is_refused(self, registry: Registry, ask: Ask) -> None:
        assert _code(ask(_begin(registry, ask), "PUT", CONTENT)) == "DIGEST_INVALID"

    def test_cancelling(self, registry: Registry, ask: Ask) -> None:
        location = _begin(registry, ask)
        assert ask(location, "DELETE").status == 204
        assert _code(ask(location, "PATCH", CONTENT)) == "BLOB_UPLOAD_UNKNOWN"

    def test_another_repositorys_upload_is_unknown(self, registry: Registry, ask: Ask) -> None:
        location = _begin(registry, ask).replace("/v2/app/", "/v2/other/")
        assert ask(location).status == 404

    def test_chunks_have_a_least_length(self, ask: Ask) -> None:
        with Registry(chunk_min_length=1000, absolute_locations=True) as registry:
            begun = ask(f"{registry.url}/v2/app/blobs/uploads/", "POST")
            location = begun.headers["Location"]
            assert location.startswith(registry.url)
            assert begun.headers["OCI-Chunk-Min-Length"] == "1000"
            assert ask(location, "PATCH", bytes(10), {"Content-Range": "0-9"}).status == 202
            assert ask(location, "PATCH", bytes(10), {"Content-Range": "10-19"}).status == 416

    def test_mounts(self, registry: Registry, ask: Ask) -> None:
        registry.put_blob("a", CONTENT)
        post = f"{registry.url}/v2/b/blobs/uploads/?mount={DIGEST}"
        assert ask(f"{post}&from=nowhere", "POST").status == 202
        mounted = ask(f"{post}&from=a", "POST")
        assert (mounted.status, mounted.headers["Location"]) == (201, f"/v2/b/blobs/{DIGEST}")
        assert ask(post.replace("/b/", "/c/"), "POST").status == 201
        assert ask(f"{registry.url}/v2/c/blobs/{DIGEST}").body == CONTENT

    def test_no_mounts(self, ask: Ask) -> None:
        with Registry(mount=False) as registry:
            registry.put_blob("a", CONTENT)
            post = f"{registry.url}/v2/b/blobs/uploads/?mount={DIGEST}&from=a"
            assert ask(post, "POST").status == 202


class TestManifests:
    def _push_blobs(self, registry: Registry) -> Any:
        image = make_image([make_layer({"a": b"1"})])
        for blob in image.blobs.values():
            registry.put_blob("app", blob)
        return image

    def test_by_tag_and_by_digest(self, registry: Registry, ask: Ask) -> None:
        image = self._push_blobs(registry)
        kind = {"Content-Type": OCI_IMAGE}
        put = ask(f"{registry.url}/v2/app/manifests/v1", "PUT", image.content, kind)
        assert (put.status, put.headers["Docker-Content-Digest"]) == (201, image.digest)
        for reference in ("v1", image.digest):
            got = ask(f"{registry.url}/v2/app/manifests/{reference}")
            assert (got.body, got.headers["Content-Type"]) == (image.content, OCI_IMAGE)
        part = ask(f"{registry.url}/v2/app/manifests/v1", headers={"Range": "bytes=1-4"})
        assert (part.status, part.body) == (206, image.content[1:5])

    def test_many_tags_at_once(self, registry: Registry, ask: Ask) -> None:
        image = self._push_blobs(registry)
        query = "&".join(f"tag=v{n}" for n in range(10))
        url = f"{registry.url}/v2/app/manifests/{image.digest}?{query}"
        assert ask(url, "PUT", image.content, {"Content-Type": OCI_IMAGE}).status == 201
        assert registry.tags("app") == {f"v{n}": image.digest for n in range(10)}

    def test_too_many_tags_at_once(self, registry: Registry, ask: Ask) -> None:
        image = self._push_blobs(registry)
        query = "&".join(f"tag=v{n}" for n in range(101))
        url = f"{registry.url}/v2/app/manifests/{image.digest}?{query}"
        assert ask(url, "PUT", image.content, {"Content-Type": OCI_IMAGE}).status == 414
        assert registry.tags("app") == {}

    def test_missing_blobs_are_named(self, registry: Registry, ask: Ask) -> None:
        image = make_image([make_layer({"a": b"1"})])
        put = f"{registry.url}/v2/app/manifests/v1"
        refused = ask(put, "PUT", image.content, {"Content-Type": OCI_IMAGE})
        assert (refused.status, _code(refused)) == (404, "MANIFEST_BLOB_UNKNOWN")
        named = {error["detail"]["digest"] for error in json.loads(refused.body)["errors"]}
        assert named == image.blobs.keys()
        assert registry.tags("app") == {}

    def test_missing_children(self, registry: Registry, ask: Ask) -> None:
        index = make_index([make_image([])])
        put = f"{registry.url}/v2/app/manifests/v1"
        refused = ask(put, "PUT", index.content, {"Content-Type": index.media_type})
        assert _code(refused) == "MANIFEST_BLOB_UNKNOWN"
        with Registry(sparse=True) as sparse:
            put = f"{sparse.url}/v2/app/manifests/v1"
            assert ask(put, "PUT", index.content).status == 201

    @pytest.mark.parametrize(
        ("body", "kind", "code"),
        [
            (b"", OCI_IMAGE, "MANIFEST_INVALID"),
            (b"no json", OCI_IMAGE, "MANIFEST_INVALID"),
            (b"[" * 100_000, OCI_IMAGE, "MANIFEST_INVALID"),
            (b'{"schemaVersion": 1}', OCI_IMAGE, "MANIFEST_INVALID"),
            (b'{"schemaVersion": 2, "mediaType": "a/b"}', OCI_IMAGE, "MANIFEST_INVALID"),
            (b'{"schemaVersion": 2, "layers": ["x"]}', OCI_IMAGE, "MANIFEST_INVALID"),
            (b'{"schemaVersion": 2, "layers": [{"digest": "x"}]}', OCI_IMAGE, "DIGEST_INVALID"),
            (b"{}", "", "MANIFEST_INVALID"),
        ],
    )
    def test_nonsense(
        self, registry: Registry, ask: Ask, body: bytes, kind: str, code: str
    ) -> None:
        put = f"{registry.url}/v2/app/manifests/v1"
        refused = ask(put, "PUT", body, {"Content-Type": kind} if kind else {})
        assert (refused.status, _code(refused)) == (400, code)

    def test_any_media_type_is_kept_as_it_came(self, registry: Registry, ask: Ask) -> None:
        put = f"{registry.url}/v2/app/manifests/v1"
        assert ask(put, "PUT", b"\x00any", {"Content-Type": "a/b; c=d"}).status == 201
        got = ask(put)
        assert (got.body, got.headers["Content-Type"]) == (b"\x00any", "a/b")

    def test_the_largest_manifest(self, registry: Registry, ask: Ask) -> None:
        put = f"{registry.url}/v2/app/manifests/v1"
        kind = {"Content-Type": "a/b"}
        assert ask(put, "PUT", bytes(LARGEST_MANIFEST), kind).status == 201
        assert ask(put, "PUT", bytes(LARGEST_MANIFEST + 1), kind).status == 413

    def test_the_wrong_digest(self, registry: Registry, ask: Ask) -> None:
        put = f"{registry.url}/v2/app/manifests/{NOWHERE}"
        assert _code(ask(put, "PUT", b"{}", {"Content-Type": "a/b"})) == "DIGEST_INVALID"

    def test_deleting_a_tag_leaves_the_manifest(self, registry: Registry, ask: Ask) -> None:
        image = registry.put_image("app", "v1")
        assert ask(f"{registry.url}/v2/app/manifests/v1", "DELETE").status == 202
        assert ask(f"{registry.url}/v2/app/manifests/v1").status == 404
        assert ask(f"{registry.url}/v2/app/manifests/{image.digest}").status == 200

    def test_deleting_a_manifest_takes_its_tags(self, registry: Registry, ask: Ask) -> None:
        image = registry.put_image("app", "v1")
        assert ask(f"{registry.url}/v2/app/manifests/{image.digest}", "DELETE").status == 202
        assert registry.tags("app") == {}
        assert _code(ask(f"{registry.url}/v2/app/manifests/v1")) == "MANIFEST_UNKNOWN"
        assert registry.repositories == ("app",)


class TestReferrers:
    def test_before_and_after_the_subject(self, registry: Registry, ask: Ask) -> None:
        image = make_image([])
        signature = make_artifact(b"s", "a/sig", subject=image, annotations={"by": "me"})
        for blob in signature.blobs.values():
            registry.put_blob("app", blob)
        put = f"{registry.url}/v2/app/manifests/{signature.digest}"
        answer = ask(put, "PUT", signature.content, {"Content-Type": OCI_IMAGE})
        assert (answer.status, answer.headers["OCI-Subject"]) == (201, image.digest)
        listed = ask(f"{registry.url}/v2/app/referrers/{image.digest}")
        assert listed.headers["Content-Type"] == "application/vnd.oci.image.index.v1+json"
        assert json.loads(listed.body)["manifests"] == [
            {
                "mediaType": OCI_IMAGE,
                "digest": signature.digest,
                "size": len(signature.content),
                "artifactType": "a/sig",
                "annotations": {"by": "me"},
            }
        ]

    def test_filters_and_pages(self, ask: Ask) -> None:
        with Registry(page_size=2) as registry:
            image = registry.put_image("app", "v1")
            for n in range(5):
                kind = "a/sbom" if n == 4 else "a/sig"
                registry.put_image("app", "", make_artifact(b"%d" % n, kind, subject=image))
            url = f"{registry.url}/v2/app/referrers/{image.digest}"
            only = ask(f"{url}?artifactType=a/sbom")
            assert only.headers["OCI-Filters-Applied"] == "artifactType"
            assert len(json.loads(only.body)["manifests"]) == 1
            seen: list[str] = []
            target = f"{url}?artifactType=a/sig"
            while target:
                page = ask(target)
                seen += [found["digest"] for found in json.loads(page.body)["manifests"]]
                link = page.headers.get("Link", "")
                target = registry.url + link[1 : link.index(">")] if link else ""
            assert len(seen) == len(set(seen)) == 4

    def test_none_is_an_empty_index(self, registry: Registry, ask: Ask) -> None:
        answer = ask(f"{registry.url}/v2/no/such/referrers/{NOWHERE}")
        assert (answer.status, json.loads(answer.body)["manifests"]) == (200, [])
        assert _code(ask(f"{registry.url}/v2/app/referrers/v1")) == "DIGEST_INVALID"

    def test_without_the_api(self, ask: Ask) -> None:
        with Registry(referrers=False) as registry:
            image = registry.put_image("app", "v1")
            signature = make_artifact(b"s", "a/sig", subject=image)
            for blob in signature.blobs.values():
                registry.put_blob("app", blob)
            put = f"{registry.url}/v2/app/manifests/{signature.digest}"
            answer = ask(put, "PUT", signature.content, {"Content-Type": OCI_IMAGE})
            assert answer.status == 201
            assert "OCI-Subject" not in answer.headers
            assert ask(f"{registry.url}/v2/app/referrers/{image.digest}").status == 404


class TestTags:
    @pytest.fixture
    def tagged(self, registry: Registry) -> Registry:
        registry.put_manifest("app", b"{}", "a/b", ("v2", "B", "v10", "a", "v1"))
        return registry

    def test_sorted(self, tagged: Registry, ask: Ask) -> None:
        listed = json.loads(ask(f"{tagged.url}/v2/app/tags/list").body)
        assert listed == {"name": "app", "tags": ["B", "a", "v1", "v10", "v2"]}

    def test_pages(self, tagged: Registry, ask: Ask) -> None:
        page = ask(f"{tagged.url}/v2/app/tags/list?n=2")
        assert json.loads(page.body)["tags"] == ["B", "a"]
        assert page.headers["Link"] == '</v2/app/tags/list?n=2&last=a>; rel="next"'
        page = ask(f"{tagged.url}/v2/app/tags/list?n=3&last=a")
        assert json.loads(page.body)["tags"] == ["v1", "v10", "v2"]
        assert "Link" not in page.headers
        none = ask(f"{tagged.url}/v2/app/tags/list?n=0")
        assert (json.loads(none.body)["tags"], "Link" in none.headers) == ([], False)

    def test_nonsense(self, tagged: Registry, ask: Ask) -> None:
        assert ask(f"{tagged.url}/v2/app/tags/list?n=-1").status == 400
        assert _code(ask(f"{tagged.url}/v2/none/tags/list")) == "NAME_UNKNOWN"

    def test_immutable(self, ask: Ask) -> None:
        with Registry(immutable_tags=True) as registry:
            registry.put_manifest("app", b"{}", "a/b", ("v1",))
            put = f"{registry.url}/v2/app/manifests/v1"
            kind = {"Content-Type": "a/b"}
            assert ask(put, "PUT", b"{}", kind).status == 201
            assert _code(ask(put, "PUT", b"other", kind)) == "TAG_INVALID"


class TestRules:
    @pytest.mark.parametrize(
        ("method", "path", "status", "code"),
        [
            ("GET", "/v2/UPPER/tags/list", 400, "NAME_INVALID"),
            ("GET", f"/v2/{'a' * 256}/tags/list", 400, "NAME_INVALID"),
            ("GET", "/v2/a//b/tags/list", 400, "NAME_INVALID"),
            ("GET", "/v2/app/blobs/sha256:abc", 400, "DIGEST_INVALID"),
            ("GET", f"/v2/app/blobs/md5:{'0' * 32}", 400, "DIGEST_INVALID"),
            ("GET", f"/v2/app/blobs/{NOWHERE}", 404, "BLOB_UNKNOWN"),
            ("PUT", "/v2/app/manifests/.bad", 400, "TAG_INVALID"),
            ("PUT", f"/v2/app/manifests/{'t' * 129}", 400, "TAG_INVALID"),
            ("POST", "/v2/app/tags/list", 405, "UNSUPPORTED"),
            ("PUT", f"/v2/app/blobs/{NOWHERE}", 405, "UNSUPPORTED"),
            ("DELETE", "/v2/", 405, "UNSUPPORTED"),
            ("GET", "/v2/_catalog", 404, "UNSUPPORTED"),
            ("GET", "/", 404, "UNSUPPORTED"),
        ],
    )
    def test_what_is_wrong(
        self, registry: Registry, ask: Ask, method: str, path: str, status: int, code: str
    ) -> None:
        answer = ask(registry.url + path, method)
        assert (answer.status, _code(answer)) == (status, code)
        assert ("Allow" in answer.headers) == (status == 405)

    def test_read_only(self, ask: Ask) -> None:
        with Registry(read_only=True) as registry:
            registry.put_image("app", "v1")
            assert ask(f"{registry.url}/v2/app/manifests/v1").status == 200
            assert ask(f"{registry.url}/v2/app/blobs/uploads/", "POST").status == 405
            assert ask(f"{registry.url}/v2/app/manifests/v1", "DELETE").status == 405

    def test_no_deleting(self, ask: Ask) -> None:
        with Registry(delete=False) as registry:
            registry.put_image("app", "v1")
            assert ask(f"{registry.url}/v2/app/manifests/v1", "DELETE").status == 405
            assert ask(_begin(registry, ask), "DELETE").status == 204

    def test_blobs_in_a_folder(self, tmp_path: Path, ask: Ask) -> None:
        with Registry(folder=tmp_path) as registry:
            location = _begin(registry, ask)
            assert ask(location, "PATCH", CONTENT[:100]).status == 202
            assert ask(f"{location}&digest={DIGEST}", "PUT", CONTENT[100:]).status == 201
            stored = [path for path in tmp_path.rglob("*") if path.is_file()]
            assert [path.read_bytes() for path in stored] == [CONTENT]
            got = ask(f"{registry.url}/v2/app/blobs/{DIGEST}", headers={"Range": "bytes=5-9"})
            assert got.body == CONTENT[5:10]
            assert ask(f"{registry.url}/v2/app/blobs/{DIGEST}", "DELETE").status == 202
            assert not [path for path in tmp_path.rglob("*") if path.is_file()]


class TestAccess:
    def _basic(self, login: str = "u:p") -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()}

    def test_basic(self, ask: Ask) -> None:
        with Registry(auth="basic", username="u", password="p") as registry:
            refused = ask(f"{registry.url}/v2/")
            assert refused.status == 401
            assert refused.headers["WWW-Authenticate"].startswith("Basic realm=")
            assert ask(f"{registry.url}/v2/", headers=self._basic("u:x")).status == 401
            assert ask(f"{registry.url}/v2/", headers=self._basic()).status == 200

    def _token(self, registry: Registry, ask: Ask, scope: str) -> dict[str, str]:
        answer = ask(f"{registry.url}/token?scope={scope}", headers=self._basic())
        return {"Authorization": "Bearer " + json.loads(answer.body)["token"]}

    def test_bearer(self, ask: Ask) -> None:
        with Registry(auth="bearer", username="u", password="p") as registry:
            registry.put_image("app", "v1")
            url = f"{registry.url}/v2/app/manifests/v1"
            challenge = ask(url).headers["WWW-Authenticate"]
            assert f'realm="{registry.url}/token"' in challenge
            assert 'scope="repository:app:pull"' in challenge
            reader = self._token(registry, ask, "repository:app:pull")
            assert ask(url, headers=reader).status == 200
            assert ask(f"{registry.url}/v2/", headers=reader).status == 200
            post = f"{registry.url}/v2/app/blobs/uploads/"
            refused = ask(post, "POST", headers=reader)
            assert 'scope="repository:app:pull,push"' in refused.headers["WWW-Authenticate"]
            writer = self._token(registry, ask, "repository:app:pull,push")
            assert ask(post, "POST", headers=writer).status == 202
            registry.expire_tokens()
            assert ask(url, headers=reader).status == 401

    def test_tokens_run_out(self, ask: Ask) -> None:
        with Registry(auth="bearer", username="u", password="p", token_lifetime=0) as registry:
            token = self._token(registry, ask, "repository:app:pull")
            assert ask(f"{registry.url}/v2/", headers=token).status == 401

    def test_a_mount_needs_the_source(self, ask: Ask) -> None:
        with Registry(auth="bearer", username="u", password="p") as registry:
            registry.put_blob("a", CONTENT)
            post = f"{registry.url}/v2/b/blobs/uploads/?mount={DIGEST}"
            scope = "repository:b:pull,push"
            one = self._token(registry, ask, scope)
            refused = ask(f"{post}&from=a", "POST", headers=one)
            assert f"{scope} repository:a:pull" in refused.headers["WWW-Authenticate"]
            both = self._token(registry, ask, f"{scope}&scope=repository:a:pull")
            assert ask(post, "POST", headers=one).status == 202
            assert ask(f"{post}&from=a", "POST", headers=both).status == 201

    def test_anonymous_readers(self, ask: Ask) -> None:
        with Registry(auth="bearer", username="u", password="p", anonymous_pull=True) as registry:
            answer = ask(f"{registry.url}/token?scope=repository:app:pull,push")
            token = {"Authorization": "Bearer " + json.loads(answer.body)["token"]}
            assert ask(f"{registry.url}/v2/app/blobs/{NOWHERE}", headers=token).status == 404
            assert ask(f"{registry.url}/v2/app/blobs/uploads/", "POST", b"", token).status == 401
            assert ask(f"{registry.url}/token", headers=self._basic("u:x")).status == 401


def test_tls(tls_files: TlsFiles, ask: Ask) -> None:
    with Registry(tls_cert=tls_files.cert, tls_key=tls_files.key) as registry:
        image = registry.put_image("app", "v1")
        assert registry.url.startswith("https://127.0.0.1:")
        got = ask(f"{registry.url}/v2/app/manifests/v1", ca_file=tls_files.ca)
        assert got.body == image.content


def test_a_stopped_registry_starts_again_where_it_was(ask: Ask) -> None:
    registry = Registry()
    with registry:
        image = registry.put_image("app", "v1")
        url = f"{registry.url}/v2/app/manifests/v1"
    with pytest.raises(ConnectionRefusedError):
        ask(url)
    with registry:
        assert ask(url).body == image.content


def test_samples_are_the_same_every_time() -> None:
    first, second = sample_image("x"), sample_image("x")
    assert first == second
    assert first.digest != sample_image("y").digest
    assert first.size == sum(map(len, first.all_blobs().values())) + sum(
        len(manifest.content) for manifest in first.all_manifests()
    )
    shared = set(first.children[0].blobs) & set(first.children[1].blobs)
    assert len(shared) == 1


def test_it_runs_alone_without_pytest_and_extras() -> None:
    code = (
        "import sys, runpy\n"
        "for name in ('pytest', 'moto', 'boto3', 'pydantic', 'paramiko', 'grpc'):\n"
        "    sys.modules[name] = None\n"
        "sys.argv = ['registry', '--port', '0', '--quiet']\n"
        "runpy.run_module('imgctl_core.testing.registry', run_name='__main__', alter_sys=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with urllib.request.urlopen(f"{url}/v2/", timeout=5) as response:
            assert response.status == 200
    finally:
        process.terminate()
        process.communicate()

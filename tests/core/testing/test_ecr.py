"""The ECR-shaped registry: each of the ways in which it differs from the specification."""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from imgctl_core.testing import (
    EcrRegistry,
    Fault,
    Lag,
    SampleManifest,
    TlsFiles,
    make_artifact,
    sample_image,
)
from imgctl_core.testing.ecr import Limits, RepositorySettings
from imgctl_core.testing.ecr.access import EcrAccess
from imgctl_core.testing.ecr.validator import Validator
from imgctl_core.testing.fixtures import MakeFaultProxy
from imgctl_core.testing.httpd.body import Body
from imgctl_core.testing.httpd.messages import Headers, Request
from imgctl_core.testing.registry.errors import RegistryError

CONTENT = hashlib.shake_128(b"ecr").digest(20_000)
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


class Answer(Protocol):
    status: int
    headers: Mapping[str, str]
    body: bytes


class Ask(Protocol):
    def __call__(self, url: str, method: str = "GET", *args: Any, **kwargs: Any) -> Answer: ...


@dataclass
class Client:
    """Asks the registry, with a password unless told otherwise."""

    registry: EcrRegistry
    ask: Ask
    password: str = ""

    def __call__(
        self,
        path: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        self.password = self.password or self.registry.issue_password()
        url = path if "://" in path else self.registry.url + path
        return self.ask(url, method, body, {**_login(self.password), **(headers or {})})

    def begin(self, name: str = "app", query: str = "") -> Answer:
        return self(f"/v2/{name}/blobs/uploads/{query}", "POST")

    def upload(self, content: bytes = CONTENT, name: str = "app") -> Answer:
        location = self.begin(name).headers["Location"]
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        return self(f"{location}&digest={digest}", "PUT", content)

    def put(self, manifest: SampleManifest, reference: str, name: str = "app") -> Answer:
        kind = {"Content-Type": manifest.media_type}
        return self(f"/v2/{name}/manifests/{reference}", "PUT", manifest.content, kind)

    def push(self, image: SampleManifest, tag: str) -> Answer:
        for blob in image.all_blobs().values():
            assert self.upload(blob).status == 201
        for child in image.all_manifests()[:-1]:
            assert self.put(child, child.digest).status == 201
        return self.put(image, tag)


def _login(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"AWS:{password}".encode()).decode()}


def _error(answer: Answer) -> tuple[int, str, str]:
    (error,) = json.loads(answer.body)["errors"]
    return answer.status, error["code"], error["message"]


@pytest.fixture
def registry() -> Iterator[EcrRegistry]:
    with EcrRegistry(least_part=1000) as started:
        started.create("app")
        yield started


@pytest.fixture
def client(registry: EcrRegistry, ask: Ask) -> Client:
    return Client(registry, ask)


class TestAccess:
    def test_it_asks_for_basic(self, registry: EcrRegistry, ask: Ask) -> None:
        answer = ask(f"{registry.url}/v2/")
        wanted = f'Basic realm="{registry.url}/",service="ecr.amazonaws.com"'
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, wanted)
        assert answer.body == b"Not Authorized\n"

    def test_an_expired_password_is_403_and_the_next_one_good(
        self, registry: EcrRegistry, client: Client
    ) -> None:
        assert client("/v2/").status == 200
        registry.expire_tokens()
        text = "Your authorization token has expired. Reauthenticate and try again."
        assert _error(client("/v2/")) == (403, "DENIED", text)
        assert _error(client("/v2/app/manifests/v1")) == (403, "DENIED", text)
        client.password = registry.issue_password()
        assert client("/v2/").status == 200

    def test_a_wrong_password(self, client: Client) -> None:
        client.password = "wrong"
        assert client("/v2/").status == 403

    def test_passwords_expire_by_themselves(self) -> None:
        now = 0.0
        access = EcrAccess(100, lambda: "", lambda: now)
        request = Request("GET", "/v2/", Headers(_login(access.issue_password()).items()), _empty())
        access.check(request, "", "pull")
        now = 100.0
        with pytest.raises(RegistryError, match="has expired"):
            access.check(request, "", "pull")


def _empty() -> Body:
    return Body(io.BytesIO(), None, chunked=False)


class TestReading:
    def test_blobs_are_elsewhere(self, registry: EcrRegistry, client: Client, ask: Ask) -> None:
        registry.put_blob("app", CONTENT)
        assert client(f"/v2/app/blobs/{DIGEST}", "HEAD").status == 200
        answer = client(f"/v2/app/blobs/{DIGEST}")
        link = answer.headers["Location"]
        assert (answer.status, link.startswith(registry.blob_host.url)) == (307, True)
        assert registry.blob_host.host != registry.host
        assert ask(link).body == CONTENT
        part = ask(link, headers={"Range": "bytes=5-9"})
        assert (part.status, part.body) == (206, CONTENT[5:10])
        assert part.headers["Content-Range"] == f"bytes 5-9/{len(CONTENT)}"
        assert ask(link, headers={"Range": "bytes=99999-"}).status == 416
        assert client("/v2/app/blobs/sha256:" + "0" * 64).status == 404

    def test_links_are_refused(self, registry: EcrRegistry, client: Client, ask: Ask) -> None:
        registry.put_blob("app", CONTENT)
        link = client(f"/v2/app/blobs/{DIGEST}").headers["Location"]
        both = ask(link, headers=_login("secret"))
        assert (both.status, b"Only one auth mechanism" in both.body) == (400, True)
        assert ask(link[:-1] + ("0" if link[-1] != "0" else "1")).status == 403
        assert ask(link, "HEAD").status == 403
        registry.expire_links()
        expired = ask(link)
        assert (expired.status, b"expired" in expired.body) == (403, True)
        assert ask(client(f"/v2/app/blobs/{DIGEST}").headers["Location"]).status == 200

    def test_short_reads(self, registry: EcrRegistry, client: Client, ask: Ask) -> None:
        registry.put_blob("app", CONTENT)
        registry.blob_host.short_reads = 7000
        link = client(f"/v2/app/blobs/{DIGEST}").headers["Location"]
        with pytest.raises(http.client.IncompleteRead) as caught:
            ask(link)
        assert caught.value.partial == CONTENT[:7000]
        assert ask(link, headers={"Range": "bytes=14000-"}).body == CONTENT[14000:]
        assert registry.blob_host.traffic()[1] == 7000 + 6000

    def test_manifests_are_here(self, registry: EcrRegistry, client: Client) -> None:
        image = registry.put_image("app", "v1")
        answer = client("/v2/app/manifests/v1")
        assert answer.body == image.content
        assert client(f"/v2/app/referrers/{image.digest}").status == 200


class TestUploads:
    def test_a_whole_blob_in_one_put(self, registry: EcrRegistry, client: Client) -> None:
        began = client.begin()
        assert (began.status, began.headers["Range"]) == (202, "0-0")
        assert began.headers["Location"].startswith(registry.url)
        assert client.upload().status == 201
        assert DIGEST in registry.blobs("app")

    def test_a_post_with_a_digest_only_begins(self, registry: EcrRegistry, client: Client) -> None:
        path = f"/v2/app/blobs/uploads/?digest={DIGEST}"
        assert client(path, "POST", CONTENT).status == 202
        assert registry.blobs("app") == frozenset()

    def test_patch_is_201_and_its_range_grows_stale(
        self, registry: EcrRegistry, client: Client
    ) -> None:
        location = client.begin().headers["Location"]
        first = client(location, "PATCH", CONTENT[:5000], {"Content-Range": "0-4999"})
        second = client(location, "PATCH", CONTENT[5000:9000], {"Content-Range": "5000-8999"})
        assert (first.status, first.headers["Range"]) == (201, "0-4999")
        assert (second.status, second.headers["Range"]) == (201, "0-4999")
        assert client(location).headers["Range"] == "0-4999"
        rest = {"Content-Range": f"9000-{len(CONTENT) - 1}"}
        done = client(f"{location}&digest={DIGEST}", "PUT", CONTENT[9000:], rest)
        assert done.status == 201
        assert registry.blobs("app") == {DIGEST}

    def test_small_parts_are_refused(self, client: Client) -> None:
        location = client.begin().headers["Location"]
        client(location, "PATCH", CONTENT[:999], {"Content-Range": "0-998"})
        assert client(location, "PATCH", b"x", {"Content-Range": "999-999"}).status == 416

    @pytest.mark.parametrize("method", ["PATCH", "PUT"])
    def test_a_session_can_not_be_used_again(
        self, registry: EcrRegistry, client: Client, method: str
    ) -> None:
        location = client.begin().headers["Location"] + f"&digest={DIGEST}"
        registry.inject(Fault(cut_request_after=4321), method=method)
        with pytest.raises(ConnectionError):
            client(location, method, CONTENT)
        wanted = "First byte of the layer part is 0 instead of 4321."
        assert _error(client(location, method, CONTENT)) == (416, "BLOB_UPLOAD_INVALID", wanted)
        assert client.upload().status == 201

    def test_a_missing_repository(self, registry: EcrRegistry, client: Client) -> None:
        with pytest.raises(ConnectionError):
            client.begin("none")
        registry.cut_missing = False
        status, code, text = _error(client.begin("none"))
        assert (status, code) == (404, "NAME_UNKNOWN")
        assert "'none' does not exist in the registry with id '123456789012'" in text
        for path in ("manifests/v1", "tags/list", f"blobs/{DIGEST}"):
            assert _error(client(f"/v2/none/{path}"))[:2] == (404, "NAME_UNKNOWN")
        assert registry.repositories == ("app",)

    def test_create_on_push(self, registry: EcrRegistry, client: Client) -> None:
        registry.create_on_push = RepositorySettings(mutability="IMMUTABLE", kms_key="k")
        assert client("/v2/new/manifests/v1").status == 404
        assert registry.settings("new") is None
        assert client.upload(name="new").status == 201
        settings = registry.settings("new")
        assert settings is not None
        assert (settings.mutability, settings.kms_key) == ("IMMUTABLE", "k")


class TestMounting:
    def _mount(self, client: Client, digest: str, source: str = "base") -> int:
        return client.begin("app", f"?mount={digest}&from={source}").status

    def test_only_where_it_is_enabled(self, registry: EcrRegistry, client: Client) -> None:
        image = registry.put_image("base", "v1")
        digest = next(iter(image.all_blobs()))
        assert self._mount(client, digest) == 202
        assert digest not in registry.blobs("app")
        registry.blob_mounting = True
        assert self._mount(client, digest) == 201
        assert digest in registry.blobs("app")

    def test_only_what_a_manifest_needs(self, registry: EcrRegistry, client: Client) -> None:
        registry.blob_mounting = True
        registry.put_blob("base", CONTENT)
        assert self._mount(client, DIGEST) == 202
        assert self._mount(client, DIGEST, "nowhere") == 202

    def test_only_with_the_same_encryption(self, registry: EcrRegistry, client: Client) -> None:
        registry.blob_mounting = True
        registry.create("base", encryption_type="KMS", kms_key="arn:aws:kms:::key/1")
        image = registry.put_image("base", "v1")
        assert self._mount(client, next(iter(image.all_blobs()))) == 202


class TestManifests:
    def test_an_image_can_be_pushed(self, registry: EcrRegistry, client: Client) -> None:
        image = sample_image("pushed")
        assert client.push(image, "v1").status == 201
        assert registry.tags("app") == {"v1": image.digest}

    def test_what_is_not_there_is_named(self, client: Client) -> None:
        image = sample_image("absent")
        status, code, text = _error(client.put(image.children[0], "v1"))
        assert (status, code) == (404, "BLOB_UNKNOWN")
        assert text.startswith("Layers with digests '[sha256:")
        status, code, text = _error(client.put(image, "v1"))
        assert (status, code) == (404, "MANIFEST_BLOB_UNKNOWN")
        assert f"Images with digests '[{image.children[0].digest}, " in text

    def test_new_blobs_are_seen_late(self, registry: EcrRegistry, client: Client) -> None:
        registry.lag = Lag(looks=2)
        artifact = make_artifact(b"late", "text/plain")
        statuses = [client.push(artifact, "v1").status]
        statuses += [client.put(artifact, "v1").status for _ in range(2)]
        assert statuses == [404, 404, 201]
        assert client(f"/v2/app/blobs/{next(iter(artifact.blobs))}", "HEAD").status == 200

    def test_an_immutable_tag(self, registry: EcrRegistry, client: Client) -> None:
        registry.create("fixed", immutable=True)
        one, two = (make_artifact(text, "text/plain") for text in (b"1", b"2"))
        registry.put_image("fixed", "v1", one)
        registry.put_image("fixed", "", two)
        text = (
            "The image tag 'v1' already exists in the 'fixed' repository and cannot be "
            "overwritten because the tag is immutable."
        )
        assert _error(client.put(two, "v1", "fixed")) == (400, "TAG_INVALID", text)
        assert _error(client.put(one, "v1", "fixed")) == (400, "TAG_INVALID", text)
        assert client.put(one, one.digest, "fixed").status == 201
        registry.refuse_same = False
        assert client.put(one, "v1", "fixed").status == 201
        assert client.put(two, "v1", "fixed").status == 400
        assert registry.tags("fixed") == {"v1": one.digest}

    @pytest.mark.parametrize(
        ("mutability", "fixed"),
        [
            ("MUTABLE", (False, False)),
            ("IMMUTABLE", (True, True)),
            ("IMMUTABLE_WITH_EXCLUSION", (True, False)),
            ("MUTABLE_WITH_EXCLUSION", (False, True)),
        ],
    )
    def test_exclusions(self, mutability: Any, fixed: tuple[bool, bool]) -> None:
        exclusions = ("sha256-*",) if mutability.endswith("EXCLUSION") else ()
        settings = RepositorySettings(mutability=mutability, exclusions=exclusions)
        assert (settings.is_immutable("v1"), settings.is_immutable("sha256-1.sig")) == fixed

    def test_types_that_are_not_taken(self, registry: EcrRegistry, client: Client) -> None:
        registry.refused_types = frozenset({"application/x-odd"})
        odd, plain = (make_artifact(b"x", f"application/{t}") for t in ("x-odd", "x-plain"))
        assert _error(client.push(odd, odd.digest))[:2] == (405, "UNSUPPORTED")
        assert client.push(plain, plain.digest).status == 201


def test_lag_in_seconds(registry: EcrRegistry) -> None:
    now = 0.0
    validator = Validator(registry._known, "1", lambda: now)
    validator.lag = Lag(seconds=0.5)
    validator.committed("app", DIGEST)
    validator.lag = Lag()
    now = 0.4
    assert validator.unseen("app", [DIGEST, DIGEST]) == [DIGEST]
    assert validator.unseen("other", [DIGEST]) == []
    now = 0.5
    assert validator.unseen("app", [DIGEST]) == []


class TestLimits:
    def test_a_bucket_of_one_second(self) -> None:
        now = 0.0
        limits = Limits(lambda: now)
        assert limits["PutImage"] == 10
        assert [limits.take("PutImage") for _ in range(11)] == [True] * 10 + [False]
        now = 0.25
        assert [limits.take("PutImage") for _ in range(3)] == [True, True, False]
        assert limits.refused("PutImage") == 2
        assert limits.take("UploadLayerPart")
        limits["PutImage"] = 0.5
        assert [limits.take("PutImage") for _ in range(2)] == [True, False]
        now = 2.25
        assert [limits.take("PutImage") for _ in range(2)] == [True, False]
        limits["PutImage"] = None
        assert all(limits.take("PutImage") for _ in range(100))
        limits["PutImage"] = 0
        assert not limits.take("PutImage")
        with pytest.raises(KeyError):
            limits["PutImages"] = 1

    @pytest.mark.parametrize(
        ("action", "method", "path"),
        [
            ("PutImage", "PUT", "/v2/app/manifests/v1"),
            ("BatchGetImage", "GET", "/v2/app/manifests/v1"),
            ("BatchGetImage", "HEAD", "/v2/app/manifests/v1"),
            ("InitiateLayerUpload", "POST", "/v2/app/blobs/uploads/"),
            ("UploadLayerPart", "PATCH", "/v2/app/blobs/uploads/1"),
            ("CompleteLayerUpload", "PUT", "/v2/app/blobs/uploads/1"),
            ("GetDownloadUrlForLayer", "GET", f"/v2/app/blobs/{DIGEST}"),
            ("BatchCheckLayerAvailability", "HEAD", f"/v2/app/blobs/{DIGEST}"),
        ],
    )
    def test_every_action_has_its_own(
        self, registry: EcrRegistry, client: Client, action: str, method: str, path: str
    ) -> None:
        registry.limits.refuse(action, times=1)
        answers = [client(path, method) for _ in range(2)]
        assert (answers[0].status, answers[1].status == 429) == (429, False)
        if method != "HEAD":
            assert _error(answers[0]) == (429, "TOOMANYREQUESTS", "Rate exceeded")
        assert registry.limits.refused(action) == 1


@pytest.fixture
def ecr(registry: EcrRegistry, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    import boto3

    monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", registry.api_url)
    client = boto3.client(
        "ecr",
        region_name="eu-west-1",
        aws_access_key_id="AKIATEST",
        aws_secret_access_key="secret",
    )
    yield client
    client.close()


def _code(caught: pytest.ExceptionInfo[Any]) -> str:
    return str(caught.value.response["Error"]["Code"])


class TestApi:
    def test_a_password_that_the_registry_takes(
        self, registry: EcrRegistry, ecr: Any, ask: Ask
    ) -> None:
        (data,) = ecr.get_authorization_token()["authorizationData"]
        header = {"Authorization": "Basic " + data["authorizationToken"]}
        assert ask(f"{registry.url}/v2/", headers=header).status == 200
        assert data["proxyEndpoint"] == registry.url
        assert data["expiresAt"].timestamp() > 0
        (call,) = registry.api_calls
        assert (call.operation, call.access_key) == ("GetAuthorizationToken", "AKIATEST")
        assert call.error == ""

    def test_repositories(self, registry: EcrRegistry, ecr: Any) -> None:
        made = ecr.create_repository(
            repositoryName="team/web",
            imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
            imageTagMutabilityExclusionFilters=[{"filterType": "WILDCARD", "filter": "dev-*"}],
            imageScanningConfiguration={"scanOnPush": True},
            encryptionConfiguration={"encryptionType": "KMS", "kmsKey": "key"},
            tags=[{"Key": "team", "Value": "web"}],
        )["repository"]
        found = ecr.describe_repositories(repositoryNames=["team/web"])["repositories"]
        assert found == [made]
        assert made["repositoryUri"] == f"{registry.host}/team/web"
        settings = registry.settings("team/web")
        assert settings is not None
        assert (settings.mutability, settings.exclusions) == (
            "IMMUTABLE_WITH_EXCLUSION",
            ("dev-*",),
        )
        assert (settings.encryption_type, settings.kms_key) == ("KMS", "key")
        assert (settings.scan_on_push, settings.tags) == (True, {"team": "web"})
        tags = ecr.list_tags_for_resource(resourceArn=made["repositoryArn"])["tags"]
        assert tags == [{"Key": "team", "Value": "web"}]
        rules = json.dumps({"rules": [{"rulePriority": n} for n in range(10)]})
        ecr.put_lifecycle_policy(repositoryName="team/web", lifecyclePolicyText=rules)
        ecr.set_repository_policy(repositoryName="team/web", policyText="[]")
        assert (settings.lifecycle_policy, settings.policy) == (rules, "[]")
        assert ecr.get_lifecycle_policy(repositoryName="team/web")["lifecyclePolicyText"] == rules
        assert ecr.get_repository_policy(repositoryName="team/web")["policyText"] == "[]"
        ecr.put_image_tag_mutability(repositoryName="team/web", imageTagMutability="MUTABLE")
        assert (settings.mutability, settings.exclusions) == ("MUTABLE", ())

    def test_pages(self, registry: EcrRegistry, ecr: Any) -> None:
        for number in range(4):
            registry.create(f"r{number}")
        pages = ecr.get_paginator("describe_repositories").paginate(
            PaginationConfig={"PageSize": 2}
        )
        names = [[r["repositoryName"] for r in page["repositories"]] for page in pages]
        assert names == [["app", "r0"], ["r1", "r2"], ["r3"]]

    def test_errors(self, registry: EcrRegistry, ecr: Any) -> None:
        with pytest.raises(ecr.exceptions.RepositoryNotFoundException):
            ecr.describe_repositories(repositoryNames=["none"])
        with pytest.raises(ecr.exceptions.RepositoryNotFoundException):
            ecr.describe_repositories(registryId="999999999999", repositoryNames=["app"])
        with pytest.raises(ecr.exceptions.RepositoryAlreadyExistsException):
            ecr.create_repository(repositoryName="app")
        with pytest.raises(ecr.exceptions.InvalidParameterException):
            ecr.create_repository(repositoryName="Upper")
        with pytest.raises(ecr.exceptions.InvalidParameterException):
            ecr.create_repository(
                repositoryName="bad", imageTagMutability="IMMUTABLE_WITH_EXCLUSION"
            )
        with pytest.raises(ecr.exceptions.LifecyclePolicyNotFoundException):
            ecr.get_lifecycle_policy(repositoryName="app")
        with pytest.raises(ecr.exceptions.ClientError) as caught:
            ecr.list_images(repositoryName="app")
        assert _code(caught) == "UnknownOperationException"
        assert registry.api_calls[-1].error == "UnknownOperationException"

    def test_layers_by_the_hundred(self, registry: EcrRegistry, client: Client, ecr: Any) -> None:
        registry.lag = Lag(looks=1)
        client.upload()
        absent = "sha256:" + "0" * 64
        asked = {"repositoryName": "app", "layerDigests": [DIGEST, absent, "sha256:1"]}
        answer = ecr.batch_check_layer_availability(**asked)
        (layer,) = answer["layers"]
        assert (layer["layerDigest"], layer["layerAvailability"]) == (DIGEST, "UNAVAILABLE")
        codes = [failure["failureCode"] for failure in answer["failures"]]
        assert codes == ["MissingLayerDigest", "InvalidLayerDigest"]
        (layer,) = ecr.batch_check_layer_availability(**asked)["layers"]
        assert (layer["layerAvailability"], layer["layerSize"]) == ("AVAILABLE", len(CONTENT))
        with pytest.raises(ecr.exceptions.InvalidParameterException):
            ecr.batch_check_layer_availability(repositoryName="app", layerDigests=[absent] * 101)

    def test_the_setting_for_mounts(self, registry: EcrRegistry, ecr: Any) -> None:
        assert ecr.get_account_setting(name="BLOB_MOUNTING")["value"] == "DISABLED"
        ecr.put_account_setting(name="BLOB_MOUNTING", value="ENABLED")
        assert registry.blob_mounting
        assert ecr.get_account_setting(name="BLOB_MOUNTING")["value"] == "ENABLED"

    def test_refusals(self, registry: EcrRegistry, ecr: Any) -> None:
        registry.api.refuse("CreateRepository", times=1)
        with pytest.raises(ecr.exceptions.ClientError, match="ecr:CreateRepository") as caught:
            ecr.create_repository(repositoryName="new")
        assert _code(caught) == "AccessDeniedException"
        assert registry.repositories == ("app",)
        ecr.create_repository(repositoryName="new")
        assert registry.api.count_calls("CreateRepository") == 2
        registry.limits.refuse("GetAuthorizationToken", times=1)
        ecr.get_authorization_token()
        errors = [call.error for call in registry.api_calls[2:]]
        assert errors == ["ThrottlingException", ""]

    def test_what_is_no_call(self, registry: EcrRegistry, ask: Ask) -> None:
        answer = ask(registry.api_url, "POST", b"{}")
        assert b"MissingAuthenticationTokenException" in answer.body
        assert ask(registry.api_url, "POST", b"[").status == 400


def test_tls(tls_files: TlsFiles, ask: Ask) -> None:
    with EcrRegistry(tls_cert=tls_files.cert, tls_key=tls_files.key) as registry:
        registry.put_blob("app", CONTENT)
        login = _login(registry.issue_password())
        answer = ask(f"{registry.url}/v2/app/blobs/{DIGEST}", headers=login, ca_file=tls_files.ca)
        assert answer.headers["Location"].startswith("https://")
        assert ask(answer.headers["Location"], ca_file=tls_files.ca).body == CONTENT


def test_others_copy_to_it_and_from_it(
    registry: EcrRegistry,
    client: Client,
    fault_proxy: MakeFaultProxy,
    peer: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    # The blobs come from another host: a second proxy in front of that one, too.
    blobs = fault_proxy(registry.blob_host.url)
    proxy = fault_proxy(registry.url)
    proxy.rewrites = {registry.blob_host.url: blobs.url}
    image = registry.put_image("base", "v1")
    registry.expire_tokens()
    login = base64.b64encode(f"AWS:{registry.issue_password()}".encode()).decode()
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"auths": {proxy.host: {"auth": login}}}))
    env = {"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)}
    crane = [str(peer("crane")), "--insecure"]
    copy = ["copy", f"{proxy.host}/base:v1", f"{proxy.host}/app:v2"]
    subprocess.run([*crane, *copy], env=env, capture_output=True, check=True)
    assert registry.tags("app") == {"v2": image.digest}
    validate = ["validate", "--remote", f"{proxy.host}/app:v2"]
    subprocess.run([*crane, *validate], env=env, capture_output=True, check=True)
    assert blobs.traffic("GET")[1] >= sum(map(len, image.all_blobs().values()))
    assert registry.count("GET", "/blobs/") == proxy.count("GET", "/blobs/")


def test_creating_twice(registry: EcrRegistry) -> None:
    with pytest.raises(ValueError, match="there is a repository app"):
        registry.create("app")


def test_it_runs_as_a_program(ask: Ask, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "imgctl_core.testing.ecr", "--repository", "app"]
    process = subprocess.Popen(
        [*command, "--folder", str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        url, api = (process.stdout.readline().strip() for _ in range(2))
        headers = {
            "X-Amz-Target": "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken",
            "Authorization": "AWS4-HMAC-SHA256 Credential=A/x",
        }
        answer = json.loads(ask(api, "POST", b"{}", headers).body)
        token = answer["authorizationData"][0]["authorizationToken"]
        login = {"Authorization": f"Basic {token}"}
        assert ask(f"{url}/v2/app/tags/list", headers=login).status == 200
    finally:
        process.terminate()
        process.communicate()

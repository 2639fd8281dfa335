"""The engine that runs crane: the promises of every promoter, and what is its own."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imgctl_backends.image.crane import outcomes
from imgctl_backends.image.crane.program import Done, run
from imgctl_backends.image.endpoint import ImageEndpoint, ImageSettings
from imgctl_backends.image.promoter import ImagePromoter
from imgctl_core.context import CancelToken, Context
from imgctl_core.errors import (
    ArtifactNotFound,
    Cancelled,
    Conflict,
    EndpointDenied,
    EndpointFailed,
    EndpointUnreachable,
    InvalidSetting,
    RequestError,
)
from imgctl_core.models import PromotionItem
from imgctl_core.testing.contract import PromoterContract
from imgctl_core.testing.harness import PromoterHarness
from imgctl_core.testing.httpd import Fault, Response
from imgctl_core.testing.images import make_index, sample_image
from imgctl_core.testing.peers import free_port
from imgctl_core.testing.registry import Registry
from imgctl_core.testing.tls import TlsFiles

if TYPE_CHECKING:
    from tests.backends.image.conftest import Bench, MakeBench

PASSWORD = "crane-c0ntract-Pa55"

MakeRegistry = Callable[..., Registry]


class CraneHarness(PromoterHarness):
    reference = "team/app:v1"
    bad_references = ("app", "App:v1", "host.example/app:v1", "--help:v1")
    secrets = (PASSWORD,)

    def __init__(self, crane: Path, ends: Mapping[str, Registry], password_file: Path) -> None:
        self._crane = crane
        self._ends = ends
        self._password_file = password_file

    def make(self) -> ImagePromoter:
        dev = ImageEndpoint(registry=self._ends["dev"].url)
        prod = ImageEndpoint(
            registry=self._ends["prod"].url, username="bob", password_file=self._password_file
        )
        settings = ImageSettings(engine="crane", crane_path=self._crane)
        return ImagePromoter(settings, {"dev": dev, "prod": prod})

    def seed(self, environment: str, variant: int) -> None:
        image = sample_image(f"variant {variant}", layer_bytes=20_000)
        self._ends[environment].put_image("team/app", "v1", image)

    def snapshot(self, environment: str) -> Mapping[str, object]:
        return self._ends[environment].tags("team/app")

    def inventory(self, environment: str) -> object:
        end = self._ends[environment]
        held = {name: (end.tags(name), end.manifests(name)) for name in end.repositories}
        return held, {name: end.blobs(name) for name in end.repositories}, end.open_uploads

    def spoil(self) -> bool:
        self._ends["dev"].inject(Fault(corrupt=True), method="GET", pattern="/v2/.", times=None)
        return True


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    return file


class TestCraneEngine(PromoterContract):
    @pytest.fixture
    def harness(
        self, peer: Callable[[str], Path], make_registry: MakeRegistry, password_file: Path
    ) -> PromoterHarness:
        prod = make_registry(auth="bearer", username="bob", password=PASSWORD)
        return CraneHarness(peer("crane"), {"dev": make_registry(), "prod": prod}, password_file)


@pytest.fixture
def settings(peer: Callable[[str], Path]) -> dict[str, object]:
    return {"engine": "crane", "crane_path": peer("crane")}


@pytest.fixture
def craned(
    make_bench: MakeBench, dev: Registry, prod: Registry, settings: dict[str, object]
) -> Bench:
    return make_bench(dev=dev.url, prod=prod.url, settings=settings)


def test_an_index_with_all_it_needs_arrives_by_tag_and_by_digest(
    craned: Bench, dev: Registry, prod: Registry
) -> None:
    inner = sample_image("inner")
    image = dev.put_image("app", "v1", make_index([make_index([inner]), inner]))
    done = craned.promote("app:v1")
    assert done.digest == image.digest
    assert set(image.all_blobs()) <= prod.blobs("app")
    size = sum(map(len, image.all_blobs().values()))
    assert done.progress.bytes_copied == done.plan.bytes_to_copy == size
    other = dev.put_image("other", "v1", sample_image("other"))
    assert craned.promote(f"other@{other.digest}").digest == other.digest
    assert prod.tags("other") == {}


def test_blobs_that_are_there_count_as_present(
    craned: Bench, dev: Registry, prod: Registry
) -> None:
    image = dev.put_image("app", "v1")
    prod.put_image("app", "", image)
    counted = craned.promote("app:v1").progress
    assert counted.bytes_copied == 0
    assert counted.bytes_present == counted.bytes_total > 0


@pytest.mark.parametrize(
    ("end", "method", "pattern", "status", "expected"),
    [
        ("dev", "", "/manifests/", 403, EndpointDenied),
        ("dev", "GET", "/blobs/sha256", 401, EndpointDenied),
        ("prod", "PUT", "/manifests/v1", 400, EndpointFailed),
        ("prod", "POST", "/uploads/", 404, EndpointFailed),
    ],
)
def test_what_a_registry_refuses_is_a_typed_error_and_no_tag(
    craned: Bench,
    dev: Registry,
    prod: Registry,
    end: str,
    method: str,
    pattern: str,
    status: int,
    expected: type[Exception],
) -> None:
    dev.put_image("app", "v1")
    fault = Fault(answer=Response(status))
    {"dev": dev, "prod": prod}[end].inject(fault, method=method, pattern=pattern, times=None)
    with pytest.raises(expected) as caught:
        craned.promote("app:v1")
    assert "127.0.0.1" in str(caught.value)
    assert prod.tags("app") == {}


def test_nobody_at_the_address(
    make_bench: MakeBench, prod: Registry, settings: dict[str, object]
) -> None:
    bench = make_bench(dev=f"http://127.0.0.1:{free_port()}", prod=prod.url, settings=settings)
    with pytest.raises(EndpointUnreachable, match="refused"):
        bench.plan("app:v1")


def test_tag_and_digest_must_agree(craned: Bench, dev: Registry) -> None:
    dev.put_image("app", "v1", sample_image("one"))
    other = dev.put_image("app", "v2", sample_image("two"))
    with pytest.raises(ArtifactNotFound, match="not sha256:"):
        craned.plan(f"app:v1@{other.digest}")


def test_an_immutable_tag_is_read_again(craned: Bench, dev: Registry, prod: Registry) -> None:
    ours = dev.put_image("app", "v1", sample_image("ours"))
    theirs = prod.put_image("app", "v1", sample_image("theirs"))
    body = b'{"errors": [{"code": "TAG_INVALID", "message": "the tag is immutable"}]}'
    taken = Fault(answer=Response(400, {}, body))
    prod.inject(taken, method="PUT", pattern="/manifests/v1", times=None)
    with pytest.raises(Conflict) as caught:
        craned.promote("app:v1", replace=True)
    assert (caught.value.digest, caught.value.current) == (ours.digest, theirs.digest)


def test_each_side_has_its_own_credentials_and_certificates(
    make_bench: MakeBench,
    make_registry: MakeRegistry,
    settings: dict[str, object],
    tls_files: TlsFiles,
    password_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    tls = {"tls_cert": tls_files.cert, "tls_key": tls_files.key}
    dev = make_registry(auth="basic", username="ann", password="dev-s3cret", **tls)
    prod = make_registry(auth="bearer", username="bob", password=PASSWORD)
    image = dev.put_image("app", "v1")
    dev_password = tmp_path / "dev-password"
    dev_password.write_text("dev-s3cret")
    bench = make_bench(
        dev={
            "registry": dev.url,
            "username": "ann",
            "password_file": dev_password,
            "ca_file": tls_files.ca,
        },
        prod={"registry": prod.url, "username": "bob", "password_file": password_file},
        settings=settings,
    )
    assert bench.promote("app:v1").digest == image.digest
    assert list(tmp_path.glob("imgctl-crane-*")) == []


def test_wrong_credentials_are_denied_and_not_shown(
    make_bench: MakeBench,
    make_registry: MakeRegistry,
    settings: dict[str, object],
    password_file: Path,
    prod: Registry,
) -> None:
    dev = make_registry(auth="basic", username="bob", password="another")
    fields = {"registry": dev.url, "username": "bob", "password_file": password_file}
    with pytest.raises(EndpointDenied) as caught:
        make_bench(dev=fields, prod=prod.url, settings=settings).plan("app:v1")
    assert PASSWORD not in str(caught.value) + caught.value.fix


def test_two_identities_on_one_host_are_refused(
    make_bench: MakeBench, dev: Registry, settings: dict[str, object], password_file: Path
) -> None:
    bench = make_bench(
        dev={"registry": f"{dev.url}/dev", "username": "bob", "password_file": password_file},
        prod={"registry": f"{dev.url}/prod", "auth": "none"},
        settings=settings,
    )
    with pytest.raises(InvalidSetting, match="one identity for each host"):
        bench.plan("app:v1")
    assert dev.requests == ()


@pytest.mark.parametrize(
    ("registry", "said"),
    [
        ("oci-layout:/srv/images", "OCI image layouts"),
        ("https://10.1.2.3", "plain HTTP"),
        ("https://registry.local", "plain HTTP"),
    ],
)
def test_endpoints_that_crane_can_not_serve_are_refused_at_the_start(
    settings: dict[str, object], registry: str, said: str
) -> None:
    endpoints = {"dev": ImageEndpoint(registry=registry)}
    with pytest.raises(InvalidSetting, match=said):
        ImagePromoter(ImageSettings.model_validate(settings), endpoints)


def test_certificates_are_checked_although_the_other_side_has_none(
    make_bench: MakeBench, settings: dict[str, object]
) -> None:
    bench = make_bench(
        dev={"registry": "registry.example.com", "plain_http": True},
        prod="https://prod.example.com",
        settings=settings,
    )
    with pytest.raises(InvalidSetting, match="certificate"):
        bench.plan("app:v1")


def test_a_missing_crane_is_said_at_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InvalidSetting, match="needs the program crane"):
        ImagePromoter(ImageSettings(engine="crane"), {})
    no_program = tmp_path / "crane"
    no_program.write_text("")
    with pytest.raises(InvalidSetting, match="needs the program crane"):
        ImagePromoter(ImageSettings(engine="crane", crane_path=no_program), {})


@pytest.mark.parametrize("asked", [{"deep": True}, {"options": {"referrers": "all"}}])
def test_what_crane_would_leave_out_is_refused(craned: Bench, asked: dict[str, object]) -> None:
    ref = craned.promoter.parse("app:v1")
    item = PromotionItem("app:v1", ref, "dev", "prod", **asked)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="by crane"):
        craned.promoter.plan(item, Context())


def test_referrers_in_the_settings_are_refused_at_the_start(settings: dict[str, object]) -> None:
    asked = ImageSettings.model_validate({**settings, "referrers": "all"})
    with pytest.raises(InvalidSetting, match="leaves referrers behind"):
        ImagePromoter(asked, {})


def test_the_result_says_that_referrers_stay_behind(craned: Bench, dev: Registry) -> None:
    dev.put_image("app", "v1")
    ref = craned.promoter.parse("app:v1")
    for options, notes in (({}, 1), ({"referrers": "none"}, 0)):
        context = Context()
        item = PromotionItem("app:v1", ref, "dev", "prod", options=options)
        craned.promoter.plan(item, context)
        assert len(context.progress.notes) == notes


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes a shell script in crane's place."""

    def write(script: str) -> Path:
        file = tmp_path / "crane"
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
        return file

    return write


def test_cancelling_ends_crane_and_what_it_started(
    program: Callable[[str], Path], tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    script = program(f"sleep 60 &\necho $! > {pids}.new\nmv {pids}.new {pids}\necho on >&2\nwait")
    token = CancelToken()
    started = time.monotonic()
    heard: Callable[[str], None] = lambda line: threading.Thread(target=token.cancel).start()  # noqa: E731
    with pytest.raises(Cancelled):
        run([script], {"PATH": os.environ["PATH"]}, Context(cancel=token), limit=10, heard=heard)
    assert time.monotonic() - started < 2
    state = Path(f"/proc/{pids.read_text().strip()}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


def test_only_some_copies_run_at_once(craned: Bench, dev: Registry, prod: Registry) -> None:
    """A release of many images must not start as many cranes."""
    image = sample_image("many", architectures=("amd64",), layer_bytes=64)
    refs = [f"app-{n}:v1" for n in range(6)]
    for ref in refs:
        dev.put_image(ref.partition(":")[0], "v1", image)
    plans = [craned.plan(ref) for ref in refs]
    release = threading.Event()
    held = prod.inject(Fault(hold=release), method="HEAD", pattern="/manifests/", times=None)
    token = CancelToken()
    outcomes_of: list[BaseException | None] = []

    def stage(number: int) -> None:
        try:
            craned.promoter.stage(plans[number], Context(cancel=token))
            outcomes_of.append(None)
        except Cancelled as error:
            outcomes_of.append(error)

    threads = [threading.Thread(target=stage, args=(n,)) for n in range(len(plans))]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 20
    while held.hits < 4 and time.monotonic() < end:
        threading.Event().wait(0.01)
    token.cancel()
    for thread in threads:
        thread.join()
    release.set()
    assert held.hits == 4
    assert len(outcomes_of) == 6
    assert None not in outcomes_of


def test_output_is_bounded(program: Callable[[str], Path]) -> None:
    script = program("while :; do echo xxxxxxxxxxxxxxxx; done")
    with pytest.raises(EndpointFailed, match="more than the 1000 bytes"):
        run([script], {"PATH": os.environ["PATH"]}, Context(), limit=1000)


def test_credentials_are_in_a_private_folder_and_nothing_else_is_handed_on(
    program: Callable[[str], Path],
    make_bench: MakeBench,
    password_file: Path,
    tls_files: TlsFiles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = tmp_path / "seen"
    script = program(
        f'mkdir {seen}\nenv > {seen}/env\nstat -c "%a" "$DOCKER_CONFIG" '
        f'"$DOCKER_CONFIG/config.json" > {seen}/modes\ncp "$DOCKER_CONFIG/config.json" {seen}\n'
        f'cp "$SSL_CERT_FILE" {seen}/roots\n'
        'echo "Error: GET https://x.test/v2/: MANIFEST_UNKNOWN: no" >&2\nexit 1'
    )
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "aws-s3cret")
    usual = tmp_path / "usual.pem"
    usual.write_text("the usual roots")
    monkeypatch.setenv("SSL_CERT_FILE", str(usual))
    fields = {
        "registry": "r.test",
        "username": "bob",
        "password_file": password_file,
        "ca_file": tls_files.ca,
    }
    settings = {"engine": "crane", "crane_path": script}
    with pytest.raises(ArtifactNotFound):
        make_bench(dev=fields, prod="p.test", settings=settings).plan("app:v1")
    assert (seen / "roots").read_text() == "the usual roots\n" + tls_files.ca.read_text()
    environment = (seen / "env").read_text()
    assert "aws-s3cret" not in environment
    assert PASSWORD not in environment
    assert (seen / "modes").read_text().split() == ["700", "600"]
    stored = json.loads((seen / "config.json").read_text())
    assert stored == {"auths": {"r.test": {"username": "bob", "password": PASSWORD}}}
    folder = environment.split("DOCKER_CONFIG=")[1].split("\n")[0]
    assert not Path(folder).exists()
    assert stat.S_ISREG(script.stat().st_mode)


def test_no_credential_is_in_an_error() -> None:
    said = (
        f"Error: GET https://bob:{PASSWORD}@s3.test/x?X-Amz-Signature=abc: 500 \x1b[31m{PASSWORD}",
    )
    told = str(outcomes.failure(Done(1, b"", said), "r.test", "read", (PASSWORD,)))
    assert PASSWORD not in told
    assert "abc" not in told
    assert told.isprintable()
    assert "https://s3.test/x" in told


def test_a_crane_that_was_killed_says_so() -> None:
    assert "signal 9" in str(outcomes.failure(Done(-9, b"", ("on",)), "r.test", "read", ()))

"""OCI image layouts: what other tools make of them, and what may not get out of hand."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from imgctl_backends.image.content.manifests import Descriptor, parse_manifest
from imgctl_backends.image.endpoint import ImageEndpoint, ImageSettings
from imgctl_backends.image.layout.home import Layouts
from imgctl_backends.image.layout.repository import LayoutRepository
from imgctl_backends.image.promoter import ImagePromoter
from imgctl_backends.image.wire.faults import BlobUnknown, Fault, WrongBytes
from imgctl_backends.image.wire.flight import Flight
from imgctl_core.context import CancelToken, Context
from imgctl_core.errors import (
    ArtifactNotFound,
    Cancelled,
    EndpointDenied,
    EndpointFailed,
    EndpointUnreachable,
    InvalidReference,
)
from imgctl_core.testing.images import SampleManifest, make_artifact, make_index, sample_image
from imgctl_core.testing.registry import Registry

if TYPE_CHECKING:
    from tests.backends.image.conftest import Bench, MakeBench

REF_NAME = "org.opencontainers.image.ref.name"


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    """Return a folder that is somewhere else than the registry."""
    folder = tmp_path / "stick"
    folder.mkdir()
    return folder


@pytest.fixture
def out(make_bench: MakeBench, dev: Registry, stick: Path) -> Bench:
    return make_bench(dev=dev.url, prod=f"oci-layout:{stick}")


@pytest.fixture
def back(make_bench: MakeBench, prod: Registry, stick: Path) -> Bench:
    return make_bench(dev=f"oci-layout:{stick}", prod=prod.url)


def index_of(layout: Path) -> list[dict[str, object]]:
    entries: list[dict[str, object]] = json.loads((layout / "index.json").read_bytes())["manifests"]
    return entries


def names_of(layout: Path) -> list[object]:
    found = [entry.get("annotations", {}) for entry in index_of(layout)]
    return [note.get(REF_NAME) if isinstance(note, dict) else None for note in found]


def test_a_layout_is_as_the_specification_says(out: Bench, dev: Registry, stick: Path) -> None:
    image = dev.put_image("team/app", "v1")
    out.promote("team/app:v1")
    layout = stick / "team" / "app"
    assert json.loads((layout / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    assert {path.name for path in layout.iterdir()} == {"oci-layout", "index.json", "blobs"}
    (entry,) = index_of(layout)
    assert entry["digest"] == image.digest
    assert entry["annotations"] == {REF_NAME: "v1"}
    stored = {path.name: path.read_bytes() for path in (layout / "blobs" / "sha256").iterdir()}
    assert {hashlib.sha256(content).hexdigest() for content in stored.values()} == set(stored)
    parts = {part.digest for part in image.all_manifests()} | set(image.all_blobs())
    assert {f"sha256:{name}" for name in stored} == parts


def run(*command: str | Path, home: Path) -> str:
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "DOCKER_CONFIG": str(home)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_regctl_reads_what_was_written(
    out: Bench, dev: Registry, stick: Path, peer: Callable[[str], Path], home: Path
) -> None:
    image = dev.put_image("team/app", "v1")
    out.promote("team/app:v1")
    ref = f"ocidir://{stick}/team/app:v1"
    assert run(peer("regctl"), "image", "digest", ref, home=home).strip() == image.digest
    run(peer("regctl"), "image", "copy", ref, f"ocidir://{stick}/copy:v1", home=home)
    assert run(peer("regctl"), "tag", "ls", f"ocidir://{stick}/copy", home=home).strip() == "v1"


def test_regctl_finds_the_referrers(
    out: Bench, dev: Registry, stick: Path, peer: Callable[[str], Path], home: Path
) -> None:
    image = dev.put_image("team/app", "v1")
    sbom = make_artifact(b"{}", "application/spdx+json", subject=image)
    dev.put_image("team/app", "", sbom)
    out.promote("team/app:v1")
    assert names_of(stick / "team" / "app") == [image.digest.replace(":", "-"), "v1"]
    listing = run(
        peer("regctl"),
        *("artifact", "list", f"ocidir://{stick}/team/app:v1", "--format", "raw-body"),
        home=home,
    )
    assert [entry["digest"] for entry in json.loads(listing)["manifests"]] == [sbom.digest]


def test_skopeo_reads_what_was_written(
    out: Bench, dev: Registry, stick: Path, peer: Callable[[str], Path], home: Path
) -> None:
    image = dev.put_image("team/app", "v1")
    out.promote("team/app:v1")
    raw = run(peer("skopeo"), "inspect", "--raw", f"oci:{stick}/team/app:v1", home=home)
    assert raw.encode() == image.content


def test_crane_pushes_what_was_written(
    out: Bench,
    dev: Registry,
    prod: Registry,
    stick: Path,
    peer: Callable[[str], Path],
    home: Path,
) -> None:
    image = dev.put_image("team/app", "v1")
    out.promote("team/app:v1")
    folder = stick / "team" / "app"
    run(peer("crane"), "push", "--index", folder, f"{prod.host}/other:v1", home=home)
    # crane wraps what index.json names, so the image is one below.
    assert image.digest in prod.manifests("other")


def test_what_regctl_wrote_is_promoted(
    back: Bench,
    dev: Registry,
    prod: Registry,
    stick: Path,
    peer: Callable[[str], Path],
    home: Path,
) -> None:
    image = dev.put_image("team/app", "v1")
    regctl = peer("regctl")
    run(regctl, "registry", "set", dev.host, "--tls", "disabled", "--skip-check", home=home)
    there = f"ocidir://{stick}/team/app:v1"
    run(regctl, "image", "copy", f"{dev.host}/team/app:v1", there, home=home)
    assert back.promote("team/app:v1").digest == image.digest
    assert prod.tags("team/app") == {"v1": image.digest}


def test_what_skopeo_wrote_is_promoted(
    back: Bench,
    dev: Registry,
    prod: Registry,
    stick: Path,
    peer: Callable[[str], Path],
    home: Path,
) -> None:
    image = dev.put_image("team/app", "v1")
    (stick / "team").mkdir()
    command = ["copy", "--all", "--preserve-digests", "--src-tls-verify=false"]
    source, there = f"docker://{dev.host}/team/app:v1", f"oci:{stick}/team/app:v1"
    policy = home / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    run(peer("skopeo"), "--policy", policy, *command, source, there, home=home)
    assert back.promote("team/app:v1").digest == image.digest
    assert prod.tags("team/app") == {"v1": image.digest}


@pytest.mark.parametrize("annotated", [True, False])
def test_what_crane_pulled_is_promoted(
    back: Bench,
    dev: Registry,
    prod: Registry,
    stick: Path,
    peer: Callable[[str], Path],
    home: Path,
    annotated: bool,
) -> None:
    image = dev.put_image("team/app", "v1")
    (stick / "team").mkdir()
    flags = ["--annotate-ref"] if annotated else []
    source, there = f"{dev.host}/team/app:v1", stick / "team" / "app"
    run(peer("crane"), "pull", "--format=oci", *flags, source, there, home=home)
    if not annotated:
        with pytest.raises(ArtifactNotFound):
            back.plan("team/app:v1")
    ref = "team/app:v1" if annotated else f"team/app@{image.digest}"
    assert back.promote(ref).digest == image.digest
    assert set(image.all_blobs()) <= prod.blobs("team/app")


def test_tags_move_and_others_entries_stay(out: Bench, dev: Registry, stick: Path) -> None:
    one = dev.put_image("app", "v1", sample_image("one"))
    dev.put_image("app", "v2", one)
    out.promote("app:v1")
    out.promote("app:v2")
    layout = stick / "app"
    document = json.loads((layout / "index.json").read_bytes())
    foreign = {**one.descriptor, "annotations": {"org.example.kept": "yes"}}
    document["manifests"].append(foreign)
    document["annotations"] = {"org.example.also": "kept"}
    (layout / "index.json").write_text(json.dumps(document))
    two = dev.put_image("app", "v1", sample_image("two"))
    assert out.promote("app:v1", replace=True).plan.current == one.digest
    assert names_of(layout) == ["v2", None, "v1"]
    assert [entry["digest"] for entry in index_of(layout)] == [one.digest, one.digest, two.digest]
    again = json.loads((layout / "index.json").read_bytes())
    assert again["annotations"] == document["annotations"]
    assert again["manifests"][1] == foreign


def test_a_digest_needs_no_tag_and_is_found_again(out: Bench, dev: Registry, stick: Path) -> None:
    image = dev.put_image("app", "v1")
    ref = f"app@{image.digest}"
    out.promote(ref)
    assert names_of(stick / "app") == [None]
    assert out.plan(ref).unchanged
    assert out.plan(f"app@{image.children[0].digest}").unchanged


def test_a_blob_is_no_image(back: Bench, out: Bench, dev: Registry) -> None:
    image = dev.put_image("app", "v1")
    out.promote("app:v1")
    config = next(iter(image.children[0].blobs))
    with pytest.raises(ArtifactNotFound):
        back.plan(f"app@{config}")


def test_repositories_may_lie_below_each_other(out: Bench, dev: Registry, stick: Path) -> None:
    for name in ("team", "team/app"):
        dev.put_image(name, "v1", sample_image(name))
        out.promote(f"{name}:v1")
    assert names_of(stick / "team") == names_of(stick / "team" / "app") == ["v1"]


@pytest.mark.parametrize("name", ["team/blobs/app", "team/index.json", "oci-layout"])
def test_names_of_a_layouts_own_files_are_refused(out: Bench, stick: Path, name: str) -> None:
    with pytest.raises(InvalidReference, match="its own files"):
        out.plan(f"{name}:v1")
    assert list(stick.iterdir()) == []


def planted(out: Bench, dev: Registry, stick: Path) -> SampleManifest:
    image = dev.put_image("app", "v1", sample_image("planted"))
    out.promote("app:v1")
    return image


@pytest.mark.parametrize("what", ["blob", "index.json", "oci-layout", "blobs", "app"])
def test_a_link_is_not_read_through(
    out: Bench, back: Bench, dev: Registry, prod: Registry, stick: Path, tmp_path: Path, what: str
) -> None:
    """Who may write into the layout must not make us hand out the server's own files."""
    image = planted(out, dev, stick)
    digest = next(iter(image.all_blobs()))
    inside = {
        "blob": stick / "app" / "blobs" / "sha256" / digest.partition(":")[2],
        "app": stick / "app",
    }.get(what, stick / "app" / what)
    outside = tmp_path / "outside"
    shutil.move(inside, outside)
    inside.symlink_to(outside)
    with pytest.raises(EndpointFailed, match="symbolic link"):
        back.promote("app:v1")
    assert prod.tags("app") == {}


@pytest.mark.parametrize("what", ["app", "app/blobs", "app/blobs/sha256"])
def test_a_link_is_not_written_through(
    out: Bench, dev: Registry, stick: Path, tmp_path: Path, what: str
) -> None:
    dev.put_image("app", "v1")
    outside = tmp_path / "outside"
    outside.mkdir()
    link = stick / what
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside)
    with pytest.raises(EndpointFailed, match="symbolic link"):
        out.promote("app:v1")
    assert list(outside.iterdir()) == []


def test_a_link_in_place_of_a_blob_is_replaced_and_not_followed(
    out: Bench, dev: Registry, stick: Path, tmp_path: Path
) -> None:
    image = dev.put_image("app", "v1")
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    blobs = stick / "app" / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    digests = [*image.all_blobs(), *(part.digest for part in image.all_manifests())]
    for digest in digests:
        (blobs / digest.partition(":")[2]).symlink_to(victim)
    assert out.promote("app:v1").digest == image.digest
    assert victim.read_text() == "untouched"
    assert not any(path.is_symlink() for path in blobs.iterdir())


def test_a_pipe_does_not_hang_us(out: Bench, back: Bench, dev: Registry, stick: Path) -> None:
    planted(out, dev, stick)
    index = stick / "app" / "index.json"
    index.unlink()
    os.mkfifo(index)
    with pytest.raises(EndpointFailed, match="no plain file"):
        back.plan("app:v1")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no JSON"),
        (b"<html>", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "no index"),
        (b'{"manifests": {}}', "no index"),
        (b'{"manifests": [{"digest": "sha256:../../../etc/passwd"}]}', "no index"),
    ],
)
def test_an_index_that_is_none(
    out: Bench, back: Bench, dev: Registry, stick: Path, content: bytes, said: str
) -> None:
    planted(out, dev, stick)
    (stick / "app" / "index.json").write_bytes(content)
    with pytest.raises(EndpointFailed, match=said):
        back.plan("app:v1")


@pytest.mark.parametrize("content", [b"", b"{}", b'{"imageLayoutVersion": "2.0.0"}', None])
def test_a_layout_of_another_version_is_not_read(
    out: Bench, back: Bench, dev: Registry, stick: Path, content: bytes | None
) -> None:
    planted(out, dev, stick)
    mark = stick / "app" / "oci-layout"
    mark.unlink()
    if content is not None:
        mark.write_bytes(content)
    with pytest.raises(EndpointFailed, match="does not say version 1"):
        back.plan("app:v1")


def test_a_tag_for_two_images_is_none(out: Bench, back: Bench, dev: Registry, stick: Path) -> None:
    planted(out, dev, stick)
    index = stick / "app" / "index.json"
    document = json.loads(index.read_bytes())
    other = sample_image("other").descriptor
    document["manifests"].append({**other, "annotations": {REF_NAME: "v1"}})
    index.write_text(json.dumps(document))
    with pytest.raises(EndpointFailed, match="2 different images"):
        back.plan("app:v1")


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("how", ["short", "other"])
def test_a_damaged_blob_never_arrives(
    out: Bench, back: Bench, dev: Registry, prod: Registry, stick: Path, how: str
) -> None:
    image = planted(out, dev, stick)
    digest = max(image.all_blobs(), key=lambda found: len(image.all_blobs()[found]))
    file = stick / "app" / "blobs" / "sha256" / digest.partition(":")[2]
    content = file.read_bytes()
    file.write_bytes(content[:-1] if how == "short" else b"\0" + content[1:])
    with pytest.raises(EndpointFailed, match=digest):
        back.promote("app:v1")
    assert prod.tags("app") == {}


def test_a_damaged_manifest_says_which_file_to_remove(
    out: Bench, dev: Registry, stick: Path
) -> None:
    image = planted(out, dev, stick)
    file = stick / "app" / "blobs" / "sha256" / image.digest.partition(":")[2]
    file.write_bytes(image.content + b" ")
    with pytest.raises(EndpointFailed) as caught:
        out.plan("app:v1")
    assert file.name in caught.value.fix
    file.unlink()
    assert out.promote("app:v1").digest == image.digest


def test_blobs_that_went_missing_are_brought_again(out: Bench, dev: Registry, stick: Path) -> None:
    image = planted(out, dev, stick)
    layout = stick / "app"
    (layout / "index.json").unlink()
    lost = next(iter(image.all_blobs())).partition(":")[2]
    (layout / "blobs" / "sha256" / lost).unlink()
    done = out.promote("app:v1")
    assert done.progress.bytes_copied == len(image.all_blobs()[f"sha256:{lost}"])
    assert (layout / "blobs" / "sha256" / lost).exists()


def test_a_folder_that_is_not_there(make_bench: MakeBench, dev: Registry, stick: Path) -> None:
    dev.put_image("app", "v1")
    stick.rmdir()
    bench = make_bench(dev=dev.url, prod=f"oci-layout:{stick}")
    with pytest.raises(EndpointUnreachable) as caught:
        bench.plan("app:v1")
    assert "mount" in caught.value.fix


def test_a_folder_without_the_image_is_not_found(back: Bench) -> None:
    with pytest.raises(ArtifactNotFound, match="dev"):
        back.plan("app:v1")


def test_a_folder_that_we_may_not_write_to(
    out: Bench, dev: Registry, stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dev.put_image("app", "v1")

    def refuse(*args: object, **named: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.mkdir", refuse)
    with pytest.raises(EndpointDenied, match="permission denied"):
        out.promote("app:v1")


def test_a_full_disk_leaves_nothing_half_written(
    out: Bench, dev: Registry, stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dev.put_image("app", "v1")

    def full(handle: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    plan = out.plan("app:v1")
    monkeypatch.setattr("imgctl_backends.image.layout.disk.write_all", full)
    with pytest.raises(EndpointFailed, match="no space left"):
        out.promoter.stage(plan, Context())
    assert [path for path in stick.rglob("*") if path.name.startswith(".imgctl-")] == []


def test_what_a_crash_left_is_swept_and_what_another_writes_is_not(
    out: Bench, dev: Registry, stick: Path
) -> None:
    layout = stick / "app"
    layout.mkdir()
    left, held = layout / ".imgctl-left", layout / ".imgctl-held"
    left.write_text("half")
    with held.open("w") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        dev.put_image("app", "v1")
        out.promote("app:v1")
        assert not left.exists()
        assert held.exists()


def test_two_writers_lose_no_tag(make_bench: MakeBench, dev: Registry, stick: Path) -> None:
    benches = [make_bench(dev=dev.url, prod=f"oci-layout:{stick}") for _ in range(2)]
    refs = [f"app:v{n}" for n in range(12)]
    for ref in refs:
        dev.put_image("app", ref.partition(":")[2], sample_image(ref, layer_bytes=100))
    threads = [
        threading.Thread(target=benches[n % 2].promote, args=(ref,)) for n, ref in enumerate(refs)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, names_of(stick / "app"))) == sorted(ref[4:] for ref in refs)


def test_waiting_for_the_lock_can_be_cancelled(out: Bench, dev: Registry, stick: Path) -> None:
    planted(out, dev, stick)
    dev.put_image("app", "v2", sample_image("planted"))
    plan = out.plan("app:v2")
    token = CancelToken()
    with (stick / "app" / "oci-layout").open("r+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        timer = threading.Timer(0.2, token.cancel)
        timer.start()
        with pytest.raises(Cancelled):
            out.promoter.publish(plan, Context(cancel=token))
    assert names_of(stick / "app") == ["v1"]


def test_an_index_names_no_child_twice(out: Bench, dev: Registry, stick: Path) -> None:
    inner = sample_image("inner")
    dev.put_image("app", "v1", make_index([make_index([inner]), inner]))
    out.promote("app:v1")
    assert names_of(stick / "app") == ["v1"]


@pytest.mark.parametrize("text", ["oci-layout:", "oci-layout:x", "oci-layout:/a\nb"])
def test_a_folder_is_given_by_its_absolute_path(text: str) -> None:
    with pytest.raises(ValidationError, match="absolute path"):
        ImageEndpoint(registry=text)


def test_a_folder_has_no_use_for_credentials() -> None:
    with pytest.raises(ValidationError, match="auth has no use"):
        ImageEndpoint(registry="oci-layout:/srv/images", auth="none")


def test_one_folder_is_one_place_however_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    promoter = ImagePromoter(ImageSettings(), {})
    plain = ImageEndpoint(registry=f"oci-layout:{tmp_path}")
    assert promoter.same(plain, ImageEndpoint(registry=f"oci-layout:{tmp_path}/x/.."))
    assert promoter.same(plain, ImageEndpoint(registry=f"oci-layout:{tmp_path}/link"))
    assert not promoter.same(plain, ImageEndpoint(registry=f"oci-layout:{tmp_path}/x"))
    assert promoter.describe(plain) == f"oci-layout:{tmp_path}"


@pytest.fixture
def place(stick: Path) -> LayoutRepository:
    endpoint = ImageEndpoint(registry=f"oci-layout:{stick}")
    return LayoutRepository(Layouts(endpoint, ImageSettings()), "app")


@pytest.fixture
def flight() -> Iterator[Flight]:
    with Flight(Context()) as flight:
        yield flight


@pytest.mark.parametrize("sent", [b"content!", b"conten", b"content", b""])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_place_checks_what_it_is_given(
    place: LayoutRepository, flight: Flight, stick: Path, sent: bytes, algorithm: str
) -> None:
    digest = f"{algorithm}:{hashlib.new(algorithm, b'content').hexdigest()}"
    blob = Descriptor("x", digest, len(b"content"))
    location = place.begin_upload(flight)
    if sent == b"content":
        place.put_blob(flight, location, blob, [sent[:3], sent[3:]])
        with place.open_rest(flight, blob, 3) as rest:
            assert rest.read(100) == b"tent"
    else:
        with pytest.raises(WrongBytes):
            place.patch_blob(flight, location, blob, [sent])
    assert place.has_blob(flight, blob) is (sent == b"content")
    assert [path for path in stick.rglob("*") if path.name.startswith(".imgctl-")] == []


def test_a_blob_of_the_right_size_and_other_bytes_is_refused(
    place: LayoutRepository, flight: Flight
) -> None:
    blob = Descriptor("x", "sha256:" + hashlib.sha256(b"right").hexdigest(), 5)
    with pytest.raises(WrongBytes):
        place.put_blob(flight, place.begin_upload(flight), blob, [b"wrong"])
    assert not place.has_blob(flight, blob)


def test_nothing_is_left_of_an_upload_to_go_on_with(
    place: LayoutRepository, flight: Flight
) -> None:
    location = place.begin_upload(flight)
    assert place.upload_state(flight, location) == (0, "")
    with pytest.raises(Fault, match="nothing to go on with"):
        place.patch_blob(flight, location, Descriptor("x", "sha256:" + "0" * 64, 5), [b"x"], 4)


def test_a_manifest_without_its_parts_is_refused(
    place: LayoutRepository, flight: Flight, stick: Path
) -> None:
    image = sample_image("parts")
    for part in image.all_manifests():
        manifest = parse_manifest(part.digest, part.content, part.media_type)
        with pytest.raises(BlobUnknown, match="sha256:"):
            place.put_manifest(flight, "v1", manifest)
    assert place.find(flight, "v1") is None
    assert names_of(stick / "app") == []

"""The small pure parts: references, buckets, order, answers, identity, pace."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from imgctl_backends.spa.endpoint import SpaEndpoint, SpaSettings
from imgctl_backends.spa.manifest import File, digest, from_rows, to_rows
from imgctl_backends.spa.order import Order, Wave, is_hashed
from imgctl_backends.spa.reading.identity import compare_checksums, same_tag, whole_checksums
from imgctl_backends.spa.references import Place, bucket_name, check_suffix, parse, relative_key
from imgctl_backends.spa.wire.answers import (
    Made,
    Unreadable,
    bare,
    read_copied,
    read_page,
    read_refusal,
)
from imgctl_backends.spa.wire.pace import Pace, Patience
from imgctl_core.errors import EndpointFailed, InvalidReference


@pytest.mark.parametrize(
    ("text", "name", "version"),
    [("shop:v1.4.2", "shop", "v1.4.2"), ("my-shop-2:1.0.0+b.7_x", "my-shop-2", "1.0.0+b.7_x")],
)
def test_references(text: str, name: str, version: str) -> None:
    ref = parse(text)
    assert (ref.kind, ref.name, ref.version, ref.digest) == ("spa", name, version, None)


@pytest.mark.parametrize(
    "text",
    ["", "shop", "shop:", ":v1", "Shop:v1", "shop:v1:v2", "shop:../v1", "shop:v1/", "shop:.v1",
     "sh_op:v1", "shop:v1\n", "shop:v%31", "-shop:v1", "shöp:v1", "shop:٣", "shop:" + "v" * 129,
     "s" * 64 + ":v1", "a.b/shop:v1", "shop@sha256:" + "a" * 64, "shop:v1@sha256:" + "a" * 64],
)  # fmt: skip
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(InvalidReference):
        parse(text)


PLACE = Place("source", "dev", "shop-dev", "v1/")


@pytest.mark.parametrize(
    "key",
    [
        "../prod/index.html",
        "a/../../v2/index.html",
        "..",
        ".",
        "./index.html",
        "a/.",
        "a/..",
        "..\\..\\v2\\index.html",
        "a\\..\\b",
        "%2e%2e/v2/index.html",
        "a/%2E%2e/b",
        "a%2f..%2fb",
        "..%5cv2",
        "a\nb",
        "a\x00b",
        "a\x1b[2Jb",
        "a\x7fb",
        "a\x9bb",
        "a\udc80b",
        "..\n",
    ],
)
def test_keys_that_lead_out_of_a_version_are_refused(key: str) -> None:
    with pytest.raises(EndpointFailed) as caught:
        relative_key(f"v1/{key}", PLACE)
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("key", ["v10/index.html", "v2/x", "V1/x", "/v1/x", "", "v1"])
def test_keys_of_other_versions_are_refused(key: str) -> None:
    with pytest.raises(EndpointFailed, match="not under v1/"):
        relative_key(key, PLACE)


@pytest.mark.parametrize(
    "key",
    ["index.html", "a..b/..c/d..", "...", "a/.../b", ".well-known/x", "100%", "a%20b", "größe.js",
     "%zz/..a", "a\\b", "\u200d.txt"],
)  # fmt: skip
def test_keys_that_are_merely_odd_are_taken(key: str) -> None:
    assert relative_key(f"v1/{key}", PLACE) == key


def test_bucket_names() -> None:
    assert bucket_name("shop", "prod") == "shop-prod"
    assert bucket_name("shop", "prod.example.com") == "shop-prod.example.com"
    with pytest.raises(InvalidReference, match="longer than 63"):
        bucket_name("s" * 60, "prod")
    for name in ("xn--shop", "sthree-shop", "amzn-s3-demo-shop"):
        with pytest.raises(InvalidReference):
            bucket_name(name, "prod")


@pytest.mark.parametrize(
    "suffix",
    ["", "Prod", "pr_od", "prod/", "prod/../dev", "a..b", "prod.", "-", "x" * 62, "s3alias", "p?x",
     "prod\n", "arn:aws:s3:::x", "-ol-s3", "a.mrap"],
)  # fmt: skip
def test_suffixes_that_no_bucket_can_have(suffix: str) -> None:
    with pytest.raises(ValueError, match="no bucket name can end in"):
        check_suffix(suffix)
    with pytest.raises(ValidationError):
        SpaEndpoint(suffix=suffix)


@pytest.mark.parametrize(
    "wrong",
    [{"endpoint_url": "ftp://h"}, {"endpoint_url": "h:9000"}, {"endpoint_url": "http://u:p@h"},
     {"endpoint_url": "http://h/?x"}, {"bucket_owner": "12"}, {"region": "EU WEST"},
     {"profile": ""}, {"role_arn": "role"}, {"sufix": "x"}],
)  # fmt: skip
def test_endpoint_keys_that_are_wrong(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        SpaEndpoint.model_validate({"suffix": "prod", **wrong})


def test_settings_have_bounds() -> None:
    assert SpaSettings().copy_tags
    assert SpaSettings().single_copy_limit == 5 * 1024**3
    assert SpaSettings(single_copy_limit=5 * 1024**2).single_copy_limit == 5 * 1024**2
    for wrong in (
        {"concurrency": 251},
        {"single_copy_limit": 5 * 1024**2 - 1},
        {"single_copy_limit": 5 * 1024**3 + 1},
    ):
        with pytest.raises(ValidationError):
            SpaSettings.model_validate(wrong)


@pytest.mark.parametrize(
    ("key", "wave"),
    [("app.js", Wave.OTHER), ("assets/index.abc.js", Wave.OTHER), ("sworn.js", Wave.OTHER),
     ("assets/manifest.abc.json", Wave.OTHER), ("data/sw/a.js", Wave.OTHER),
     ("robots.txt", Wave.OTHER), ("index.html.gz", Wave.OTHER),
     ("assets/app.3f2a9c1b.js", Wave.HASHED), ("manifest.3f2a9c1b.json", Wave.HASHED),
     ("sw.js", Wave.NAMED), ("x/SW.js", Wave.NAMED), ("service-worker.js", Wave.NAMED),
     ("serviceWorker.abc.js", Wave.NAMED), ("firebase-messaging-sw.js", Wave.NAMED),
     ("ngsw-worker.js", Wave.NAMED), ("ngsw.json", Wave.NAMED), ("site.webmanifest", Wave.NAMED),
     ("manifest.json", Wave.NAMED), ("asset-manifest.json", Wave.NAMED),
     ("remoteEntry.js", Wave.NAMED), ("remoteEntry.abc.js", Wave.NAMED),
     ("version.json", Wave.NAMED), ("config/env/a.js", Wave.NAMED), ("about.html", Wave.PAGE),
     ("a/b.HTM", Wave.PAGE), ("docs/index.html", Wave.FOLDER_INDEX), ("index.html", Wave.INDEX),
     ("a\u2028b.html", Wave.PAGE)],
)  # fmt: skip
def test_order(key: str, wave: Wave) -> None:
    order = Order(["config/*.js", "*.never"])
    assert order.wave(key) is wave
    assert order.is_entry_point(key) is (wave >= Wave.NAMED)


def test_waves_come_in_order_without_empty_ones() -> None:
    keys = ["index.html", "a.js", "sw.js", "x.html", "b.0123abcd.js", "y.html"]
    waves = [["b.0123abcd.js"], ["a.js"], ["sw.js"], ["x.html", "y.html"], ["index.html"]]
    assert Order().waves(keys) == waves


@pytest.mark.parametrize(
    ("name", "hashed"),
    [("main.3f2a9c1b.js", True), ("index-BX3kd9aZ.js", True), ("index-B-x3kd9a.js", True),
     ("chunk-ABCDEF12.js", True), ("app~31ecd969.js", True), ("2f3e4d5a6b7c.css", True),
     ("a/logo.6ce24c58023cc2f8fd88fe9d219db6c6.svg", True), ("a/index-DfGhKlMn.css", True),
     ("logo.png", False), ("polyfills-es2015.js", False), ("user-fullName.js", False),
     ("angular-material18.js", False), ("bootstrap.min.css", False), ("deadbeef.js", False),
     ("jquery-3.6.0.min.js", False), ("react-dom.production.min.js", False),
     ("fonts/roboto-v20-latin-regular.woff2", False), ("3f2a9c1b/app.js", False)],
)  # fmt: skip
def test_names_with_a_hash_in_them(name: str, hashed: bool) -> None:
    assert is_hashed(name) is hashed


@pytest.mark.parametrize("text", ['"abc"', "abc", 'W/"abc"', ' "abc" '])
def test_tags_lose_their_quotes(text: str) -> None:
    assert bare(text) == "abc"


@pytest.mark.parametrize(
    "body",
    [b"", b"<CopyObjectResult>", b"<CopyObjectResult><ETag>a</ETag>", b"<Error/>", b"<html></html>",
     b"<CopyObjectResult><ETag></ETag></CopyObjectResult>", b"\xff\xfe",
     b"<!DOCTYPE x [<!ENTITY a 'b'>]><CopyObjectResult><ETag>&a;</ETag></CopyObjectResult>"],
)  # fmt: skip
def test_what_says_nothing_of_a_copy(body: bytes) -> None:
    with pytest.raises(Unreadable):
        read_copied(body)


def test_a_copy_result() -> None:
    body = b'<CopyObjectResult xmlns="x"><ETag>&quot;ab-2&quot;</ETag></CopyObjectResult>'
    assert read_copied(body) == Made("ab-2")
    whole = (
        b"<CopyObjectResult><ETag>a</ETag><ChecksumCRC64NVME>xyz=</ChecksumCRC64NVME>"
        b"<ChecksumType>FULL_OBJECT</ChecksumType></CopyObjectResult>"
    )
    assert read_copied(whole) == Made("a", "crc64nvme:xyz=")


def test_refusals_are_one_clean_line() -> None:
    refusal = read_refusal(b"<Error><Code>A</Code><Message>b\n\tc  d</Message></Error>")
    assert (refusal.code, refusal.message) == ("A", "b c d")
    long = read_refusal(b"<Error><Message>" + b"x" * 10_000 + b"</Message></Error>")
    assert len(long.message) == 500
    assert read_refusal(b"not xml").code == ""


def test_a_page_that_hides_its_rest_is_refused() -> None:
    with pytest.raises(Unreadable, match="not how to get it"):
        read_page(b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>")


@pytest.mark.parametrize("size", ["", "x"])
def test_a_row_that_makes_no_sense_is_refused(size: str) -> None:
    row = f"<Contents><Key>a</Key><Size>{size}</Size></Contents>"
    with pytest.raises(Unreadable, match="can't be read"):
        read_page(f"<ListBucketResult>{row}</ListBucketResult>".encode())


def test_keys_are_decoded_only_when_the_answer_says_so() -> None:
    row = "<Contents><Key>a%2Bb+c</Key><Size>1</Size></Contents>"
    kind = "<EncodingType>url</EncodingType>"
    plain = read_page(f"<ListBucketResult>{row}</ListBucketResult>".encode())
    coded = read_page(f"<ListBucketResult>{kind}{row}</ListBucketResult>".encode())
    assert (plain.rows[0].key, coded.rows[0].key) == ("a%2Bb+c", "a+b c")


def test_tags_prove_equal_content_only() -> None:
    md5 = "0" * 31 + "a"
    assert same_tag(md5, md5.upper())
    assert same_tag(md5 + "-2", md5 + "-2")
    assert not same_tag(md5, md5 + "-1")
    assert not same_tag("", "")
    assert not same_tag("write-7", "write-7")


def test_only_checksums_over_the_whole_object_count() -> None:
    one = {"x-amz-checksum-crc32": "abc=", "etag": '"x"'}
    assert whole_checksums({**one, "x-amz-checksum-type": "FULL_OBJECT"}) == {"crc32": "abc="}
    assert whole_checksums(one) == {"crc32": "abc="}
    assert whole_checksums({**one, "x-amz-checksum-type": "COMPOSITE"}) == {}
    assert whole_checksums({**one, "etag": '"x-2"'}) == {}
    assert whole_checksums({"x-amz-checksum-crc32": "abc=-2", "etag": '"x"'}) == {}


def test_checksums_of_different_algorithms_say_nothing() -> None:
    assert compare_checksums({"crc32": "a"}, {"sha256": "b"}) is None
    assert compare_checksums({"crc32": "a", "x": "1"}, {"crc32": "a"}) is True
    assert compare_checksums({"crc32": "a"}, {"crc32": "b"}) is False


def test_the_digest_is_the_documented_one() -> None:
    files = [File("é.js", 2, "T"), File("a.js", 1, "u")]
    assert digest(files) == digest(reversed(files))
    # sha256 of: ["a.js",1,"etag:u"]\n["\u00e9.js",2,"etag:t"]\n
    assert digest(files) == (
        "sha256:92069b6f7dc280a915f1a13215b20a6bd4ae6b35dd674a08f244b44de691fd05"
    )


def test_files_survive_a_plan() -> None:
    files = [File("a", 1, "t", "c", "s")]
    assert from_rows({"files": to_rows(files)}) == files
    for data in ({}, {"files": [["a", "1", "t", "i", ""]]}, {"files": [["a"]]}):
        with pytest.raises(ValueError, match="the plan has"):
            from_rows(data)  # type: ignore[arg-type]


def test_the_window_grows_fast_then_carefully_and_halves_once_per_burst() -> None:
    pace = Pace(1000, 1000)
    for _ in range(10):
        pace.succeeded()
    assert pace.window == 138
    pace.throttled(10.0)
    pace.throttled(10.5)  # the same burst
    assert pace.window == 69
    for _ in range(69):
        pace.succeeded()
    assert pace.window == 69
    pace.succeeded()
    assert pace.window == 70
    pace.throttled(11.5)
    assert pace.window == 35
    for second in range(12, 100, 2):
        pace.throttled(float(second))
    assert pace.window == 2
    assert Pace(1, 1000).window == 1


def test_the_window_has_a_top() -> None:
    pace = Pace(40, 1000)
    for _ in range(100):
        pace.succeeded()
    assert pace.window == 40


def test_no_more_calls_begin_in_a_second_than_agreed() -> None:
    pace, now, begun = Pace(100, 1000), 50.0, 0
    while now < 52.0:
        wait = pace.begin(now)
        begun += not wait
        now += wait
    assert 2000 <= begun <= 2000 + 51 + 1


def test_delays_are_drawn_between_nothing_and_a_doubling_bound() -> None:
    patience = Patience(base=1.0, longest=4.0)
    for attempt, bound in ((1, 2.0), (2, 4.0), (9, 4.0), (10_000, 4.0)):
        drawn = [patience.delay(attempt) for _ in range(300)]
        assert 0 <= min(drawn) < bound / 4
        assert bound / 2 < max(drawn) <= bound
    assert patience.limit(8 * 1024 * 1024) == 31.0

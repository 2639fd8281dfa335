from __future__ import annotations

import pytest

from imgctl_backends.image.references import parse
from imgctl_core.errors import InvalidReference

DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("text", "name", "version", "digest"),
    [
        ("myapp:v1.0.0", "myapp", "v1.0.0", None),
        ("team/app:v1", "team/app", "v1", None),
        (f"myapp@{DIGEST}", "myapp", None, DIGEST),
        (f"team/my-app__x:v1@{DIGEST}", "team/my-app__x", "v1", DIGEST),
        ("a/b.c/d--e:_x.Y-z", "a/b.c/d--e", "_x.Y-z", None),
        ("a:" + "t" * 128, "a", "t" * 128, None),
    ],
)
def test_references_are_parsed(
    text: str, name: str, version: str | None, digest: str | None
) -> None:
    ref = parse(text)
    assert (ref.kind, ref.name, ref.version, ref.digest) == ("image", name, version, digest)
    assert str(ref) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "myapp",
        "team/app",
        ":v1",
        "@" + DIGEST,
        "myapp:",
        "myapp:v1\n",
        "myapp\n:v1",
        "myapp:é",
        "myäpp:v1",
        "myapp:v١",
        "MyApp:v1",
        "my app:v1",
        "a//b:v1",
        "/a:v1",
        "a/:v1",
        "../x:v1",
        "a/../b:v1",
        "a..b:v1",
        "a___b:v1",
        "-a:v1",
        "myapp:-v1",
        "myapp:.v1",
        "a:" + "t" * 129,
        "n" * 256 + ":v1",
        "a" * 100_000,
        "myapp@sha256:abc",
        "myapp@" + DIGEST.upper(),
        "myapp@sha512:" + "0a" * 64,
        f"myapp@{DIGEST}\n",
        f"myapp@{DIGEST}@{DIGEST}",
        f"myapp:v1:v2@{DIGEST}",
        "myapp:v1?x=1",
        "myapp:v1#x",
        "myapp:v1/../../v2/other",
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidReference):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "ghcr.io/team/app:v1",
        "localhost/app:v1",
        "localhost:8080/a:b",
        "[::1]:22/x:1",
        "metadata.google.internal/x:1",
        "169.254.169.254/latest/meta-data:x",
        "A/app:v1",
        "host:5000/app:v1",
        "127.1/x:1",
        "10.0.0.1:5000/x:1",
        "[fd00:ec2::254]/latest/meta-data:x",
        "[::ffff:169.254.169.254]/x:1",
        "localhost:22/x:1",
        "LOCALHOST/x:1",
        "user:password@evil.example.com/x:1",
        "http://evil.example.com/x:1",
        "evil.example.com./x:1",
        "evil.example.com:443/x@" + DIGEST,
    ],
)
def test_a_registry_in_a_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidReference, match=r"names a registry|is no image reference"):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "//evil.example.com/x:1",
        "\\\\evil.example.com\\x:1",
        "169\u3002254\u3002169\u3002254/x:1",
        "\uff11\uff12\uff17.0.0.1/x:1",
        "evil.example.com%2fx:1",
        "loc\u0430lhost/x:1",
        "\u24c1ocalhost/x:1",
        "file:///etc/passwd",
        "x@evil.example.com:1",
        "0x7f000001:80/x:1",
        "2130706433:80/x:1",
    ],
)
def test_nor_is_one_taken_in_disguise(text: str) -> None:
    with pytest.raises(InvalidReference):
        parse(text)


def test_a_letter_that_only_looks_right_is_shown_for_what_it_is() -> None:
    with pytest.raises(InvalidReference) as caught:
        parse("my\u0430pp:v1")
    assert "'my\\u0430pp:v1'" in caught.value.message


def test_what_is_quoted_can_not_mislead_a_terminal() -> None:
    with pytest.raises(InvalidReference) as caught:
        parse("app\x1b[31m‮:v1")
    assert caught.value.message.isprintable()

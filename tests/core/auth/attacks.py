"""The attack table's rows about tokens: number and name, what is said, how it is made.

What is said of a token that is refused is the code in the server's own log; of somebody
who is denied, a part of the answer.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc.util import urlsafe_b64decode

from tests.core.auth.kit import Kit, b64

Build = Callable[[Kit], object]

#: A number that is zero to the curve, and is not.
P256_ORDER = bytes.fromhex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")

DER, PEM = serialization.Encoding.DER, serialization.Encoding.PEM


def header(**members: object) -> Build:
    return lambda kit: kit.token(header=members)


def claims(**changes: Any) -> Build:
    return lambda kit: kit.token(**changes)


def claim(name: str) -> Build:
    return lambda kit: kit.signed(kit.claims() | {name: "root"})


def null(name: str) -> Build:
    return lambda kit: kit.signed(kit.claims() | {name: None})


def times(**offsets: float) -> Build:
    def build(kit: Kit) -> str:
        moments: dict[str, Any] = {name: kit.clock.now + at for name, at in offsets.items()}
        return kit.token(**moments)

    return build


def extra(text: str) -> Build:
    return lambda kit: kit.claims_with(text)


def payload(data: bytes) -> Build:
    return lambda kit: kit.raw_claims(data)


def altered(change: Callable[[str], object]) -> Build:
    return lambda kit: change(kit.token())


def resigned_none(algorithm: str, signature: str) -> Build:
    return lambda kit: kit.token(header={"alg": algorithm}).rsplit(".", 1)[0] + f".{signature}"


def rs512(kit: Kit) -> str:
    signed = kit.token(header={"alg": "RS512"}).rsplit(".", 1)[0]
    return f"{signed}.{b64(kit.rsa.sign(signed.encode(), 'RS512'))}"


def last_bits(token: str) -> str:
    """Change bits of the last character that decode to nothing (a 256-byte signature)."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]


def resigned(signer: str, change: Callable[[bytes], bytes]) -> Build:
    """A good token whose signature's bytes are changed."""

    def build(kit: Kit) -> str:
        signed, _, signature = kit.token(getattr(kit, signer)).rpartition(".")
        return f"{signed}.{b64(change(urlsafe_b64decode(signature.encode())))}"

    return build


def der(raw: bytes) -> bytes:
    """Spell an ES256 signature as X.509 does (RFC 7518 section 3.4 has the two numbers alone)."""
    return encode_dss_signature(*(int.from_bytes(half, "big") for half in (raw[:32], raw[32:])))


def stripped(kit: Kit) -> str:
    """An RSA signature that begins with a zero byte, without it."""
    for number in itertools.count():
        signed, _, signature = kit.token(nonce=number).rpartition(".")
        if (data := urlsafe_b64decode(signature.encode()))[0] == 0:
            return f"{signed}.{b64(data[1:])}"
    raise AssertionError


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


REFUSED: list[tuple[str, str, Build]] = [
    ("2-none", "header.alg", resigned_none("none", "AAAA")),
    ("2-none-unsigned", "form.segments", resigned_none("none", "")),
    ("2-nOnE", "header.alg", resigned_none("nOnE", "AAAA")),
    ("2-empty-signature", "form.segments", resigned_none("RS256", "")),
    ("3-missing", "header.alg", header(alg=None)),
    ("3-list", "header.alg", header(alg=["RS256"])),
    ("3-object", "header.alg", header(alg={"RS256": 1})),
    ("3-int", "header.alg", header(alg=256)),
    ("4-hs256-pem", "header.alg", lambda kit: kit.hmac(kit.rsa.public(PEM))),
    ("5-hs256-der", "header.alg", lambda kit: kit.hmac(kit.rsa.public(DER))),
    ("6-rs512", "header.alg", rs512),
    ("7-es256-with-rsa-key", "key.kty", lambda kit: kit.token(kit.ec, {"kid": "rsa"})),
    ("7-rs256-with-ec-key", "key.kty", lambda kit: kit.token(kit.rsa, {"kid": "ec"})),
    ("9-missing", "header.kid", header(kid=None)),
    ("9-int", "header.kid", header(kid=1)),
    ("9-list", "header.kid", header(kid=["rsa"])),
    ("9-empty", "header.kid", header(kid="")),
    ("9-5kB", "header.kid", header(kid="k" * 5000)),
    ("10-path", "key.unknown", header(kid="../../dev/null")),
    ("10-sql", "key.unknown", header(kid="' UNION SELECT 'rsa' --")),
    ("11-unknown", "key.unknown", header(kid="nobody")),
    ("11-other-case", "key.unknown", header(kid="RSA")),
    ("13-other-key", "signature.JWTError", lambda kit: kit.token(kit.other, {"kid": "rsa"})),
    ("13-es256-der", "signature.JWTError", resigned("ec", der)),
    ("13-es256-zeros", "signature.JWTError", resigned("ec", lambda raw: bytes(64))),
    ("13-es256-r-zero", "signature.JWTError", resigned("ec", lambda raw: bytes(32) + raw[32:])),
    ("13-es256-s-zero", "signature.JWTError", resigned("ec", lambda raw: raw[:32] + bytes(32))),
    ("13-es256-order", "signature.JWTError", resigned("ec", lambda raw: P256_ORDER * 2)),
    (
        "13-es256-padded",
        "signature.JWTError",
        resigned("ec", lambda raw: b"\0" + raw[:32] + b"\0" + raw[32:]),
    ),
    ("13-es256-cut", "signature.JWTError", resigned("ec", lambda raw: raw[:-1])),
    ("13-rs256-zeros", "signature.JWTError", resigned("rsa", lambda raw: bytes(256))),
    ("13-rs256-longer", "signature.JWTError", resigned("rsa", lambda raw: b"\0" + raw)),
    ("13-rs256-stripped", "signature.JWTError", stripped),
    ("18-jwk", "header.member", lambda kit: kit.token(kit.other, {"jwk": kit.other.jwk()})),
    ("19-jku", "header.member", header(jku="https://evil.example.com/keys")),
    ("19-x5u", "header.member", header(x5u="https://evil.example.com/cert")),
    ("19-x5c", "header.member", header(x5c=["MIIB"])),
    ("20-crit-exp", "header.member", header(crit=["exp"])),
    ("20-crit-unknown", "header.member", header(crit=["tomorrow"], tomorrow=1)),
    ("21-b64-crit", "header.member", header(crit=["b64"], b64=False)),
    ("21-b64", "header.member", header(b64=False)),
    ("22-zip", "header.member", header(zip="DEF")),
    ("22-cty", "header.member", header(cty="JWT")),
    ("22-typ", "header.typ", header(typ="at+jwt")),
    (
        "22-typ-null",
        "header.typ",
        lambda kit: kit.raw(
            json.dumps({"alg": "RS256", "kid": "rsa", "typ": None}).encode(),
            json.dumps(kit.claims()).encode(),
        ),
    ),
    (
        "22b-logout-token",
        "claims.events",
        claims(events={"http://schemas.openid.net/event/backchannel-logout": {}}),
    ),
    ("22b-null", "claims.events", null("events")),
    ("23-jwe", "form.segments", altered(lambda token: token + ".AAAA.AAAA")),
    ("23-four", "form.segments", altered(lambda token: token + ".AAAA")),
    ("23-two", "form.segments", altered(lambda token: token.rsplit(".", 1)[0])),
    ("24-expired", "signature.ExpiredSignatureError", times(exp=-40, iat=-100)),
    ("25-no-exp", "claims.exp", claims(exp=None)),
    ("26-null", "claims.exp", null("exp")),
    ("26-list", "claims.exp", claims(exp=[4102444800])),
    ("26-1e999", "claims.json", extra(', "x": 1e999')),
    ("26-infinity", "claims.json", claims(exp=float("inf"))),
    ("26-nan", "claims.json", claims(exp=float("nan"))),
    ("26-digits", "claims.json", extra(', "x": ' + "9" * 4400)),
    ("26-huge", "claims.exp", claims(exp=10**30)),
    ("27-string", "claims.exp", lambda kit: kit.token(exp=str(int(kit.clock.now) + 60))),
    ("27-true", "claims.exp", claims(exp=True)),
    ("27-negative", "claims.exp", claims(exp=-1)),
    ("28-ten-years", "times.lifetime", times(exp=10 * 365 * 86400)),
    ("29-nbf", "signature.JWTClaimsError", times(nbf=300)),
    ("29-nbf-string", "claims.nbf", claims(nbf="1")),
    ("30-future", "times.issued", times(iat=60)),
    ("30-missing", "claims.iat", claims(iat=None)),
    ("30-string", "claims.iat", claims(iat="1")),
    ("30-after-exp", "times.issued", times(iat=20, exp=10)),
    ("31-wrong", "claims.iss", claims(iss="https://evil.example.com")),
    ("31-case", "claims.iss", claims(iss="https://DEX.example.com/dex")),
    ("31-suffix", "claims.iss", claims(iss="https://dex.example.com/dex2")),
    ("31-list", "claims.iss", claims(iss=["https://dex.example.com/dex"])),
    ("31-missing", "claims.iss", claims(iss=None)),
    ("32-slash", "claims.iss", claims(iss="https://dex.example.com/dex/")),
    ("33-wrong", "claims.aud", claims(aud="https://other.example.com")),
    ("33-substring", "claims.aud", claims(aud="https://imgctl.example.co")),
    ("33-superstring", "claims.aud", claims(aud="https://imgctl.example.com.evil")),
    ("33-joined", "claims.aud", claims(aud="https://imgctl.example.com other")),
    ("33-object", "claims.aud", claims(aud={})),
    ("33-empty", "claims.aud", claims(aud=[])),
    ("33-case", "claims.aud", claims(aud="https://imgctl.example.COM")),
    ("34-missing", "claims.aud", claims(aud=None)),
    ("35-no-azp", "claims.azp", claims(aud=["https://imgctl.example.com", "cli"])),
    ("35-int", "claims.aud", claims(aud=["https://imgctl.example.com", 1], azp="cli")),
    ("35-azp-list", "claims.azp", claims(aud=["https://imgctl.example.com", "cli"], azp=["cli"])),
    ("37-missing", "claims.sub", claims(sub=None)),
    ("37-empty", "claims.sub", claims(sub="")),
    ("37-int", "claims.sub", claims(sub=7)),
    ("40-string", "claims.groups", claims(groups="promoters")),
    ("40-joined", "claims.groups", claims(groups="a,promoters")),
    ("41-nested", "claims.groups", claims(groups=[["promoters"]])),
    ("41-object", "claims.groups", claims(groups={"promoters": True})),
    ("41-mixed", "claims.groups", claims(groups=["promoters", 1])),
    ("41-true", "claims.groups", claims(groups=True)),
    ("43-claim", "claims.json", extra(', "groups": ["admins"]')),
    ("43-escaped", "claims.json", extra(', "gr\\u006fups": ["admins"]')),
    ("43-inner", "claims.json", extra(', "x": {"a": 1, "a": 2}')),
    (
        "43-alg",
        "header.json",
        lambda kit: kit.raw(
            b'{"alg":"none","kid":"rsa","alg":"RS256"}', json.dumps(kit.claims()).encode()
        ),
    ),
    ("44-Groups", "claims.twin", claims(Groups=["admins"])),
    ("44-ISS", "claims.twin", claims(ISS="https://evil.example.com")),
    ("44-long-s", "claims.twin", claim("iſs")),
    ("44-full-width", "claims.twin", claim("ｓｕｂ")),
    ("44-space", "claims.twin", claim("aud ")),
    ("44-Events", "claims.twin", claims(Events={})),
    ("45-array", "claims.json", payload(b"[]")),
    ("45-string", "claims.json", payload(b'"x"')),
    ("45-null", "claims.json", payload(b"null")),
    ("45-empty", "claims.json", payload(b" ")),
    (
        "45-bom",
        "claims.json",
        lambda kit: kit.raw_claims(b"\xef\xbb\xbf" + json.dumps(kit.claims()).encode()),
    ),
    (
        "45-utf16",
        "claims.json",
        lambda kit: kit.raw_claims(json.dumps(kit.claims()).encode("utf-16")),
    ),
    ("45-bad-utf8", "claims.json", payload(b'{"a":"\xff"}')),
    ("46-header", "header.json", lambda kit: kit.raw(nested(2500).encode(), b"{}")),
    ("46-payload", "claims.json", extra(f', "x": {nested(2000)}')),
    ("46-payload-shallower", "claims.json", extra(f', "x": {nested(40)}')),
    ("47-junk", "form.segments", altered(lambda token: token[:-4] + "!!!!" + token[-4:])),
    ("47-padding", "form.segments", altered(lambda token: token + "==")),
    ("47-standard-alphabet", "form.segments", altered(lambda token: token + "+/+/")),
    ("47-last-character", "form.base64", altered(last_bits)),
    ("47-lone-character", "form.base64", altered(lambda token: token + "AAA")),
    ("49-surrogate-claim", "claims.json", claims(name="\ud800")),
    ("62-ssh-jwt", "header.alg", header(alg="SSH", typ="JWT", kid=None)),
    ("63-another-client", "claims.aud", claims(aud="another-client")),
    ("65-name-type", "claims.name", claims(name=["alice"])),
    ("65-email-type", "claims.email", claims(email=1)),
    ("65-jti-type", "claims.jti", claims(jti=1)),
]


#: Rows that the door itself turns away, whatever a verifier would say.
AT_THE_DOOR: list[tuple[str, str, Build]] = [
    (
        "23-json",
        "form.segments",
        altered(
            lambda token: json.dumps(
                dict(zip(("protected", "payload", "signature"), token.split("."), strict=True))
            )
        ),
    ),
    ("47-space", "form.segments", altered(lambda token: token[:-4] + "    " + token[-4:])),
    ("50-9kB", "form.length", claims(groups=["promoters", "x" * 7000])),
]

#: Rows that gRPC's own client does not send: at the verifier itself, and by a client
#: without manners in `test_attack_headers.py`.
UNSENDABLE: list[tuple[str, str, Build]] = [
    ("47-nul", "form.segments", altered(lambda token: token + "\0\0\0\0")),
    ("48-newline", "form.segments", altered(lambda token: token + "\n")),
    ("48-newlines", "form.segments", altered(lambda token: token + "\n" * 4)),
    ("48-leading-space", "form.segments", altered(lambda token: " " + token)),
    ("49-non-ascii", "form.segments", altered(lambda token: token + "é")),
    ("49-full-width-dot", "form.segments", altered(lambda token: token.replace(".", "．"))),
    ("49-full-width-letter", "form.segments", altered(lambda token: token + "Ａ")),
    ("49-surrogate", "form.segments", altered(lambda token: token + "\ud800")),
    ("49-none", "form.type", lambda kit: None),
    ("49-bytes", "form.type", altered(lambda token: token.encode())),
    ("49-empty", "form.segments", lambda kit: ""),
    ("50-1MB", "form.length", altered(lambda token: token + "A" * 1_000_000)),
]

DENIED: list[tuple[str, str, Build]] = [
    ("38-other-connector", "Dex's connector 'github'", claims(sub="CgVhbGljZRIGZ2l0aHVi")),
    ("38-no-connector", "does not say which of Dex's connectors", claims(sub="alice")),
    ("39-missing", "group promoters would do", claims(groups=None)),
    ("39-null", "group promoters would do", null("groups")),
    ("39-empty", "group promoters would do", claims(groups=[])),
    ("42-other", "group promoters would do", claims(groups=["everyone"])),
    ("42-case", "group promoters would do", claims(groups=["Promoters"])),
    ("42-space", "group promoters would do", claims(groups=["promoters ", " promoters"])),
    ("42-joined", "group promoters would do", claims(groups=["a,promoters"])),
]

BOTH = ["https://imgctl.example.com", "cli"]
ACCEPTED: list[tuple[str, Build]] = [
    ("1-rs256", lambda kit: kit.by_the_book()),
    ("1-es256", lambda kit: kit.by_the_book(kit.ec)),
    ("1-audiences-with-azp", lambda kit: kit.by_the_book(aud=BOTH, azp="cli")),
    ("24-just-inside", times(exp=-20, iat=-100)),
]

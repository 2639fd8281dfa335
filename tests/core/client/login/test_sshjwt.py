"""The SSH-signed JWT, byte by byte."""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64decode

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from imgctl_core.client import sshjwt

# RFC 8032, section 7.1, test 1. The token made of it was accepted by the connector itself.
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
CLAIMS = {
    "target_audience": "imgctl",
    "sub": "alice",
    "nbf": 1700000000,
    "jti": "000102030405060708090a0b0c0d0e0f",
    "iss": "kubectl-ssh-oidc",
    "iat": 1700000000,
    "exp": 4102444800,
    "aud": "https://dex.example.com",
}
THIRD_SEGMENT = (
    "S25DQ0RhSkp3Zm1wOXNNcE5VOUdBUDN1bU5HVkV6RFEvR20vMTdwQ2k0eDhSL2ZvWmliendXT3dPWnY0TnFH"
    "c1NlOVloV2dtZkVsaFcwcWVjb1BOQnc9PQ"
)


def test_golden_vector() -> None:
    signed = sshjwt.signing_input(CLAIMS)
    assert (
        hashlib.sha256(signed).hexdigest()
        == "b06518c01d077743b8cdac62dbdc099a75f4613abf187c651e2d61d8bb0af90a"
    )
    blob = Ed25519PrivateKey.from_private_bytes(SEED).sign(signed)
    assert blob.hex() == (
        "2a70820da249c1f9a9f6c329354f4600fdee98d1951330d0fc69bfd7ba428b8c"
        "7c47f7e86626f3c163b0399bf836a1ac49ef588568267c49615b4a9e7283cd07"
    )
    token = sshjwt.assemble(signed, blob)
    assert token.split(".")[2] == THIRD_SEGMENT
    assert len(token) == 409
    assert token.encode().startswith(signed + b".")


def test_header_says_ssh() -> None:
    header = sshjwt.signing_input({}).split(b".")[0]
    assert urlsafe_b64decode(header + b"=" * (-len(header) % 4)) == b'{"alg":"SSH","typ":"JWT"}'


def test_claims_of_a_login() -> None:
    claims = sshjwt.claims(
        username="alice", issuer="https://dex.example.com/", audience="https://i", now=1000.9
    )
    jti = claims.pop("jti")
    assert isinstance(jti, str)
    assert len(bytes.fromhex(jti)) == 16
    assert claims == {
        "iss": "kubectl-ssh-oidc",
        "sub": "alice",
        "aud": "https://dex.example.com/",
        "target_audience": "https://i",
        "iat": 1000,
        "nbf": 940,
        "exp": 1180,
    }


def test_each_login_has_its_own_id() -> None:
    made = {
        sshjwt.claims(username="a", issuer="b", audience="c", now=0.0)["jti"] for _ in range(20)
    }
    assert len(made) == 20


def test_names_outside_ascii_survive() -> None:
    body = sshjwt.signing_input({"sub": "zoë\U0001f511"}).split(b".")[1]
    decoded = urlsafe_b64decode(body + b"=" * (-len(body) % 4))
    assert decoded.isascii()
    assert json.loads(decoded) == {"sub": "zoë\U0001f511"}

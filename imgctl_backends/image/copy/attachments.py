"""What hangs on an image without being part of it: its referrers, and cosign's tags.

A referrer names its subject in its own manifest. Where a registry has no API to list
referrers, clients keep the list in an index under the fallback tag (distribution-spec,
"Referrers Tag Schema"). cosign's older way is a tag whose name says to what it belongs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from imgctl_backends.image.content.graph import Graph
from imgctl_backends.image.content.manifests import Descriptor

#: cosign's "SimpleSigning" tags: signatures, attestations, SBOMs.
COSIGN_SUFFIXES: Final = (".sig", ".att", ".sbom")

_SIGNATURE_TYPES: Final = frozenset(
    {
        "application/vnd.cncf.notary.signature",
        "application/vnd.dev.cosign.artifact.sig.v1+json",
    }
)

# A bundle holds a signature of the image or a statement about it; the latter says which.
_BUNDLE: Final = "application/vnd.dev.sigstore.bundle"
_PREDICATE: Final = "dev.sigstore.bundle.predicateType"
_SIGN_PREDICATE: Final = "https://sigstore.dev/cosign/sign/v1"

_SHOWN: Final = 80


@dataclass(frozen=True, slots=True)
class Attachment:
    """A manifest that belongs to another one, `subject`, with all that is below it.

    `tag` is cosign's, and empty for a referrer. `annotations` and `artifact_type` are
    what a list of referrers says of it.
    """

    root: Descriptor
    subject: str
    tag: str = ""
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    graph: Graph = field(default_factory=Graph, hash=False)

    def __str__(self) -> str:
        if self.tag:
            return f"the tag {self.tag} ({self.root.digest})"
        return f"the referrer {self.root.digest} ({shown(self.artifact_type)}) of {self.subject}"

    @property
    def signs(self) -> bool:
        """Whether this is a signature. Not whether it is a good one."""
        if self.tag:
            return self.tag.endswith(".sig")
        if self.artifact_type.startswith(_BUNDLE):
            return self.annotations.get(_PREDICATE, _SIGN_PREDICATE) == _SIGN_PREDICATE
        return self.artifact_type in _SIGNATURE_TYPES


def fallback_tag(subject: str) -> str:
    """Return the tag under which the list of a manifest's referrers is kept."""
    algorithm, _, encoded = subject.partition(":")
    return f"{algorithm[:32]}-{encoded[:64]}"


def cosign_tags(subject: str) -> tuple[str, ...]:
    """Return the tags under which cosign keeps what belongs to a manifest."""
    return tuple(f"{fallback_tag(subject)}{suffix}" for suffix in COSIGN_SUFFIXES)


def shown(text: str) -> str:
    """Return a foreign text, short and without what could mislead a terminal."""
    clean = "".join(char if char.isprintable() else " " for char in text[:_SHOWN]).strip()
    return clean or "of no type"

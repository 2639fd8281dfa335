"""Amazon ECR's host names."""

from __future__ import annotations

import re
from dataclasses import dataclass

# The partitions' domains and the dual-stack spelling `dkr-ecr.<region>.on.aws` are those
# that AWS documents under "Amazon ECR registries" and "Making requests over IPv6".
_HOST = re.compile(
    r"(?P<account>[0-9]{12})\.dkr(?P<dash>[.-])ecr(?P<fips>-fips)?\.(?P<region>[a-z0-9-]+)\."
    r"(?:amazonaws\.com(?:\.cn)?|amazonaws\.eu|on\.aws|on\.amazonwebservices\.com\.cn"
    r"|c2s\.ic\.gov|sc2s\.sgov\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class EcrHost:
    """What the host name of an ECR registry says."""

    account: str
    region: str
    fips: bool
    dual_stack: bool


def parse_host(host: str) -> EcrHost | None:
    """Return what an ECR host name says, None for any other."""
    match = _HOST.fullmatch(host)
    if match is None:
        return None
    return EcrHost(match["account"], match["region"], bool(match["fips"]), match["dash"] == "-")


def is_ecr_host(host: str) -> bool:
    return parse_host(host) is not None

"""Promotes an SPA build, each time in a new process that somebody may kill.

To import everything takes longer than to promote, so this process does that once and then
forks for every line on stdin. It writes the id of the new process, and how it ended.
"""

from __future__ import annotations

import os
import sys

from imgctl_backends.spa.endpoint import SpaEndpoint, SpaSettings
from imgctl_backends.spa.promoter import SpaPromoter
from imgctl_backends.spa.session import Connections
from imgctl_core import Context, PromotionItem
from imgctl_core.errors import ImgctlError


def promote(endpoints: dict[str, SpaEndpoint], reference: str) -> None:
    """Take the steps that the engine takes."""
    promoter = SpaPromoter(SpaSettings(), endpoints)
    item = PromotionItem(f"spa:{reference}", promoter.parse(reference), "dev", "prod")
    context = Context()
    plan = promoter.plan(item, context)
    if not plan.unchanged:
        promoter.stage(plan, context)
        promoter.publish(plan, context)
        promoter.verify(plan, context)


def main(url: str, reference: str) -> None:
    endpoints = {
        name: SpaEndpoint(suffix=name, endpoint_url=url, region="us-east-1")
        for name in ("dev", "prod")
    }
    Connections().get(endpoints["dev"])  # reads the model of the service
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            try:
                promote(endpoints, reference)
            except ImgctlError as error:
                print(error.message, file=sys.stderr, flush=True)  # noqa: T201
                os._exit(1)
            os._exit(0)
        print(child, flush=True)  # noqa: T201
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])

"""What is settled before bytes flow: is there a repository, what does it hold, may it mount?

Where the destination is ECR, its API answers for many blobs at once, and the repository
is made when the endpoint says how. Elsewhere the distribution API answers, blob by blob,
and a push makes the repository.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from imgctl_backends.image.blobs.workers import Workers
from imgctl_backends.image.content.manifests import Descriptor
from imgctl_backends.image.distribution.registry import Registry
from imgctl_backends.image.ecr.repositories import LAYERS_PER_CALL, EcrRepositories
from imgctl_backends.image.places import Place
from imgctl_backends.image.wire.flight import Flight
from imgctl_core.models import Plan, Step

_CREATE = "create_repository"


def lacks_repository(flight: Flight, destination: Place) -> bool:
    """Return whether the destination's repository is to be created by us.

    Raises:
        EndpointFailed: it is missing, and may not be created.
    """
    ecr = _ecr(destination)
    return ecr is not None and ecr.missing(flight, destination.name)


def with_creation(plan: Plan, destination: Place) -> Plan:
    """Return the plan with the creation of the repository as its first step."""
    step = Step("create repository", str(destination))
    return replace(plan, steps=(step, *plan.steps), data={**plan.data, _CREATE: True})


def create_repository(flight: Flight, destination: Place, plan: Plan) -> None:
    """Create the repository, if the plan says so.

    Raises:
        ImgctlError: that can't be done.
    """
    ecr = _ecr(destination)
    if ecr is not None and plan.data.get(_CREATE) and ecr.create(flight, destination.name):
        flight.context.progress.note(f"the repository {destination} was created")


def held_blobs(
    workers: Workers, flight: Flight, destination: Place, blobs: Sequence[Descriptor]
) -> list[bool]:
    """Return which of the blobs the destination holds, in their order."""
    ecr = _ecr(destination)
    if ecr is None:
        return workers.ask(flight, [partial(destination.has_blob, flight, blob) for blob in blobs])
    batches = [
        blobs[start : start + LAYERS_PER_CALL] for start in range(0, len(blobs), LAYERS_PER_CALL)
    ]
    answers = workers.ask(
        flight, [partial(ecr.layers, flight, destination.name, batch) for batch in batches]
    )
    found = [held for answer in answers if answer is not None for held in answer]
    if len(found) == len(blobs):
        return found
    return workers.ask(flight, [partial(destination.has_blob, flight, blob) for blob in blobs])


def neighbour(source: Place, destination: Place) -> str | None:
    """Return the source's repository when the destination may mount from it."""
    here, there = destination.registry, source.registry
    if not isinstance(here, Registry) or not isinstance(there, Registry):
        return None
    return source.name if here.mounts_from(there) else None


def _ecr(place: Place) -> EcrRepositories | None:
    home = place.registry
    return home.ecr if isinstance(home, Registry) else None

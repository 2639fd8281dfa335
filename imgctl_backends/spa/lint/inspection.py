"""Looks at a build with every rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from imgctl_backends.spa.lint.choice import Choice, choose
from imgctl_backends.spa.lint.findings import Finding, Rule, failure, fold
from imgctl_backends.spa.lint.reading import Reader
from imgctl_backends.spa.lint.rules import by_name
from imgctl_backends.spa.lint.site import Site
from imgctl_backends.spa.manifest import File
from imgctl_backends.spa.order import Order
from imgctl_backends.spa.references import Place
from imgctl_backends.spa.wire.bucket import Bucket
from imgctl_backends.spa.wire.pace import Patience
from imgctl_core import Context

#: The values of the promotion option `lint`; the first one is what nobody asked for.
LEVELS: Final = ("warn", "strict", "off")


def inspect(
    source: Bucket,
    files: Sequence[File],
    markers: int,
    order: Order,
    thorough: bool,
    context: Context,
    patience: Patience,
) -> tuple[Finding, ...]:
    """Return what is wrong with the build that `files` are, the worst first.

    `markers` is how many folder markers were listed beside them. Headers of the entry
    points and of a sample of the other files are looked at, with `thorough` those of
    all; pages are read as well.

    Raises:
        EndpointFailed: a file is not the one that was listed any more.
        ImgctlError: the source can't be read.
    """
    choice = choose(files, order, thorough=thorough)
    context.progress.say(f"looking at {len(choice.read) + len(choice.ask):,} files of the build")
    site = Site(frozenset(file.key for file in files), source.place.prefix)
    found = [
        *(finding for file in files for finding in by_name(file, order)),
        *_left_out(choice, markers),
        *Reader(source, site, order, context, patience).look(choice),
    ]
    rank = {rule: number for number, rule in enumerate(Rule)}
    found.sort(key=lambda one: (rank[one.rule], -order.wave(one.key), one.key))
    return tuple(replace(one, among=choice.sampled.get(one.rule, 0)) for one in found)


def conclude(findings: Sequence[Finding], level: str, place: Place, context: Context) -> None:
    """Tell people with the promotion's result what was found.

    Raises:
        LintFailed: the level is `strict`, and the build is to blame for some of it.
    """
    error = failure(findings, place) if level == "strict" else None
    if error is not None:
        raise error
    for line in fold(findings):
        context.progress.note(line)


def _left_out(choice: Choice, markers: int) -> Iterator[Finding]:
    if choice.unread:
        pages = len(choice.read) + choice.unread
        sentence = f"{choice.unread:,} of {pages:,} pages were not read for what they name"
        yield Finding(Rule.PAGES_UNREAD, "", sentence)
    if markers:
        are = "folder marker is" if markers == 1 else "folder markers are"
        yield Finding(Rule.DIRECTORY_MARKERS, "", f"{markers:,} {are} no file, and left out")

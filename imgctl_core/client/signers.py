"""Which key logs in: the one that was named, the agent's, or those where keys usually lie."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from imgctl_core.client.sshkeys import PublicKey, Signer, other_public_keys, read_public_key
from imgctl_core.errors import AgentUnavailable, NotAuthenticated, NoUsableKey
from imgctl_core.text import one_line

if TYPE_CHECKING:
    from imgctl_core.client.agent import Agent

_NEED_KEY = (
    "make one with 'ssh-keygen -t ed25519', have it registered in Dex, and load it with 'ssh-add'"
)


@contextmanager
def open_signers(
    path: Path | None,
    *,
    allow_rsa_sha1: bool,
    ask_passphrase: Callable[[str], str] | None,
    say: Callable[[str], None],
) -> Iterator[tuple[Signer, ...]]:
    """Find the keys to try, in order; at least one.

    With `path`, a public key file, it is that key and no other: from the agent if the
    agent holds it, else from the private file beside it, which is decrypted only when it
    is asked to sign. Otherwise it is the agent's keys, once each; without one that can log
    in, ~/.ssh/id_ecdsa and ~/.ssh/id_rsa, as far as they are there.

    Raises:
        NoUsableKey: no key can log in.
        AgentUnavailable: the agent is needed and can't be used.
    """
    if path is None:
        with ExitStack() as held:
            try:
                agent = held.enter_context(_open_agent(say))
                found = _of_agent(agent, allow_rsa_sha1, say)
            except (AgentUnavailable, NoUsableKey) as error:
                found = _of_home(error, allow_rsa_sha1, ask_passphrase, say)
            yield found
        return
    key = read_public_key(path)
    if key.is_rsa and not allow_rsa_sha1:
        raise _no_rsa(f"the key in {one_line(str(path))} is an RSA key")
    try:
        agent = _open_agent(say)
    except AgentUnavailable as error:
        yield (_of_file(path, key, error.message, ask_passphrase),)
        return
    with agent:
        why_not = "the SSH agent does not hold it"
        yield (agent.holder_of(key) or _of_file(path, key, why_not, ask_passphrase),)


def _open_agent(say: Callable[[str], None]) -> Agent:
    where = os.environ.get("SSH_AUTH_SOCK", "")
    if not where:
        raise AgentUnavailable(
            "there is no SSH agent: SSH_AUTH_SOCK is not set",
            fix="start one with 'eval $(ssh-agent)' and give it a key with 'ssh-add', or use"
            " --pubkey-file",
        )
    from imgctl_core.client.agent import Agent

    return Agent(where, say)


def _of_agent(agent: Agent, allow_rsa_sha1: bool, say: Callable[[str], None]) -> tuple[Signer, ...]:
    for line in agent.skipped:
        say(line)
    once = {signer.key.blob: signer for signer in reversed(agent.signers)}
    found = tuple(signer for signer in agent.signers if once[signer.key.blob] is signer)
    allowed = tuple(signer for signer in found if allow_rsa_sha1 or not signer.key.is_rsa)
    if allowed:
        return allowed
    if found:
        raise _no_rsa("the SSH agent holds no keys but RSA keys")
    if agent.skipped:
        raise NoUsableKey(
            "the SSH agent holds no key that can log in: " + "; ".join(agent.skipped), fix=_NEED_KEY
        )
    raise NoUsableKey("the SSH agent holds no keys", fix=_NEED_KEY)


def _of_home(
    error: NotAuthenticated,
    allow_rsa_sha1: bool,
    ask_passphrase: Callable[[str], str] | None,
    say: Callable[[str], None],
) -> tuple[Signer, ...]:
    """Return the keys in the usual files.

    Raises:
        NotAuthenticated: none of them can sign; without any, `error`, what the agent lacks.
    """
    found: list[Signer] = []
    problems: list[NoUsableKey] = []
    for path in other_public_keys():
        try:
            key = read_public_key(path)
            if allow_rsa_sha1 or not key.is_rsa:
                found.append(_of_file(path, key, error.message, ask_passphrase))
        except NoUsableKey as problem:
            problems.append(problem)
    if not found:
        raise problems[0] if problems else error
    for each in problems:
        say(f"skipped a key: {each.message}")
    return tuple(found)


def _of_file(
    path: Path, key: PublicKey, why_not_agent: str, ask_passphrase: Callable[[str], str] | None
) -> Signer:
    private = path.with_suffix("") if path.suffix == ".pub" else None
    if private is None or not private.exists():
        missing = "no private key is beside it" if private else "its name does not end in .pub"
        raise NoUsableKey(
            f"nothing can sign with {key} of {one_line(str(path))}: {why_not_agent}, and {missing}",
            fix="load it with 'ssh-add', or use --pubkey-file with a key whose private file is"
            " beside it",
        )
    from imgctl_core.client.keyfiles import FileSigner

    return FileSigner(private, key, ask_passphrase)


def _no_rsa(what: str) -> NoUsableKey:
    return NoUsableKey(
        f"{what}, and RSA signatures with SHA-1, which is all that Dex takes of them, are off",
        fix="use an Ed25519 key",
    )

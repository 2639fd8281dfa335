"""Files of an OCI image layout, reached so that nothing leads out of its folder.

Every component below the endpoint's folder is opened relative to the one above it and
never through a symbolic link: who can write into a layout can't have us read or write
elsewhere. What others could see half-written is written under another name, synced, and
renamed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from imgctl_core.errors import EndpointDenied, EndpointFailed, EndpointUnreachable

#: What we write under until it is whole. One that nobody holds a lock on is left over.
TEMPORARY: Final = ".imgctl-"

Name = Callable[[int, str], None]
Stamp = tuple[int, int, int]

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_PLAIN: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_NEW: Final = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DENIED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_ODD: Final = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO})


@contextlib.contextmanager
def folder(root: Path, components: Iterable[str], *, create: bool = False) -> Iterator[int | None]:
    """Open a folder below `root`; None when it is not there and shall not be made.

    Raises:
        EndpointUnreachable: `root` itself is not there.
        OSError: something in the way is a symbolic link or no folder.
    """
    try:
        at = os.open(root, _FOLDER)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise EndpointUnreachable(
            f"the folder {root} of the OCI layouts is not there",
            fix="create or mount it; the folders below it are made as they are needed",
        ) from error
    try:
        with below(at, components, create=create) as found:
            yield found
    finally:
        os.close(at)


@contextlib.contextmanager
def below(at: int, components: Iterable[str], *, create: bool = False) -> Iterator[int | None]:
    """Open a folder below an open one, like `folder`."""
    found = os.dup(at)
    try:
        for component in components:
            further = _step(found, component, create=create)
            if further is None:
                yield None
                return
            os.close(found)
            found = further
        yield found
    finally:
        os.close(found)


def _step(above: int, component: str, *, create: bool) -> int | None:
    if create:
        with contextlib.suppress(FileExistsError):
            os.mkdir(component, 0o755, dir_fd=above)
            os.fsync(above)
    try:
        return os.open(component, _FOLDER | os.O_NOFOLLOW, dir_fd=above)
    except FileNotFoundError:
        return None


def open_file(at: int, name: str) -> int | None:
    """Open a plain file for reading; None when there is none.

    Raises:
        OSError: it is a symbolic link, a pipe, a folder or the like.
    """
    try:
        handle = os.open(name, os.O_RDONLY | _PLAIN, dir_fd=at)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.ELOOP, "no plain file", name)
    return handle


def read_file(at: int, name: str, limit: int) -> bytes | None:
    """Return a plain file's bytes, None when there is none.

    Raises:
        EndpointFailed: it has more than `limit` bytes.
        OSError: it is no plain file, or can't be read.
    """
    handle = open_file(at, name)
    if handle is None:
        return None
    with os.fdopen(handle, "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise EndpointFailed(f"the file {name} has more than the {limit} bytes we accept here")
    return content


def size_of(at: int, name: str) -> int | None:
    """Return a plain file's size, None when there is no such file."""
    try:
        found = os.stat(name, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def stamp_of(at: int, name: str) -> Stamp:
    """Return what is another one after a file was replaced; (0, 0, 0) when it is absent."""
    try:
        found = os.stat(name, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        return 0, 0, 0
    return found.st_ino, found.st_mtime_ns, found.st_size


def overwrite(at: int, name: str, data: bytes) -> None:
    """Write a small file in place; it must be there."""
    handle = os.open(name, os.O_WRONLY | os.O_TRUNC | _PLAIN, dir_fd=at)
    try:
        write_all(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def lock_file(at: int, name: str) -> Iterator[Callable[[], bool]]:
    """Yield a call that tries to lock a file, which is made if need be."""
    handle = os.open(name, os.O_RDWR | os.O_CREAT | _PLAIN, 0o644, dir_fd=at)

    def taken() -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    try:
        yield taken
    finally:
        os.close(handle)


@contextlib.contextmanager
def writing(at: int) -> Iterator[tuple[int, Name]]:
    """Make a file that nobody sees: yield its handle and what gives it a name.

    That call syncs the file and puts it, in one step, where its name says; without it the
    file is gone afterwards.
    """
    temporary = TEMPORARY + secrets.token_hex(8)
    handle = os.open(temporary, os.O_WRONLY | _NEW, 0o644, dir_fd=at)
    named = False

    def name(folder_at: int, wanted: str) -> None:
        nonlocal named
        os.fsync(handle)
        os.rename(temporary, wanted, src_dir_fd=at, dst_dir_fd=folder_at)
        named = True
        os.fsync(folder_at)

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield handle, name
    finally:
        if not named:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=at)
        os.close(handle)


def write_all(handle: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def sweep(at: int) -> None:
    """Remove temporary files whose writers are no more."""
    for name in os.listdir(at):
        if not name.startswith(TEMPORARY):
            continue
        with contextlib.suppress(OSError):
            handle = open_file(at, name)
            if handle is None:
                continue
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(name, dir_fd=at)
            finally:
                os.close(handle)


@contextlib.contextmanager
def explained(where: str) -> Iterator[None]:
    """Turn what the operating system says into an error for people.

    Raises:
        EndpointDenied, EndpointFailed: instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        if error.errno in _DENIED:
            raise EndpointDenied(
                f"{where} refused us ({why})",
                fix="the server's user must be able to read it, and to write the destination",
            ) from error
        if error.errno in _ODD:
            raise EndpointFailed(
                f"{where} has a symbolic link, or something else that is no plain file or "
                "folder, where we follow nothing",
                fix="put the files themselves there",
            ) from error
        raise EndpointFailed(f"{where} can't be used ({why})") from error

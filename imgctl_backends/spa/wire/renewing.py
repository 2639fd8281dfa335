"""Credentials that are had anew when S3 takes them for expired.

boto3 renews what tells its end, some minutes before. That does not help when the end is
told wrongly, when whoever renews was away for those minutes, or when keys come from a file
that somebody else writes anew and that tells no end at all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final

from botocore.credentials import (
    CredentialProvider,
    Credentials,
    ReadOnlyCredentials,
    RefreshableCredentials,
)
from botocore.exceptions import CredentialRetrievalError, NoCredentialsError

#: What S3 answers to credentials whose time is over.
EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
#: Seconds: boto3 does not tell which credentials a call of its went out with.
_JUST_NOW: Final = 1.0


class Renewable(Credentials):
    """Credentials from wherever `load` has them, as boto3 takes them. Safe from any thread.

    Raises:
        NoCredentialsError: it has none.
    """

    def __init__(self, load: Callable[[], Credentials | None]) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._held = self._loaded()
        self._renewed = float("-inf")
        self.method = self._held.method

    access_key = property(lambda self: self.get_frozen_credentials().access_key)
    secret_key = property(lambda self: self.get_frozen_credentials().secret_key)
    token = property(lambda self: self.get_frozen_credentials().token)
    account_id = property(lambda self: self.get_frozen_credentials().account_id)

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        return _frozen(self._held)

    @property
    def lasting(self) -> bool:
        """Whether they never end by themselves."""
        return not isinstance(self._held, RefreshableCredentials) and not self._held.token

    def renew(self, sent: float) -> bool:
        """Load credentials anew, unless that was done since a call was sent.

        `sent` is a `time.monotonic()` value. May take a network call. Returns whether
        there are others now than that call had.

        Raises:
            botocore.exceptions.BotoCoreError, ClientError: there are none to be had.
        """
        with self._lock:
            if self._renewed > sent:
                return True
            fresh = self._loaded()
            if _frozen(fresh) == _frozen(self._held):
                return False
            self._held, self._renewed = fresh, time.monotonic()
            return True

    def on_retry(self, response: Any, attempts: int, **_: Any) -> float | None:
        """For boto3's event `needs-retry`: say that a call is worth another try, and when."""
        said = response[1].get("Error", {}).get("Code") if response else None
        again = said in EXPIRED and attempts == 1 and self.renew(time.monotonic() - _JUST_NOW)
        return 0.0 if again else None

    def _loaded(self) -> Credentials:
        credentials = self._load()
        if credentials is None:
            raise NoCredentialsError
        return credentials


def _frozen(credentials: Credentials) -> ReadOnlyCredentials:
    try:
        return credentials.get_frozen_credentials()
    except RuntimeError as error:  # botocore's own, for new ones that have ended already
        raise CredentialRetrievalError(provider=credentials.method, error_msg=str(error)) from error


class Given(CredentialProvider):
    """Makes a session's credentials those that are given."""

    METHOD = "imgctl"
    CANONICAL_NAME = None

    def __init__(self, credentials: Credentials) -> None:
        super().__init__()
        self._credentials = credentials

    def load(self) -> Credentials:
        return self._credentials

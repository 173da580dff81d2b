"""Every error of a service at its edge, beside those of the SDK.

    ChopmarkError (of the SDK)
    └── ServiceError
        ├── UnauthenticatedError     the token of a request is none, or not one for this service
        ├── ForbiddenError           this client may not ask for that
        ├── BackpressureError        too much waits already: try again after `retry_after` seconds
        ├── SlowBodyError            the body of a request did not come in time
        ├── UnsupportedBodyError     the body of a request is of another type than is taken
        └── ChildFailedError         a service of a process tree cannot be started

A file that cannot be read or written is the SDK's `StorageError`, a request that is malformed its `FormatError`.
"""

from __future__ import annotations

from chopmark.errors import ChopmarkError


class ServiceError(ChopmarkError):
    """The root of the errors of a service at its edge."""


class UnauthenticatedError(ServiceError):
    """The token of a request is none, or not one for this service."""


class ForbiddenError(ServiceError):
    """This client may not ask for that."""


class BackpressureError(ServiceError):
    """Too much waits already; try again after `retry_after` seconds."""

    def __init__(self, what: str, *, retry_after: int, where: str = "", remedy: str = "") -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.retry_after = retry_after


class SlowBodyError(ServiceError):
    """The body of a request did not come in time."""


class UnsupportedBodyError(ServiceError):
    """The body of a request is of another type than is taken, or compressed."""


class ChildFailedError(ServiceError):
    """A service of a process tree cannot be started."""

"""Every error the hub raises on purpose.

HubError
├── InvalidError            the input breaks a rule; names the fields
├── NotFoundError           no such object, or not yours: the same answer
├── UnauthenticatedError    no or a wrong credential
├── DeniedError             known, but not allowed
├── ConflictError           a name is taken, or the state has moved on
├── GoneError               it was there and has expired
├── QuotaError              too much, come back later
│   └── OverLimitError      for a limit or a budget of the hub's own
├── UnavailableError        an endpoint cannot be reached now
│   ├── NotConnectedError   nothing was sent to it
│   └── HeldBackError       a guard of the hub lets nothing through to it
├── TimedOutError           an endpoint did not answer in time
├── UpstreamError           an endpoint answered, but not with MCP
├── DeclinedError           a person was asked and does not want it
├── UnanswerableError       an endpoint asked, and nobody behind the call can answer
└── CancelledByCallerError  the caller withdrew its request
RpcError                    a JSON-RPC error of an endpoint, handed on unchanged (not a HubError)
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar


class ErrorKind(StrEnum):
    """What a face must know of an error to map it to its protocol."""

    INVALID = "invalid"
    NOT_FOUND = "not_found"
    UNAUTHENTICATED = "unauthenticated"
    DENIED = "denied"
    CONFLICT = "conflict"
    GONE = "gone"
    QUOTA = "quota"
    UNAVAILABLE = "unavailable"
    TIMEOUT = "timeout"
    UPSTREAM = "upstream"
    DECLINED = "declined"
    INTERNAL = "internal"


class HubError(Exception):
    """An error with a stable `code` and a message that names the next step."""

    kind: ClassVar[ErrorKind] = ErrorKind.INTERNAL
    code: str = "internal"
    reached_server: bool = True
    """False where a request certainly never got to its server, so that repeating it is safe."""
    http_status: int | None = None
    """The status a server answered with, where that is what failed."""

    def __init__(
        self, message: str, *, code: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s
        if code is not None:
            self.code = code


@dataclass(frozen=True, slots=True)
class FieldFault:
    """One field that breaks a rule. `loc` is its path in the body, outermost first."""

    loc: tuple[str | int, ...]
    message: str


class InvalidError(HubError):
    kind = ErrorKind.INVALID
    code = "invalid"

    def __init__(
        self, message: str, *, faults: tuple[FieldFault, ...] = (), code: str | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.faults = faults

    @classmethod
    def at(cls, *loc: str | int, message: str, code: str | None = None) -> "InvalidError":
        """Make the error of a single field."""
        where = ".".join(str(part) for part in loc)
        return cls(f"{where}: {message}", faults=(FieldFault(loc, message),), code=code)


class NotFoundError(HubError):
    kind = ErrorKind.NOT_FOUND
    code = "not_found"


class UnauthenticatedError(HubError):
    kind = ErrorKind.UNAUTHENTICATED
    code = "unauthenticated"


class DeniedError(HubError):
    kind = ErrorKind.DENIED
    code = "denied"


class ConflictError(HubError):
    kind = ErrorKind.CONFLICT
    code = "conflict"


class GoneError(HubError):
    kind = ErrorKind.GONE
    code = "gone"


class QuotaError(HubError):
    kind = ErrorKind.QUOTA
    code = "quota"


class UnavailableError(HubError):
    kind = ErrorKind.UNAVAILABLE
    code = "server_unavailable"


class OverLimitError(QuotaError):
    """A limit or a budget of the hub's own; nothing was sent."""

    reached_server = False


class HeldBackError(UnavailableError):
    """A guard of the hub holds calls to this server back; nothing was sent."""

    reached_server = False


class NotConnectedError(UnavailableError):
    """There is no connection to the server now; nothing was sent."""

    reached_server = False


class TimedOutError(HubError):
    kind = ErrorKind.TIMEOUT
    code = "server_timeout"


class UpstreamError(HubError):
    kind = ErrorKind.UPSTREAM
    code = "server_fault"


class DeclinedError(HubError):
    kind = ErrorKind.DECLINED
    code = "declined"
    reached_server = False


class UnanswerableError(HubError):
    kind = ErrorKind.DECLINED
    code = "question_unanswerable"


class CancelledByCallerError(HubError):
    kind = ErrorKind.CONFLICT
    code = "cancelled"


class RpcError(Exception):
    """A JSON-RPC error object, of an endpoint or of the MCP face itself.

    `http_status` is that of the answer it came with, where it was none of success.
    Source: JSON-RPC 2.0, section 5.1.
    """

    http_status: int | None = None

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

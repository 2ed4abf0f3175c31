"""The one seam through which the hub speaks HTTP to the outside."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager

from agenthub.domain.exceptions import UnavailableError, UpstreamError


class HttpResponse(ABC):
    """An answer whose body has not been read. Redirects are never followed."""

    status: int
    headers: Mapping[str, str]
    """Names are lower case."""

    @abstractmethod
    async def read(self) -> bytes:
        """Read the whole decoded body. Raises BodyTooLargeError beyond the client's cap."""

    @abstractmethod
    def chunks(self) -> AsyncIterator[bytes]:
        """Read the decoded body as it comes, uncapped in sum: the reader bounds what it keeps."""


class HttpClient(ABC):
    """Outbound HTTP over shared connections, with a connect-time address guard and body caps."""

    @abstractmethod
    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        timeout_s: float | None,
    ) -> AbstractAsyncContextManager[HttpResponse]:
        """Send a request; leaving the context closes or releases its connection.

        `timeout_s` bounds the wait for the response's head (None: no limit). Raises
        ConnectFailedError (nothing was sent), TransportError (it may have been), TimedOutError,
        EgressDeniedError. A fault belongs to this request alone.
        """


class EgressGuard(ABC):
    """The address guard by itself, for a library that makes its own connections."""

    @abstractmethod
    def refusal(self, host: str) -> str | None:
        """Say why a literal IP address is not spoken to; None for one that is, and for names."""

    @abstractmethod
    async def check(self, host: str) -> None:
        """Look a host up. Raises EgressDeniedError for any refused address of it.

        Raises ConnectFailedError when it has none.
        """


class ConnectFailedError(UnavailableError):
    """No connection; the request was certainly not processed."""

    code = "connect_failed"
    reached_server = False


class TransportError(UpstreamError):
    """The connection broke after the request was sent, or the answer was no HTTP."""

    code = "transport_error"


class BodyTooLargeError(UpstreamError):
    """The answer is larger than the cap."""

    code = "body_too_large"


class EgressDeniedError(UnavailableError):
    """The address is one that the hub does not speak to."""

    code = "egress_denied"
    reached_server = False

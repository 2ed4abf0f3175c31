"""The hub as MCP client: every registered server, in both protocol eras."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agenthub.domain.entities.catalog.listing import Catalog, ItemKind
from agenthub.domain.entities.endpoints import Endpoint, EndpointState, Era
from agenthub.domain.ids import EndpointId

RawObject = dict[str, bytes]
"""A JSON object whose members' values are still JSON text: looked at only when needed."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a server asks of whoever stands behind a call.

    `method` is `elicitation/create`, `sampling/createMessage` or `roots/list`; `params` is JSON.
    """

    server: str
    method: str
    params: bytes
    is_attributed: bool = True
    """False where calls of several agents run on the server's only pipe, so that nobody can say
    which of them it belongs to; then it is brought to a person, and to no agent.
    """


class Caller(ABC):
    """Who waits for the outcome of one request: an agent of either era, or a REST client."""

    era: Era
    capabilities: Mapping[str, Any]
    """The client capabilities it declared (MCP `ClientCapabilities`); roots are never used."""
    client: str
    """Tells callers apart where a server cannot: equal for calls of the same agent session."""
    wants_progress: bool
    log_level: str | None
    """The least severe log level it wants for this request (RFC 5424 word), None for none."""
    agent: str = ""
    """What the agent calls itself; its own word."""
    conversation: str = ""
    """Equal for calls of one session or conversation, as far as the hub knows; else empty."""

    def can_answer(self, question: Question) -> bool:
        """Say whether the agent declared what this question needs, and can be asked just now."""
        return False

    def has_people(self, question: Question) -> bool:
        """Say whether people at the hub may answer this, where the agent does not."""
        return False

    def on_gone(self, listener: Callable[[], None]) -> None:
        """Call `listener` when the agent has hung up without a word: it may come back.

        Never for one whose hanging up withdraws its request.
        """

    @abstractmethod
    async def progress(self, params: RawObject) -> None:
        """Hand on a progress notification; `params` comes without its progressToken."""

    @abstractmethod
    async def log(self, params: RawObject) -> None:
        """Hand on a log message notification."""

    @abstractmethod
    async def ask(self, question: Question) -> bytes:
        """Put the question and wait for its result (JSON), however long that takes.

        Raises UnanswerableError when nobody behind this caller can answer such a question,
        RpcError when the agent answered with an error. Cancelling withdraws the question.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamRequest:
    """One request to a server, in the server's own names.

    `params` comes without `_meta`; `meta` is the caller's own `_meta` without progressToken
    and without `io.modelcontextprotocol/*`.
    """

    method: str
    params: RawObject
    meta: RawObject = field(default_factory=RawObject)
    timeout_s: float
    """For the server's work; time in which the server waits for `Caller.ask` does not count."""


@dataclass(frozen=True, slots=True)
class InputRequired:
    """A modern server's request for more input (2026-07-28, multi round-trip requests).

    `requests` maps the server's keys to its questions; `state` must be given back unchanged.
    """

    requests: dict[str, Question]
    state: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's result, as JSON, hub-private `_meta` and `resultType` removed.

    With `input_required` set, `result` is that round's raw result and not final.
    """

    result: bytes
    era: Era
    input_required: InputRequired | None = None
    has_input: bool = False
    """It hangs on what somebody was asked meanwhile: nobody is to keep it (2026-07-28, caching)."""


class McpListener(ABC):
    """Hears what happens at the servers. Methods must not block."""

    @abstractmethod
    def on_state(self, endpoint: Endpoint, state: EndpointState) -> None:
        """The connection's state changed."""

    @abstractmethod
    def on_catalog(self, endpoint: Endpoint, kinds: tuple[ItemKind, ...]) -> None:
        """Lists of these kinds were read and differ from what was known."""

    @abstractmethod
    def on_resource_updated(self, endpoint: Endpoint, uri: str) -> None:
        """A watched resource, or one below it, changed; `uri` is the server's own."""


class McpClient(ABC):
    """Keeps one connection per server and era, finds eras, reconnects, reads the catalogues."""

    @abstractmethod
    def attach(self, listener: McpListener) -> None:
        """Tell `listener` of everything from now on. Call before entering."""

    @abstractmethod
    async def connect(self, endpoint: Endpoint) -> None:
        """Begin to keep a connection, replacing the endpoint's former one. Does not wait for it."""

    @abstractmethod
    async def disconnect(self, endpoint_id: EndpointId) -> None:
        """Close the endpoint's connections and forget it; running requests fail as unavailable."""

    @abstractmethod
    async def settled(self, endpoint_id: EndpointId, timeout_s: float) -> EndpointState:
        """Wait until the first connection attempt has ended (catalogue included), or time is up."""

    @abstractmethod
    def state(self, endpoint_id: EndpointId) -> EndpointState:
        """Say how the endpoint is doing; DISABLED for one that is not kept."""

    @abstractmethod
    def catalog(self, endpoint_id: EndpointId, era: Era) -> Catalog:
        """Give the last read catalogue for agents of `era`, also while unreachable.

        An endpoint that speaks one era only gives that one to both. Asking is taken as a sign
        that an agent of `era` is there: a connection of that era may be opened for it.
        """

    @abstractmethod
    def catalogs(self, endpoint_id: EndpointId) -> dict[Era, Catalog]:
        """Give what `catalog` would give for each era, and open nothing."""

    @abstractmethod
    async def request(
        self, endpoint_id: EndpointId, request: UpstreamRequest, caller: Caller
    ) -> Answer:
        """Send one request over the lane that fits the caller's era, and wait for its result.

        Raises RpcError (the server's own error), UnavailableError, TimedOutError,
        UpstreamError, UnanswerableError. Cancelling cancels the request at the server.
        """

    @abstractmethod
    async def probe(self, endpoint_id: EndpointId, timeout_s: float) -> bool:
        """Ask a connected server, in every era it is spoken to in, whether it is there.

        Any answer will do, an error as well. False when nothing can be said: it is at work on
        its only pipe, and its calls will tell. Raises NotConnectedError when there is no
        connection, else the faults of a request; such a fault has the connection looked at.
        """

    @abstractmethod
    async def refresh(self, endpoint_id: EndpointId) -> None:
        """Read the catalogue again now; try to connect when unreachable. Returns when done."""

    @abstractmethod
    async def watch_resource(self, endpoint_id: EndpointId, uri: str) -> None:
        """Have the server report changes of a resource, until `unwatch_resource`.

        Counts: each watch needs its unwatch. Survives reconnects.
        """

    @abstractmethod
    async def unwatch_resource(self, endpoint_id: EndpointId, uri: str) -> None:
        """End one watch."""

    @abstractmethod
    def output_tail(self, endpoint_id: EndpointId) -> list[str]:
        """Give the last lines a stdio server wrote to stderr, or [] ."""

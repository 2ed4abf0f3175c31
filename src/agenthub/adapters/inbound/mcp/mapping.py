"""Results, questions and notifications on their way from a server to an agent."""

from agenthub.adapters.inbound.hub import Deed
from agenthub.domain.ports.outbound.mcp_client import Question, RawObject


def map_result(deed: Deed, result: bytes, *, server: str, namespaced: bool, version: str) -> bytes:
    """Make a server's final result fit the agent's revision and its names for resources.

    What need not change is handed on byte by byte. Raises UpstreamError when the result is not
    of the shape that MCP demands.
    """
    raise NotImplementedError


def complete_result(members: RawObject, version: str) -> bytes:
    """Finish a result of the hub's own: modern agents get `resultType` and `_meta` serverInfo."""
    raise NotImplementedError


def input_required_result(
    questions: dict[str, Question], state: str | None, *, namespaced: bool
) -> bytes:
    """Make the `InputRequiredResult` that puts `questions` (mapped here) to a modern agent."""
    raise NotImplementedError


def map_question(question: Question, *, namespaced: bool, version: str) -> Question:
    """Make a question fit the agent: exposed URIs in sampling messages, and who is asking."""
    raise NotImplementedError


def map_notification(
    method: str, params: RawObject, *, server: str, namespaced: bool, version: str
) -> RawObject:
    """Make the params of `notifications/progress` or `notifications/message` fit the agent."""
    raise NotImplementedError

"""A call that waits for a person: all that is needed to go on with it after a restart."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from agenthub.domain.exceptions import ConflictError
from agenthub.domain.ids import EndpointId, GroupId, HeldCallId, RequestId, WorkspaceId


class HeldStatus(StrEnum):
    """WAITING for a person, RUNNING at the server, DONE with an outcome.

    A call that failed is DONE too: its outcome is the fault.
    """

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldCall:
    """`params` and `meta` are the agent's own request: JSON texts by member name.

    `going_on` is what the next request to the server needs beside the answers (a modern server's
    `requestState`, under `state`; `approval` for a call that was not sent yet). None: the server
    waits in the middle of a request on a connection of this process, and nobody else can go on.
    """

    id: HeldCallId
    workspace: WorkspaceId
    subject: str
    binding: str
    """A digest of who asks for what and where: an equal request is the same agent's, come back."""
    view_group: GroupId | None
    view_server: EndpointId | None
    era: str
    """The agent's: `legacy` or `modern`."""
    agent: str
    conversation: str
    deed: str
    key: str
    """The exposed name or URI."""
    ref: str | None = None
    params: dict[str, str]
    meta: dict[str, str]
    requests: tuple[RequestId, ...] = ()
    """The questions of the present round."""
    going_on: dict[str, Any] | None = None
    status: HeldStatus = HeldStatus.WAITING
    lease: str | None = None
    outcome: dict[str, Any] | None = None
    """A result (`result`: JSON text, `endpoint_id`, `server`, `key`) or a fault (`fault`)."""
    created_at: datetime
    expires_at: datetime
    """When its questions expire; of one that is DONE, until when it can be collected."""
    delivered_at: datetime | None = None

    def asking(
        self,
        requests: tuple[RequestId, ...],
        going_on: dict[str, Any] | None,
        expires_at: datetime,
    ) -> "HeldCall":
        """Wait for another round of answers. Raises ConflictError for one that is done."""
        self._require_not_done()
        return replace(
            self,
            status=HeldStatus.WAITING,
            requests=requests,
            going_on=going_on,
            expires_at=expires_at,
            lease=None,
        )

    def running(self, lease: str) -> "HeldCall":
        """Go on at the server; from here on nobody else may. Raises ConflictError."""
        if self.status is not HeldStatus.WAITING:
            raise _taken()
        return replace(self, status=HeldStatus.RUNNING, lease=lease)

    def done(self, outcome: dict[str, Any], expires_at: datetime) -> "HeldCall":
        """It has ended, one way or the other. Raises ConflictError for one that had before."""
        self._require_not_done()
        return replace(
            self, status=HeldStatus.DONE, outcome=outcome, expires_at=expires_at, lease=None
        )

    def _require_not_done(self) -> None:
        if self.status is HeldStatus.DONE:
            raise _taken()


def _taken() -> ConflictError:
    return ConflictError("This call has gone on already.", code="call_taken")

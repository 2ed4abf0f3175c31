"""A server's question for input, which a person accepts, declines or cancels."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from agenthub.domain.entities.hitl.fields import asks_for_secret
from agenthub.domain.entities.hitl.form import Form, parse_form
from agenthub.domain.entities.hitl.link import Link, check_link
from agenthub.domain.entities.hitl.request import HitlRequest, RequestKind, RequestStatus

_BEWARE = "The server seems to ask for a secret; never give one in a form."


class Action(StrEnum):
    """MCP `ElicitResult.action`."""

    ACCEPT = "accept"
    DECLINE = "decline"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Notes:
    """What the hub tells a person beside the server's own words."""

    warnings: tuple[str, ...]
    host: str = ""
    """Where a link leads, in ASCII; empty for a form."""
    url: str = ""
    """The link to show and to open, in ASCII; empty for a form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElicitationRequest(HitlRequest):
    """`shown` are the params of `elicitation/create`, unchanged; `result` is its result (MCP).

    What the hub has to say of them is worked out on reading, so that no server can say it.
    Whatever a person answers completes it: a refusal is an answer too.
    """

    KIND: ClassVar[RequestKind] = RequestKind.ELICITATION

    @property
    def is_url(self) -> bool:
        return self.shown.get("mode", "form") == "url"

    def form(self) -> Form:
        """Read the form. Raises InvalidError for one that was never let in, or a link."""
        return parse_form(self.shown.get("requestedSchema"))

    def link(self) -> Link:
        """Read the link. Raises InvalidError for one that was never let in, or a form."""
        return check_link(str(self.shown.get("url", "")))

    def notes(self) -> Notes:
        """Give the warnings, and where a link leads. Raises InvalidError as `form` and `link`."""
        if self.is_url:
            link = self.link()
            return Notes(link.warnings, link.host, link.url)
        warnings = self.form().warnings
        if asks_for_secret(str(self.shown.get("message", ""))):
            warnings = (_BEWARE, *warnings)
        return Notes(warnings)

    def answered(
        self, by: str, action: Action, content: dict[str, Any] | None, now: datetime
    ) -> "ElicitationRequest":
        """`content` was checked against the form before. Raises ConflictError, GoneError."""
        self._require_pending(now)
        result: dict[str, Any] = {"action": action.value}
        if action is Action.ACCEPT and not self.is_url:
            result["content"] = content or {}
        return replace(
            self,
            status=RequestStatus.COMPLETED,
            decision=result,
            result=result,
            decided_at=now,
            decided_by=by,
            ended_at=now,
        )

"""Questions to people as REST shows them, each kind with what a person needs to decide."""

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar, cast

from fastapi import Depends, Path, Query
from pydantic import BaseModel, Field

from agenthub.adapters.inbound.http.bodies import texts_of
from agenthub.adapters.inbound.http.pagination import Page, Paging
from agenthub.adapters.inbound.hub import Hub
from agenthub.domain.entities.cost import usd
from agenthub.domain.entities.hitl.elicitation_request import ElicitationRequest
from agenthub.domain.entities.hitl.fields import Field as FormField
from agenthub.domain.entities.hitl.fields import FieldKind
from agenthub.domain.entities.hitl.request import MAX_REASON_LENGTH, HitlRequest, RequestStatus
from agenthub.domain.entities.hitl.sampling_request import SamplingRequest
from agenthub.domain.entities.hitl.tool_approval import ToolApproval
from agenthub.domain.entities.identity import Principal
from agenthub.domain.exceptions import InvalidError
from agenthub.domain.foreign_text import visible

R = TypeVar("R", bound=HitlRequest)
Shown = TypeVar("Shown", bound=BaseModel)

CALL_TOOL = "tools/call"
SCHEMA = "requestedSchema"
_SURROGATE = re.compile("[\ud800-\udfff]")
WORDS = frozenset({"title", "description"})
"""Members of a schema that are for people only."""

NO_REQUEST = "There is no such request, or it is not yours to see."
DECIDED = "It was decided by somebody else, or has ended (`request_decided`)."
EXPIRED = "Nobody answered in time (`request_expired`)."

RequestPath = Annotated[str, Path(description="The request's id.", max_length=128)]
Reason = Annotated[str, Field(max_length=MAX_REASON_LENGTH)]
Status = Annotated[
    str, Field(max_length=256, json_schema_extra={"enum": [one.value for one in RequestStatus]})
]


async def _statuses(
    status: Annotated[
        list[Status],
        Query(max_length=16, description="Only these; repeated, or parted by commas."),
    ] = [],  # noqa: B006  FastAPI copies it
) -> Collection[RequestStatus]:
    """Read which statuses are wanted. Raises InvalidError."""
    names = [name.strip() for one in status for name in one.split(",")]
    known = {one.value: one for one in RequestStatus}
    if not known.keys() >= set(names):
        raise InvalidError.at("query", "status", message=f"may be {', '.join(known)}")
    return frozenset(known[name] for name in names)


StatusesDep = Annotated[Collection[RequestStatus], Depends(_statuses)]


class QuestionOut(BaseModel):
    """What every question to a person shows. Where the server asked while several agents' calls
    were under way, nobody knows who caused it: `subject`, `agent`, `deed` and `key` are empty then.
    """

    id: str
    call: str = Field(
        description="The call that waits. Questions of one call are answered together."
    )
    status: RequestStatus
    server: str
    deed: str = Field(description="The MCP method of the call that waits.")
    key: str = Field(description="The server's own name of the tool or prompt, or the URI.")
    tool: str | None
    agent: str = Field(description="What the agent calls itself; its own word.")
    subject: str = Field(description="Whose call it is: `owner`, or a key's id.")
    group: str | None
    warnings: list[str] = Field(description="What to look at twice before answering.")
    decision: dict[str, Any] | None
    result: dict[str, Any] | None = Field(description="What goes back to the server.")
    reason: str = Field(description="Why it was rejected or failed, or its answer came to nothing.")
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    decided_by: str = Field(description="`owner`, a key's id, or `rule:` and the id of a rule.")
    ended_at: datetime | None


class SamplingQuestion(BaseModel):
    """What a server wants a model to answer, as it is sent on unless it is changed."""

    messages: list[Any]
    system_prompt: str | None
    model_hints: list[str]
    model_preferences: dict[str, Any]
    max_tokens: int | None
    temperature: float | None
    stop_sequences: list[str]
    tools: list[Any]
    tool_choice: dict[str, Any] | None


class SamplingOut(QuestionOut):
    kind: Literal["sampling"] = "sampling"
    question: SamplingQuestion
    in_review: bool = Field(description="The model has answered; the answer is to be delivered.")
    rule: str | None = Field(description="The standing rule that stood for a person.")
    cost_nano_usd: int | None
    cost_usd: str | None


class ChoiceOut(BaseModel):
    """What is sent, and how it reads."""

    value: str
    label: str


class FieldOut(BaseModel):
    """One field of a form, in the words to show. Rules that are not set are null, 0 or empty."""

    name: str
    kind: FieldKind
    label: str
    description: str
    required: bool
    default: Any = Field(description="A proposal; what is left out stays out.")
    choices: list[ChoiceOut]
    format: str
    min_length: int
    max_length: int | None
    minimum: int | float | None
    maximum: int | float | None
    min_items: int
    max_items: int | None


class ElicitationQuestion(BaseModel):
    """What a server asks. In mode `url` a person opens `url` alone, in a browser; show `host`."""

    message: str
    mode: Literal["form", "url"]
    requested_schema: dict[str, Any] | None
    fields: list[FieldOut]
    url: str | None
    host: str | None


class ElicitationOut(QuestionOut):
    kind: Literal["elicitation"] = "elicitation"
    question: ElicitationQuestion


class ApprovalQuestion(BaseModel):
    """The call that is held back. `arguments` are sent as they are unless they are changed."""

    tool: str
    title: str
    description: str
    annotations: dict[str, Any]
    arguments: dict[str, Any]
    why: str


class ApprovalOut(QuestionOut):
    kind: Literal["approval"] = "approval"
    question: ApprovalQuestion
    policy: str | None = Field(description="The id of the policy that holds it back.")


async def page_of(
    hub: Hub,
    principal: Principal,
    kind: type[R],
    statuses: Collection[RequestStatus],
    paging: Paging,
    show: Callable[[R], Shown],
) -> Page[Shown]:
    """Read a page of one kind, the newest first. Raises DeniedError."""
    rows = await hub.requests.page(
        principal, kind.KIND, statuses, before=paging.after, limit=paging.limit + 1
    )
    own = [row for row in rows if isinstance(row, kind)]
    return paging.page(own, show, lambda row: row.id)


def show_sampling(request: SamplingRequest) -> SamplingOut:
    """Show a question of sampling. Its messages stay as they are: they are what is sent on."""
    shown = _sendable(request.shown)
    question = SamplingQuestion(
        messages=_list(shown, "messages"),
        system_prompt=_text(shown, "systemPrompt"),
        model_hints=list(_hints(shown)),
        model_preferences=_object(shown, "modelPreferences"),
        max_tokens=shown.get("maxTokens"),
        temperature=shown.get("temperature"),
        stop_sequences=_list(shown, "stopSequences"),
        tools=_list(shown, "tools"),
        tool_choice=shown.get("toolChoice"),
    )
    sent = {"messages": question.messages, "system_prompt": question.system_prompt}
    cost = request.cost_nano_usd
    return SamplingOut(
        **_common(request),
        question=question,
        warnings=[*_unseen(sent), *_unseen({"tools": question.tools})],
        in_review=request.is_in_review,
        rule=request.rule,
        cost_nano_usd=cost,
        cost_usd=None if cost is None else usd(cost),
    )


def show_elicitation(request: ElicitationRequest) -> ElicitationOut:
    """Show a question for input, its form in words or where its link leads."""
    asked = _text(request.shown, "message")
    schema = _sendable(_object(request.shown, SCHEMA))
    question = ElicitationQuestion(
        message=visible(asked or ""),
        mode="url" if request.is_url else "form",
        requested_schema=None if request.is_url else _worded(schema),
        fields=[],
        url=None,
        host=None,
    )
    try:
        notes = request.notes()
        if request.is_url:
            question.url, question.host = notes.url, notes.host
        else:
            question.fields = [_field(field) for field in request.form().fields]
        warnings = notes.warnings
    except InvalidError as error:  # a row of another version; it can be declined all the same
        warnings = (f"This question cannot be shown: {error.message}",)
    return ElicitationOut(
        **_common(request),
        question=question,
        warnings=[*_unseen({"message": asked}), *map(visible, warnings)],
    )


def show_approval(request: ToolApproval) -> ApprovalOut:
    """Show a tool call that is held back."""
    shown = _sendable(request.shown)
    arguments = _object(shown, "arguments")
    question = ApprovalQuestion(
        tool=visible(_text(shown, "tool") or ""),
        title=visible(_text(shown, "title") or ""),
        description=visible(_text(shown, "description") or ""),
        annotations=_object(shown, "annotations"),
        arguments=arguments,
        why=visible(_text(shown, "why") or ""),
    )
    return ApprovalOut(
        **_common(request),
        question=question,
        warnings=list(_unseen({"arguments": arguments})),
        policy=request.policy,
    )


def _common(request: HitlRequest) -> dict[str, Any]:
    """Give what all kinds show."""
    origin = request.origin
    return {
        "id": request.id,
        "call": request.held,
        "status": request.status,
        "server": origin.server,
        "deed": origin.deed,
        "key": visible(origin.key),
        "tool": visible(origin.key) if origin.deed == CALL_TOOL else None,
        "agent": visible(origin.agent),
        "subject": origin.subject,
        "group": origin.group,
        "decision": _sendable(request.decision),
        "result": _sendable(request.result),
        "reason": visible(request.reason),
        "created_at": request.created_at,
        "expires_at": request.expires_at,
        "decided_at": request.decided_at,
        "decided_by": request.decided_by,
        "ended_at": request.ended_at,
    }


def _field(field: FormField) -> FieldOut:
    return FieldOut(
        name=field.name,
        kind=field.kind,
        label=visible(field.label),
        description=visible(field.description),
        required=field.required,
        default=_sendable(field.default),
        choices=[ChoiceOut(value=one.value, label=visible(one.title)) for one in field.choices],
        format=field.format,
        min_length=field.min_length,
        max_length=field.max_length,
        minimum=field.minimum,
        maximum=field.maximum,
        min_items=field.min_items,
        max_items=field.max_items,
    )


def _sendable(value: Any) -> Any:
    """Take out of JSON of others what no UTF-8 and no strict JSON can hold."""
    if isinstance(value, dict):
        given = cast("dict[str, Any]", value)  # JSON
        return {_sendable(name): _sendable(inner) for name, inner in given.items()}
    if isinstance(value, list):
        return [_sendable(one) for one in cast("list[Any]", value)]  # JSON
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _worded(schema: Any) -> Any:
    """Write out what nobody sees in the words of a schema; names and values stay."""
    if isinstance(schema, dict):
        given = cast("dict[str, Any]", schema)  # JSON
        return {
            name: visible(value) if name in WORDS and isinstance(value, str) else _worded(value)
            for name, value in given.items()
        }
    if isinstance(schema, list):
        return [_worded(one) for one in cast("list[Any]", schema)]  # JSON
    return schema


def _unseen(shown: Mapping[str, Any]) -> Iterator[str]:
    """Warn of characters that nobody sees, and say in which member they are."""
    for name, value in shown.items():
        if any(visible(text) != text for text in texts_of(value)):
            yield f"{visible(name)}: holds characters that nobody sees."


def _hints(shown: Mapping[str, Any]) -> Iterator[str]:
    for hint in _list(_object(shown, "modelPreferences"), "hints"):
        name = _text(cast("dict[str, Any]", hint), "name") if isinstance(hint, dict) else None
        if name is not None:
            yield visible(name)


def _text(shown: Mapping[str, Any], name: str) -> str | None:
    value = shown.get(name)
    return value if isinstance(value, str) else None


def _list(shown: Mapping[str, Any], name: str) -> list[Any]:
    value = shown.get(name)
    return cast("list[Any]", value) if isinstance(value, list) else []


def _object(shown: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = shown.get(name)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}

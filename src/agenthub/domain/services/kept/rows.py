"""What is kept of a call that waits for a person: its errand, and in the end its outcome."""

import hashlib
import json
from datetime import datetime, timedelta
from typing import Any

from agenthub.domain.entities.catalog.exposure import Target
from agenthub.domain.entities.catalog.listing import ItemKind
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.hitl.fault import fault_from, kept_fault
from agenthub.domain.entities.hitl.held_call import HeldCall
from agenthub.domain.entities.identity import Principal
from agenthub.domain.exceptions import (
    HubError,
    RpcError,
    UpstreamError,
)
from agenthub.domain.ids import EndpointId, HeldCallId
from agenthub.domain.ports.outbound.mcp_client import Answer, Caller, RawObject
from agenthub.domain.services.calls import Deed, Errand, Outcome, without_round
from agenthub.domain.services.catalog.views import View

MAX_OUTCOME_BYTES = 16 * 1024 * 1024
MAX_AGENT_LENGTH = 200


def owner_of(principal: Principal) -> tuple[str, str]:
    """Say whose calls are one principal's."""
    return principal.workspace, principal.subject


def binding_of(view: View, errand: Errand) -> str:
    """Digest who asks for what and where: equal for a request that is sent once more.

    What a retry adds does not count, nor do spaces and the order of members; numbers count as
    written: 1 is not 1.0.
    """
    raw = without_round(errand).params
    whole = [*owner_of(view.principal), view.group, view.server, errand.deed.value, errand.key]
    try:
        params: Any = {
            name: json.loads(value, parse_float=_literal, parse_int=_literal)
            for name, value in raw.items()
        }
        canonical = json.dumps([*whole, params], sort_keys=True, separators=(",", ":"))
    except RecursionError:  # nested too deep to be read; then letters count
        canonical = json.dumps([*whole, _texts(raw)], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def row_of(
    call_id: HeldCallId,
    view: View,
    errand: Errand,
    caller: Caller,
    now: datetime,
    ttl: timedelta,
) -> HeldCall:
    """Make the row of a call, at its first question."""
    return HeldCall(
        id=call_id,
        workspace=view.principal.workspace,
        subject=view.principal.subject,
        binding=binding_of(view, errand),
        view_group=view.group,
        view_server=view.server,
        era=caller.era.value,
        agent=plain(caller.agent),
        conversation=plain(caller.conversation),
        deed=errand.deed.value,
        key=errand.key,
        ref=None if errand.ref is None else errand.ref.value,
        params=_texts(errand.params),
        meta=_texts(errand.meta),
        created_at=now,
        expires_at=now + ttl,
    )


def errand_of(row: HeldCall) -> Errand:
    """Give the errand of a stored call."""
    return Errand(
        Deed(row.deed),
        row.key,
        {name: text.encode() for name, text in row.params.items()},
        {name: text.encode() for name, text in row.meta.items()},
        None if row.ref is None else ItemKind(row.ref),
    )


def kept_outcome(outcome: Outcome | Exception) -> dict[str, Any]:
    """Write down what a call came to; a result that is too large is a fault."""
    if isinstance(outcome, Exception):
        return {"fault": kept_fault(outcome)}
    answer, target = outcome.answer, outcome.target
    if len(answer.result) > MAX_OUTCOME_BYTES:
        text = "The call was done, but its result is too large to be kept until it is collected."
        return {"fault": kept_fault(UpstreamError(text, code="outcome_too_large"))}
    return {
        "result": answer.result.decode(errors="replace"),
        "era": answer.era.value,
        "has_input": answer.has_input,
        "endpoint_id": target.endpoint_id,
        "server": target.server,
        "key": target.key,
    }


def outcome_from(kept: dict[str, Any]) -> Outcome | HubError | RpcError:
    """Give what `kept_outcome` wrote down."""
    if "fault" in kept:
        return fault_from(kept["fault"])
    target = Target(EndpointId(kept["endpoint_id"]), kept["server"], kept["key"])
    answer = Answer(kept["result"].encode(), Era(kept["era"]), has_input=kept["has_input"])
    return Outcome(answer, target)


def _literal(number: str) -> dict[str, str]:
    return {"\0number": number}


def _texts(raw: RawObject) -> dict[str, str]:
    return {name: value.decode(errors="replace") for name, value in raw.items()}


def plain(name: str) -> str:
    """Give an agent's word on itself as every database keeps it."""
    return "".join(letter for letter in name if letter.isprintable())[:MAX_AGENT_LENGTH]

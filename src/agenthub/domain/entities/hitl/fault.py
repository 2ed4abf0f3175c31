"""How a call failed, as it is kept for an agent that comes back for it."""

import json
from typing import Any

from agenthub.domain.exceptions import (
    ConflictError,
    DeclinedError,
    DeniedError,
    ErrorKind,
    FieldFault,
    GoneError,
    HubError,
    InvalidError,
    NotFoundError,
    QuotaError,
    RpcError,
    TimedOutError,
    UnauthenticatedError,
    UnavailableError,
    UpstreamError,
)

_CLASSES = (
    *(NotFoundError, UnauthenticatedError, DeniedError, ConflictError, GoneError, QuotaError),
    *(UnavailableError, TimedOutError, UpstreamError, DeclinedError, HubError),
)
_BY_KIND = {one.kind.value: one for one in _CLASSES}


def kept_fault(error: Exception) -> str:
    """Write a fault as ASCII JSON, which every database keeps; what is no fault is `internal`."""
    match error:
        case RpcError():
            facts: dict[str, Any] = {"rpc": error.code, "message": error.message}
            facts["data"] = error.data
        case HubError():
            facts = {"kind": error.kind.value, "code": error.code, "message": error.message}
            facts["retry_after_s"] = error.retry_after_s
            if isinstance(error, InvalidError):
                facts["faults"] = [[list(one.loc), one.message] for one in error.faults]
        case _:
            text = "The hub failed while it carried this call; it may have been done."
            facts = {"kind": ErrorKind.INTERNAL.value, "code": HubError.code, "message": text}
    return json.dumps(facts)


def fault_from(text: str) -> HubError | RpcError:
    """Give the error that `kept_fault` wrote down."""
    facts: dict[str, Any] = json.loads(text)
    message = facts["message"]
    if "rpc" in facts:
        return RpcError(facts["rpc"], message, facts.get("data"))
    if facts["kind"] == ErrorKind.INVALID.value:
        faults = tuple(FieldFault(tuple(loc), words) for loc, words in facts.get("faults", ()))
        return InvalidError(message, faults=faults, code=facts["code"])
    retry_after_s = facts.get("retry_after_s")
    return _BY_KIND[facts["kind"]](message, code=facts["code"], retry_after_s=retry_after_s)

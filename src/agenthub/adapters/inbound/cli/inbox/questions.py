"""The questions that wait, as REST gives them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agenthub.adapters.inbound.cli.output import Failure
from agenthub.adapters.inbound.cli.remote import Remote, segment

Question = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """Where the questions of a kind are, and the event that tells of a new one."""

    path: str
    event: str


KINDS = {
    "approval": Kind("/api/approvals", "approval_request"),
    "elicitation": Kind("/api/elicitation/requests", "elicitation_request"),
    "sampling": Kind("/api/sampling/requests", "sampling_request"),
}
ASKED = {kind.event: name for name, kind in KINDS.items()}
NOT_FOUND = 404


def waiting(hub: Remote) -> list[Question]:
    """List all that waits for a person, the oldest first; also answers of models to look over."""
    found: list[Question] = []
    for kind in KINDS.values():
        found += [one for one in hub.items(kind.path, status="pending,approved") if _waits(one)]
    return sorted(found, key=lambda one: (one["created_at"], one["id"]))


def find(hub: Remote, request_id: str) -> Question:
    """Give one question of any kind. Raises Failure."""
    for kind in KINDS.values():
        try:
            return hub.get(f"{kind.path}/{segment(request_id)}")
        except Failure as failure:
            if not is_refusal(failure, NOT_FOUND):
                raise
    raise Failure(f"There is no question {request_id!r}, or it is not yours; see 'agenthub inbox'.")


def path_of(question: Question, deed: str = "") -> str:
    """Give the path of a question, or of what can be done with it."""
    path = f"{KINDS[question['kind']].path}/{segment(question['id'])}"
    return f"{path}/{deed}" if deed else path


def is_refusal(failure: Failure, *statuses: int) -> bool:
    """Say whether the hub refused with one of these."""
    return (failure.problem or {}).get("status") in statuses


def _waits(question: Question) -> bool:
    return question["status"] == "pending" or bool(question.get("in_review"))

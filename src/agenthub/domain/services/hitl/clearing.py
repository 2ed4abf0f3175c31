"""Whether a tool call may go to its server: the approval policies' word, or a person's."""

import json
from collections.abc import Mapping
from typing import Any, cast

from agenthub.domain.entities.catalog.exposure import Target
from agenthub.domain.entities.catalog.listing import ItemKind
from agenthub.domain.entities.hitl.rules import ToolUse
from agenthub.domain.entities.identity import Principal
from agenthub.domain.exceptions import InvalidError, UnanswerableError
from agenthub.domain.ports.outbound.mcp_client import Caller, RawObject
from agenthub.domain.services.catalog.views import CatalogService, View
from agenthub.domain.services.hitl.approvals import ApprovalDesk
from agenthub.domain.services.hitl.threads import CallThread, require_no_denial


class Clearing:
    """Stands before the gateway. Costs next to nothing while there are no policies."""

    def __init__(self, *, approvals: ApprovalDesk, catalog: CatalogService) -> None:
        self._approvals = approvals
        self._catalog = catalog

    async def clear(
        self,
        principal: Principal,
        caller: Caller,
        target: Target,
        params: RawObject,
        thread: CallThread | None,
    ) -> RawObject:
        """Give the params to call with: those given, unless a person changed the arguments.

        Raises InvalidError, DeclinedError, GoneError; UnanswerableError where a person is needed
        and none may be asked.
        """
        if thread is not None and thread.continues(target):
            return params if thread.arguments is None else _with(params, thread.arguments)
        is_waiting = thread is not None and thread.awaits_approval
        if not is_waiting and not self._approvals.has_policies:
            return params
        arguments, is_plain = _arguments(params.get("arguments"))
        tool = self._definition(principal, caller, target)
        hints: Any = tool.get("annotations")
        use = ToolUse(
            server=target.server,
            tool=target.key,
            annotations=cast(dict[str, Any], hints) if isinstance(hints, dict) else {},
            arguments=arguments,
            subject=principal.subject,
            conversation=caller.conversation,
        )
        policy = None if is_waiting else self._approvals.verdict(use)
        changed: dict[str, Any] | None = None
        if thread is not None:
            changed = await thread.clear(use, policy, target, tool)
        elif policy is not None:
            require_no_denial(policy)
            raise UnanswerableError(
                f"The policy {policy.name!r} wants a person to look at this call first, and nobody"
                " can be asked."
            )
        if changed is not None:
            return _with(params, changed)
        return params if is_plain else _with(params, arguments)

    def _definition(
        self, principal: Principal, caller: Caller, target: Target
    ) -> Mapping[str, Any]:
        whole = View(principal, None, target.endpoint_id)
        item = self._catalog.offer(whole, caller.era).find(ItemKind.TOOLS, target.key)
        return {} if item is None else item.definition


def _with(params: RawObject, arguments: Mapping[str, Any]) -> RawObject:
    return {**params, "arguments": json.dumps(arguments).encode()}


def _arguments(raw: bytes | None) -> tuple[dict[str, Any], bool]:
    """Read arguments; False beside them where a member stands twice.

    What a server reads of such an object is anybody's guess: it gets what was looked at.
    """
    is_plain = True

    def read(members: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal is_plain
        whole = dict(members)
        is_plain &= len(whole) == len(members)
        return whole

    try:
        value: Any = {} if raw is None else json.loads(raw, object_pairs_hook=read)
    except (ValueError, RecursionError) as error:
        raise InvalidError.at("arguments", message="cannot be read") from error
    return (cast(dict[str, Any], value), is_plain) if isinstance(value, dict) else ({}, True)

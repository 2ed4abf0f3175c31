"""Whether, when and how often a failed call is tried again."""

from collections.abc import Callable, Mapping
from typing import Any

from agenthub.domain.entities.resilience.policy import RetryPolicy
from agenthub.domain.entities.resilience.rolling import RollingCount
from agenthub.domain.entities.resilience.verdicts import Verdict, verdict_of
from agenthub.domain.exceptions import HubError

BUDGET_SPAN_S = 10.0
"""The span over which retries are held against calls. Source: Finagle and Linkerd."""

_LASTING = frozenset(
    {
        "body_too_large",
        "server_not_modern",
        "server_not_started",
        "server_redirects",
        "server_result_type",
        "server_version",
    }
)
"""Codes of failures that a second attempt meets again."""


class RetryBudget:
    """Keeps retries to a share of the calls of the last ten seconds, and a small minimum.

    So a server that fails gets little more load than one that does not.
    """

    __slots__ = ("_calls", "_policy", "_retries")

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._calls = RollingCount(BUDGET_SPAN_S)
        self._retries = RollingCount(BUDGET_SPAN_S)

    def note_call(self, now: float) -> None:
        """Count a call; its retries are none."""
        self._calls.add(now)

    def may_retry(self, now: float) -> bool:
        """Take one retry from the budget, if it holds one."""
        policy = self._policy
        most = policy.budget_share * self._calls.total(now)
        most += policy.min_retries_per_s * BUDGET_SPAN_S
        if self._retries.total(now) + 1 > most:
            return False
        self._retries.add(now)
        return True

    def use(self, policy: RetryPolicy) -> None:
        self._policy = policy


def may_repeat(
    error: BaseException, *, tool: Mapping[str, Any] | None, policy: RetryPolicy, trusted: bool
) -> bool:
    """Say whether trying again can help and does no harm.

    What never reached the server is repeated for any tool. Later, only if the operator says so,
    or a trusted server of the tool: `tool` is its MCP definition, whose hints default to harm.
    """
    if policy.max_retries < 1 or not isinstance(error, HubError) or not _may_pass(error):
        return False
    return not error.reached_server or policy.retry_sent or (trusted and _is_harmless(tool))


def delay_s(
    attempt: int, policy: RetryPolicy, chance: Callable[[], float], floor_s: float | None
) -> float:
    """Give the wait before retry `attempt` (from 1), spread by `chance` over all of its range.

    `floor_s`: what the server asked for by Retry-After.
    """
    longest_s = min(policy.max_delay_s, policy.base_delay_s * 2.0 ** min(attempt - 1, 60))
    return max(chance() * longest_s, floor_s or 0.0)


def _may_pass(error: HubError) -> bool:
    """Say whether the fault may be over at the next attempt."""
    if error.code == "server_rate_limited":
        return True
    return verdict_of(error) is Verdict.FAILURE and error.code not in _LASTING


def _is_harmless(tool: Mapping[str, Any] | None) -> bool:
    annotations: Any = tool.get("annotations") if tool is not None else None
    if not isinstance(annotations, Mapping):
        return False
    hints: dict[str, Any] = {**annotations}
    return hints.get("readOnlyHint") is True or hints.get("idempotentHint") is True

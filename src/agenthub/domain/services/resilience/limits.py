"""How often a server may be called: by everybody together, and by each caller."""

from collections import OrderedDict

from agenthub.domain.entities.resilience.policy import GatewayPolicy, RateLimit
from agenthub.domain.entities.resilience.token_bucket import TokenBucket, Wait
from agenthub.domain.exceptions import OverLimitError

MAX_CALLERS = 10_000
"""Buckets kept for callers; beyond it the one that was idle longest starts anew."""

_Key = tuple[str, str]


class RateLimits:
    """Token buckets of one server: of its own, of its tools, of its callers."""

    def __init__(self, server: str) -> None:
        self.server = server
        self._buckets: OrderedDict[_Key, tuple[TokenBucket, RateLimit]] = OrderedDict()

    def take(
        self,
        subject: str,
        tool: str | None,
        server_policy: GatewayPolicy,
        tool_policy: GatewayPolicy,
        now: float,
    ) -> None:
        """Take one token of each bucket that applies, or none.

        Raises OverLimitError; who waits as it says is past all of them.
        """
        taken: list[TokenBucket] = []
        empty: list[tuple[float, RateLimit, str]] = []
        for key, limit, words in self._applying(subject, tool, server_policy, tool_policy):
            bucket = self._bucket(key, limit, now)
            got = bucket.take(now)
            if isinstance(got, Wait):
                empty.append((got.retry_after_s, limit, words))
            else:
                taken.append(bucket)
        if not empty:
            return
        for bucket in taken:
            bucket.give_back()
        wait_s, limit, words = max(empty, key=lambda one: one[0])
        raise OverLimitError(
            f"{words} is limited to {limit.rate_per_s:g} calls a second.",
            code="rate_limited",
            retry_after_s=wait_s,
        )

    def tokens(self, limit: RateLimit | None, now: float) -> float | None:
        """Give what is left in the server's own bucket, None without one."""
        if limit is None:
            return None
        return self._bucket(("server", ""), limit, now).tokens(now)

    def _applying(
        self,
        subject: str,
        tool: str | None,
        server_policy: GatewayPolicy,
        tool_policy: GatewayPolicy,
    ) -> list[tuple[_Key, RateLimit, str]]:
        found: list[tuple[_Key, RateLimit, str]] = []
        own = server_policy.rate_limit
        if own is not None:
            found.append((("server", ""), own, f"The server {self.server!r}"))
        of_tool = tool_policy.rate_limit
        if tool is not None and of_tool is not None and of_tool is not own:
            words = f"The tool {tool!r} of the server {self.server!r}"
            found.append((("tool", tool), of_tool, words))
        of_caller = tool_policy.caller_rate_limit
        if of_caller is not None:
            is_own = of_caller is not server_policy.caller_rate_limit
            what = f"tool {tool!r} of the server" if is_own else "server"
            key = (f"caller of {tool}" if is_own else "caller", subject)
            found.append((key, of_caller, f"Each caller of the {what} {self.server!r}"))
        return found

    def _bucket(self, key: _Key, limit: RateLimit, now: float) -> TokenBucket:
        kept = self._buckets.get(key)
        if kept is None:
            if len(self._buckets) >= MAX_CALLERS:
                self._buckets.popitem(last=False)
            bucket = TokenBucket(limit, now)
        else:
            bucket, former = kept
            self._buckets.move_to_end(key)
            if former is limit:
                return bucket
            bucket.use(limit, now)
        self._buckets[key] = (bucket, limit)
        return bucket

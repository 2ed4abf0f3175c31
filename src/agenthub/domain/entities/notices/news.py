"""Which events are news to a person: changes for the worse and back, not every step between."""

from typing import Any

_DOWN = "down"
_BAD = {"unreachable": _DOWN, "unhealthy": _DOWN, "unauthorized": "unauthorized"}
_GOOD = frozenset({"ready", "healthy"})
_ENDED = frozenset({"disabled", "removed", "registered"})


class News:
    """Remembers what is known to be bad, and lets through what changes that.

    A hub that starts and connects its servers tells nothing; a server that was down and comes
    back tells once, however many events that takes.
    """

    def __init__(self) -> None:
        self._servers: dict[tuple[str, str], str] = {}
        self._breakers: set[tuple[str, str, str]] = set()

    def take(self, event: str, facts: dict[str, Any]) -> bool:
        """Note an event; say whether it is worth telling."""
        match event:
            case "server.status":
                return self._server(facts)
            case "breaker.changed":
                return self._breaker(facts)
            case _:
                return True

    def _server(self, facts: dict[str, Any]) -> bool:
        key = (str(facts["server_id"]), str(facts.get("instance") or ""))
        status = str(facts["status"])
        before = self._servers.get(key)
        now = _BAD.get(status)
        if now is not None:
            self._servers[key] = now
            return before != now
        if status in _GOOD:
            return self._servers.pop(key, None) is not None
        if status in _ENDED:
            self._servers = {one: bad for one, bad in self._servers.items() if one[0] != key[0]}
        return False

    def _breaker(self, facts: dict[str, Any]) -> bool:
        """Tell when one first refuses and when it lets calls through again; trying is no news."""
        key = (str(facts["server_id"]), str(facts.get("instance")), str(facts.get("tool")))
        match facts["state"]:
            case "open" | "forced_open":
                is_new = key not in self._breakers
                self._breakers.add(key)
                return is_new
            case "half_open":
                return False
            case _:
                was_open = key in self._breakers
                self._breakers.discard(key)
                return was_open

"""A client that changes the registry without pause, and knows what it was promised.

Each worker owns its objects, so an object's history is a line: after an answer its state is known,
and while a request is under way it is one of two. After a crash nothing else may be found.
"""

import http.client
import itertools
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.support.hub_process import HubConnection, RestAnswer

Json = dict[str, Any]
State = Json | None
"""What an object looks like over REST; None when it does not exist."""

UNHEARD = (OSError, http.client.HTTPException)
"""What a request ends in when the hub dies under it."""

ANCHORS = ("anchor-a", "anchor-b", "anchor-c")
"""Servers that nobody removes, for groups to have as members."""


class HubDiedError(Exception):
    """The hub went away under a request, so nobody knows whether it was done."""


@dataclass(slots=True)
class Memory:
    """The states each object may be in, by kind and name; and what keys must open or not."""

    servers: dict[str, list[State]] = field(default_factory=dict[str, list[State]])
    groups: dict[str, list[State]] = field(default_factory=dict[str, list[State]])
    keys: dict[str, str] = field(default_factory=dict[str, str])
    """Names of keys that were made and may not have been revoked, with their secrets."""
    doubtful_keys: set[str] = field(default_factory=set[str])
    """Names of keys whose making or revocation was not heard of."""
    revoked: list[str] = field(default_factory=list[str])
    """Secrets that open nothing any more."""
    acknowledged: int = 0


class Worker:
    """One line of changes, in a thread of its own, until the hub dies."""

    def __init__(self, hub: HubConnection, name: str, seed: int) -> None:
        self.memory = Memory()
        self._hub = hub
        self._name = name
        self._chance = random.Random(seed)
        self._serials = itertools.count(1)
        self._key_ids: dict[str, str] = {}
        self._thread = threading.Thread(target=self._work, name=name)
        self.failure: AssertionError | None = None

    @property
    def key_names(self) -> set[str]:
        """The names of all keys it ever made or tried to make."""
        return {*self._key_ids, *self.memory.doubtful_keys}

    def start(self) -> None:
        self._thread = threading.Thread(target=self._work, name=self._name)
        self._thread.start()

    def join(self) -> None:
        """Wait until the worker has noticed the hub's end; raises what went wrong before it."""
        self._thread.join(30.0)
        assert not self._thread.is_alive(), "a worker hangs"
        if self.failure is not None:
            raise self.failure

    def _work(self) -> None:
        deeds: list[Callable[[], None]] = [
            self._register,
            self._register,
            self._patch,
            self._patch,
            self._remove,
            self._make_group,
            self._patch_group,
            self._remove_group,
            self._make_key,
            self._revoke_key,
        ]
        try:
            while True:
                self._chance.choice(deeds)()
        except HubDiedError:
            return
        except AssertionError as error:
            self.failure = error

    def _send(self, method: str, path: str, body: object, expected: set[int]) -> RestAnswer:
        try:
            answer = self._hub.rest(method, path, body, timeout_s=20.0)
        except UNHEARD as error:
            raise HubDiedError from error
        if answer.status == 503 and answer.body["code"] == "stopping":
            raise HubDiedError
        assert answer.status in expected, f"{method} {path} {body}: {answer.status} {answer.body}"
        self.memory.acknowledged += 1
        return answer

    def _change(
        self,
        known: dict[str, list[State]],
        name: str,
        after: State,
        request: tuple[str, str, object],
        expected: set[int],
    ) -> None:
        """Send a change; the object is in either state until the answer has come."""
        [before] = known.get(name, [None])
        known[name] = [before, after]
        self._send(*request, expected)
        known[name] = [after]

    def _pick(self, known: dict[str, list[State]]) -> str | None:
        living = [name for name, states in known.items() if states[0] is not None]
        return self._chance.choice(living) if living else None

    def _register(self) -> None:
        name = f"{self._name}-s{next(self._serials)}"
        after = self._server(name)
        body = {**after, "transport": {**after["transport"], "headers": {"X-Secret": name}}}
        request = ("POST", "/api/mcp/servers", body)
        self._change(self.memory.servers, name, after, request, {201})

    def _patch(self) -> None:
        if (name := self._pick(self.memory.servers)) is None:
            return
        after = self._server(name)
        body = {"tags": after["tags"], "transport": after["transport"]}
        request = ("PATCH", f"/api/mcp/servers/{name}", body)
        self._change(self.memory.servers, name, after, request, {200})

    def _remove(self) -> None:
        if (name := self._pick(self.memory.servers)) is not None:
            request = ("DELETE", f"/api/mcp/servers/{name}", None)
            self._change(self.memory.servers, name, None, request, {200, 204})

    def _server(self, name: str) -> Json:
        """A disabled server, whose tag and URL bear the same number: half a patch is seen."""
        number = next(self._serials)
        url = f"http://127.0.0.1:9/{number}/mcp"
        return {
            "name": name,
            "transport": {"type": "streamable-http", "url": url},
            "tags": [f"n{number}"],
            "enabled": False,
        }

    def _make_group(self) -> None:
        slug = f"{self._name}-g{next(self._serials)}"
        after = self._group(slug)
        self._change(self.memory.groups, slug, after, ("POST", "/api/groups", after), {201})

    def _patch_group(self) -> None:
        if (slug := self._pick(self.memory.groups)) is None:
            return
        after = self._group(slug)
        body = {"name": after["name"], "members": after["members"]}
        request = ("PATCH", f"/api/groups/{slug}", body)
        self._change(self.memory.groups, slug, after, request, {200})

    def _remove_group(self) -> None:
        if (slug := self._pick(self.memory.groups)) is not None:
            request = ("DELETE", f"/api/groups/{slug}", None)
            self._change(self.memory.groups, slug, None, request, {200, 204})

    def _group(self, slug: str) -> Json:
        """A group whose name tells its members: half a patch is seen."""
        servers = self._chance.sample(ANCHORS, self._chance.randint(1, len(ANCHORS)))
        return {
            "slug": slug,
            "name": " ".join(sorted(servers)),
            "members": [{"server": server} for server in servers],
        }

    def _make_key(self) -> None:
        name = f"{self._name}-k{next(self._serials)}"
        self.memory.doubtful_keys.add(name)
        answer = self._send("POST", "/api/keys", {"name": name, "scopes": ["hub:read"]}, {201})
        self._key_ids[name] = answer.body["id"]
        self.memory.keys[name] = answer.body["secret"]
        self.memory.doubtful_keys.discard(name)

    def _revoke_key(self) -> None:
        if not self.memory.keys:
            return
        name, secret = self._chance.choice(list(self.memory.keys.items()))
        del self.memory.keys[name]
        self.memory.doubtful_keys.add(name)
        self._send("DELETE", f"/api/keys/{self._key_ids[name]}", None, {200, 204})
        self.memory.doubtful_keys.discard(name)
        self.memory.revoked.append(secret)

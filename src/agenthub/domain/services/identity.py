"""Who is behind a token: the owner, or an API key."""

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from agenthub.domain.entities.identity import OWNER, ApiKey, Principal, Scope
from agenthub.domain.exceptions import (
    DeniedError,
    InvalidError,
    NotFoundError,
    UnauthenticatedError,
)
from agenthub.domain.ids import GroupId, KeyId
from agenthub.domain.ports.outbound.clock import Chance, Clock, IdFactory
from agenthub.domain.ports.outbound.storage.identity import KeyLookup
from agenthub.domain.ports.outbound.storage.unit_of_work import UnitOfWork
from agenthub.domain.services.directory import Directory

SECRET_BYTES = 32
PREFIX = "ahk_"
PREFIX_LENGTH = 12
MAX_NAME_LENGTH = 64
CACHE_SIZE = 4096
MAX_KNOWN_LENGTH = 128
CACHE_TTL_S = 30.0
"""How long another replica's revocation may go unseen; this process's own counts at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyDraft:
    """What a new key may do. `group` is a group's id or slug."""

    name: str
    scopes: frozenset[Scope]
    group: str | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Known:
    principal: Principal
    fresh_until: float


class IdentityService:
    """Authenticates tokens and keeps keys. A key never may more than its maker."""

    def __init__(
        self,
        *,
        chance: Chance,
        clock: Clock,
        directory: Directory,
        ids: IdFactory,
        lookup: KeyLookup,
        owner_token: str,
        uow: UnitOfWork,
    ) -> None:
        self._chance = chance
        self._clock = clock
        self._directory = directory
        self._ids = ids
        self._lookup = lookup
        self._owner_sha256 = _sha256(owner_token)
        self._uow = uow
        self._cache: OrderedDict[str, _Known] = OrderedDict()
        self._revocations = 0

    def cached(self, token: str) -> Principal | None:
        """Give the principal of a token seen lately, without waiting. Costs microseconds."""
        digest = _sha256(token)
        if hmac.compare_digest(digest, self._owner_sha256):
            return OWNER
        known = self._cache.get(digest)
        if known is None:
            return None
        expires_at = known.principal.expires_at
        expired = expires_at is not None and expires_at <= self._clock.now()
        if expired or known.fresh_until <= self._clock.monotonic():
            del self._cache[digest]
            return None
        return known.principal

    async def authenticate(self, token: str) -> Principal:
        """Find who holds `token`. Raises UnauthenticatedError."""
        principal = self.cached(token)
        if principal is not None:
            return principal
        digest = _sha256(token)
        revocations = self._revocations
        key = await self._lookup.by_hash(digest) if token.startswith(PREFIX) else None
        if key is None or key.is_expired(self._clock.now()):
            raise UnauthenticatedError("This token is unknown, expired or revoked.")
        principal = key.principal()
        # What was read before a revocation may be the key that was revoked.
        if revocations == self._revocations:
            self._remember(digest, principal)
        return principal

    async def make_key(self, principal: Principal, draft: KeyDraft) -> tuple[ApiKey, str]:
        """Make a key; its secret is given here and never again.

        Raises DeniedError, InvalidError, and ConflictError when the group has just gone.
        """
        _require_manager(principal)
        now = self._clock.now()
        _check(principal, draft, now)
        secret = PREFIX + self._chance.token(SECRET_BYTES)
        key = ApiKey(
            id=KeyId(self._ids.new()),
            workspace=principal.workspace,
            name=draft.name.strip(),
            prefix=secret[:PREFIX_LENGTH],
            secret_sha256=_sha256(secret),
            scopes=draft.scopes,
            group=self._group_of(principal, draft.group),
            created_at=now,
            expires_at=draft.expires_at,
        )
        async with self._uow.begin(principal) as tx:
            await tx.keys.add(key)
            await tx.commit()
        return key, secret

    async def page(self, principal: Principal, *, limit: int, after: str | None) -> list[ApiKey]:
        """List keys, oldest first; `after` is the last id of the page before."""
        _require_manager(principal)
        async with self._uow.read(principal) as stored:
            return await stored.keys.page(limit=limit, after=after)

    async def find(self, principal: Principal, key_id: str) -> ApiKey:
        """Give one key. Raises NotFoundError."""
        _require_manager(principal)
        async with self._uow.read(principal) as stored:
            key = await stored.keys.find(KeyId(key_id))
        if key is None:
            raise NotFoundError(f"There is no key {key_id!r}.", code="key_not_found")
        return key

    async def revoke(self, principal: Principal, key_id: str) -> None:
        """Forget a key; it opens nothing from now on. Raises NotFoundError."""
        _require_manager(principal)
        async with self._uow.begin(principal) as tx:
            await tx.keys.remove(KeyId(key_id))
            await tx.commit()
        self.forget([key_id])

    def forget(self, subjects: Iterable[str]) -> None:
        """Drop cached principals of revoked keys."""
        gone = frozenset(subjects)
        self._revocations += 1
        for digest in [d for d, k in self._cache.items() if k.principal.subject in gone]:
            del self._cache[digest]

    def forget_group(self, group_id: GroupId) -> None:
        """Drop cached principals bound to a removed group: their keys are gone with it."""
        self._revocations += 1
        for digest in [d for d, k in self._cache.items() if k.principal.group == group_id]:
            del self._cache[digest]

    def group_slug(self, key: ApiKey) -> str | None:
        """Name the group that a key is bound to, for a person to read."""
        if key.group is None:
            return None
        group = self._directory.group(key.group)
        return key.group if group is None else group.slug

    def _remember(self, digest: str, principal: Principal) -> None:
        while len(self._cache) >= CACHE_SIZE:
            self._cache.popitem(last=False)
        self._cache[digest] = _Known(principal, self._clock.monotonic() + CACHE_TTL_S)

    def _group_of(self, principal: Principal, given: str | None) -> GroupId | None:
        if given is None:
            return None
        group = self._directory.group_at(principal.workspace, given) or self._directory.group(
            GroupId(given)
        )
        if group is None or group.workspace != principal.workspace:
            raise InvalidError.at("group", message="there is no such group")
        return group.id


def _require_manager(principal: Principal) -> None:
    principal.require(Scope.ADMIN)
    if principal.group is not None:
        raise DeniedError("A key bound to a group cannot manage keys.", code="group_bound")


def _check(principal: Principal, draft: KeyDraft, now: datetime) -> None:
    name = draft.name.strip()
    if not 0 < len(name) <= MAX_NAME_LENGTH or not name.isprintable():
        raise InvalidError.at("name", message="has 1 to 64 printable characters")
    if not draft.scopes:
        raise InvalidError.at("scopes", message="names at least one scope")
    if any(not principal.allows(scope) for scope in draft.scopes):
        raise DeniedError("A key may not do more than its maker.", code="scope_exceeded")
    if draft.expires_at is not None and draft.expires_at <= now:
        raise InvalidError.at("expires_at", message="must lie in the future")
    limit = principal.expires_at
    if limit is not None and (draft.expires_at is None or draft.expires_at > limit):
        raise DeniedError("A key may not outlive its maker's.", code="expiry_exceeded")


def _sha256(token: str) -> str:
    return _known_sha256(token) if len(token) <= MAX_KNOWN_LENGTH else _fresh_sha256(token)


@lru_cache(maxsize=1024)
def _known_sha256(token: str) -> str:
    """Remember digests: hashing costs more than all else that the gate does for a known token."""
    return _fresh_sha256(token)


def _fresh_sha256(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()

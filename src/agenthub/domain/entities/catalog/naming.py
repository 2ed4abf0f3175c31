"""Names at the joint endpoints: unique over all servers, at most 64 characters, stable."""

import hashlib

SEPARATOR = "__"
MAX_LENGTH = 64


def expose_name(server: str, name: str) -> str:
    """Give the joint name of a server's tool or prompt.

    A longer one is cut and ends in 8 hex digits of the SHA-256 of the whole, so equal inputs
    give equal names in every process.
    """
    whole = f"{server}{SEPARATOR}{name}"
    if len(whole) <= MAX_LENGTH:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
    return f"{whole[: MAX_LENGTH - 9]}_{digest}"

"""Free loopback ports for processes that a test starts."""

import socket


def free_port() -> int:
    """A TCP port nobody listens on at this moment; another process may still take it first."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

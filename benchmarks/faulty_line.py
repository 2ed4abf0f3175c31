"""A TCP proxy with faults, in a process of its own; takes the name of a fault per line of stdin.

Run: python -m benchmarks.faulty_line --port 9111 --target 9101
"""

import argparse
import asyncio
import sys

from tests.support.faults import TcpFault, TcpFaultProxy

UNAVAILABLE = "503"
RETRY_AFTER_S = 2
FAULTS = ("reset", "blackhole", "latency", UNAVAILABLE, "cut")
HEALTHY = "none"

_REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\n"
    b"retry-after: %d\r\ncontent-length: 9\r\n\r\nback soon" % RETRY_AFTER_S
)


class FaultyLine(TcpFaultProxy):
    """Knows one more fault: a front that answers for its server, which is not there."""

    def __init__(self, port: int, target_port: int) -> None:
        super().__init__(target_port)
        self.port = port
        self.is_refusing = False

    async def _strike(self, chunk: bytes, writer: asyncio.StreamWriter) -> bool:
        return await super()._strike(_REFUSAL if self.is_refusing else chunk, writer)

    def plant(self, name: str) -> None:
        self.is_refusing = name == UNAVAILABLE
        self.fault = TcpFault.NONE if self.is_refusing else TcpFault(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--target", type=int, required=True)
    options = parser.parse_args()
    with FaultyLine(options.port, options.target) as line:
        for name in sys.stdin:
            line.plant(name.strip())


if __name__ == "__main__":
    main()

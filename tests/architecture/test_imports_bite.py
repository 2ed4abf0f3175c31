"""Every import contract refuses a planted violation, all planted in one copy of the house."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT, sources

PLANTED = {
    "floors": ("adapters/outbound/clock", "agenthub.config"),
    "domain-floors": ("domain/ports/outbound", "agenthub.domain.services"),
    "no-circles": ("domain/services/catalog/one", "agenthub.domain.services.catalog.two"),
    "services-order": ("domain/services/identity", "agenthub.domain.services.calls"),
    "entities-apart": ("domain/entities/groups", "agenthub.domain.entities.catalog.naming"),
    "domain-plain": ("domain/services/calls", "pydantic"),
    "in-and-out-apart": ("adapters/inbound/http", "agenthub.adapters.outbound.storage"),
    "faces-apart": ("adapters/inbound/http", "agenthub.adapters.inbound.mcp"),
    "outbound-apart": ("adapters/outbound/storage", "agenthub.adapters.outbound.secrets"),
    "adapters-below-services": ("adapters/outbound/mcp_client", "agenthub.domain.services.calls"),
    "owner-aiohttp": ("adapters/outbound/mcp_client", "aiohttp"),
    "owner-sqlalchemy": ("config", "sqlalchemy.ext.asyncio"),
    "owner-fastapi": ("adapters/inbound/mcp", "fastapi"),
    "owner-config": ("adapters/inbound/cli", "dependency_injector.containers"),
    "owner-httpx": ("adapters/outbound/mcp_client", "httpx2"),
    "owner-mcp": ("adapters/outbound/mcp_client", "mcp.client"),
    "owner-typer": ("config", "typer"),
    "owner-apprise": ("config", "apprise"),
    "owner-litellm": ("adapters/outbound/http", "litellm"),
    "owner-opentelemetry": ("adapters/inbound/mcp", "opentelemetry.trace"),
    "owner-prometheus": ("adapters/inbound/mcp", "prometheus_client"),
    "owner-cryptography": ("adapters/outbound/storage", "cryptography.hazmat"),
}
"""Contract -> (the package that gets a planted file or the module that gets a line, the import)."""
RETURN_PATH = ("domain/services/catalog/two", "agenthub.domain.services.catalog.one")
LINT_IMPORTS = "from importlinter.cli import lint_imports_command as run; run()"
CIRCLE = ".two -> .one"


def contracts() -> dict[str, str]:
    found = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    return {contract["id"]: contract["name"] for contract in found["contracts"]}


def plant(package: Path, place: str, number: int, imported: str) -> str:
    """Write a file into the package `place`, or onto the end of the module `place`."""
    target = package / place
    line = f"import {imported}\n"
    if target.is_dir():
        (target / f"planted_{number}.py").write_text(line)
        return f"agenthub.{place.replace('/', '.')}.planted_{number}"
    module = target.with_suffix(".py")
    with module.open("a") as file:
        file.write(line)
    return f"agenthub.{place.replace('/', '.')}"


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], str]:
    """Plant everything; give each contract's planted module, and import-linter's report."""
    home = tmp_path_factory.mktemp("house")
    shutil.copytree(
        ROOT / "src", home / "src", ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
    )
    shutil.copy(ROOT / "pyproject.toml", home)
    package = home / "src" / "agenthub"
    modules = {
        contract: plant(package, place, number, imported)
        for number, (contract, (place, imported)) in enumerate(PLANTED.items())
    }
    plant(package, RETURN_PATH[0], len(PLANTED), RETURN_PATH[1])
    done = subprocess.run(
        [sys.executable, "-c", LINT_IMPORTS, "--no-cache"],
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(home / "src"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return modules, done.stdout


def test_every_contract_has_a_planted_violation() -> None:
    assert set(contracts()) == set(PLANTED)


@pytest.mark.parametrize("contract", sorted(PLANTED))
def test_a_contract_refuses_its_violation(
    contract: str, planted: tuple[dict[str, str], str]
) -> None:
    modules, report = planted
    name = re.escape(contracts()[contract])
    section = re.search(rf"^{name}\n-+\n(.*?)(?=^\S[^\n]*\n-{{3,}}\n|\Z)", report, re.M | re.S)
    assert section, f"not broken:\n{report}"
    assert (CIRCLE if contract == "no-circles" else modules[contract]) in section[1]


def test_the_domain_imports_the_standard_library_and_itself_only() -> None:
    allowed = sys.stdlib_module_names | {"agenthub"}
    pattern = re.compile(r"^\s*(?:from|import)\s+([A-Za-z_]\w*)", re.M)
    strange = {
        (source.name, top)
        for source in sources("src/agenthub/domain")
        for top in pattern.findall(source.text)
        if top not in allowed
    }
    assert strange == set()

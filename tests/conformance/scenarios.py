"""Which of the suite's client scenarios the hub has to pass, and why not the others."""

IN_SCOPE: dict[str, tuple[str, ...]] = {
    "2025-11-25": (
        "initialize",
        "tools_call",
        "elicitation-sep1034-client-defaults",
        "sse-retry",
        "json-schema-2020-12-preservation",
    ),
    "2026-07-28": (
        "tools_call",
        "request-metadata",
        "sep-2322-client-request-state",
        "http-standard-headers",
        "http-custom-headers",
        "http-invalid-tool-headers",
        "json-schema-ref-no-deref",
        "json-schema-2020-12-preservation",
    ),
}

OUT_OF_SCOPE: dict[str, str] = {
    "auth/": "The hub signs in to a server with fixed headers so far; OAuth as a client of"
    " protected servers is a stage of its own.",
    "sep-2640-": "Skills are an extension that no revision requires and the hub does not know.",
}
"""Beginnings of scenario names, with the reason."""


def is_out_of_scope(scenario: str) -> bool:
    return any(scenario.startswith(beginning) for beginning in OUT_OF_SCOPE)

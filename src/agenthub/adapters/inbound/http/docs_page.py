"""The page at /docs: the OpenAPI description for a person's eye, without any script."""

from html import escape
from typing import Any

from fastapi.responses import HTMLResponse

POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def docs_page(description: dict[str, Any]) -> HTMLResponse:
    """Lay out every operation with its scopes, parameters and answers."""
    rows: list[str] = []
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            rows += _operation(method, path, operation)
    title = escape(description["info"]["title"])
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<h1>{title} {escape(description['info']['version'])}</h1>"
        f"<p>{escape(description['info'].get('description', ''))}</p>"
        "<p>The machine-readable form is at <code>/openapi.json</code>.</p>"
        f"{''.join(rows)}</html>"
    )
    headers = {
        "content-security-policy": POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
    }
    return HTMLResponse(page, headers=headers)


def _operation(method: str, path: str, operation: dict[str, Any]) -> list[str]:
    needed = [s for one in operation.get("security", []) for s in one.get("bearer", [])]
    scopes = f" <em>{escape(', '.join(needed))}</em>" if needed else ""
    rows = [
        f"<h2><code>{method.upper()} {escape(path)}</code></h2>",
        f"<p>{escape(operation.get('summary', ''))}{scopes}</p>",
        f"<p>{escape(operation.get('description', ''))}</p><ul>",
    ]
    for parameter in operation.get("parameters", []):
        words = f"{parameter['name']} ({parameter['in']}): {parameter.get('description', '')}"
        rows.append(f"<li>{escape(words)}</li>")
    rows.append("</ul><dl>")
    for status, answer in operation["responses"].items():
        rows.append(f"<dt>{escape(status)}</dt><dd>{escape(answer['description'])}</dd>")
    return [*rows, "</dl>"]

"""Resource URIs at the joint endpoints: unique, reversible, still usable as templates.

`demo://a/{id}` of server `time` becomes `time+demo://a/{id}`: a legal scheme (RFC 3986 section
3.1 admits "+", and a server's name has none), so relative parts, queries and RFC 6570
expressions keep their meaning. A `ui://` URI must stay one (MCP Apps), so the server becomes
its authority: `ui://card/a.html` becomes `ui://time/card/a.html`.
"""

UI_SCHEME = "ui://"


def expose_uri(server: str, uri: str) -> str:
    """Give the joint form of a URI or URI template of `server`."""
    if uri[:5].lower() == UI_SCHEME:
        return f"{UI_SCHEME}{server}/{uri[5:]}"
    return f"{server}+{uri}"


def split_uri(exposed: str) -> tuple[str, str] | None:
    """Give (server, the server's own URI), or None for what no server's URI can look like."""
    if exposed[:5].lower() == UI_SCHEME:
        server, slash, rest = exposed[5:].partition("/")
        return (server, f"{UI_SCHEME}{rest}") if server and slash else None
    server, plus, uri = exposed.partition("+")
    return (server, uri) if server and plus else None

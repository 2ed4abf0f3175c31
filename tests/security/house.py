"""Two parties under one roof: what one may see, and the other keeps."""

from tests.security.upstreams import WatchedUpstream
from tests.security.wire import Target


class House:
    """Two servers with the same tools; the group `ours` holds `echo` of the first alone."""

    def __init__(self, hub: Target, ours: WatchedUpstream, theirs: WatchedUpstream) -> None:
        self.hub = hub
        self.ours = ours
        self.theirs = theirs
        hub.hub.register_http("ours", ours.url)
        self.theirs_id: str = hub.hub.register_http("theirs", theirs.url)["id"]
        for slug, server in (("ours", "ours"), ("theirs", "theirs")):
            members = [{"server": server, "tools": ["echo"]}]
            made = hub.hub.rest(
                "POST", "/api/groups", {"slug": slug, "name": slug, "members": members}
            )
            assert made.status == 201, made
        self.scopes = ["hub:read", "hub:write", "tools:call", "resources:read", "prompts:get"]
        self.bound = hub.key(*self.scopes, group="ours")
        self.bound_admin = hub.key("admin", group="ours")

    def close(self) -> None:
        for slug in ("ours", "theirs"):
            self.hub.hub.rest("DELETE", f"/api/groups/{slug}")
            self.hub.hub.unregister(slug)

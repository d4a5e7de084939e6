"""What stands before the page's server: nothing outside its folder leaves, nothing is fetched from elsewhere."""

from collections.abc import Awaitable, Callable
from pathlib import Path

Scope = dict
Receive = Callable[[], Awaitable[dict]]
Send = Callable[[dict], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = ("127.0.0.1", "localhost")
FILE = "/file="
FOLDER = "/file/"  # an older way to the same files, and to those of other servers
PROXY = "/proxy="
# The page's own script is built at run time, so evaluation stays allowed; other servers do not.
POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'self'"
)


class Guard:
    """An ASGI application around another one (https://asgi.readthedocs.io).

    It answers 403 to requests for files outside `folder`, to those that would make the server fetch from
    another one and, where the page is for this machine alone (`local`), to those that were sent to another
    name than this machine's: so a foreign page cannot reach it by a name that it controls. Every answer
    tells the browser to load nothing from elsewhere.
    """

    def __init__(self, application: Application, folder: Path, local: bool) -> None:
        self.application = application
        self.folder = folder.resolve()
        self.local = local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.application(scope, receive, send)
        elif self.refuses(scope["path"], dict(scope["headers"]).get(b"host", b"").decode("latin-1")):
            headers = [(b"content-type", b"text/plain")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": b"This page serves its own files alone."})
        else:
            await self.application(scope, receive, with_policy(send))

    def refuses(self, path: str, host: str) -> bool:
        """Whether a request for this path of that host is not answered."""
        if self.local and host.partition(":")[0] not in LOOPBACK:
            return True
        if PROXY in path or FOLDER in path or "\0" in path:
            return True
        if FILE in path:
            return not Path(path.partition(FILE)[2]).resolve().is_relative_to(self.folder)
        return False


def with_policy(send: Send) -> Send:
    """`send` with the content security policy among the headers."""

    async def send_with_policy(message: dict) -> None:
        if message["type"] == "http.response.start":
            policy = (b"content-security-policy", POLICY.encode())
            message = {**message, "headers": [*message.get("headers", []), policy]}
        await send(message)

    return send_with_policy

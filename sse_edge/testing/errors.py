"""What a test is told when there is no stream, or no more of it."""

from __future__ import annotations

import json

from ..asgi import Headers
from ..errors import EdgeError
from ..outcome import OVER, REFUSALS

_STATUS = {refusal.code: refusal.status for refusal in REFUSALS}


class RefusedError(EdgeError):
    """A request for a stream got none.

    ``status``, ``code`` and ``detail`` are what the edge says, as docs/SETTINGS.md lists it; where somebody
    else answered the code is "", and the detail the body's text.  A 429 or 503 has that status here also
    where it is said with 200, as a stream that an EventSource survives.  ``headers`` and ``body`` are the
    answer's.
    """

    def __init__(self, path: str, status: int, headers: Headers, body: bytes) -> None:
        self.headers = headers
        self.body = body
        self.code, self.detail = _said(body) if status != OVER.status else (OVER.code, OVER.detail)
        self.status = _STATUS.get(self.code, status) if status == 200 else status
        what = f"{self.status} {self.code}".rstrip()
        super().__init__(f"{path} gave no stream: {what} ({self.detail})")


class StreamEndedError(EdgeError):
    """The stream was over before what the test waited for; ``reason`` is what it said, or ""."""

    def __init__(self, path: str, reason: str, wanted: str) -> None:
        self.reason = reason
        super().__init__(f"{path} ended{f' as {reason}' if reason else ''} before {wanted}")


def _said(body: bytes) -> tuple[str, str]:
    text = body.decode("utf-8", "replace")
    try:
        said = json.loads(text)
        return str(said["error"]), str(said["detail"])
    except (ValueError, TypeError, KeyError):
        return "", text if len(text) <= 200 else f"{text[:200]}…"

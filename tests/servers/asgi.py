"""A scripted ASGI server: one request or one lifespan, every step of it in the test's hands."""

import asyncio
import contextlib
from collections.abc import Mapping
from urllib.parse import quote


class Ledger:
    """Every message and header list that any client got, to notice one that is used again.

    Middlewares such as Starlette's GZipMiddleware change messages in place; an app that hands one
    object to two connections would send one client's changes to the other.
    """

    def __init__(self):
        self._seen = {}

    def enter(self, value, what):
        """Remember an object; AssertionError when it was here before."""
        # The object itself is kept, so that its id stays its own.
        assert id(value) not in self._seen, f"{what} was sent before: {value!r}"
        self._seen[id(value)] = value


class ASGIClient:
    """One HTTP request to an ASGI app, in a task of its own.

    ``start`` begins it.  A send that ``block_send`` holds up returns after ``unblock_send``, or after
    ``disconnect`` as in uvicorn.  ``spec_version`` 2.4 and later makes a send after the disconnect
    raise OSError; before that it does nothing.  ``repeats_disconnect=False`` lets a second
    ``receive`` after the disconnect wait for ever, as hypercorn does.  A ``body`` that is a list comes in
    these pieces; what is None in it never comes.

    What the app does against the ASGI specification raises in the app, and again in the test by
    ``ended``, ``cancel`` or ``check``.
    """

    def __init__(
        self,
        app,
        path="/",
        *,
        method="GET",
        headers=(),
        query="",
        client=("127.0.0.1", 50_000),
        root_path="",
        scheme="http",
        body=b"",
        spec_version="2.3",
        repeats_disconnect=True,
        ledger=None,
        extra=None,
    ):
        self.app = app
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": spec_version},
            "http_version": "1.1",
            "method": method,
            "scheme": scheme,
            "path": root_path + path,
            "raw_path": quote(root_path + path, safe="/:;@!$&'()*+,=").encode(),
            "query_string": query.encode() if isinstance(query, str) else query,
            "root_path": root_path,
            "headers": [(_bytes(name).lower(), _bytes(value)) for name, value in pairs],
            "client": client,
            "server": ("127.0.0.1", 80),
            **(extra or {}),
        }
        if not any(name == b"host" for name, _ in self.scope["headers"]):
            self.scope["headers"].insert(0, (b"host", b"testserver"))
        self.messages = []
        """Copies of everything sent before the disconnect."""
        self.status = None
        self.headers = []
        self.complete = False
        self.sends_after_disconnect = 0
        self._body = bytearray()
        self._request_body = [body] if isinstance(body, bytes) else list(body)
        self._raises = tuple(map(int, spec_version.split("."))) >= (2, 4)
        self._repeats = repeats_disconnect
        self._receives = 0
        self._disconnected = asyncio.Event()
        self._flow = asyncio.Event()
        self._flow.set()
        self._changed = asyncio.Event()
        self._ledger = ledger or Ledger()
        self._faults = []
        self._told = False
        self.waiting_sends = 0
        """How many sends are held up at the moment."""
        self.task = None

    def open(self):
        """Begin the request without waiting for anything."""
        if self.task is None:
            self.task = asyncio.ensure_future(self.app(self.scope, self._receive, self._send))
            self.task.add_done_callback(self._done)
        return self

    async def start(self, timeout=5):
        """Begin the request if need be, and wait for status and headers."""
        self.open()
        await self._wait(lambda: self.status is not None, timeout, "http.response.start")
        return self.status, self.headers

    def header(self, name):
        """The one value of a response header as text, or None; fails when it is repeated."""
        values = [value for key, value in self.headers if key == _bytes(name).lower()]
        assert len(values) < 2, f"{name} is sent {len(values)} times: {values}"
        return values[0].decode("latin-1") if values else None

    def body(self):
        """The body's bytes so far."""
        return bytes(self._body)

    async def wait_for(self, text, timeout=5):
        """Wait until ``text`` is in the body; the whole body so far."""
        self.open()
        await self._wait(lambda: text in self._body, timeout, repr(text))
        return self.body()

    async def whole(self, timeout=5):
        """Wait until the response is complete and the app has returned; the body."""
        self.open()
        await self.ended(timeout)
        assert self.complete, f"the app returned without completing the response: {self._state()}"
        return self.body()

    async def ended(self, timeout=5):
        """Wait until the app has returned; raises what the app raised."""
        await self._wait(self.task.done, timeout, "the app's return")
        self._finish()

    def disconnect(self):
        """The client goes away."""
        self._disconnected.set()
        self._changed.set()

    async def cancel(self, timeout=5):
        """Cancel the app's task, as a server does on shutdown, and wait until it has ended."""
        self.task.cancel()
        await asyncio.wait([self.task], timeout=timeout)
        assert self.task.done(), f"the app did not end when cancelled: {self._state()}"
        self._finish()

    async def close(self):
        """End the request one way or another; raises what the app raised, unless the test has seen it."""
        if self.task is None:
            return
        if not self.task.done():
            self.disconnect()
            await self.cancel()
        if not self._told:
            self._finish()

    def block_send(self):
        """From now on a send suspends, as it does when the peer does not read."""
        self._flow.clear()

    def unblock_send(self):
        """End ``block_send``; sends that wait go on."""
        self._flow.set()

    def check(self):
        """Raise what the app did against the ASGI specification."""
        if self._faults:
            raise AssertionError("; ".join(self._faults))

    async def __aenter__(self):
        return self.open()

    async def __aexit__(self, *exc):
        await self.close()

    async def _receive(self):
        if self._request_body and self._request_body[0] is not None:
            piece = self._request_body.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(self._request_body)}
        # A server tells of the disconnect also when the response is complete.
        while not (self._disconnected.is_set() or self.complete):
            self._changed.clear()
            await self._changed.wait()
        self._receives += 1
        self._demand(self._receives < 1000, "the app calls receive() in a loop after the disconnect")
        if self._receives > 1 and not self._repeats:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def _send(self, message):
        self._examine(message)
        if self._disconnected.is_set():
            self._late_send()
            return
        if not self._flow.is_set():
            await self._hold()
            if self._disconnected.is_set():
                self._late_send()
                return
        self._record(message)

    def _late_send(self):
        self.sends_after_disconnect += 1
        if self._raises:
            raise OSError("the client has disconnected")

    async def _hold(self):
        waits = [asyncio.ensure_future(self._flow.wait()), asyncio.ensure_future(self._disconnected.wait())]
        self.waiting_sends += 1
        self._changed.set()
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.waiting_sends -= 1
            for wait in waits:
                wait.cancel()

    def _examine(self, message):
        """What holds for a message on its own."""
        with self._noting():
            self._ledger.enter(message, "this message")
        if message["type"] == "http.response.start":
            self._demand(type(message["status"]) is int, f"status is {message['status']!r}")
            headers = message.get("headers", ())
            if isinstance(headers, list):
                with self._noting():
                    self._ledger.enter(headers, "this header list")
            for name, value in headers:
                pair = type(name) is bytes and type(value) is bytes and name == name.lower()
                self._demand(pair, f"a header is {(name, value)!r}")
        elif message["type"] == "http.response.body":
            self._demand(type(message.get("body", b"")) is bytes, f"body is {message.get('body')!r}")
        else:
            self._demand(False, f"unexpected message {message['type']!r}")

    def _record(self, message):
        if message["type"] == "http.response.start":
            self._demand(self.status is None, "http.response.start is sent twice")
            self.status = message["status"]
            self.headers = list(message.get("headers", ()))
        else:
            self._demand(self.status is not None, "a body is sent before http.response.start")
            self._demand(not self.complete, "a body is sent after the last one")
            self._body += message.get("body", b"")
            self.complete = not message.get("more_body", False)
        self.messages.append(dict(message))
        self._changed.set()

    @contextlib.contextmanager
    def _noting(self):
        try:
            yield
        except AssertionError as error:
            self._faults.append(str(error))
            raise

    def _demand(self, holds, what):
        with self._noting():
            assert holds, what

    def _done(self, task):
        if not task.cancelled():
            task.exception()  # asked for here, so that asyncio does not log it as never retrieved
        self._changed.set()

    def _finish(self):
        """Raise what the app did wrong, or what it raised."""
        self._told = True
        self.check()
        if not self.task.cancelled():
            self.task.result()

    async def _wait(self, condition, timeout, what):
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    if self._faults or self.task.done():
                        self._finish()
                        raise AssertionError(f"the app returned before {what}: {self._state()}")
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise TimeoutError(f"waited {timeout} s for {what}: {self._state()}") from None

    def _state(self):
        return f"status {self.status}, body ends {self.body()[-500:]!r}"


class LifespanDriver:
    """The lifespan of an ASGI app, in a task of its own; ``state`` is what the app leaves for requests."""

    def __init__(self, app):
        self.app = app
        self.state = {}
        self._inbox = asyncio.Queue()
        self._outbox = asyncio.Queue()
        self.task = None

    async def startup(self, timeout=5):
        """Send lifespan.startup; returns at startup.complete, raises at startup.failed."""
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        self.task = asyncio.ensure_future(self.app(scope, self._inbox.get, self._outbox.put))
        await self._step("startup", timeout)
        return self.state

    async def shutdown(self, timeout=5):
        """Send lifespan.shutdown; returns once the app has completed it and returned."""
        await self._step("shutdown", timeout)
        async with asyncio.timeout(timeout):
            await self.task

    async def close(self):
        """Cancel the app if it is still there."""
        if self.task is not None and not self.task.done():
            self.task.cancel()
            await asyncio.wait([self.task], timeout=5)
        if self.task is not None and not self.task.cancelled():
            self.task.exception()

    async def __aenter__(self):
        try:
            await self.startup()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *exc):
        try:
            if exc[0] is None:
                await self.shutdown()
        finally:
            await self.close()

    async def _step(self, name, timeout):
        await self._inbox.put({"type": f"lifespan.{name}"})
        answer = asyncio.ensure_future(self._outbox.get())
        try:
            await asyncio.wait([answer, self.task], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                if self.task.done():
                    self.task.result()
                    raise AssertionError(f"the app returned without completing {name}")
                raise TimeoutError(f"no lifespan.{name}.complete within {timeout} s")
            message = answer.result()
        finally:
            answer.cancel()
        if message["type"] == f"lifespan.{name}.failed":
            raise RuntimeError(f"lifespan.{name}.failed: {message.get('message', '')}")
        assert message["type"] == f"lifespan.{name}.complete", f"unexpected message {message!r}"


def _bytes(value):
    return value if isinstance(value, bytes) else str(value).encode("latin-1")

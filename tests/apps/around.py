"""``apps.edge`` inside middlewares that wrap what the server gives, as a framework's own do."""

from .edge import edge


async def send_wrapped(scope, receive, send):
    """As with Starlette's ``add_middleware``: ``send`` is not the server's any more."""

    async def other(message):
        await send(message)

    await edge(scope, receive, other if scope["type"] == "http" else send)


async def both_wrapped(scope, receive, send):
    """As under one more http middleware: nor is ``receive``."""

    async def another():
        return await receive()

    await send_wrapped(scope, another if scope["type"] == "http" else receive, send)

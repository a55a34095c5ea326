"""The model, which is pretended: it knows one answer, and speaks 40 tokens a second.

Your provider's iterator goes here.  With the openai package, for one::

    async def answer(prompt):
        stream = await client.responses.create(model="…", input=prompt, stream=True)
        async for event in stream:
            if event.type == "response.output_text.delta":
                yield event.delta

All that is asked of it: it yields text, raises where it fails, and closes its connection in ``finally`` (or
``async with``), since a stop ends it where it waits.
"""

import asyncio
import re
from collections.abc import AsyncGenerator

SECONDS = 1 / 40

TEXT = """
An answer like this one is written to a channel, and pages read the channel. Neither knows of the other.

That is why you may reload this page in the middle: it is given everything that was said so far, and then \
what is said next, with nothing missing in between and nothing twice. Open it in a second tab, and both \
speak the same words. Close all of them, and the answer is finished all the same.

The worker that serves your page may be killed: the page comes back by itself, to another worker, and goes \
on at the very word. If the worker that writes the answer is killed, nobody is left to go on, and the page \
is told so within seconds, instead of waiting for ever.
"""


def tokens(prompt: str) -> list[str]:
    """What is answered to ``prompt``: at length or briefly if it asks for that."""
    asked = prompt.lower()
    text = TEXT * 6 if "at length" in asked else TEXT[:105] if "briefly" in asked else TEXT
    return re.findall(r"\s*\S{1,6}", f"You said “{prompt}”.\n{text}")


async def answer(prompt: str) -> AsyncGenerator[str, None]:
    """The answer to ``prompt``, token by token; a prompt that says "fail" is too much for it."""
    for number, token in enumerate(tokens(prompt)):
        if number == 20 and "fail" in prompt:
            raise ConnectionError("the provider has hung up")
        await asyncio.sleep(SECONDS)
        yield token

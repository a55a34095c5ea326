"""What docs/WRITING.md does not show."""

import asyncio
from collections.abc import Iterator

from celery import Celery

celery = Celery()
chat = prompt = "7"


class model:
    """A language model's client."""

    @staticmethod
    def stream(prompt: str) -> Iterator[str]:
        """The pieces of its answer."""
        yield prompt

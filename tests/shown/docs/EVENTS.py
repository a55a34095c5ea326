"""What docs/EVENTS.md does not show."""

import asyncio
import html
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

api = FastAPI()
session_id = "7"


class Order:
    """A model of Django's."""

    state: str
    objects: Any

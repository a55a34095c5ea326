"""The paths of an edge: of two of which one is the other, or below it, only one would be answered."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import permutations

from .admission.routes import Routes
from .errors import ConfigError


@dataclass(frozen=True, slots=True)
class Paths:
    """Where streams are, the status, and what is published; None is nowhere.  Each is known to be a path.

    Raises ConfigError where they are not apart.
    """

    path: str
    status_path: str | None = None
    publish_path: str | None = None

    def __post_init__(self) -> None:
        self._check_apart()

    def check_client(self, at: str | None, given: str | None, routes: Routes) -> None:
        """ConfigError where something else is ``at`` the client's place; templates leave it its own."""
        if at is None:
            return
        if routes.names(at):
            raise ConfigError("client_path", "must not be the path of a stream", given)
        if not routes.under(at):
            self._check_apart(client_path=at)

    def _check_apart(self, **others: str) -> None:
        paths = {**asdict(self), **others}
        given = [(field, path.rstrip("/") + "/") for field, path in paths.items() if path is not None]
        for (field, path), (other, above) in permutations(reversed(given), 2):
            if path.startswith(above):
                why = f"must not be at or below {other}, which is {above[:-1] or '/'}"
                raise ConfigError(field, why, path[:-1])

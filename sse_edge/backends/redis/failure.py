"""What Redis or the network says of a command that failed, and whether it may have happened."""

from __future__ import annotations

from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as LostError

from ...errors import BackendError

# A script meets these at its first write or not at all: later Redis does not ask any more.
_BEFORE_A_WRITE = (ReadOnlyError, OutOfMemoryError)
_BEFORE_A_WRITE_CODES = ("MISCONF ", "NOREPLICAS ")

# These a script's command may meet at any time, and then the text says that it was in a script.
_AT_THE_DOOR = (
    AskError,  # and MOVED
    AuthenticationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,  # and MASTERDOWN
    NoPermissionError,
    NoScriptError,
    TryAgainError,
)
_AT_THE_DOOR_CODES = ("BUSY ",)


def is_refusal(error: BaseException) -> bool:
    """Whether Redis answered that it has changed nothing.  An answer that is not known counts as none."""
    if isinstance(error.__context__, ReadOnlyError):
        return True  # what redis-py makes of READONLY on a connection that Sentinel named
    text = str(error)
    if isinstance(error, _BEFORE_A_WRITE) or text.startswith(_BEFORE_A_WRITE_CODES):
        return True
    if "script: " in text or "@user_script" in text:
        return False
    return isinstance(error, _AT_THE_DOOR) or text.startswith(_AT_THE_DOOR_CODES)


def told(error: BaseException) -> str:
    """What an error says, but not what Redis repeats of a command that it does not know: a password, or an
    event."""
    return str(error).partition(", with args beginning with")[0] or "no answer in time"


class CommandError(BackendError):
    """A command was not confirmed; ``sent`` is whether Redis may have executed it, at least in part."""

    def __init__(self, error: BaseException, *, sent: bool) -> None:
        refusal = is_refusal(error)
        self.sent = sent and not refusal
        loading = isinstance(error, BusyLoadingError)  # not there yet
        self.answered = not loading and (refusal or isinstance(error, ResponseError))
        super().__init__(f"Redis: {told(error)}")

    @classmethod
    def said(cls, text: bytes, *, sent: bool) -> CommandError:
        """What a script says about one event, and whether that may be out all the same."""
        error = cls(RedisError(text.decode(errors="replace")), sent=sent)
        error.sent = sent
        return error

    def unsure(self) -> CommandError:
        """The same, where Redis may have executed it all the same."""
        error = CommandError(self, sent=True)
        error.args, error.sent, error.__cause__ = self.args, True, self.__cause__
        return error

    @property
    def is_lost(self) -> bool:
        """Whether the connection ended while Redis may have been executing it."""
        return self.sent and isinstance(self.__cause__, LostError)


class FinishedError(CommandError):
    """A channel has had its last event, and takes no more; nothing was changed."""

    def __init__(self, channel: str) -> None:
        super().__init__(RedisError("finished"), sent=False)
        self.args = (f"channel {channel!r} has had its last event",)

"""A terminal that is drawn on, by curses; it is left as it was found."""

from __future__ import annotations

import contextlib
import curses
import locale
import os
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from .table import Line

NAMES = {
    "\n": "enter", "\r": "enter", "\t": "tab", "\x1b": "escape", "\x7f": "backspace", "\b": "backspace",
    curses.KEY_ENTER: "enter", curses.KEY_BACKSPACE: "backspace", curses.KEY_UP: "up",
    curses.KEY_DOWN: "down", curses.KEY_PPAGE: "pageup", curses.KEY_NPAGE: "pagedown",
}  # fmt: skip

COLOURS = {"good": curses.COLOR_GREEN, "warn": curses.COLOR_YELLOW, "bad": curses.COLOR_RED}


def can_draw() -> bool:
    """Whether the terminal can put its cursor anywhere."""
    try:
        curses.setupterm()
    except curses.error:  # TERM is not set, or names a terminal that nobody knows
        return False
    return curses.tigetstr("cup") is not None


class Terminal:
    """Draws on the whole terminal between ``with`` and its end.  Without ``colour`` it uses none."""

    def __init__(self, *, colour: bool) -> None:
        self._colour = colour
        self._styles: dict[str, int] = {}
        self.ascii = False
        """Whether it shows nothing else."""

    def __enter__(self) -> Self:
        locale.setlocale(locale.LC_ALL, "")
        self.ascii = not locale.nl_langinfo(locale.CODESET).upper().startswith("UTF")
        os.environ.setdefault("ESCDELAY", "25")  # milliseconds that an escape waits to be part of a key
        self._window = curses.initscr()
        curses.noecho()
        curses.cbreak()
        self._window.keypad(True)
        self._window.nodelay(True)
        with contextlib.suppress(curses.error):  # it has no way to hide it
            curses.curs_set(0)
        self._styles = {"head": curses.A_REVERSE, "dim": curses.A_DIM, "bad": curses.A_BOLD}
        if self._colour and curses.tigetnum("colors") >= 8:
            curses.start_color()
            curses.use_default_colors()
            for number, (style, colour) in enumerate(COLOURS.items(), 1):
                curses.init_pair(number, colour, -1)
                self._styles[style] = self._styles.get(style, 0) | curses.color_pair(number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._window.keypad(False)
        curses.nocbreak()
        curses.echo()
        curses.endwin()

    @property
    def room(self) -> tuple[int, int]:
        """Columns and lines."""
        lines, columns = self._window.getmaxyx()
        return columns, lines

    def resize(self) -> None:
        """Learn how large the terminal is now."""
        size = os.get_terminal_size()
        curses.resizeterm(max(1, size.lines), max(1, size.columns))
        self._window.clear()

    def draw(self, lines: Sequence[Line]) -> None:
        """Show these lines from the first one on."""
        self._window.erase()
        for at, line in enumerate(lines):
            try:
                self._window.move(at, 0)
                for text, style in line:
                    self._window.addstr(text, self._styles.get(style, 0))
            except curses.error:
                pass  # the cursor has no place behind the last character
        self._window.refresh()

    def keys(self) -> list[str]:
        """What was pressed: characters, and names of keys that are none."""
        pressed: list[str] = []
        while True:
            try:
                key = self._window.get_wch()
            except curses.error:
                return pressed
            name = NAMES.get(key, key)
            if isinstance(name, str):
                pressed.append(name)

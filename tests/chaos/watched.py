"""The verdict on those who see a job from the beginning to the end.

- A watcher that has no place gets all that there is first, and then what comes: every number once, in order.
- It is told the end, and what the end says was all there is; whoever has heard it is told no more.
- 204 is for those who have had the end.

Only where Redis may have lost data is a hole forgiven, or an end that is heard twice.
"""

from .record import Closed, Odd, Opened, Over, Reset, Said
from .verdict import Violation


def judge_watchers(record, rules):
    """All violations, of all watchers."""
    violations = []
    for name, journal in record.watchers.items():
        violations += _Watcher(name, record, rules).judge(journal)
    return violations


class _Watcher:
    def __init__(self, name, record, rules):
        self.name = name
        self.record = record
        self.rules = rules
        self.violations = []
        self.began = None
        self.at = 0.0
        self.next = 0
        self.end = ""
        self.channel = ""
        self.fresh = False
        """Whether nothing was heard on this connection yet: over several orders of events some may repeat."""

    def judge(self, journal):
        for note in journal:
            self.at = note.at
            self._note(note)
        return self.violations

    def _note(self, note):
        if isinstance(note, Opened):
            self.channel = note.channels[0]
            self.fresh = True
            self.began = note.at if self.began is None else self.began
            if not note.cursor:
                self.next, self.end = 0, ""  # it is given all of it again
        elif isinstance(note, Said):
            self._hear(note)
        elif isinstance(note, Reset):
            if note.reason != "gap" or not self.rules.accepts_blindly:
                self._say("needless reset", note.reason)
            self.next, self.end = None, ""
        elif isinstance(note, Over):
            if not self.end:
                self._say("told over", f"it was at {self.next}, and has not heard the end")
        elif isinstance(note, Closed):
            if note.why == "finished" and not self.end:
                self._say("told over", f"by the stream: it was at {self.next}, and has not heard the end")
        elif isinstance(note, Odd):
            self._say("odd", note.text, always=True)

    def _hear(self, note):
        numbers = list(note.numbers)
        repeats = self.fresh and self.rules.partitions > 1
        if repeats and numbers and not note.end and self.next is not None and numbers[0] < self.next:
            self.next, self.end = numbers[0], ""
        if self.end and not repeats:
            self._say("after the end", f"{note.numbers or note.end}")
        if note.end in ("end", "complete"):
            count = numbers.pop()
            if self.next is not None and count not in (-1, self.next):
                self._say("lost", f"the end says that there are {count}, and it was at {self.next}")
        for number in numbers:
            self._count(number)
        if note.end:
            self.end = note.end
        self.fresh = False

    def _count(self, number):
        if self.next is None:
            self.next = number
        if number > self.next:
            self._say("lost", f"{number} came, and {self.next} was to come")
        elif number < self.next:
            self._say("twice", f"{number} came, and {self.next} was to come")
        self.next = number + 1

    def _say(self, kind, text, *, always=False):
        # The job may have begun, and Redis lost what there was, before this watcher came.
        if always or not self.record.lost(0.0, self.at):
            self.violations.append(Violation(kind, self.at, self.name, self.channel, text))

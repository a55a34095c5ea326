"""Who can sign in to the demo, and what each has ordered."""

from __future__ import annotations

from typing import NamedTuple


class Person(NamedTuple):
    """A user of the demo."""

    user: str
    name: str
    order: str
    item: str


PEOPLE = {
    person.user: person
    for person in (
        Person("alice", "Alice", "1001", "a blue teapot"),
        Person("bob", "Bob", "2002", "a pair of hiking boots"),
    )
}


def other_than(person: Person) -> Person:
    """Somebody else."""
    return next(other for other in PEOPLE.values() if other != person)

"""The timer wheel, on a clock of numbers."""

import random

from sse_edge.delivery.wheel import TICK, Wheel


class Item:
    """What the wheel needs of a stream."""

    bucket = None


def test_due_once_and_not_before():
    """A stream comes out once, at the first look at or after its moment."""
    wheel, item = Wheel(100.0), Item()
    wheel.place(item, 101.0)
    assert wheel.due(100.9) == []
    assert wheel.due(101.0 + TICK) == [item]
    assert wheel.due(200.0) == []


def test_placing_again_moves():
    """A stream that is placed again is due at its new moment only."""
    wheel, item = Wheel(0.0), Item()
    wheel.place(item, 1.0)
    wheel.place(item, 3.0)
    assert wheel.due(2.0) == []
    assert wheel.due(3.1) == [item]


def test_removed_is_not_due():
    """A removed stream never comes out, and removing it again does nothing."""
    wheel, item = Wheel(0.0), Item()
    wheel.place(item, 1.0)
    wheel.remove(item)
    wheel.remove(item)
    assert wheel.due(5.0) == []


def test_never_is_not_kept():
    """A stream without a next moment is in no bucket."""
    wheel, item = Wheel(0.0), Item()
    wheel.place(item, float("inf"))
    assert wheel.due(1e9) == []


def test_a_moment_in_the_past_is_the_next_look():
    """A stream placed for a moment that has passed comes out at the next tick."""
    wheel, item = Wheel(10.0), Item()
    wheel.due(20.0)
    wheel.place(item, 5.0)
    assert wheel.due(20.0 + TICK) == [item]


def test_after_a_long_pause_everything_comes_out():
    """After the process stood still, every stream of the time in between comes out, oldest first."""
    wheel = Wheel(0.0)
    items = [Item() for _ in range(50)]
    for second, item in enumerate(items, start=1):
        wheel.place(item, float(second))
    assert wheel.due(1_000_000.0) == items


def test_against_a_sorted_list():
    """Ten thousand random placements, moves and removals give what a plain list would, within a tick."""
    chance = random.Random(7)
    wheel, now = Wheel(0.0), 0.0
    due: dict[Item, float] = {}
    items = [Item() for _ in range(300)]
    for _ in range(10_000):
        item = chance.choice(items)
        action = chance.random()
        if action < 0.6:
            due[item] = now + chance.uniform(0, 5)
            wheel.place(item, due[item])
        elif action < 0.8:
            due.pop(item, None)
            wheel.remove(item)
        else:
            now += chance.uniform(0, 0.5)
            out = wheel.due(now)
            assert len(out) == len(set(out))
            for came in out:
                assert due.pop(came) <= now
            assert all(moment > now - TICK for moment in due.values())


def test_many_are_taken_out_some_at_a_time():
    """What is due beyond the number asked for stays due, can be moved or removed, and comes out once."""
    wheel = Wheel(0.0)
    early, late = [Item() for _ in range(10)], [Item() for _ in range(10)]
    for item in early:
        wheel.place(item, 1.0)
    for item in late:
        wheel.place(item, 2.0)
    out = wheel.due(3.0, 4)
    assert len(out) == 4
    assert set(out) <= set(early)
    moved, removed = [item for item in early if item not in out][:2]
    wheel.place(moved, 9.0)
    wheel.remove(removed)
    again = Item()
    wheel.place(again, 0.5)  # its moment has passed: it is due with the rest
    while part := wheel.due(3.0, 4):
        assert len(part) <= 4
        out += part
    assert len(out) == len(set(out)) == 19
    assert set(out) == {*early, *late, again} - {moved, removed}
    assert wheel.due(10.0, 4) == [moved]
    assert wheel._buckets == {}

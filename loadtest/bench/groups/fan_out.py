"""Events to many streams: of one channel, warm and cold, of as many channels, and with gzip."""

import json
from collections.abc import Mapping
from statistics import median

from ...client.counting import MARK, Streams
from ..arena import Contender, Content
from ..contenders import Edge
from ..run import SILENCE, Run, burst, one_at_a_time

BURST = [number * 0.002 for number in range(100)]  # when the events of a burst are published, in seconds
OVERLAP = 4  # events published in the time of one fan-out: there is no pause, and no more than it can take
SLOW = {"sse-starlette", "django-eventstream"}  # have one burst: it takes minutes and no target needs more
PACE = 0.005  # seconds between events to one stream each: who delivers one is done with it before the next
ORDERS = 50  # orders whose cards change in turn


def card(number: int, overhead: int) -> str:
    """A piece of a page as htmx or Turbo swap it in: one order of many, about 400 bytes."""
    order = number * 17 % ORDERS
    state = ("received", "packed", "on its way", "delivered")[number // ORDERS % 4]
    minutes, euros = number * 7 % 60, 20 + order * 37 % 180
    return (
        f'<article id="order-{1000 + order}" class="card card-compact border shadow-sm" data-state="{state}">'
        f'<header class="card-header"><h3 class="card-title">Order {1000 + order}</h3>'
        f'<span class="badge badge-info">{state}</span></header><dl class="card-body"><dt>Total</dt>'
        f"<dd>{euros}.{number % 100:02} EUR</dd><dt>Updated</dt>"
        f'<dd><time datetime="2026-03-01T12:{minutes:02}:{number % 60:02}Z">12:{minutes:02}</time></dd></dl>'
        f"</article>{MARK.decode()}"
    )


def tick(number: int, overhead: int) -> str:
    """A price as JSON, about 130 bytes."""
    price = 17_000 + number * 7919 % 1000
    found = {
        "symbol": ("ACME", "GLOBEX", "INITECH", "UMBRELLA")[number % 4],
        "bid": price / 100,
        "ask": (price + 1 + number % 3) / 100,
        "size": number * 31 % 900 + 100,
        "at": f"2026-03-01T12:{number // 60 % 60:02}:{number % 60:02}.{number * 137 % 1000:03}Z",
        "venue": f"XETRA{MARK.decode()}",
    }
    return json.dumps(found, separators=(",", ":"))


CONTENTS: dict[str, Content] = {"cards": card, "ticks": tick}


def warm(run: Run) -> None:
    """One event at a time, bursts, and the event loop meanwhile, with more and more streams."""
    sizes, names = run.plan.sizes, run.names
    if not run.parts & {"single", "burst"}:
        sizes, names = sizes[-1:], ["sse_edge"]
    with run.contenders(names, KEEP_ALIVE=SILENCE) as contenders:
        for size in sizes:
            run.grow(contenders, size)
            for name, contender in contenders.items():
                if isinstance(contender, Edge):
                    run.notes[f"streams of {name} are written through"] = contender.check_sink()
                one_at_a_time(contender, 1)  # not counted
            if "single" in run.parts:
                _single(run, contenders, size)
            if "burst" in run.parts:
                _burst(run, contenders, size)
        if "loop" in run.parts:
            _loop(run, contenders["sse_edge"], sizes[-1])


def _single(run: Run, contenders: Mapping[str, Contender], size: int) -> None:
    events = run.plan.events
    for name, contender in run.turns(contenders, run.plan.rounds, f"{size:,} streams, one event at a time"):
        cpu, lasts, arrivals = one_at_a_time(contender, events)
        client = sum(one.cpu for one in arrivals) / events / size
        run.add(name, size, single_cpu=cpu / events / size, single_last=median(lasts), client_cpu=client)
        run.wire_bytes[name] = arrivals[-1].size / size


def _burst(run: Run, contenders: Mapping[str, Contender], size: int) -> None:
    delivered = len(BURST) * size
    what = f"{size:,} streams, {len(BURST)} events at 2 ms"
    for name, contender in run.turns(contenders, run.plan.few_rounds, what):
        if name in SLOW and size in run.samples.get("burst_rate", {}).get(name, {}):
            continue
        cpu, p50, p99, took, reading = burst(contender, BURST)
        run.add(name, size, burst_rate=delivered / took, burst_cpu=cpu / delivered)
        run.add(name, size, burst_p50=p50, burst_p99=p99, burst_client_busy=reading / took)


def _loop(run: Run, edge: Contender, size: int) -> None:
    what = f"{size:,} streams, the event loop meanwhile"
    for name, _ in run.turns({"sse_edge": edge}, run.plan.few_rounds, what):
        _, lasts, _ = one_at_a_time(edge, 3)
        fan_out = median(lasts)
        spacing = fan_out / OVERLAP
        events = max(OVERLAP, round(run.plan.loop_seconds / spacing))
        edge.reader.expect(events)
        edge.ask("/bench/probe/start")
        edge.publish([number * spacing for number in range(events)])
        edge.reader.answer()
        run.add(name, size, loop_longest=edge.ask("/bench/probe/stop")["longest"], loop_fan_out=fan_out)


def cold(run: Run) -> None:
    """The first event after connecting, and the tenth; streams are opened again and again."""
    size = run.plan.streams
    with run.contenders(["floor", "sse_edge", "nchan"], KEEP_ALIVE=SILENCE) as contenders:
        for contender in contenders.values():
            contender.grow(min(100, size))
            one_at_a_time(contender, 1)  # what a process does for the first time is not the streams'
        what = f"the first event of {size:,} streams"
        for name, contender in run.turns(contenders, run.plan.some_rounds, what):
            contender.leave()
            contender.collect()
            contender.grow(size)
            first, _, _ = one_at_a_time(contender, 1)
            one_at_a_time(contender, 8)
            tenth, _, _ = one_at_a_time(contender, 1)
            run.add(name, size, first_cpu=first / size, tenth_cpu=tenth / size)


def channels(run: Run) -> None:
    """As many channels as streams: each round an event to each at once, then to one alone."""
    size = run.plan.channels
    names = ("floor", "sse_edge, own channels", "nchan, own channels")
    pace = [number * PACE for number in range(run.plan.singles)]
    with run.contenders(names, KEEP_ALIVE=SILENCE) as contenders:
        run.grow(contenders, size)
        for contender in contenders.values():
            one_at_a_time(contender, 1)
        for name, contender in run.turns(contenders, run.plan.some_rounds, f"{size:,} channels"):
            cpu, _, _ = one_at_a_time(contender, 2)
            contender.reader.tell(Streams.each, len(pace))
            published = contender.publish(pace, each=True)
            moments = contender.reader.answer()
            waits = sorted(came - sent for came, sent in zip(moments, published, strict=True))
            p50, p99 = (waits[len(waits) * part // 100] for part in (50, 99))
            run.add(name, size, channels_cpu=cpu / size / 2, alone_p50=p50, alone_p99=p99)


def compressed(run: Run) -> None:
    """What clients that take gzip are sent, beside those that do not: two kinds of content, one at a time."""
    size, events = run.plan.streams, run.plan.packed_events
    settings = {"KEEP_ALIVE": SILENCE, "COMPRESS": "1"}
    with run.contender("sse_edge", **settings) as plain, run.contender("sse_edge", **settings) as gzip:
        gzip.headers = ("Accept-Encoding: gzip",)
        contenders = {"plain": plain, "gzip": gzip}
        run.grow(contenders, size)
        packed = gzip.reader.ask(Streams.packed)
        said = f"gzip, {packed:,} of {size:,}" if packed else "plain text"
        run.notes["clients that take gzip are sent"] = said
        for what, content in CONTENTS.items():
            saying = f"{size:,} streams, {events} {what} one at a time"
            for name, contender in run.turns(contenders, run.plan.few_rounds, saying):
                contender.content = content
                cpu, _, arrivals = one_at_a_time(contender, events)
                sent = sum(arrival.size for arrival in arrivals) / size / events
                run.add(name, size, **{f"{what}_bytes": sent, f"{what}_cpu": cpu / size / events})

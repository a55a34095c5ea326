"""Streams in number: who leaves, waits, is stuck, comes too often."""

import socket
import time
from collections import Counter

import gevent

from loadtest.client.stream import State
from loadtest.client.swarm import NUMBERS

from .played import HEAD, Peer, chunk, counted, ear, event, faults, one, serving, until


def leave():
    """The newest go for good, while events come."""
    with serving() as server:
        served = server.serve(Peer.greet)
        server.swarm.add(3)
        until(lambda: server.swarm.behind({})["live"] == 3)
        streams = list(server.swarm.streams.values())
        now = time.time()
        for peer in served:
            peer.send(event(1, now), *([event(3, now)] if peer.user == "u2" else []))
        until(lambda: all(stream.last_id for stream in streams) and streams[2].last_id == "3-1")
        server.swarm.remove(2)
        for peer in served:
            if peer.user != "u0":
                peer.gone()
            else:
                peer.send(event(2, now))
        until(lambda: streams[0].last_id == "2-1")
        return {
            "states": [stream.state.name for stream in streams],
            "left": list(server.swarm.streams),
            "behind": server.swarm.behind({"news": (3, now)}),
            "due": len(server.swarm.loop.due),
            "faults": faults(server.swarm, [now] * 3),
            "counted": counted(server.swarm.tally),
        }


def leave_early():
    """More come than may open at once, of two processes' 200, and some go before their turn."""
    with serving(processes=2) as server:
        server.swarm.add(150)
        server.swarm.remove(30)
        asked = counted(server.swarm.tally)["attempts"]
        served = server.serve(Peer.greet)
        until(lambda: server.swarm.behind({})["live"] == 120)
        return {
            "at_once": asked,
            "users": len({peer.user for peer in served}),
            "sources": Counter(Counter(peer.source for peer in served).values()),
            "state": server.swarm.behind({}),
            "counted": counted(server.swarm.tally),
        }


def wait_and_leave():
    """A client leaves while it waits to come back."""
    with serving() as server:
        stream, peer = one(server)
        peer.greet(retry_ms=20)
        until(lambda: stream.state == State.LIVE)
        peer.close()
        until(lambda: stream.state == State.WAITING)
        server.swarm.remove(1)
        until(lambda: not server.swarm.loop.due)  # its turn has come
        return {"state": stream.state.name, "counted": counted(server.swarm.tally)}


def drop():
    """All lose their connections."""
    with serving() as server:
        served = server.serve(Peer.greet)
        server.swarm.add(3)
        until(lambda: server.swarm.behind({})["live"] == 3)
        server.swarm.drop()
        away = server.swarm.behind({})["live"]
        until(lambda: len(served) == 6 and server.swarm.behind({})["live"] == 3)
        return {
            "away": away,
            "places": [peer.field("last-event-id") for peer in served],
            "counted": counted(server.swarm.tally),
        }


def drop_early():
    """A client loses its connection before the head, before its place, and while it waits."""
    with serving() as server:
        stream, _ = one(server)
        stream.retry_ms = 20
        states = [stream.state.name]
        server.swarm.drop()
        again = server.accept()
        again.connection.sendall(HEAD.encode())
        until(lambda: stream.state == State.GREETED)
        states.append(stream.state.name)
        server.swarm.drop()
        states.append(stream.state.name)
        server.swarm.drop()
        last = server.accept()
        last.greet()
        until(lambda: stream.state == State.LIVE)
        return {"states": states, "counted": counted(server.swarm.tally)}


def remove_too_many():
    """More shall leave than there are."""
    with serving() as server:
        server.serve(Peer.greet)
        server.swarm.add(3)
        until(lambda: server.swarm.behind({})["live"] == 3)
        streams = list(server.swarm.streams.values())
        server.swarm.remove(4)
        return {"states": [stream.state.name for stream in streams], "left": list(server.swarm.streams)}


def newcomers():
    """Who is behind: one that joined before an event, after it, has it, was told, or was told before it."""
    with serving(personal=True) as server:
        served = server.serve(Peer.greet)
        server.swarm.add(2)
        until(lambda: server.swarm.behind({})["live"] == 2)
        at = time.time()
        server.swarm.add(1)  # joins after the event
        until(lambda: server.swarm.behind({})["live"] == 3)
        streams = list(server.swarm.streams.values())
        by_user = {peer.user: peer for peer in served}
        reset = 'event: edge-reset\nid: {}-1\ndata: {{"channel": "news", "reason": "trimmed"}}\n\n'

        def behind(at):
            return server.swarm.behind({"news": (1, at), "weather": (5, at)})["behind"]

        found = {"all": behind(time.time()), "none": server.swarm.behind({})["behind"], "joined": behind(at)}
        by_user["u0"].send(reset.format(1))
        until(lambda: streams[0].last_id == "1-1")
        found["told"] = behind(at)
        found["told before"] = behind(time.time())
        by_user["u1"].send(event(1, at))
        until(lambda: streams[1].last_id == "1-1")
        found["heard"] = behind(at)
        found["two"] = server.swarm.behind({"news": (2, time.time()), "user:u1": (1, time.time())})["behind"]
        server.swarm.remove(2)
        found["left"] = behind(time.time())
        return found


def prompt():
    """How long something that is due at once waits while nothing happens."""
    with serving() as server:
        waited = []
        for number in range(6):
            if number % 2:
                gevent.sleep(0.01)  # the loop has just begun to wait
            began = time.monotonic()
            server.swarm.loop.after(0.0, lambda began=began: waited.append(time.monotonic() - began))
            until(lambda number=number: len(waited) > number)
        return {"waited": min(waited[1::2])}


def stall():
    """One of two stops reading, and reads again."""
    with serving() as server:
        served = server.serve(Peer.greet)
        server.swarm.add(2)
        until(lambda: server.swarm.behind({})["live"] == 2)
        stalled = server.swarm.stall(0.5)
        (stuck,) = (stream for stream in server.swarm.streams.values() if stream.stuck)
        (other,) = (stream for stream in server.swarm.streams.values() if not stream.stuck)
        began = time.time()
        for n in (1, 2, 3):
            for peer in sorted(served, key=lambda peer: peer.user != stuck.user):
                peer.send(event(n, began))
            # What came to the stuck one before would have been read by now.
            until(lambda n=n: other.last_id == f"{n}-1")
        during = [stuck.last_id, server.swarm.behind({"news": (3, began)})]
        heard = sum(counted(server.swarm.tally)["latency"].values())
        server.swarm.wake()
        woken = not stuck.stuck
        until(lambda: stuck.last_id == "3-1")
        late = sum(counted(server.swarm.tally)["latency"].values()) - heard
        for peer in served:
            peer.send(event(4))
        until(lambda: stuck.last_id == other.last_id == "4-1")
        return {
            "stalled": stalled,
            "during": during,
            "heard": heard,
            "woken": woken,
            "late": late,
            "behind": server.swarm.behind({"news": (4, time.time())}),
            "faults": faults(server.swarm, [began] * 3 + [time.time()]),
            "counted": counted(server.swarm.tally),
        }


def stall_until_full():
    """What a stuck client does not take stays with the server; an end is seen when it reads again."""
    with serving() as server:
        server.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        stream, peer = one(server)
        peer.greet()
        until(lambda: stream.state == State.LIVE)
        assert server.swarm.stall(1.0) == 1
        peer.connection.setblocking(False)
        sent, whole = 0, chunk(event(1, size=8000)) * 2000
        try:
            while sent < len(whole):
                sent += peer.connection.send(whole[sent : sent + 65_536])
        except BlockingIOError:
            pass
        peer.close()
        state = stream.state.name
        server.swarm.wake()
        again = server.accept()
        again.greet()
        until(lambda: stream.state == State.LIVE)
        return {
            "sent": sent / len(whole),
            "state": state,
            "repeated": len(ear(server.swarm).repeated),
            "counted": counted(server.swarm.tally),
        }


def churn():
    """Clients go and others come, until there is enough of it."""
    with serving() as server:
        served = server.serve(Peer.greet)
        swarm = server.swarm
        swarm.add(3)
        until(lambda: swarm.behind({})["live"] == 3)
        swarm.churn(0.05)
        until(lambda: len(served) >= 12)
        swarm.churn(None)
        until(lambda: swarm.behind({})["live"] == 3 and not swarm.loop.due)
        first, count = swarm.range()
        records = swarm.checker.clients
        return {
            "range": [first, count],
            "served": len(served),
            "users": len({peer.user for peer in served}),
            "places": sum(peer.field("last-event-id") is not None for peer in served),
            "here": list(swarm.streams),
            "gone": sorted(int(name) for name, each in records.items() if each.ears["news"].gone),
            "behind": swarm.behind({"news": (1, time.time())}),
            "before": swarm.behind({"news": (1, 0.0)})["behind"],
            "counted": counted(swarm.tally),
        }


def abuse(index, processes):
    """One address and one user come far too often; some get in."""
    with serving(index=index) as server:
        held = Counter()

        def answer(peer):
            kind = "user" if peer.user == "intruder" else "address"
            if peer.source != "127.99.99.99" and kind == "address":
                peer.greet()
            elif held[kind] < 2 - (kind == "user"):
                held[kind] += 1
                peer.greet()
                peer.send(event(1))
            else:
                peer.connection.sendall(HEAD.encode())
                # Whatever it is told, it does not wait so long.
                peer.send('event: edge-refused\nretry: 60000\ndata: {"error":"ip-limit"}\n\n')
                peer.end()

        served = server.serve(answer)
        swarm = server.swarm
        swarm.add(2)
        until(lambda: swarm.behind({})["live"] == 2)
        swarm.abuse(address=5, user=3, pause=0.05, processes=processes)
        expected = 5 * (index == 0) + 3 * (index == processes - 1)
        wanted = 2 * (index == 0) + (index == processes - 1)
        until(lambda: counted(swarm.abused)["attempts"] >= 3 * expected and swarm.abused.streams == wanted)
        until(lambda: counted(swarm.abused)["events"] == wanted)
        abused = counted(swarm.abused)
        retreat = swarm.retreat()
        intruders = [peer for peer in served if peer.user not in (f"u{swarm.first}", f"u{swarm.first + 1}")]
        user = [peer for peer in intruders if peer.user == "intruder"]
        address = [peer for peer in intruders if peer.user != "intruder"]
        return {
            "abused": abused,
            "after": counted(swarm.abused)["streams"],
            "retreat": retreat,
            "address": {
                "count": len({peer.user for peer in address}),
                "sources": sorted({peer.source for peer in address}),
            },
            "user": {
                "count": len({peer.source for peer in user}),
                "near": any(peer.source == "127.99.99.99" for peer in user),
            },
            "clients": list(swarm.checker.clients),
            "behind": swarm.behind({}),
            "counted": counted(swarm.tally),
        }


def numbers():
    """Which numbers and addresses the processes have."""
    with serving(index=0) as one, serving(index=3) as other:
        for server in (one, other):
            server.serve(Peer.greet)
            server.swarm.add(60)
            until(lambda server=server: server.swarm.behind({})["live"] == 60)
        return {
            "ranges": [one.swarm.range(), other.swarm.range()],
            "apart": NUMBERS,
            "sources": [
                sorted({server.swarm.target.source(number) for number in server.swarm.streams})
                for server in (one, other)
            ],
        }


def kept_open():
    """A closed swarm leaves no connection behind."""
    with serving() as server:
        served = server.serve(Peer.greet)
        server.swarm.add(3)
        until(lambda: server.swarm.behind({})["live"] == 3)
        server.swarm.close()
        for peer in served:
            peer.gone()
        return {"streams": len(server.swarm.streams), "failure": server.swarm.loop.failure is not None}

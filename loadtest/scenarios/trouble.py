"""Scenarios in which something goes wrong while events go to all."""

import time

import gevent

from sse_edge import Limits

from .scenario import Scenario, Threshold, compared
from .script import Script

LEVEL = 120.0  # seconds after a storm for all to be level again
SPARE = 4  # descriptors more than before: connections of a worker to Redis, made under load, are kept


class Churn(Scenario):
    """Clients connect and leave all the time: those that stay lose nothing, and nothing of others stays."""

    name = "churn"
    what = "every client leaves after 20 s on average and another comes, while events go to all"

    def script(self, run: Script) -> None:
        """Let them come and go, then all leave."""
        empty = run.deployment.files()
        self.fill(run)
        with run.phase("churn"), run.publishing(self.pace):
            run.ask("churn", lifetime=20.0)
            run.wait(self.length, "coming and going")
            run.ask("churn", lifetime=None)
            run.level()
        run.judge()
        with run.phase("all leave"):
            run.open(0)
            if workers := run.deployment.workers:
                most, deadline = empty + SPARE * workers, time.monotonic() + 30
                while (files := run.deployment.files()) > most and time.monotonic() < deadline:
                    gevent.sleep(0.5)
                run.found["left"] = files - empty

    def limits(self, run: Script) -> list[Threshold]:
        """The workers hold nothing any more."""
        workers, what = run.deployment.workers, "descriptors of the workers after all have left"
        return [Threshold(what, run.found.get("left"), SPARE * workers)] if workers else []


class Storm(Scenario):
    """All come back, and nothing is lost."""

    name = "storm"
    what = "a worker is killed with SIGKILL (--drop: every connection is cut at once) while events go to all"
    seconds = 20.0
    endings = frozenset({"cut", "dropped", "max-duration"})
    # What the proxy says while a worker is away, and the others' caps until it is back.
    refusals = frozenset({"proxy", "worker-full"})

    def script(self, run: Script) -> None:
        """Events all the time; the blow; until all are level; a while after."""
        self.fill(run)
        with run.publishing(self.pace):
            run.stay(self.length / 2, "before")
            with run.phase("storm"):
                if self.options.drop:
                    run.ask("drop")
                else:
                    run.deployment.kill(0)
                began = time.monotonic()
                # The first client has to notice, before all can be back.
                while (state := run.state())["live"] >= state["wanted"] and time.monotonic() < began + 30:
                    gevent.sleep(0.2)
                if state["live"] < state["wanted"] and run.level(LEVEL) is not None:
                    run.found["level"] = time.monotonic() - began
            run.stay(self.length / 2, "after")

    def limits(self, run: Script) -> list[Threshold]:
        """All are back in time."""
        return [Threshold("all level again after", run.found.get("level"), LEVEL, " s")]


class Deploy(Scenario):
    """A new version goes out: nobody is stranded, and there is no herd."""

    name = "deploy"
    what = "every worker is stopped with SIGTERM and started again, one after another, while events go to all"
    seconds = 10.0
    endings = frozenset({"drain", "max-duration"})
    refusals = frozenset({"draining", "proxy", "worker-full"})

    def script(self, run: Script) -> None:
        """One restart after another."""
        self.fill(run)
        workers = run.deployment.workers or 1
        with run.publishing(self.pace):
            run.stay(self.length, "before")
            for number in range(workers):
                with run.phase(f"restart {number + 1}"):
                    run.deployment.restart(number)
                    run.wait(float(self.options.pause), f"worker {number + 1} of {workers} is back")
            with run.phase("after"):
                run.found["level"] = run.level()
                run.wait(self.length, "after")

    def limits(self, run: Script) -> list[Threshold]:
        """There is no herd, and all are back in time."""
        rates = run.reconnects()
        herd = rates["peak"] / rates["mean"] if rates else None
        return [
            Threshold("reconnects in the busiest second ÷ mean", herd, 3.0),
            Threshold("all level again after the last restart", run.found.get("level"), 60.0, " s"),
        ]


class Slow(Scenario):
    """Some are stuck among many: nobody notices, and nothing is lost."""

    name = "slow"
    what = "a share of the clients stop reading while events of 8000 bytes go to all, and read again later"
    seconds = 90.0
    # The app ends them, or the proxy does; they see that when they read again.
    endings = frozenset({"cut", "end", "slow", "max-duration"})

    def script(self, run: Script) -> None:
        """Before, stuck, and awake again."""
        self.fill(run)
        with run.publishing(self.pace, 8000):
            run.stay(min(20.0, self.length), "before", "all read")
            with run.phase("stuck"):
                stuck = run.found["stuck"] = sum(run.ask("stall", share=float(self.options.share)))
                run.wait(self.length, f"{stuck:,} do not read")
            with run.phase("awake"):
                run.ask("wake")
                run.found["level"] = run.level()

    def limits(self, run: Script) -> list[Threshold]:
        """Those that were stuck get all of it, and the others have not noticed."""
        return [
            Threshold("all level again after", run.found.get("level"), 60.0, " s"),
            compared(run, "the others' p99 while some are stuck", "before", "stuck", 1.5),
        ]


class Abuse(Scenario):
    """One address and one user are far over their caps: the others do not notice.

    Each asks for three times the cap of an address, every five seconds: 120 attempts a second in all.
    """

    name = "abuse"
    what = (
        "one address and one user try to have 300 streams each, again and again, "
        "while events go to all others"
    )
    seconds = 30.0

    def script(self, run: Script) -> None:
        """Without, then with."""
        self.fill(run)
        with run.publishing(self.pace):
            run.stay(self.length, "without", "without abuse")
            # One process is the address, and one the user; with one process it is both.
            with run.phase("with"):
                processes = len(run.ask("range"))
                run.ask("abuse", address=300, user=300, pause=5.0, processes=processes)
                run.wait(self.length, "with abuse")
            held = run.ask("retreat")
            run.found |= {who: sum(each[who] for each in held) for who in ("address", "user")}

    def limits(self, run: Script) -> list[Threshold]:
        """Both are refused at their caps, and the others have not noticed."""
        caps, found = Limits(), run.found
        refused = any(why.startswith("abuse: ") for why in run.whole.refusals)
        return [
            Threshold("streams that the one address got", found.get("address"), caps.per_ip or 0),
            Threshold("streams that the one user got", found.get("user"), caps.per_user or 0),
            Threshold("abuse that was not refused at all", not refused, 0),
            compared(run, "the others' p99 with abuse", "without", "with", 1.25),
        ]

"""Jobs: channels that are written from the beginning to the end, by steps or by a writer in a worker."""

import asyncio

from servers.sse import StreamEndedError, get
from sse_edge import Publisher
from sse_edge.errors import EdgeError, PublishError

from .verdict import Violation

KEEP = {"job-*": (5_000, 600.0), "text-*": (5_000, 600.0)}
"""How their channels are kept, whatever the campaign keeps of others: all of it."""

ENDS = ("end", "complete", "failed", "stopped", "abandoned")
"""What the last event of a job is called."""

REPEATS = 60.0
"""Seconds for which a step is tried again; its key is known for ten times as long."""


class Job:
    """One channel: ``began`` at, on the campaign's clock."""

    def __init__(self, channel, began):
        self.channel = channel
        self.began = began


class Line:
    """Jobs of one kind, one after the other; the newest two are those that watchers are sent to."""

    def __init__(self, stage, number, backend):
        self.stage = stage
        self.name = f"line-{number}"
        self.violations = []
        self._written = number % 2 == 1
        self._number = number
        self._chance = stage.plan.chance("line", number)
        self._events = Publisher(backend)
        self._jobs = []
        self._stopping = asyncio.Event()
        self._task = None

    @property
    def newest(self):
        """The job that is under way and the one before."""
        return self._jobs[-2:]

    def start(self):
        """Begin; the first job is there at once."""
        self._next()
        self._task = asyncio.create_task(self._run())

    async def stop(self):
        """Let the job that is under way come to its end."""
        self._stopping.set()
        await self._task

    async def close(self):
        """Stop at once."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def end(self, channel):
        """Let ``channel`` be finished for certain, also where Redis has lost that it was."""
        while True:
            try:
                await self._events.finish(channel, "-1", event="end")
            except PublishError as error:
                if error.reason == "finished":
                    return
                await asyncio.sleep(0.1)
            else:
                return

    def _next(self):
        kind = "text" if self._written else "job"
        self._jobs.append(Job(f"{kind}-{self._number}-{len(self._jobs)}", self.stage.now()))
        return self._jobs[-1]

    async def _run(self):
        while True:
            job = self._jobs[-1]
            await (self._write(job) if self._written else self._publish(job))
            if self._stopping.is_set():
                return
            await self._pause(self._chance.uniform(0.1, 2.0))
            self._next()

    async def _pause(self, seconds):
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

    # By steps

    async def _publish(self, job):
        count, pause = self._chance.randint(3, 60), self._chance.uniform(0.01, 0.3)
        done = 0
        while done < count and not self._stopping.is_set():
            await self._certainly(job, done, str(done), None)
            done += 1
            await self._pause(pause)
        began = self.stage.now()
        await self._certainly(job, "end", str(done), "end")
        try:
            await self._events.publish(job.channel, str(done + 1))
        except PublishError:
            return
        if not self.stage.record.lost(began, self.stage.now()):
            text = "it took an event after its last one"
            self.violations.append(Violation("not finished", self.stage.now(), self.name, job.channel, text))

    async def _certainly(self, job, number, data, end):
        """Publish a step, as often as it takes."""
        key, began = f"{self.name}:{number}", self.stage.now()
        while True:
            try:
                if end is None:
                    await self._events.publish(job.channel, data, dedupe_key=key)
                else:
                    await self._events.finish(job.channel, data, event=end, dedupe_key=key)
            except PublishError as error:
                if error.reason == "finished" or self.stage.now() - began > REPEATS:
                    if not self.stage.record.lost(job.began, self.stage.now()):
                        text = f"step {number} cannot be published: {error}"
                        at = self.stage.now()
                        self.violations.append(Violation("no recovery", at, self.name, job.channel, text))
                    return
                await asyncio.sleep(0.1)
            else:
                return

    # By a writer

    async def _write(self, job):
        """Let some worker write, until the channel is finished; a worker may be killed meanwhile."""
        query = f"?count={self._chance.randint(20, 400)}&pause={self._chance.uniform(0.002, 0.02):.4f}"
        while not await self._is_finished(job.channel):
            worker = self._chance.choice(self.stage.workers)
            try:
                async with asyncio.timeout(10):
                    await get(f"{worker.url}/write/{job.channel}{query}", method="POST")
            except (OSError, StreamEndedError, AssertionError, TimeoutError):
                pass
            await asyncio.sleep(0.3)

    async def _is_finished(self, channel):
        try:
            newest = await self._events.recent(channel, 1)
        except EdgeError:
            return False
        return bool(newest) and newest[0].event in ENDS

"""Keeps the processes of a fleet running until the user ends them, and says what happens to each.

What a process prints is shown line by line behind the name of its host. One that ends, or cannot be started, is said in
one sentence and started again after a pause that grows; with `once` it is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field

from trtpipe.errors import FleetError, render_problem
from trtpipe.fleet.starter import BEAT, BEAT_SECONDS, opening
from trtpipe.hosts.launches import Fleet, Launch
from trtpipe.hosts.processes import Process, started

_AGAIN_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_STEADY_SECONDS = 60.0
"""A process that ran this long is started again without a long pause."""
_ENDING_SECONDS = 20.0
_KILLING_SECONDS = 5.0
_LONGEST_LINE = 2000
_LAST_LINES = 5
_SHORTEST_SECRET = 4

Say = Callable[[str], None]


@dataclass
class Ending:
    """Whether the user wants everything to end: `asked` in order, `hurried` at once."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    hurried: asyncio.Event = field(default_factory=asyncio.Event)

    def signalled(self) -> None:
        """A signal arrived; the second one hurries."""
        (self.hurried if self.asked.is_set() else self.asked).set()


async def keep_fleet(fleet: Fleet, say: Say, *, once: bool) -> bool:
    """Run a fleet until a signal arrives; returns whether all processes ended because they were told to."""
    ending = Ending()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ending.signalled)
    scheduler = asyncio.create_task(Keeper(fleet.scheduler, ending, say, once).keep())
    agents = [asyncio.create_task(Keeper(one, ending, say, once).keep()) for one in fleet.agents]
    try:
        done = await asyncio.gather(*agents)
        ending.asked.set()
        return all([*done, await scheduler])
    finally:
        for task in (scheduler, *agents):
            task.cancel()  # only after a bug: otherwise they have ended


@dataclass
class Keeper:
    """One process, started again and again."""

    launch: Launch
    ending: Ending
    say: Say
    once: bool
    _last: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST_LINES))

    async def keep(self) -> bool:
        """Run the process until the user ends it; returns whether it ran until then."""
        failures = 0
        while not self.ending.asked.is_set():
            began = time.monotonic()
            reason = await self._run()
            if self.ending.asked.is_set():
                break
            failures = 0 if time.monotonic() - began > _STEADY_SECONDS else failures
            pause = _AGAIN_SECONDS[min(failures, len(_AGAIN_SECONDS) - 1)]
            self._tell(reason + ("" if self.once else f"; trying again in {pause:g} s"))
            if self.once:
                return False
            failures += 1
            await self._asked(pause)
        return True

    async def _run(self) -> str:
        """One run of the process; returns why it ended."""
        self._last.clear()
        self._tell(f"starting on {self.launch.place}")
        try:
            async with started(self.launch) as process:
                await self._attend(process)
        except FleetError as error:
            return "; ".join(render_problem(one).replace("\n  ", "; ") for one in error.problems)
        except Exception as error:
            if not _is_of_connection(error):
                raise
            return self._ended(f"the connection broke ({error})")
        code = process.returncode
        return self._ended("it ended" if code is None else f"it ended with exit code {code}")

    def _ended(self, what: str) -> str:
        return what + (", after: " + " | ".join(self._last) if self._last else "")

    async def _attend(self, process: Process) -> None:
        """Show what a process prints, and keep it alive, until it ends or is to end."""
        assert process.stdin is not None and process.stdout is not None, "both are pipes"
        with contextlib.suppress(OSError):  # it has ended already, and its output says why
            process.stdin.write(opening(self.launch.environment))
        reading = asyncio.create_task(self._read(process))
        try:
            while not reading.done() and not self.ending.asked.is_set():
                await self._first(reading, self.ending.asked, BEAT_SECONDS)
                with contextlib.suppress(OSError):
                    process.stdin.write(BEAT)
            await self._end(process, reading)
            await reading
        finally:
            reading.cancel()

    async def _end(self, process: Process, reading: asyncio.Task[None]) -> None:
        """End a process: by the end of its input, by SIGTERM, by SIGKILL."""
        assert process.stdin is not None, "it is a pipe"
        with contextlib.suppress(OSError):
            process.stdin.write_eof()
        await self._first(reading, self.ending.hurried, _ENDING_SECONDS)
        for end in (process.terminate, process.kill):
            if reading.done():
                return
            with contextlib.suppress(OSError):
                end()
            await asyncio.wait({reading}, timeout=_KILLING_SECONDS)

    async def _first(self, task: asyncio.Task[None], event: asyncio.Event, seconds: float) -> None:
        """Wait for the task or the event, whichever is first, but no longer than so many seconds."""
        waiting = asyncio.create_task(event.wait())
        await asyncio.wait({task, waiting}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()

    async def _asked(self, seconds: float) -> None:
        with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
            await asyncio.wait_for(self.ending.asked.wait(), seconds)

    async def _read(self, process: Process) -> None:
        async for line in _lines(process):
            shown = _without(self.launch.environment.values(), line)
            self._last.append(shown)
            self.say(f"{self.launch.name} | {shown}")

    def _tell(self, text: str) -> None:
        self.say(f"{self.launch.name}: {_without(self.launch.environment.values(), text)}")


async def _lines(process: Process) -> AsyncIterator[str]:
    """What a process prints, line by line; a line that is too long comes in parts."""
    assert process.stdout is not None, "it is a pipe"
    rest = b""
    while piece := await process.stdout.read(4096):
        *whole, rest = (rest + piece).split(b"\n")
        if len(rest) > _LONGEST_LINE:
            whole, rest = [*whole, rest], b""
        for line in whole:
            yield line.decode(errors="replace").rstrip()
    if rest:
        yield rest.decode(errors="replace").rstrip()


def _without(secrets: Iterable[str], text: str) -> str:
    """The text without the values of variables that were passed on."""
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "…")
    return text


def _is_of_connection(error: Exception) -> bool:
    """Whether an error is one of a connection or of starting a process, and not a bug."""
    if isinstance(error, OSError):
        return True
    import asyncssh

    return isinstance(error, asyncssh.Error)

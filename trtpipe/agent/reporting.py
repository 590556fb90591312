"""Sends what an agent reports of a request to its client, in few messages.

A message that comes alone costs the agent, dask's scheduler and the client together about two milliseconds of processor
time, and the build of an engine has dozens of reports. So they are sent twice a second, and what is left by then with
the answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from trtpipe.fleet.protocol import ANSWER, ID, REPORTS
from trtpipe.json_values import Json

_SECONDS = 0.5
"""How long a report waits for others: not long for somebody who looks on."""

Publish = Callable[[str, dict[str, Json]], None]
"""Sends one message to dask's topic."""


@dataclass
class Reporting:
    """The reports of one request. Several threads may use it."""

    identity: str
    """The request's id."""
    topic: str
    """dask's topic of the client; empty if nobody listens."""
    publish: Publish
    _waiting: list[Json] = field(default_factory=list)
    _timer: threading.Timer | None = None
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    def add(self, report: dict[str, Json]) -> None:
        """Send a report soon."""
        if not self.topic:
            return
        with self._mutex:
            self._waiting.append(report)
            if self._timer is None:
                self._timer = threading.Timer(_SECONDS, self._send)
                self._timer.daemon = True
                self._timer.start()

    def answer(self, text: str) -> None:
        """Send the answer, with the reports that were not sent yet."""
        if not self.topic:
            return
        with self._mutex:
            if self._timer is not None:
                self._timer.cancel()
            self._publish({ANSWER: text})

    def _send(self) -> None:
        with self._mutex:
            self._timer = None
            if self._waiting:
                self._publish({})

    def _publish(self, more: dict[str, Json]) -> None:
        """Send what waits; the caller holds the lock, so that messages keep their order."""
        waiting, self._waiting = self._waiting, []
        self.publish(self.topic, {ID: self.identity, REPORTS: waiting, **more})

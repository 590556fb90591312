"""Settings of dask for a fleet: set in the process, so that a user's own dask configuration changes nothing here."""

from __future__ import annotations

SCHEDULER = {
    "distributed.scheduler.allowed-failures": 0,  # clients decide what is tried again
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.worker-ttl": "60s",  # an agent's event loop never works, so it is always prompt
    "distributed.scheduler.preload": [],
    "distributed.scheduler.http.routes": [],
    "distributed.comm.timeouts.tcp": "20s",
}
WORKER = {
    "distributed.worker.preload": [],
    "distributed.worker.http.routes": [],
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.comm.timeouts.tcp": "20s",
}
LOOPBACK = "127.0.0.1:0"
"""Where dask's own web pages are served: they are neither encrypted nor protected, so not beyond this machine."""
_LOGGERS = (
    "distributed",
    "distributed.client",
    "distributed.worker",
    "distributed.scheduler",
    "tornado",
    "asyncio",
)
_NOTHING = 100
"""A level of logging above all others: dask calls the end of a client critical."""


def quiet_dask() -> None:
    """Keep dask's log lines off the terminal; trtpipe itself says what matters of them.

    Call it before importing dask's parts, which configure their loggers when they are imported.
    """
    import logging

    import dask

    dask.config.set({"logging": dict.fromkeys(_LOGGERS, _NOTHING)})
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(_NOTHING)

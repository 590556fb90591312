"""Settings of dask for a fleet: set in the process, so that a user's own dask configuration changes nothing here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Client, Scheduler

_SELDOM = {
    "distributed.admin.tick.interval": "1s",  # how late an event loop is, which nobody here reads: 50 times a second
    "distributed.admin.tick.limit": "30s",
    "distributed.admin.system-monitor.interval": "5s",
}
"""What dask would otherwise do many times a second in processes that mostly wait."""
SCHEDULER = {
    **_SELDOM,
    "distributed.scheduler.allowed-failures": 0,  # clients decide what is tried again
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.worker-ttl": "60s",  # an agent's event loop never works, so it is always prompt
    "distributed.scheduler.preload": [],
    "distributed.scheduler.http.routes": ["distributed.http.statics"],  # what the dashboard's pages look like
    "distributed.comm.timeouts.tcp": "20s",
    "distributed.admin.low-level-log-length": 100,  # of reports and answers that were passed on, too
}
WORKER = {
    **_SELDOM,
    "distributed.worker.profile.enabled": False,  # 100 times a second, of threads that wait for child processes
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
DASHBOARD = "127.0.0.1:8787"
"""Where the dashboard is served; at another port if this one is taken."""
_SAID = "trtpipe-dashboard"
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


def has_dashboard() -> bool:
    """Whether dask can show its dashboard: it needs bokeh."""
    try:
        import distributed.dashboard.scheduler  # noqa: F401
    except ImportError:
        return False
    return True


def announce_dashboard(scheduler: Scheduler) -> str:
    """The link to a scheduler's dashboard, which is good on its own machine; clients can ask for it then."""
    link = f"http://127.0.0.1:{scheduler.http_server.port}/status"
    scheduler.task_metadata[_SAID] = link
    return link


def dashboard_of(client: Client) -> str:
    """The link to the dashboard of a client's scheduler; empty if it has none."""
    return str(client.get_metadata([_SAID], default=""))

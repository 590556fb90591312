"""How long a report takes to write and to open: builds of 200 cells, each with a validation of four places.

The page opens in a headless Chromium, from disk, and what counts is its own clock: from the start of the navigation to
the end of the load event, and until the first frame is drawn; the CPU time of its thread holds on a busy machine, too.
Run: python -m tests.bench.bench_report [CELLS [RUNS]]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from tests.bench.timing import keep_stores_apart
from tests.reports.browser import NOT_RUN, Browser, chromium
from tests.reports.test_pages import page_of_build

LOADED = """
new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {
  const [page] = performance.getEntriesByType("navigation");
  done([page.loadEventEnd, performance.now(), document.getElementsByTagName("*").length]);
})))
"""


def main(cells: int, runs: int) -> None:
    keep_stores_apart()
    began = time.process_time()
    text = page_of_build(cells)
    print(f"page of {cells} cells made in    {time.process_time() - began:6.2f} s of CPU time")
    print(f"size                       {len(text.encode()) / 1e6:6.2f} MB")
    found = chromium()
    if found is None:
        print(NOT_RUN)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        path.write_text(text, encoding="utf-8")
        browser = Browser(found)
        browser.look(width=1280)
        browser.call("Performance.enable", timeDomain="threadTicks")
        loads, busy = [], []
        for _ in range(runs):
            browser.open(path)
            loads.append(browser.run(LOADED))
            metrics = {one["name"]: one["value"] for one in browser.call("Performance.getMetrics")["metrics"]}
            busy.append(metrics["TaskDuration"] * 1000)
        browser.close()
    print(f"CPU time of the page's thread, median (least) {median(busy):4.0f} ms ({min(busy):.0f})")
    print(f"elements                   {loads[0][2]:6d}")
    for index, what in enumerate(("load event ", "first frame")):
        times = sorted(load[index] for load in loads)
        print(f"{what}, median (least)   {median(times):6.0f} ms ({times[0]:.0f})")


if __name__ == "__main__":
    main(*(int(one) for one in (sys.argv[1:3] + ["200", "7"][len(sys.argv) - 1 :])))

"""Builds one engine, parses one model or describes one TensorRT: `PYTHON -I -S -B worker.py request.json`.

One file, standard library only, run by whatever interpreter has TensorRT. It is a process of its own because native
code can crash, hang or swallow an interrupt, and because equal requests must give equal bytes: TensorRT's libraries and
everything that it allocates are at fixed addresses, whichever interpreter runs this (see Ground), and the model has a
constant relative name. Independent of specs, keys and stores. The working directory is a scratch folder; all paths are
in it.

A request is a JSON object with every field of FIELDS and, in `options`, every one of OPTIONS. There are no defaults:
what is left out, unknown or of another type is refused by name. In trtpipe, `request.py` writes requests.

Events (one JSON object a line on the original stdout; `event` names the kind): start · phase (name, parent,
steps, step, state) · log (severity, message) · memory (rss, peak) · network · engine · error (kind, message, remedy,
details) · result, always last. Error kinds: parse, build, config, profile, cancelled, timeout, memory,
environment, internal. A build writes ENGINE, network.json and layers.json; parsing writes network.json and the
files of network_reading.py, a module beside this one that only parsing needs. Exit code 0 means that result.ok is true.
"""

from __future__ import annotations

import ctypes
import os
import sys

# The second run (see settle_addresses) repeats every import, so it is started before most of them.
# ruff: noqa: E402, PTH100, PTH105, PTH110, PTH112, PTH113, PTH118, PTH120, PTH123, PTH202, PTH208

ADDR_NO_RANDOMIZE = 0x0040000
TUNABLES = "glibc.malloc.tcache_count=0:glibc.malloc.mmap_threshold=33554432"
"""No thread caches, and a fixed threshold (its largest): it would follow what the interpreter has freed."""


def libc() -> ctypes.CDLL:
    """The C library of this process."""
    return ctypes.CDLL(None)


def randomisation_is_off() -> bool:
    """Whether this process already runs at fixed addresses."""
    return sys.platform.startswith("linux") and bool(libc().personality(0xFFFFFFFF) & ADDR_NO_RANDOMIZE)


def switch_randomisation_off() -> bool:
    """Request fixed addresses from the next exec on; False if the system refuses, as in some containers."""
    if not sys.platform.startswith("linux"):
        return False
    current = libc().personality(0xFFFFFFFF)
    return current != -1 and libc().personality(current | ADDR_NO_RANDOMIZE) != -1 and randomisation_is_off()


def settle_addresses() -> None:
    """Restart at fixed addresses, once: a second argument marks the second run. A launcher may have set up both.

    The second run is also without glibc's thread caches: memory that TensorRT's short-lived threads free would stay in
    the caches until the threads end, which depends on the machine's load, and the builder's objects would be at other
    addresses. With the caches, some builds on a busy machine differed; without them, none did.
    """
    if len(sys.argv) != 2 or not sys.platform.startswith("linux"):
        return
    settled = randomisation_is_off() or not switch_randomisation_off()
    if not settled or os.environ.get("GLIBC_TUNABLES") != TUNABLES:
        environment = {**os.environ, "GLIBC_TUNABLES": TUNABLES}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:], "again"], environment)


RUN_BY_ITSELF = not __package__  # not when trtpipe imports this file for a few constants
if RUN_BY_ITSELF:
    settle_addresses()

import _thread
import gc
import importlib
import json
import re
import signal
import threading
import time
from collections import Counter

TYPE_CHECKING = False  # annotations are not evaluated, and importing typing takes milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType
    from typing import Any, ClassVar, TypeVar

    from trtpipe.toolchains.engine_worker import tensorrt_api as api

    T = TypeVar("T")

SCHEMA = 1
MIB, GIB, TIB = 1 << 20, 1 << 30, 1 << 40
STACK_BYTES = 256 * MIB  # the graph compiler recurses with the depth of the graph
HEAP_BYTES = 64 * MIB  # glibc aligns the heaps of threads to this
LEVEL = MIB  # where TensorRT's part of a thread's heap begins
PIECE = 64 << 10
FLOOR_STEP = 256 * GIB
WARM_THREADS = 3
EXIT_FUNCTIONS = 512
SYSTEM_LIBRARIES = ("libm.so.6", "libdl.so.2", "librt.so.1", "libpthread.so.0")
PROT_NONE, MAP_PRIVATE_ANONYMOUS_NORESERVE = 0, 0x02 | 0x20 | 0x4000
EVENT_SECONDS = WATCH_SECONDS = 0.1  # at most ten phase events a second
EVERY_PHASE = "TRTPIPE_EVERY_PHASE" in os.environ  # the start and end of each phase are told, however many
STREAM_FROM = 512 * MIB  # streaming avoids a copy of the engine, but needs a 64 MiB buffer
FIELDS = {  # of a request; field → its type in JSON
    "schema": "integer",  # SCHEMA
    "action": "text",  # one of ACTIONS
    "flavour": "text",  # one of FLAVOURS
    "site": "list of texts",  # directories put on sys.path
    "model": "text",  # plain file names, like the next one
    "engine": "text",
    "network_name": "text",  # stored in the engine
    "compute_capabilities": "list of texts",  # ["sm86", …]: tensorrt_rtx only, and required there
    "profiles": "list of objects",  # [{INPUT: {"min": [..], "opt": [..], "max": [..], "values": {"min": [..], …}}}]
    "options": "object",
    "plugins": "list of texts",  # library paths; tensorrt only
    "timing_cache": "text or null",  # a path, read if it exists and written back; tensorrt only, like the next two
    "timing_caches": "list of texts",  # more caches to start from
    "tactics": "object of texts",  # {KEY: "HASH TIME"}: use only these choices, if any; the result has the choices made
    "time_limit": "number or null",  # seconds
    "memory_limit": "integer or null",  # bytes of resident memory
}
OPTIONS = {  # of the builder; sizes in bytes, null is TensorRT's own value
    "optimization_level": "integer",
    "workspace": "integer",
    "tactic_shared_memory": "integer or null",
    "tf32": "flag",
    "profiling_verbosity": "text",
    "weight_streaming": "flag",
    "sparse_weights": "flag",
    "max_aux_streams": "integer or null",
    "avg_timing_iterations": "integer or null",
    "hardware_compatibility": "text",
    "version_compatible": "flag",
}
TYPES = {"text": (str,), "integer": (int,), "number": (int, float), "flag": (bool,), "object": (dict,)}
ACTIONS = ("build", "parse", "describe")
DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "FP8": "float8e4m3fn",
    "FP4": "float4e2m1",
}
DTYPES |= {"E8M0": "float8e8m0"}  # all others are TensorRT's names in lower case
MEMORY_LINES = {
    "Total Weights Memory": "weights_memory",
    "Total Activation Memory": "activation_memory",
    "Max Scratch Memory": "scratch_memory",
}
KEY_NAMED = re.compile(r"\(key: (0x[0-9a-f]+)\)")
SHAPE_KEYS = ("min", "opt", "max")


class Failure(Exception):
    """An exception that ends the work and becomes an error event."""

    def __init__(self, kind: str, message: str, remedy: str = "", details: Sequence[object] = ()) -> None:
        super().__init__(message)
        self.kind, self.message, self.remedy, self.details = kind, message, remedy, details


class Stop:
    """The reason to stop the build, if any: set by a signal or a limit, checked by the progress monitor."""

    reason = ""

    def on_signal(self, *_: object) -> None:
        """Cancel the build, unless it is being stopped already."""
        self.reason = self.reason or "cancelled"

    def check(self) -> None:
        """Raises Failure if there is a reason to stop."""
        if self.reason == "timeout":
            raise Failure("timeout", "the time limit was reached", "raise the time limit")
        if self.reason:
            raise Failure("cancelled", "cancelled")


class Events:
    """Writes events, whole lines only, whichever thread sends them."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        self._last_phase = 0.0

    def send(self, event: str, **fields: object) -> None:
        """Write an event."""
        self._write(json.dumps({"event": event, **fields}).encode() + b"\n")

    def phase(self, name: str, state: str, parent: str | None = None, steps: int = 0, step: int = 0) -> None:
        """Report a phase of TensorRT; most are dropped to limit the rate. They are formatted even then, because
        allocations of the building thread must not depend on the clock."""
        fields = {"name": name, "parent": parent, "steps": steps, "step": step, "state": state}
        line = json.dumps({"event": "phase", **fields}).encode() + b"\n"
        now = time.monotonic()
        if now - self._last_phase >= EVENT_SECONDS or (EVERY_PHASE and state != "step"):
            self._last_phase = now
            self._write(line)

    def begin(self, name: str) -> None:
        """Report a phase of the worker itself: never dropped, so that a crash can be attributed to it."""
        self.send("phase", name=name, parent=None, steps=0, step=0, state="start")

    def _write(self, line: bytes) -> None:
        view = memoryview(line)
        with self._lock:
            try:
                while view:
                    view = view[os.write(self._fd, view) :]
            except OSError:
                os._exit(4)  # the reader has closed the pipe


# -- the process: addresses, memory -------- ---------------------------------------------------------------------


class Ground:
    """Makes the memory that TensorRT works on the same for every build.

    The graph compiler orders and hashes by pointers, so addresses determine names, offsets and even the order of
    kernels. Its libraries are therefore mapped first, below a fixed address, whatever is mapped above; its memory is
    allocated in the heaps of two threads, parse and build, which begin at fixed addresses in the same state; and memory
    that glibc would allocate there meanwhile, depending on the number of libraries or exit functions, is allocated
    beforehand. Every malloc of a build then returns the same address in CPython 3.10 to 3.13, with and without address
    randomisation. Only strings longer than 450 bytes that TensorRT logs still depend on the interpreter; they are freed
    immediately.

    `settled` becomes False if any of this fails, for example with limited address space; `usual` if the fixed address
    differs from that of other machines.
    """

    def __init__(self) -> None:
        self.libc, self.page = libc(), os.sysconf("SC_PAGE_SIZE")
        self.mmap, self.munmap, self.malloc = self.libc.mmap, self.libc.munmap, self.libc.malloc
        self.mmap.restype = self.malloc.restype = ctypes.c_void_p
        self.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
        self.munmap.argtypes, self.malloc.argtypes = self.mmap.argtypes[:2], [ctypes.c_size_t]
        self.usual = True
        self.settled = limit_of_address_space() is None and self.find_floor()

    def fixed(self) -> bool:
        """Whether TensorRT's memory is at the same addresses as on every machine."""
        return self.settled and self.usual

    def find_floor(self) -> bool:
        """Choose the fixed address; False in a small address space, or one that is filled from the bottom.

        Randomisation puts programs and their heaps at most up to 101.4 of 128 TiB, and libraries at least at 112.
        """
        highest, next_one = self.take(self.page), self.take(self.page)
        self.floor = (1 << highest.bit_length()) // 16 * 13
        if self.floor > highest:  # with an unlimited stack, Linux maps from the bottom
            self.floor, self.usual = (highest // TIB - 1) * TIB, False
        return self.floor >= 8 * TIB and next_one < highest

    def take(self, size: int) -> int:
        """Reserve addresses; Linux uses the highest hole that fits. Returns 0 if it refuses."""
        address = self.mmap(None, size, PROT_NONE, MAP_PRIVATE_ANONYMOUS_NORESERVE, -1, 0) or 0
        return 0 if address % self.page else int(address)

    def sink(self) -> None:
        """Reserve every free address above a floor, so that the next mappings are below it in a fixed order.

        Each call lowers the floor, so that mappings since the last call have no effect.
        """
        if not self.settled:
            return
        size = TIB
        while size >= self.page:
            address = self.take(size)
            if address < self.floor:
                if address:
                    self.munmap(address, size)
                size //= 2
        self.floor -= FLOOR_STEP

    def load(self, libraries: list[str]) -> None:
        """Map libraries before anything else is mapped, because the binding would load them in a varying order."""
        for name in SYSTEM_LIBRARIES:
            can_load(name)  # most interpreters have loaded these already, at other addresses
        self.sink()
        for name in ("libgcc_s.so.1", "libstdc++.so.6", *libraries):
            can_load(name)
        self.sink()

    def reserve_exit_functions(self) -> None:
        """Make room in glibc's list of exit functions, which otherwise grows by a block for every 32 static objects."""
        mark = ctypes.c_void_p(id(self))
        register, nothing = self.libc["__cxa_atexit"], self.libc["free"]  # free(NULL) has no effect
        for _ in range(EXIT_FUNCTIONS):
            register(nothing, None, mark)
        self.libc["__cxa_finalize"](mark)  # calls them, which frees their entries in the list

    def level(self) -> None:
        """Fill the holes in this thread's heap and raise its top to a fixed place."""
        if not self.settled:
            return
        size, address = PIECE, self.malloc(PIECE - 8)
        top, end = address, address + PIECE
        while size >= 32:  # an address at the top of the heap means that no hole of that size is left
            address = self.malloc(size - 8)
            if address > top:
                end, size = address + size, size // 2
        target = address // HEAP_BYTES * HEAP_BYTES + LEVEL
        while end <= target - 2 * PIECE:
            end = self.malloc(PIECE - 8) + PIECE
        if end < target:
            self.malloc(target - end - 8)
        self.settled = self.malloc(24) == target

    def warm(self) -> None:
        """Start and end threads, so that the graph compiler's thread reuses their stacks and heaps.

        Otherwise the building thread would allocate them, in a size that depends on the number of loaded libraries.
        """
        if not self.settled:
            return
        usual = _thread.stack_size(0)
        locks = [_thread.allocate_lock() for _ in range(1 + WARM_THREADS)]
        for lock in locks:
            lock.acquire()

        def claim(ready: _thread.LockType) -> None:
            self.malloc(24)
            ready.release()
            with locks[0]:
                pass

        for ready in locks[1:]:
            _thread.start_new_thread(claim, (ready,))
            ready.acquire()  # one after the other, so that heaps are created in this order
        threads = count_of_threads()
        locks[0].release()
        _thread.stack_size(usual)
        until = time.monotonic() + 1
        while count_of_threads() > threads - WARM_THREADS and time.monotonic() < until:
            time.sleep(0.0002)


class Apart:
    """A thread with its own heap, for one piece of work that is done later: TensorRT's build and nothing else."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self._ready, self._go, self._done = (_thread.allocate_lock() for _ in range(3))
        for lock in (self._ready, self._go, self._done):
            lock.acquire()
        self._work: Any = None
        self._made: Any = None
        self._error: BaseException | None = None
        _thread.start_new_thread(self._run, ())
        self._ready.acquire()

    def _run(self) -> None:
        self.ground.malloc(24)  # the first allocation creates this thread's heap
        self._ready.release()
        self._go.acquire()
        try:
            self.ground.level()
            self._made = self._work()
        except BaseException as error:  # raised again by the waiting thread
            self._error = error
        self._done.release()

    def do(self, work: Callable[[], T]) -> T:
        """Run `work` in the thread; returns or raises its outcome."""
        self._work = work
        self.ground.sink()
        self._go.release()
        self._done.acquire()
        if self._error is not None:
            raise self._error
        made: T = self._made
        return made


def can_load(library: str) -> bool:
    """Load a library for good; returns whether that worked."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def libraries_of(module: str, places: list[str]) -> list[str]:
    """The libraries that come with the wheels of a module, in a fixed order."""
    folders = [os.path.join(place, module + "_libs") for place in places]
    return [
        os.path.join(folder, name)
        for folder in folders
        if os.path.isdir(folder)
        for name in sorted(os.listdir(folder))
        if ".so" in name
    ]


def limit_of_address_space() -> int | None:
    """The limit in bytes, or None."""
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def count_of_threads() -> int:
    """The number of threads of this process; 0 if the system does not report it."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 0


def stock_small_memory() -> list[bytes]:
    """Let Python map memory for small objects now; the caller must keep the result.

    All threads share this memory, and it grows by mappings of 1 MiB: one caused by the monitoring thread would be
    placed between the build's at a time-dependent moment. The returned objects keep each mapping from being freed.
    """
    return [bytes(400) for _ in range(20_000)][::500]


def resident_bytes() -> int:
    """Current resident memory; 0 if the system does not report it."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def peak_bytes() -> int | None:
    """Peak resident memory of this program (getrusage would include the time before exec)."""
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return None


# -- TensorRT's messages ----------------------------------------------------------------------------------------

_WRAPPED = re.compile(r"^(?:\w+::\w+: )?Error Code \d+: [^(]*\((.*)\)$", re.DOTALL)
_SOURCE = re.compile(r" In \S+ at \S+:\d+$|^\[\S+\.(?:cpp|h|cu)\b[^]]*\] ")
_ASSERTION = re.compile(r"^Assertion failed: \(.*?\): ", re.DOTALL)
_LAYER = re.compile(r"^Layer\((?P<type>[^)]*)\): (?P<name>.*?), Tactic: (?P<tactic>[^,]*), (?P<io>.*)$")


def plain_message(message: str) -> str:
    """TensorRT's sentence without its wrapping and without NVIDIA's source lines."""
    text = _SOURCE.sub("", message.strip())
    wrapped = _WRAPPED.match(text)
    return _SOURCE.sub("", wrapped[1] if wrapped else text).strip()


def is_noise(message: str) -> bool:
    """Whether it is the line about a missing driver that follows every error on a machine without one."""
    return "cudaError 35" in message or "CUDA driver version is insufficient" in message


def plain_reason(text: str, op: str) -> str:
    """Why the parser rejected a node, in plain words; some of its reasons are C++ conditions."""
    if text.strip() == "false":
        return f"TensorRT's parser has no importer for this use of {op}"
    if text.startswith("creator &&"):
        return f"TensorRT has neither an operator nor a plugin named {op}"
    return plain_message(_ASSERTION.sub("", text))


def fused_layers(text: str) -> list[dict[str, str]]:
    """The layers of the verbose message `Engine Layer Information`."""
    layers = []
    for line in text.splitlines():
        found = _LAYER.match(line)
        if found:
            inputs, _, outputs = found["io"].partition(" -> ")
            layers.append({"name": found["name"], "type": found["type"], "tactic": found["tactic"]})
            layers[-1] |= {"inputs": inputs, "outputs": outputs}
    return layers


class Spoken:
    """The facts that the logger keeps: recent errors, memory sizes, the table of fused layers."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.memory: dict[str, int] = {}
        self.layers = ""
        self.keys: set[str] | None = None  # keys of the timing cache that messages name; None: not collected
        self.warnings: list[str] | None = None  # collected only while parsing a network that will be read

    def hear(self, severity: str, message: str) -> None:
        """One message of the logger."""
        if severity in ("ERROR", "INTERNAL_ERROR") and not is_noise(message):
            self.errors.append(plain_message(message))
        if severity == "WARNING" and self.warnings is not None:
            self.warnings.append(plain_message(message))
        name, _, rest = message.partition(": ")
        if name in MEMORY_LINES:
            self.memory[MEMORY_LINES[name]] = int(rest.split()[0])

    def take_errors(self) -> list[str]:
        """The errors since the last call, each once."""
        errors, self.errors = list(dict.fromkeys(self.errors)), []
        return errors


def new_logger(trt: Any, events: Events, spoken: Spoken) -> api.Logger:
    """The process's one logger (TensorRT sends the messages of a second one to the first)."""
    verbose = trt.ILogger.VERBOSE

    class Logger(trt.ILogger):  # type: ignore[misc]
        def log(self, severity: api.Member, message: str) -> None:
            if severity != verbose:
                spoken.hear(severity.name, message)
                events.send("log", severity=severity.name, message=message)
            elif message.startswith("Engine Layer Information"):
                spoken.layers = message
            elif spoken.keys is not None:
                spoken.keys.update(KEY_NAMED.findall(message.lower()))

    return Logger()


def new_monitor(trt: Any, events: Events, stop: Stop) -> api.Monitor:
    """Reports TensorRT's phases and can stop the build, because TensorRT swallows a KeyboardInterrupt."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.phases: dict[str, tuple[str | None, int]] = {}

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            self.phases[name] = (parent, steps)
            events.phase(name, "start", parent, steps)

        def step_complete(self, name: str, step: int) -> bool:
            parent, steps = self.phases.get(name, (None, 0))
            events.phase(name, "step", parent, steps, step)
            return not stop.reason

        def phase_finish(self, name: str) -> None:
            parent, steps = self.phases.pop(name, (None, 0))
            events.phase(name, "finish", parent, steps, steps)

    return Monitor()


def new_writer(trt: Any, fd: int) -> api.Writer:
    """A stream writer that remembers its failure, which TensorRT ignores."""

    class Writer(trt.IStreamWriter):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IStreamWriter.__init__(self)
            self.count = 0
            self.error: OSError | None = None

        def write(self, data: bytes) -> int:
            view = memoryview(data)
            try:
                while view and self.error is None:
                    written = os.write(fd, view)
                    self.count += written
                    view = view[written:]
            except OSError as error:
                self.error = error
            return len(data) - len(view)

    return Writer()


# -- differences between the flavours ---------------------------------------------------------------------------


class Rtx:
    """`tensorrt_rtx` 1.4 to 1.7: engines for named compute capabilities, built without a GPU."""

    module = "tensorrt_rtx"
    placed = True  # its engines are reproducible at fixed addresses
    lacks = ("hardware_compatibility", "version_compatible")  # reading the first one logs an internal error
    environment: ClassVar = {
        "__LUNOWUD": "-thread_pool_size=1 -thread_pool_serialize=on",
        "__EXNOWUD": "-jit:num_threads=0",
    }
    """Options of the graph compiler, known to 1.4 to 1.7; a version that does not know one ignores it.

    It would start threads for half the cores, and for each graph up to eight more. What they are handed is little, but
    they free it in the builder's heap, sooner or later by the load of the machine: later addresses follow, and from
    them names, offsets and the order of shape scalars. Of a net with dynamic height and width, half of the builds
    differed under load, and the number of cores changed the bytes too. So the building thread does that work: none of
    350 builds differed, and it takes no longer.
    """

    def check(self, request: dict[str, Any]) -> list[str]:
        """The parts of the request that this flavour does not support."""
        problems = [
            f"TensorRT-RTX has no {key}" for key in ("plugins", "timing_cache", "tactics") if request[key]
        ]
        # without any, TensorRT would use an unchecked default with many
        if not request["compute_capabilities"]:
            problems.append("TensorRT-RTX needs the compute capabilities named")
        return problems

    def capabilities(self, trt: ModuleType) -> list[str]:
        """The compute capabilities that can be named, in ascending order."""
        names = (name for name in vars(trt.ComputeCapability) if name.startswith("SM"))
        return sorted((name.lower() for name in names), key=lambda name: int(name[2:]))

    def configure(self, trt: ModuleType, config: api.Config, request: dict[str, Any]) -> None:
        """Set the options that only this flavour has."""
        known = self.capabilities(trt)
        wanted = sorted({str(name).lower() for name in request["compute_capabilities"]})
        unknown = [name for name in wanted if name not in known]
        if unknown:
            names = ", ".join(f"'{name}'" for name in unknown)
            raise Failure("config", f"unknown compute capability {names}", "choose from " + ", ".join(known))
        wanted.sort(key=known.index)  # duplicates would change the engine's bytes; the order does not
        config.num_compute_capabilities = len(wanted)
        for index, name in enumerate(wanted):
            if not config.set_compute_capability(getattr(trt.ComputeCapability, name.upper()), index):
                raise Failure("config", f"TensorRT refused the compute capability '{name}'")

    def tactic_shared_memory(self, asked: int | None) -> int | None:
        """The limit to set, or None for TensorRT's default."""
        return GIB if asked is None else asked  # set explicitly, because the value is stored in the engine

    def load_plugins(self, trt: ModuleType, logger: api.Logger, paths: list[str]) -> None:
        """Nothing to do: RTX aborts the process when a node uses a plugin, so `check` rejects plugins."""

    def use_timing_cache(self, trt: ModuleType, config: api.Config, request: dict[str, Any]) -> None:
        """Nothing to do: timing caches are a deprecated no-op in RTX."""

    def save_timing_cache(
        self, config: api.Config, request: dict[str, Any], named: set[str]
    ) -> dict[str, str]:
        """Nothing to save, and no tactics to report."""
        return {}


class Enterprise:
    """`tensorrt` 10.x (strongly typed) and 11.x: engines for the GPU of this machine."""

    module = "tensorrt"
    placed = False
    lacks = ()
    environment: ClassVar[dict[str, str]] = {}  # it times kernels, so builds differ anyway
    known: frozenset[str] | set[str] = frozenset()  # keys that were in the timing cache before this build

    def check(self, request: dict[str, Any]) -> list[str]:
        """The parts of the request that this flavour does not support."""
        named = request["compute_capabilities"]
        return ["TensorRT builds for the GPU at hand: name no compute capabilities"] if named else []

    def capabilities(self, trt: ModuleType) -> list[str]:
        """The compute capabilities that can be named, in ascending order."""
        return []

    def configure(self, trt: ModuleType, config: api.Config, request: dict[str, Any]) -> None:
        """Set the options that only this flavour has."""
        options = request["options"]
        level = enum_member(trt.HardwareCompatibilityLevel, options["hardware_compatibility"])
        config.hardware_compatibility_level = level
        if options["version_compatible"]:
            config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
            config.plugins_to_serialize = list(request["plugins"])

    def tactic_shared_memory(self, asked: int | None) -> int | None:
        """The limit to set, or None for TensorRT's default."""
        return asked  # the default depends on the GPU

    def load_plugins(self, trt: ModuleType, logger: api.Logger, paths: list[str]) -> None:
        """Load the stock plugins and these libraries."""
        if not paths:
            return
        trt.init_libnvinfer_plugins(logger, "")
        registry = trt.get_plugin_registry()
        for path in paths:
            if registry.load_library(path) is None:
                raise Failure("config", f"cannot load the plugin library '{path}'")

    def use_timing_cache(self, trt: ModuleType, config: api.Config, request: dict[str, Any]) -> None:
        """Start from the timing caches of earlier builds or, with `tactics`, only from those choices."""
        path, tactics, flags = request["timing_cache"], request["tactics"], trt.BuilderFlag
        if not path:
            return
        # available from 10.8 on; earlier versions report no tactics either
        if hasattr(flags, "EDITABLE_TIMING_CACHE"):
            config.set_flag(flags.EDITABLE_TIMING_CACHE)
        files = [one for one in (path, *request["timing_caches"]) if os.path.exists(one) and not tactics]
        found = [config.create_timing_cache(read_bytes(one)) for one in files]
        timing_cache, *others = [one for one in found if one] or [config.create_timing_cache(b"")]
        for other in others:
            timing_cache.combine(other, False)
        for text, choice in tactics.items():
            tactic, taken = choice.split()[:2]
            value = trt.TimingCacheValue(int(tactic, 16), float(taken))
            timing_cache.update(trt.TimingCacheKey.parse(text), value)
        # the cache of another GPU: continue without it
        if config.set_timing_cache(timing_cache, False) is False:
            config.set_timing_cache(config.create_timing_cache(b""), False)
        if tactics:
            config.set_flag(flags.ERROR_ON_TIMING_CACHE_MISS)
            config.set_flag(flags.DISABLE_COMPILATION_CACHE)
        self.known = self.entries(timing_cache).keys() - tactics.keys()

    def save_timing_cache(
        self, config: api.Config, request: dict[str, Any], named: set[str]
    ) -> dict[str, str]:
        """Write the extended timing cache; returns the tactics of keys that are new or named in the log."""
        path = request["timing_cache"]
        timing_cache = config.get_timing_cache() if path else None
        if not path or not timing_cache:
            return {}
        write_whole(path, bytes(timing_cache.serialize()))
        named |= {key.lower() for key in self.entries(timing_cache).keys() - self.known}
        return {key: one for key, one in self.entries(timing_cache).items() if key.lower() in named}

    def entries(self, timing_cache: api.TimingCache) -> dict[str, str]:
        """Each key of an editable timing cache with its tactic and time, sorted."""
        if not hasattr(timing_cache, "queryKeys"):
            return {}
        found = {str(key): timing_cache.query(key) for key in timing_cache.queryKeys()}
        return {key: f"{one.tacticHash:#x} {one.timingMSec:.6g} ms" for key, one in sorted(found.items())}


FLAVOURS: dict[str, type[Rtx] | type[Enterprise]] = {"tensorrt_rtx": Rtx, "tensorrt": Enterprise}


def enum_member(enum: type, name: str) -> api.Member:
    """A member by name, ignoring case, because numbers differ between versions."""
    member: api.Member | None = getattr(enum, str(name).upper(), None)
    if member is None:
        raise Failure("config", f"unknown {enum.__name__} '{name}' in this TensorRT")
    return member


def read_bytes(path: str) -> bytes:
    """The bytes of a file."""
    with open(path, "rb") as file:
        return file.read()


def write_whole(path: str, data: bytes) -> None:
    """Write a file atomically."""
    with open(path + ".part", "wb") as file:
        file.write(data)
    os.replace(path + ".part", path)


# -- the request ------------------------------------------------------------------------------------------------


def read_request(path: str) -> dict[str, Any]:
    """The unchecked request in a file. Raises Failure when it is not a JSON object."""
    try:
        request = json.loads(read_bytes(path))
    except (OSError, ValueError) as error:
        raise Failure("config", f"cannot read the request: {error}") from error
    if not isinstance(request, dict):
        raise Failure("config", "the request is not a JSON object")
    return request


def checked_request(request: dict[str, Any]) -> dict[str, Any]:
    """The request, checked. Raises Failure with everything that is wrong with it."""
    if request.get("schema") != SCHEMA or request.get("flavour") not in FLAVOURS:
        raise Failure("config", f"not a request of schema {SCHEMA} for one of {', '.join(FLAVOURS)}")
    options = request.get("options")
    problems = list(field_problems(request, FIELDS, "field"))
    problems += field_problems(options, OPTIONS, "option") if isinstance(options, dict) else []
    problems = problems or action_problems(request)
    if problems:
        raise Failure("config", "; ".join(problems), details=problems)
    return request


def field_problems(found: dict[str, Any], wanted: dict[str, str], kind: str) -> list[str]:
    """Problems of fields that are missing, unknown or of another type."""
    problems = [f"the request lacks the {kind} '{name}'" for name in wanted if name not in found]
    problems += [f"unknown {kind} '{name}'" for name in found if name not in wanted]
    wrong = [name for name in wanted if name in found and not is_of(wanted[name], found[name])]
    return problems + [f"the {kind} '{name}' must be of type {wanted[name]}" for name in wrong]


def is_of(wanted: str, value: object) -> bool:
    """Whether a value has a type of FIELDS; true is not an integer."""
    if wanted.endswith(" or null"):
        return value is None or is_of(wanted.removesuffix(" or null"), value)
    if wanted.startswith("list of "):
        return type(value) is list and all(is_of(wanted[8:-1], one) for one in value)
    if wanted.startswith("object of "):
        return type(value) is dict and all(is_of(wanted[10:-1], one) for one in value.values())
    return type(value) in TYPES[wanted]


def action_problems(request: dict[str, Any]) -> list[str]:
    """Problems of a well-formed request that cannot be carried out."""
    if request["action"] not in ACTIONS:
        return [f"unknown action '{request['action']}': choose from {', '.join(ACTIONS)}"]
    if request["action"] == "describe":
        return []
    flavour, options = FLAVOURS[request["flavour"]](), request["options"]
    files = [request[key] for key in ("model", "engine")]
    problems = [f"'{name}' is not a plain file name" for name in files if "/" in name]
    asked = [name for name in flavour.lacks if str(options[name]).lower() not in ("none", "false")]
    problems += [f"{flavour.module} has no option '{name}'" for name in asked]
    problems += flavour.check(request) if request["action"] == "build" else []
    return problems + ([] if request["network_name"] else ["the network needs a name"])


# -- the work ---------------------------------------------------------------------------------------------------


AHEAD: list[Any] = []  # memory that is kept, and last what load_tensorrt returned: filled by waiting.py alone


def load_tensorrt(
    flavour: Rtx | Enterprise, action: str, site: list[str]
) -> tuple[ModuleType, Ground | None]:
    """Import TensorRT, for a build at fixed addresses. Raises Failure."""
    sys.path += site
    os.environ.update(flavour.environment)
    ground = Ground() if flavour.placed and action == "build" and on_glibc() else None
    if ground is not None:
        ground.load(libraries_of(flavour.module, sys.path))
    try:
        return importlib.import_module(flavour.module), ground
    except (ImportError, OSError) as error:
        text = f"cannot import {flavour.module}: {error}"
        raise Failure("environment", text, "install its wheel for this interpreter") from error


class Job:
    """One request, carried out step by step; `result` is filled in on the way."""

    def __init__(self, request: dict[str, Any], events: Events, stop: Stop) -> None:
        self.request, self.events, self.stop = request, events, stop
        self.flavour = FLAVOURS[request["flavour"]]()
        self.spoken = Spoken()
        self.seconds: dict[str, float] = {}
        self.result: dict[str, object] = {"seconds": self.seconds}
        self.trt: ModuleType
        self.logger: api.Logger
        self.monitor: api.Monitor
        self.ground: Ground | None = None
        self.apart: Apart | None = None

    def timed(self, name: str, work: Callable[[], T]) -> T:
        """Run `work` and record its duration in the result."""
        self.stop.check()
        self.events.begin(name)
        began = time.perf_counter()
        try:
            return work()
        finally:
            self.seconds[name] = round(time.perf_counter() - began, 6)

    def load(self) -> None:
        """Import TensorRT."""
        asked = self.request["action"], self.request["site"]
        self.trt, self.ground = AHEAD.pop() if AHEAD else load_tensorrt(self.flavour, *asked)
        self.result["version"] = str(self.trt.__version__)
        if self.request["action"] != "describe":
            self.logger = new_logger(self.trt, self.events, self.spoken)
            self.monitor = new_monitor(self.trt, self.events, self.stop)

    def prepare(self) -> None:
        """Prepare the building thread, which gets its heap now. Called by the main thread, whose heap is apart."""
        if self.ground is not None:
            self.ground.reserve_exit_functions()
            self.ground.sink()
            self.apart = Apart(self.ground)

    def run(self) -> None:
        """Everything after the import."""
        if self.request["action"] == "describe":
            self.describe()
            return
        trt = self.trt
        if self.ground is not None:
            self.ground.malloc(24)  # the first allocation creates this thread's heap
            self.ground.warm()
            self.ground.level()
        try:
            builder = trt.Builder(self.logger)
        # pybind raises these if the factory returned a null pointer
        except (TypeError, RuntimeError) as error:
            message = "TensorRT cannot start: is there a GPU and its driver?"
            raise Failure("environment", message, "", self.spoken.take_errors()) from error
        self.flavour.load_plugins(trt, self.logger, self.request["plugins"])
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        network.name = self.request["network_name"]  # TensorRT's default name contains a counter
        self.spoken.warnings = [] if self.request["action"] == "parse" else None
        parser = self.timed("parse", lambda: self.parse(network))
        self.describe_network(network)
        if self.request["action"] == "build":
            self.timed("build", lambda: self.build(builder, network))
        else:
            self.timed("read", lambda: self.read(network))
        del parser  # weights must not outlive the network

    def describe(self) -> None:
        """Report what this toolchain supports."""
        self.result["compute_capabilities"] = self.flavour.capabilities(self.trt)
        self.result["cuda_driver"] = has_driver()
        self.result["can_switch_randomisation_off"] = randomisation_is_off() or switch_randomisation_off()

    def parse(self, network: api.Network) -> api.Parser:
        """Parse the model into the network; returns the parser."""
        path = self.request["model"]
        if not os.path.isfile(path) or not os.path.getsize(path):
            raise Failure("parse", f"'{path}' is missing or empty")
        parser: api.Parser = self.trt.OnnxParser(network, self.logger)
        parsed = parser.parse_from_file(path)
        details = [self.refusal(parser.get_error(index)) for index in range(parser.num_errors)]
        if not parsed or details:
            count = f"TensorRT cannot parse the model: {len(details)} problem{'s' * (len(details) != 1)}"
            raise Failure("parse", count, details=details)
        if not network.num_outputs:  # TensorRT may parse random bytes "successfully" into an empty network
            raise Failure("parse", f"'{path}' holds no ONNX model: it parses to a network without outputs")
        self.spoken.take_errors()
        return parser

    def refusal(self, parser_error: api.ParserError) -> dict[str, object]:
        """One error of the parser; its line and file are NVIDIA's own and are left out."""
        node, op = parser_error.node(), parser_error.node_operator()
        return {
            "node": node if node >= 0 else None,
            "name": parser_error.node_name(),
            "op": op,
            "reason": plain_reason(parser_error.desc(), op),
            "code": parser_error.code().name,
            "functions": list(parser_error.local_function_stack()),
        }

    def describe_network(self, network: api.Network) -> None:
        """Write network.json, and a summary into an event and the result."""
        inputs = [tensor_facts(network.get_input(i), "input") for i in range(network.num_inputs)]
        outputs = [tensor_facts(network.get_output(i), "output") for i in range(network.num_outputs)]
        layers = [layer_facts(network.get_layer(i)) for i in range(network.num_layers)]
        write_whole("network.json", json.dumps({"io": inputs + outputs, "layers": layers}).encode())
        by_type = Counter(layer["type"] for layer in layers)
        by_dtype = Counter(output["dtype"] for layer in layers for output in layer["outputs"][:1])
        self.result["io"] = inputs + outputs
        self.result["layer_counts"] = {
            "by_type": dict(sorted(by_type.items())),
            "by_dtype": dict(sorted(by_dtype.items())),
        }
        self.events.send("network", name=network.name, layers=len(layers), io=self.result["io"])

    def read(self, network: api.Network) -> None:
        """Write parsed.json and parsed.weights."""
        sys.path.append(os.path.dirname(os.path.abspath(__file__)))
        write_network = importlib.import_module("network_reading").write_network
        heard, self.spoken.warnings = self.spoken.warnings, None
        facts = {"dtypes": DTYPES, "warnings": heard, "hear": self.spoken.take_errors}
        self.result["read"] = write_network(self.trt, network, **facts)

    def build(self, builder: api.Builder, network: api.Network) -> None:
        """Write the engine and layers.json."""
        config = builder.create_builder_config()
        self.configure(config)
        self.flavour.configure(self.trt, config, self.request)
        self.add_profiles(builder, network, config)
        self.flavour.use_timing_cache(self.trt, config, self.request)
        if self.request["timing_cache"]:
            self.spoken.take_errors()  # forget errors about caches that do not fit
            self.spoken.keys = set()
        config.progress_monitor = self.monitor
        self.refuse_logged("config")
        self.write_engine(builder, network, config)
        self.result["tactics"] = self.flavour.save_timing_cache(
            config, self.request, self.spoken.keys or set()
        )
        write_whole("layers.json", json.dumps(fused_layers(self.spoken.layers)).encode())
        self.result.update(self.spoken.memory)

    def refuse_logged(self, kind: str) -> None:
        """Raise Failure for logged errors, because TensorRT only logs bad settings and ignores them."""
        errors = self.spoken.take_errors()
        if errors:
            raise Failure(kind, errors[0], details=errors)

    def configure(self, config: api.Config) -> None:
        """Set the options that every flavour has."""
        trt, options = self.trt, self.request["options"]
        self.set_pool(config, trt.MemoryPoolType.WORKSPACE, options["workspace"])
        shared = self.flavour.tactic_shared_memory(options["tactic_shared_memory"])
        if shared is not None:
            self.set_pool(config, trt.MemoryPoolType.TACTIC_SHARED_MEMORY, shared)
        config.builder_optimization_level = options["optimization_level"]
        config.profiling_verbosity = enum_member(trt.ProfilingVerbosity, options["profiling_verbosity"])
        flags = trt.BuilderFlag
        for flag, wanted in (
            (flags.TF32, options["tf32"]),
            (flags.WEIGHT_STREAMING, options["weight_streaming"]),
            (flags.SPARSE_WEIGHTS, options["sparse_weights"]),
        ):
            (config.set_flag if wanted else config.clear_flag)(flag)
        if options["max_aux_streams"] is not None:
            config.max_aux_streams = options["max_aux_streams"]
        if options["avg_timing_iterations"] is not None:
            config.avg_timing_iterations = options["avg_timing_iterations"]

    def set_pool(self, config: api.Config, pool: api.Member, size: int) -> None:
        """Set a memory pool's size and read it back, because TensorRT only logs an invalid size."""
        config.set_memory_pool_limit(pool, size)
        if config.get_memory_pool_limit(pool) != size:
            raise Failure(
                "config", f"TensorRT refused {size} bytes for {pool.name}", details=self.spoken.take_errors()
            )

    def add_profiles(self, builder: api.Builder, network: api.Network, config: api.Config) -> None:
        """Add the profiles; none for a static network, because a profile would change the engine's bytes."""
        inputs = [network.get_input(index) for index in range(network.num_inputs)]
        varying = [tensor for tensor in inputs if needs_profile(tensor)]
        facts = {tensor.name: tensor_facts(tensor, "input") for tensor in inputs}
        problems = [
            f"profile {number}: {text}"
            for number, profile in enumerate(self.request["profiles"])
            for text in profile_problems(profile, facts)
        ]
        if varying and not self.request["profiles"]:
            names = ", ".join(f"'{tensor.name}'" for tensor in varying)
            problems = [f"the model has dynamic inputs ({names}) and no profile"]
        if problems:
            raise Failure("profile", "; ".join(problems), details=problems)
        for number, shapes in enumerate(self.request["profiles"] if varying else []):
            profile = builder.create_optimization_profile()
            for tensor in varying:  # a static input in a profile would change the engine's bytes
                self.set_shapes(profile, tensor.name, shapes[tensor.name])
            if config.add_optimization_profile(profile) < 0:
                raise Failure(
                    "profile", f"TensorRT refused profile {number}", details=self.spoken.take_errors()
                )

    def set_shapes(self, profile: api.Profile, name: str, shapes: dict[str, Any]) -> None:
        """Set one input's shapes and values."""
        try:
            if "min" in shapes:
                profile.set_shape(name, *(shapes[key] for key in SHAPE_KEYS))
            if "values" in shapes:
                profile.set_shape_input(name, *(shapes["values"][key] for key in SHAPE_KEYS))
        except (RuntimeError, TypeError, ValueError) as error:
            raise Failure("profile", f"input '{name}': {plain_message(str(error))}") from error

    def write_engine(self, builder: api.Builder, network: api.Network, config: api.Config) -> None:
        """Build into a temporary file, which is renamed when it is complete."""
        path = self.request["engine"]
        try:
            fd = os.open(
                path + ".part", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o644
            )
            try:
                size = self.serialise(builder, network, config, fd)
            finally:
                os.close(fd)
            os.replace(path + ".part", path)
        except OSError as error:
            raise Failure("build", f"cannot write the engine: {reason_of(error)}") from error
        self.result["engine_size"] = size
        self.events.send("engine", file=path, size=size, **self.spoken.memory)

    def serialise(self, builder: api.Builder, network: api.Network, config: api.Config, fd: int) -> int:
        """Build and write the engine; returns its size. Raises Failure, OSError."""
        streams = hasattr(builder, "build_serialized_network_to_stream")  # from 10.13 on
        if streams and self.model_bytes() > STREAM_FROM:
            writer = new_writer(self.trt, fd)
            built = self.aside(lambda: builder.build_serialized_network_to_stream(network, config, writer))
            self.check_built(built)
        else:
            plan = self.aside(lambda: builder.build_serialized_network(network, config))
            self.check_built(plan is not None)
            assert plan is not None
            writer = BufferWriter(fd, plan)
        self.events.begin("write")
        began = time.perf_counter()
        if writer.error is not None:
            raise writer.error
        self.check_header(writer.count)  # not flushed to disk: trtpipe does that when it stores the engine
        self.seconds["write"] = round(time.perf_counter() - began, 6)
        return int(writer.count)

    def aside(self, work: Callable[[], T]) -> T:
        """Run `work` in the building thread if there is one, because Python has changed the heap of this thread."""
        if self.apart is None:
            return work()
        built = self.apart.do(work)
        self.result["addresses"] = "fixed" if self.apart.ground.fixed() else "varying"
        return built

    def model_bytes(self) -> int:
        """The size of the model with its external data, which is in the same folder."""
        made = (self.request["engine"], self.request["engine"] + ".part")
        return sum(one.stat().st_size for one in os.scandir(".") if one.is_file() and one.name not in made)

    def check_built(self, built: bool) -> None:
        """Raises Failure when TensorRT returned nothing, because it raises no exception itself."""
        self.stop.check()
        if not built:
            errors = self.spoken.take_errors()
            text = errors[0] if errors else "TensorRT built no engine and gave no reason"
            raise Failure("build", text, details=errors)

    def check_header(self, count: int) -> None:
        """Checks the size at byte 16 of an RTX engine's header; other flavours' headers are not known."""
        with open(self.request["engine"] + ".part", "rb") as file:
            head = file.read(24)
        said = int.from_bytes(head[16:24], "little") if self.flavour.module == "tensorrt_rtx" else count
        if count != said or os.path.getsize(self.request["engine"] + ".part") != count:
            raise Failure("build", f"the engine is truncated: {count} bytes were written of {said}")


class BufferWriter:
    """Writes a finished plan, for versions that cannot stream it."""

    def __init__(self, fd: int, plan: api.HostMemory) -> None:
        self.count = 0
        self.error: OSError | None = None
        view = memoryview(plan).cast("B")
        while self.count < len(view):
            self.count += os.write(fd, view[self.count : self.count + 64 * MIB])


def reason_of(error: OSError) -> str:
    """The operating system's message, as the end of a sentence."""
    return (error.strerror or str(error)).lower()


def on_glibc() -> bool:
    """Whether the C library is glibc, whose heaps this module knows."""
    try:
        return sys.platform.startswith("linux") and os.confstr("CS_GNU_LIBC_VERSION") is not None
    except (OSError, ValueError):
        return False


def has_driver() -> bool:
    """Whether a CUDA driver library can be loaded."""
    return can_load("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")


def dtype_name(tensor: api.Tensor) -> str:
    """ONNX's name of the element type."""
    name = str(tensor.dtype.name)
    return DTYPES.get(name, name.lower())


def shape_of(tensor: api.Tensor) -> list[int] | None:
    """The shape, -1 where dynamic; None when even the rank is unknown."""
    try:
        return [int(size) for size in tensor.shape]
    except ValueError:
        return None


def tensor_facts(tensor: api.Tensor, mode: str) -> api.TensorFacts:
    """The facts about an input or output for the result."""
    shape = shape_of(tensor)
    names = (
        [tensor.get_dimension_name(axis) or None for axis in range(len(shape or []))]
        if mode == "input"
        else []
    )
    return {
        "name": tensor.name,
        "mode": mode,
        "dtype": dtype_name(tensor),
        "shape": shape,
        "shape_tensor": bool(tensor.is_shape_tensor),
        "dimension_names": names,
    }


def layer_facts(layer: api.Layer) -> dict[str, Any]:
    """A layer of the network as the parser made it, before fusion; an optional input may be absent."""
    inputs = [layer.get_input(index) for index in range(layer.num_inputs)]
    outputs = [layer.get_output(index) for index in range(layer.num_outputs)]
    return {
        "name": layer.name,
        "type": layer.type.name,
        "inputs": [tensor.name for tensor in inputs if tensor is not None],
        "outputs": [
            {"name": tensor.name, "dtype": dtype_name(tensor), "shape": shape_of(tensor)}
            for tensor in outputs
        ],
    }


def needs_profile(tensor: api.Tensor) -> bool:
    """Whether TensorRT requires a profile for this input."""
    return bool(tensor.is_shape_tensor) or -1 in (shape_of(tensor) or [])


def profile_problems(wanted: dict[str, Any], inputs: dict[str, api.TensorFacts]) -> list[str]:
    """Problems of profiles that TensorRT would silently accept, or report unclearly."""
    unknown = [name for name in wanted if name not in inputs]
    problems = [f"the model has no input '{name}'; it has {', '.join(inputs)}" for name in unknown]
    for name, facts in inputs.items():
        shapes, shape = wanted.get(name, {}), facts["shape"] or []
        if -1 in shape and "min" not in shapes:
            problems.append(f"input '{name}' is dynamic and has no shapes")
        if facts["shape_tensor"] != ("values" in shapes):
            problems.append(f"input '{name}' takes {'values' if facts['shape_tensor'] else 'no values'}")
        if "min" in shapes:
            problems += [f"input '{name}' is {shape}: {text}" for text in shape_problems(shapes, shape)]
    return problems


def shape_problems(shapes: dict[str, Any], shape: list[int]) -> list[str]:
    """Problems of shapes: min, opt and max must not decrease, and must fit the input's static dimensions."""
    three = [shapes.get(key) or [] for key in SHAPE_KEYS]
    if any(len(one) != len(shape) for one in three):
        return [f"min, opt and max need {len(shape)} dimensions"]
    problems = []
    for axis, (size, *sizes) in enumerate(zip(shape, *three, strict=True)):
        if sizes != sorted(sizes) or sizes[0] < 0 or (size >= 0 and set(sizes) != {size}):
            problems.append(f"{sizes} is wrong in dimension {axis}")
    return problems


# -- monitoring the work----------------------------------------------------------------------------------------


def mind(worker: threading.Thread, request: dict[str, Any], events: Events, stop: Stop, began: float) -> None:
    """Wait for the building thread: report memory once a second, keep the limits.

    The main thread does this, because only it receives signals, and its heap is separate from the build's mappings.
    """
    seconds, memory = request["time_limit"], request["memory_limit"]
    reported = time.monotonic()
    while worker.is_alive():
        worker.join(WATCH_SECONDS)
        now, resident = time.monotonic(), resident_bytes()
        if seconds and now - began > seconds and not stop.reason:
            stop.reason = "timeout"
        if not worker.is_alive():
            return  # the build has sent its result, which must be the last event
        if memory and resident > memory:
            error = too_much_memory(resident, memory)
            events.send("error", kind="memory", message=error.message, remedy=error.remedy, details=[])
            os._exit(3)
        if now - reported >= 1:
            reported = now
            events.send("memory", rss=resident, peak=peak_bytes())


def too_much_memory(taken: int, limit: int) -> Failure:
    """End a build that exceeded its memory limit."""
    text = f"the build took {taken} bytes of memory, more than the limit of {limit}"
    return Failure("memory", text, "raise the memory limit")


def carry_out(job: Job, events: Events) -> int:
    """Run the job, report how it ended, return the exit code."""
    failure: Failure | None = None
    limit = job.request["memory_limit"]
    try:
        job.run()
        if limit and (peak_bytes() or 0) > limit:  # a short build may end before the memory was checked
            raise too_much_memory(peak_bytes() or 0, limit)
    except Failure as error:
        failure = error
    except MemoryError:
        failure = Failure("memory", "no memory left")
    except OSError as error:
        failure = Failure("environment", f"{error.filename or 'a file'}: {reason_of(error)}")
    except Exception as error:  # any exception of a binding must still become an event
        import traceback  # imported here, because it is slow to import; the traceback goes to build.log

        traceback.print_exc()
        failure = Failure("internal", f"{type(error).__name__}: {error}")
    return finish(job.result, failure, events)


def finish(result: dict[str, object], failure: Failure | None, events: Events) -> int:
    """Send the last events; returns the exit code."""
    if failure is not None:
        fields = {"message": failure.message, "remedy": failure.remedy, "details": failure.details}
        events.send("error", kind=failure.kind, **fields)
    facts = {"python": f"{sys.implementation.name} {sys.version.split()[0]}", "peak_rss": peak_bytes()}
    events.send("result", ok=failure is None, **facts, **result)
    return 0 if failure is None else 1


def main() -> None:
    """Read the request, prepare the process, build in a new thread, exit without unloading TensorRT."""
    began = time.monotonic()
    fixed = randomisation_is_off()
    stop, codes = Stop(), [1]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop.on_signal)
    events = Events(os.dup(1))
    os.dup2(2, 1)  # output of native code must not get between the events
    result: dict[str, object] = {}
    try:
        request = read_request(sys.argv[1])
        events.send("start", action=request.get("action"), pid=os.getpid(), schema=SCHEMA)
        checked_request(request)
        job = Job(request, events, stop)
        result = job.result
        result["address_randomisation"] = "off" if fixed else "on"
        stock = stock_small_memory()
        job.timed("import", job.load)
    except Failure as failure:
        os._exit(finish(result, failure, events))
    threading.stack_size(STACK_BYTES)
    stock += stock_small_memory()
    gc.disable()  # a collection would free one thread's memory in another, at a time-dependent moment
    job.prepare()
    worker = threading.Thread(target=lambda: codes.insert(0, carry_out(job, events)), daemon=True)
    worker.start()
    mind(worker, request, events, stop, began)
    del stock
    os._exit(codes[0])


if __name__ == "__main__":
    main()

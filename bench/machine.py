"""What a run ran on: processor, versions, load, and how much of its time the hypervisor took away."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

STEAL_LIMIT = 0.05
"""Above this share of stolen time a run is marked: its absolute figures say little."""
OTHERS_LIMIT = 0.1
"""The same for the share that other processes used; they also push each other out of the caches."""

LIBRARIES = ("pynacl", "cryptography", "cbor2", "qrcode", "zxing-cpp", "pillow", "sqlalchemy")


@dataclass(frozen=True, slots=True)
class ProcessorTime:
    """Seconds of all processors since boot, from `/proc/stat`, and those that this run used, its children included."""

    total: float
    stolen: float
    idle: float
    own: float

    @classmethod
    def now(cls) -> ProcessorTime | None:
        """Read them; None where there is no `/proc/stat`."""
        try:
            first = Path("/proc/stat").read_text().split("\n", 1)[0].split()
        except OSError:
            return None
        # user nice system idle iowait irq softirq steal; guest times behind them are part of user and nice
        seconds = [int(field) / os.sysconf("SC_CLK_TCK") for field in first[1:9]]
        return cls(sum(seconds), seconds[7], seconds[3] + seconds[4], sum(os.times()[:4]))


@dataclass(frozen=True, slots=True)
class Shares:
    """How the processors' time was divided during a run, each as a part of 1."""

    own: float
    others: float
    stolen: float

    @classmethod
    def between(cls, before: ProcessorTime | None, after: ProcessorTime | None) -> Shares | None:
        """The shares between two moments; None where unknown."""
        if before is None or after is None or after.total <= before.total:
            return None
        elapsed = after.total - before.total
        own = (after.own - before.own) / elapsed
        stolen = (after.stolen - before.stolen) / elapsed
        idle = (after.idle - before.idle) / elapsed
        return cls(own, max(1 - own - stolen - idle, 0), stolen)

    @property
    def quiet(self) -> bool:
        """Whether so little was stolen or used by others that absolute figures count."""
        return self.stolen <= STEAL_LIMIT and self.others <= OTHERS_LIMIT


def describe() -> list[tuple[str, str]]:
    """Name and value of everything that a figure depends on."""
    return [
        ("processor", f"{_processor()}, {os.cpu_count()} cores"),
        ("system", platform.platform(aliased=True)),
        ("Python", f"{platform.python_implementation()} {platform.python_version()}, {platform.python_compiler()}"),
        ("libraries", ", ".join(f"{name} {version(name)}" for name in LIBRARIES)),
    ]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "model name" not in facts:
        return platform.machine()
    return f"{facts['model name']} (family {facts.get('cpu family')}, model {facts.get('model')})"

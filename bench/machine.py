"""What a run ran on: processor, versions, load, and how much of its time the hypervisor took away."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

STEAL_LIMIT = 0.05
"""Above this share of stolen time a run is marked: its absolute figures say little."""

LIBRARIES = ("pynacl", "cryptography", "cbor2", "qrcode", "zxing-cpp", "pillow", "sqlalchemy")


@dataclass(frozen=True, slots=True)
class ProcessorTime:
    """Clock ticks of all processors since boot, from `/proc/stat`; zeros where that does not exist."""

    total: int
    stolen: int
    idle: int

    @classmethod
    def now(cls) -> ProcessorTime:
        """Read them."""
        try:
            first = Path("/proc/stat").read_text().split("\n", 1)[0].split()
        except OSError:
            return cls(0, 0, 0)
        # user nice system idle iowait irq softirq steal; guest times behind them are part of user and nice
        ticks = [int(field) for field in first[1:9]]
        return cls(sum(ticks), ticks[7], ticks[3] + ticks[4])

    def steal_since(self, before: ProcessorTime) -> float | None:
        """The share of the time since `before` that the hypervisor gave to others; None where unknown."""
        elapsed = self.total - before.total
        return (self.stolen - before.stolen) / elapsed if elapsed else None

    def busy_since(self, before: ProcessorTime) -> float | None:
        """The share of the processors' time since `before` that was used by anyone; None where unknown."""
        elapsed = self.total - before.total
        return 1 - (self.idle - before.idle) / elapsed if elapsed else None


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

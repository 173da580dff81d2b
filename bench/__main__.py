"""Run every measurement and write `bench/RESULTS.md`: `make bench`."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from bench import (
    codecs,
    importing,
    issuer_http,
    issuing,
    ledger,
    ledger_http,
    qr,
    registry,
    startup,
    verifier_http,
    verify,
)
from bench.large_log import LargeLog
from bench.machine import OTHERS_LIMIT, STEAL_LIMIT, ProcessorTime, Shares, describe
from bench.report import Group, Table
from bench.samples import make_samples

RESULTS = Path(__file__).parent / "RESULTS.md"


def main() -> int:
    """Run, report, and answer 0: a target that is not reached is a line of the report, not an error."""
    before = ProcessorTime.now()
    groups: list[Group] = []
    with tempfile.TemporaryDirectory() as folder:
        samples = make_samples(Path(folder))
        large = LargeLog.make(Path(folder) / "large")
        measurements: tuple[tuple[str, Callable[[], Group]], ...] = (
            ("verification", lambda: verify.measure(samples)),
            ("codecs", codecs.measure),
            ("starting", lambda: startup.measure(samples)),
            ("QR codes", lambda: qr.measure(samples)),
            ("the writing side", lambda: registry.measure(Path(folder))),
            ("importing", lambda: importing.measure(Path(folder))),
            ("bulk issue", lambda: issuing.measure(Path(folder))),
            ("the verifier over HTTP", lambda: verifier_http.measure(Path(folder) / "verifier")),
            ("the registry over HTTP", lambda: issuer_http.measure(Path(folder))),
            ("the ledger over HTTP", lambda: ledger_http.measure(large)),
            ("the ledger", lambda: ledger.measure(large)),
        )
        for name, measure in measurements:
            started = time.monotonic()
            groups.append(measure())
            sys.stdout.write(f"{name}: {time.monotonic() - started:.0f} s\n")
            sys.stdout.flush()
    text = "\n".join([_head(before), *(group.markdown() for group in groups)])
    RESULTS.write_text(text, encoding="utf-8")
    sys.stdout.write(f"\n{text}")
    return 0


def _head(before: ProcessorTime | None) -> str:
    shares = Shares.between(before, ProcessorTime.now())
    table = Table(("this run", ""))
    table.add("date", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
    for name, value in describe():
        table.add(name, value)
    if shares is None:
        table.add("processors' time", "unknown: no /proc/stat")
    else:
        used = f"{100 * shares.own:.0f} % by this run, {100 * shares.others:.0f} % by others"
        table.add("processors' time", f"{used}, {100 * shares.stolen:.2f} % stolen by the hypervisor")
    lines = [
        "# Results of `make bench`",
        (
            "Written by `python -m bench`; every figure is from the run described here. What a row is measured against "
            "took turns with it in the same run; a ratio is the median over the turns."
        ),
        table.markdown().rstrip("\n"),
    ]
    if shares is None or not shares.quiet:
        lines.append(
            f"**Marked: more than {100 * STEAL_LIMIT:.0f} % of the processors' time was stolen or more than "
            f"{100 * OTHERS_LIMIT:.0f} % used by others (or neither is known). Times are too long, ratios too; run it "
            "again on a quiet machine.**"
        )
    return "\n\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())

"""The log answers the registry late, twice or not at all: no licence is lost or logged elsewhere than is told."""

from __future__ import annotations

from pathlib import Path

from tests.ledger.faults.depth import FULL
from tests.tree.fickle_log import FickleLog
from tests.tree.promises import Promises
from tests.tree.served_region import served_region, until

TIMES = 20 if FULL else 2
"""How often each of the four happens at least."""
SENDERS = 4
WAVE = 20


def test_no_licence_is_lost_while_the_log_answers_late_twice_or_not_at_all(tmp_path: Path) -> None:
    fickle = FickleLog(seed=4)
    try:
        with served_region(tmp_path / "gd", log_url=fickle.before) as region:
            region.start()
            promises = Promises(region)
            fickle.is_fickle = True
            with promises.kept_coming(SENDERS):
                while min(fickle.mistreated().values()) < TIMES:
                    seen = fickle.mistreated()
                    promises.want(WAVE)
                    promises.wait_for(len(promises.acknowledged) + 1)
                    until(lambda: fickle.mistreated() != seen, 120)  # noqa: B023 - called here
            assert not promises.repeated, "who issues does not wait for the log"
            fickle.is_fickle = False
            promises.check_answers()
            assert region.stop() == 0
            promises.check_stored()
    finally:
        fickle.close()

from __future__ import annotations

import json
from typing import Any

from chopmark import qr_text
from chopmark.presentation import present
from chopmark.verifier import VerificationPolicy, Verifier
from chopmark_verifier.verdict_json import dumps, verdict_json

from specs.vectors.sample_world import DAY


def test_a_verdict_is_written_as_its_values_are_whatever_it_is(out: Any) -> None:
    food = qr_text.encode(out.credentials["food"].encode())
    shown = present(out.credentials["constructor"], out.world.holder, at=out.clock.now)
    verifier = Verifier(out.store, clock=out.clock, policy=VerificationPolicy(accept_provisional=True))
    seen = set()
    for text, later in (
        (food, 0),
        (qr_text.encode(shown.encode()), 0),
        (qr_text.encode(shown.encode()), 0),
        (qr_text.encode(out.credentials["constructor"].encode()), 0),
        (food[:-4] + "0000", 0),
        ("EL2:", 0),
        ('\u2028"\\', 0),
        (food, 8 * DAY),
        (food, 31 * DAY),
        (food, 9000 * DAY),
    ):
        verdict = verifier.verify(text, at=out.clock.now + later)
        assert verdict_json(verdict) == dumps(verdict.to_json())
        assert json.loads(verdict_json(verdict)) == verdict.to_json()
        seen.add((verdict.outcome, verdict.stale, bool(verdict.remarks)))
    assert len(seen) >= 4

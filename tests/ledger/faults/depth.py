"""How deep the fault tests go: a tenth in `make test`, all in CI, which sets CHOPMARK_FAULTS=all."""

from __future__ import annotations

import os

FULL = os.environ.get("CHOPMARK_FAULTS") == "all"

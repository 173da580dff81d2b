"""Prints a token for one request of the clerk's system, for the header `Authorization: Bearer …`.

    python -m examples.serve.token FOLDER CN-GD

A department's system makes its tokens itself, with its own key (RFC 7523; `chopmark_service.authentication`).
"""

from __future__ import annotations

import sys
from pathlib import Path

from examples.serve.first_requests import token
from examples.serve.places import places

if __name__ == "__main__":
    (asked,) = [each for each in places(Path(sys.argv[1]), 0) if each.plan.code == sys.argv[2]]
    print(token(asked))

"""Prints a token for one request of the clerk's system, for the header `Authorization: Bearer …`.

    python -m examples.serve.token FOLDER CN-GD

A department's system makes its tokens itself, with its own key (RFC 7523; `chopmark_service.authentication`).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from chopmark.key_file import read_key_file
from chopmark_service.authentication import make_token

from examples.demo.regions import passphrase
from examples.serve.places import places


def main() -> None:
    """Print it."""
    folder, code = Path(sys.argv[1]), sys.argv[2]
    (place,) = [each for each in places(folder, 0) if each.plan.code == code]
    key = read_key_file(place.clerk_key).load(passphrase(folder), where=str(place.clerk_key))
    print(make_token(key, name=place.clerk, audience=code, now=time.time()))


if __name__ == "__main__":
    main()

"""Prints a token for one request of the clerk's system, for the header `Authorization: Bearer …`.

    python -m examples.serve.token FOLDER CN-GD

A department's system makes its tokens itself, with its own key (RFC 7523; `chopmark_service.authentication`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from examples.serve.first_requests import token
from examples.serve.places import made_places, places

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m examples.serve.token", description="Print a token for one request of the clerk's system."
    )
    parser.add_argument("folder", type=Path, help="where `make serve` made the regions, such as serve-output")
    parser.add_argument("region", choices=[place.plan.code for place in places(Path(), 0)])
    arguments = parser.parse_args()
    made = made_places(arguments.folder)
    if made is None:
        parser.error(f"{arguments.folder}: the regions are not there; `make serve` makes them in serve-output")
    (asked,) = [each for each in made if each.plan.code == arguments.region]
    print(token(asked))

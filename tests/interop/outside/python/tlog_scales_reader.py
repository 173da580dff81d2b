"""Runs in the environment of `requirements.txt`: reads a log, or a signed checkpoint, with tlog-scales.

tlog_scales_reader.py root LOCATION            the root it computes from the tiles, base64
tlog_scales_reader.py keys VKEY… < checkpoint  the key names and types whose lines it verifies, one a line
"""

from __future__ import annotations

import base64
import sys

# It is in the environment of this folder, not in the one that checks types.
from tlog_scales.backend import make_backend  # type: ignore[import-not-found]
from tlog_scales.reader import TilesReader  # type: ignore[import-not-found]
from tlog_scales.signing import Vkey, VkeySet  # type: ignore[import-not-found]
from tlog_scales.tlog import Checkpoint  # type: ignore[import-not-found]


def main() -> None:
    """Do what the first argument says."""
    match sys.argv[1:]:
        case ["root", location]:
            reader = TilesReader(make_backend(location))
            reader.get_checkpoint()
            sys.stdout.write(base64.b64encode(reader.calculate_root_hash()).decode() + "\n")
        case ["keys", *vkeys]:
            checkpoint = Checkpoint.from_text(sys.stdin.buffer.read().decode())
            keys = VkeySet(*[Vkey.from_string(vkey) for vkey in vkeys])
            for key, _ in keys.verify(checkpoint.signatures, checkpoint):
                sys.stdout.write(f"{key.name} {key.sig_type}\n")


main()

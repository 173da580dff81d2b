"""Reads QR codes from the pictures of strangers, in a process that may be killed.

    to it      uint32be size ‖ picture                              one after the other, on standard input
    from it    uint32be size ‖ {"texts": ["EL1:…"]}                 once for each, on standard output
                            or {"refused": "unreadable" | "too_large"}
                            and {} once before all, when it is ready

Its arguments are the bytes of memory that it may have, the pixels of a picture, and the seconds that a picture may
take. A picture that needs more of either ends it, by the kernel's hand: nothing that a decoder does can prevent that.
It ends by itself when its input does, which happens when the service is gone.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from typing import BinaryIO

_LENGTH = 4
_MAX_TEXTS = 64
"""Texts that are told of one picture; a QR code holds at most 4,296 characters."""
_FILES = 16


def main() -> None:
    """Answer pictures until the input ends."""
    memory, max_pixels, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which ends this process by its input
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    import zxingcpp  # noqa: F401, PLC0415 - before the files are bounded, and before the first picture's time runs
    from PIL import Image  # noqa: PLC0415

    Image.init()
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, _FILES))
    _write(sys.stdout.buffer, {})
    while (data := _read(sys.stdin.buffer)) is not None:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            answer = _answer(data, max_pixels)
        except MemoryError:
            sys.exit(1)  # the service sees that it ended, and knows of which picture
        signal.setitimer(signal.ITIMER_REAL, 0)
        _write(sys.stdout.buffer, answer)


def _answer(data: bytes, max_pixels: int) -> dict[str, object]:
    from chopmark.errors import FormatError, LimitError  # noqa: PLC0415 - within the bounds that `main` sets
    from chopmark.qr_image import find_qr_texts  # noqa: PLC0415

    try:
        return {"texts": find_qr_texts(data, where="picture", max_pixels=max_pixels)[:_MAX_TEXTS]}
    except LimitError:
        return {"refused": "too_large"}
    except FormatError:
        return {"refused": "unreadable"}


def _read(stream: BinaryIO) -> bytes | None:
    head = stream.read(_LENGTH)
    if len(head) < _LENGTH:
        return None
    size = int.from_bytes(head, "big")
    data = stream.read(size)
    return data if len(data) == size else None


def _write(stream: BinaryIO, answer: dict[str, object]) -> None:
    data = json.dumps(answer).encode("ascii")
    stream.write(len(data).to_bytes(_LENGTH, "big") + data)
    stream.flush()


if __name__ == "__main__":
    main()

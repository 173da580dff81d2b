"""`make serve`: two regions run until Ctrl-C, each with its signing process, issuer, log, witness and verifier.

The regions are made with the first start, and kept. What to type next is printed, for a clerk, a holder, an inspector
and an auditor; what all services say goes to a file.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
import time
from pathlib import Path

from chopmark.cli.exit_codes import ExitCode
from chopmark.cli.verify import choose_language
from chopmark.errors import ChopmarkError
from chopmark_service import telemetry
from chopmark_service.child_process import AnswersReady, Child
from chopmark_service.process_tree import ProcessTree
from rich.console import Console

from examples.demo.processes import ServiceError
from examples.serve.first_requests import (
    issue_sample,
    tell_addresses,
    tell_requests,
    wait_until_ready,
    wait_until_verified,
)
from examples.serve.places import HOST, Place, check_ports, made_places, make_peers, make_places, places

EVENTS = "events.jsonl"
_PORT = 8470
_PROGRAM = ".venv/bin/python -m examples.serve"


def main() -> int:
    """Make the regions, if they are not there, and run them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--port",
        type=int,
        help="the first port when they are made, 8470 if left out; each region takes four, 100 apart",
    )
    parser.add_argument("--lang", choices=("zh", "en"), help="zh or en; your system's language when left out")
    arguments = parser.parse_args()
    language = choose_language(arguments.lang)
    folder: Path = arguments.folder
    console = Console(highlight=False, soft_wrap=True)
    try:
        both = made_places(folder)
        if both is not None:
            if arguments.port is not None:
                raise ServiceError(
                    f"the regions in {folder} were made with ports from {both[0].port}, which their peers know. "
                    "Leave --port out, or name another folder"
                )
            check_ports(both, remedy=_remedy("FOLDER", "other regions in FOLDER"))
        else:
            both = places(folder, _PORT if arguments.port is None else arguments.port)
            check_ports(both, remedy=_remedy(str(folder), "the regions"))
            folder.mkdir(parents=True, exist_ok=True)
            console.print("首次启动：生成两个地区……" if language == "zh" else "the first start: two regions are made …")
            make_places(both, clock=lambda: int(time.time()))
        _run(both, console, language)
    except (ChopmarkError, ServiceError) as error:
        print(f"examples.serve: {error}", file=sys.stderr)
        return ExitCode.COULD_NOT_TRY
    return 0


def _remedy(folder: str, made: str) -> str:
    # `make serve` takes no ports: the whole command is told.
    return (
        f"End what listens there; or make {made} with ports from P, by this in place of `make serve`: "
        f"{_PROGRAM} {folder} --port P"
    )


def _run(both: tuple[Place, Place], console: Console, language: str) -> None:
    """Run both regions, as a tree of two trees."""
    folder = both[0].folder
    began = time.monotonic()
    program = str(Path(sys.executable).with_name("chopmark"))
    children = [
        Child(place.plan.code, (program, "serve", "--data", str(place.data)), AnswersReady(HOST, place.port))
        for place in both
    ]

    def greet() -> None:
        try:
            make_peers(both)
            wait_until_ready(both)
            tell_addresses(both, console, language, seconds=time.monotonic() - began)
            sample = issue_sample(both[0])
            wait_until_verified(sample, *both)
        except (ChopmarkError, ServiceError) as error:
            console.print(f"examples.serve: {error}", style="red", markup=False)
            return
        tell_requests(both, console, language, sample=sample)

    with (folder / EVENTS).open("a", encoding="utf-8") as events, contextlib.redirect_stderr(events):
        telemetry.configure_logging()
        greeter = threading.Thread(target=greet, daemon=True)  # the tree goes on meanwhile
        ProcessTree(children, output=events.fileno(), on_running=greeter.start).run()
    console.print("所有服务均已停止" if language == "zh" else "all services are stopped")


if __name__ == "__main__":
    sys.exit(main())

"""Runs a service: granian, a parent process with exactly one worker.

    parent     serve(factory, settings, …): takes the port, starts the worker, passes SIGTERM on, waits
    worker     imports the factory `module:name`, calls it with the settings, and serves the ASGI application it makes

The worker alone opens folders, keys and databases. It ends

    - on SIGTERM or SIGINT: requests that began are answered, then the application's lifespan ends;
    - at once when its parent is gone, however that happened, also when it was gone before the worker looked: a worker
      that nobody supervises must not hold a log's lock. It looks four times a second.

A worker that ends by itself ends its parent too, with exit code 1: whoever supervises the parent starts both again.
An application that cannot start says why in one line of the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import importlib
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from ipaddress import IPv6Address, ip_address
from typing import Any, Protocol

from chopmark.errors import ChopmarkError, FormatError, StorageError

from chopmark_service import telemetry
from chopmark_service.telemetry import Application, Message, Receive, Scope, Send

_LOOK_EVERY = 0.25
"""Seconds between two looks at the parent."""
_HEADER_TIMEOUT = 30_000
"""Milliseconds for the head of a request, counted from its first byte: a client that trickles it holds a connection no
longer. One that sends nothing at all holds it for ever; what stands in front of the service has to end that."""
_ANNOUNCE_EVERY = 0.02
_SWITCH = 0.002
"""Seconds after which a thread that computes lets another one: by default the event loop, which lets go for each
signature that it verifies, would wait longer for threads that commit and publish."""


class ServiceSettings(Protocol):
    """What every service's settings hold; the rest is between them and the factory. They travel to the worker by
    pickle."""

    @property
    def host(self) -> str:
        """The address to listen at, such as 127.0.0.1, :: or 0.0.0.0."""
        ...

    @property
    def port(self) -> int:
        """The port to listen at; 0 takes a free one."""
        ...

    @property
    def log_level(self) -> str:
        """The least level that is logged: debug, info, warning or error."""
        ...


def serve(factory: str, settings: ServiceSettings, *, connections: int = 1024, stop_within: int = 60) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        factory: `module:name` of a function that takes the settings and makes an ASGI application.
        settings: what the service is told.
        connections: how many are served at a time; as many more wait.
        stop_within: seconds after SIGTERM until a worker that has not ended is killed.

    Raises:
        FormatError: the host is no address.
        StorageError: the port is taken, or may not be.
        SystemExit: with code 1, the worker could not start, or ended by itself.
    """
    from granian import Granian  # noqa: PLC0415 - the commands that use this module must load fast
    from granian.constants import Interfaces  # noqa: PLC0415
    from granian.http import HTTP1Settings  # noqa: PLC0415
    from granian.log import LogLevels  # noqa: PLC0415

    port = take_port(settings.host, settings.port)
    server = Granian(
        factory,
        address=settings.host,
        port=port,
        interface=Interfaces.ASGI,
        workers=1,
        websockets=False,
        backlog=connections,
        backpressure=connections,
        http1_settings=HTTP1Settings(header_read_timeout=_HEADER_TIMEOUT),
        workers_kill_timeout=stop_within,
        log_level=LogLevels.warning,
        log_dictconfig={"handlers": {}, "loggers": {"_granian": {"level": "WARNING", "propagate": True}}},
    )
    telemetry.configure_logging(settings.log_level)
    server.serve(target_loader=partial(_load, factory, settings, os.getpid(), port), wrap_loader=False)


def take_port(host: str, port: int) -> int:
    """Check that nobody listens there, which granian, sharing ports between its workers, does not notice.

    Returns:
        The port; a free one for 0.

    Raises:
        FormatError: the host is no address.
        StorageError: the port is taken, or may not be.
    """
    try:
        address = ip_address(host)
    except ValueError as error:
        raise FormatError(
            f"{host[:60]!r} is not an address", where="host", remedy="Give one such as 127.0.0.1, 0.0.0.0 or ::"
        ) from error
    family = socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET
    where = f"{host} port {port}"
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise StorageError("somebody listens there already", where=where, remedy="Choose another") from error
            raise StorageError(f"cannot listen there: {error.strerror}", where=where) from error
        except OverflowError as error:
            raise FormatError("a port is from 0 to 65535", where=where) from error
        taken: int = probe.getsockname()[1]
        return taken


def _load(factory: str, settings: ServiceSettings, parent: int, port: int) -> Application:
    """Begin as a worker; called in its process before anything else of ours."""
    # A fork inherits the parent's handlers, which would swallow a signal that comes before the loop's own are set.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    end_with_parent(parent)
    sys.setswitchinterval(_SWITCH)
    telemetry.configure_logging(settings.log_level)
    module, _, name = factory.partition(":")
    try:
        make: Callable[[Any], Application] = getattr(importlib.import_module(module), name)
        return _Announced(make(settings), settings.host, port)
    except Exception as error:
        _log_failure(error)
        sys.exit(1)


def end_with_parent(parent: int) -> None:
    """End this process at once when it is not, or no longer, a child of the process `parent`."""

    def watch() -> None:
        while os.getppid() == parent:
            looked.wait(_LOOK_EVERY)
        with contextlib.suppress(Exception):
            telemetry.get_logger("server").error("parent_gone", parent=parent)
        os._exit(1)

    looked = threading.Event()  # never set: a sleep that tests need not wait for
    if os.getppid() != parent:
        os._exit(1)
    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


@contextlib.asynccontextmanager
async def told_to_stop(callback: Callable[[], None]) -> AsyncIterator[None]:
    """Within a lifespan: call back on SIGTERM, before granian waits for the requests that began.

    granian takes SIGTERM and SIGINT for the same, and lets nobody know. So SIGTERM is taken from it, and answered by
    the SIGINT that it still listens for.
    """
    loop = asyncio.get_running_loop()

    def stop() -> None:
        callback()
        os.kill(os.getpid(), signal.SIGINT)

    if threading.current_thread() is not threading.main_thread():  # an application under test has no signals
        yield
        return
    loop.add_signal_handler(signal.SIGTERM, stop)
    yield


class _Announced:
    """The application, as granian calls it: it says in the log where it listens, or why it cannot start."""

    def __init__(self, application: Application, host: str, port: int) -> None:
        self._application = application
        self._host = host
        self._port = port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._application(scope, receive, send)
            return
        announcer: asyncio.Task[None] | None = None
        failed = False

        async def watched_send(message: Message) -> None:
            nonlocal announcer, failed
            if message["type"] == "lifespan.startup.failed":
                failed = True  # its message is a traceback; the exception follows
                return
            if message["type"] == "lifespan.startup.complete":
                announcer = asyncio.get_running_loop().create_task(_announce(self._host, self._port))
            await send(message)

        try:
            await self._application(scope, receive, watched_send)
        except Exception as error:
            _log_failure(error)
        finally:
            if announcer is not None:
                announcer.cancel()
        if failed:
            await send({"type": "lifespan.startup.failed", "message": ""})


def _log_failure(error: Exception) -> None:
    """Say why the service does not run: an error of ours in a sentence, a fault with its traceback."""
    logger = telemetry.get_logger("server")
    if isinstance(error, ChopmarkError):
        logger.error("cannot_run", error=str(error), kind=type(error).__name__)
    else:
        logger.error("cannot_run", exc_info=error)


async def _announce(host: str, port: int) -> None:
    """Log where the service listens, once it answers there: the socket is opened only after the startup."""
    address = ip_address(host)
    reached = ("::1" if address.version == 6 else "127.0.0.1") if address.is_unspecified else host
    while True:
        try:
            _, writer = await asyncio.open_connection(reached, port)
        except OSError:
            await asyncio.sleep(_ANNOUNCE_EVERY)
            continue
        writer.close()
        break
    shown = f"[{host}]" if address.version == 6 else host
    telemetry.get_logger("server").info("listening", url=f"http://{shown}:{port}", pid=os.getpid())
    sys.stderr.flush()

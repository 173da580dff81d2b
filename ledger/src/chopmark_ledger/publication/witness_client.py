"""A witness that is reached over HTTP, as a publisher asks it (a `WitnessClient`).

Spec: https://c2sp.org/tlog-witness

    HttpWitness("https://cn-sh.example/witness", vkeys, timeout=5.0).add_checkpoint(body)

Nothing that comes back is believed here: the publisher looks at status, body and signatures. This module sees to it
that an answer comes, or an error does, within the time: also from one that trickles its bytes, never ends, or points
elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from chopmark.client.bounded_http import BoundedHttp, Bounds, reason
from chopmark.errors import FormatError
from chopmark.note import NoteVerifier
from urllib3.exceptions import HTTPError

from chopmark_ledger.errors import WitnessUnreachableError
from chopmark_ledger.witness.witness import WitnessAnswer

TIMEOUT = 5.0
"""Seconds for an answer."""
MAX_ANSWER_SIZE = 64 * 1024
"""Bytes of an answer: a dozen post-quantum signature lines."""
_IDLE = 4
"""Connections that are kept open between requests."""
_HEADERS = {"Content-Type": "text/plain; charset=utf-8"}


class HttpWitness:
    """The witness of one operator, at a URL. Several threads may ask it at a time.

    Args:
        url: its submission prefix, `http://…` or `https://…`.
        vkeys: the keys it cosigns with, all of one name.
        timeout: seconds for an answer, from connecting to its last byte.

    Raises:
        FormatError: the URL or a vkey is none, or there is no vkey.
    """

    def __init__(self, url: str, vkeys: Sequence[str], *, timeout: float = TIMEOUT) -> None:
        if not vkeys:
            raise FormatError("a witness without a key", where=url[:200])
        self._name = NoteVerifier.from_vkey(vkeys[0]).name
        self._vkeys = tuple(vkeys)
        bounds = Bounds(timeout, connect=timeout, idle=timeout)
        self._http = BoundedHttp(url, whose="a witness", bounds=bounds, connections=_IDLE)

    @property
    def name(self) -> str:
        """The name of its keys, for messages."""
        return self._name

    @property
    def vkeys(self) -> tuple[str, ...]:
        """The keys it cosigns with."""
        return self._vkeys

    def add_checkpoint(self, body: bytes) -> WitnessAnswer:
        """Send an `add-checkpoint` request.

        Raises:
            WitnessUnreachableError: no whole answer came in time.
        """
        return self._post("add-checkpoint", body)

    def sign_subtree(self, body: bytes) -> WitnessAnswer:
        """Send a `sign-subtree` request.

        Raises:
            WitnessUnreachableError: no whole answer came in time.
        """
        return self._post("sign-subtree", body)

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._http.close()

    def _post(self, call: str, body: bytes) -> WitnessAnswer:
        try:
            # A request that was taken already does no harm when it is sent again.
            answer = self._http.request("POST", call, body=body, headers=_HEADERS, max_size=MAX_ANSWER_SIZE, again=True)
        except HTTPError as error:
            raise self._unreachable(reason(error)) from error
        if not answer.is_whole:
            raise self._unreachable(f"an answer of more than {MAX_ANSWER_SIZE // 1024} KiB")
        return WitnessAnswer(answer.status, answer.body, answer.headers.get("Content-Type", ""))

    def _unreachable(self, reason: str) -> WitnessUnreachableError:
        return WitnessUnreachableError(
            f"the witness does not answer: {reason}",
            where=f"{self._name} at {self._http.url}",
            remedy="It is asked again with the next publication",
        )

    def __repr__(self) -> str:
        return f"HttpWitness({self._http.url!r}, {self._name!r})"

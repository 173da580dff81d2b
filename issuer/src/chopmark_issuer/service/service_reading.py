"""The routes of a registry's service that read; see `chopmark_issuer.service.service`."""

from __future__ import annotations

from typing import Annotated, Any

from chopmark.credential import Credential
from chopmark.errors import FormatError, LimitError
from chopmark_ledger.errors import NotPublishedError
from chopmark_service.json_answer import json_answer
from fastapi import FastAPI, Query, Request, Response

from chopmark_issuer.errors import ConflictError, RefusedError
from chopmark_issuer.licences.records import StoredCredential
from chopmark_issuer.lifecycle import State
from chopmark_issuer.qr import draw_credential
from chopmark_issuer.service import api_answers, api_documents, api_requests
from chopmark_issuer.service.clients import DepartmentClient
from chopmark_issuer.service.search import Found, Wanted
from chopmark_issuer.service.service_access import AnyClient, Number, NumberQuery, Reader, TypeInPath, TypeQuery

CREDENTIAL_TYPE = "application/cwt"
_SEARCHED_BY = frozenset({"number", "state", "type", "after", "limit"})
_UP_TO_200 = "^([1-9]|[1-9][0-9]|1[0-9][0-9]|200)$"
"""`MAX_PAGE` is the most; a number in a query is a text, of which this is the one form."""
_Moment = Annotated[str | None, Query(min_length=10, max_length=20, examples=["2026-11-22"])]
_Digest = Annotated[
    str | None,
    Query(pattern="^[0-9a-f]{64}$", description="Which credential, where the version has several; else the newest."),
]


def add_routes(application: FastAPI) -> None:
    """Add the routes that read."""
    _add_types(application)
    _add_licences(application)
    _add_credentials(application)
    _add_files(application)


def _add_types(application: FastAPI) -> None:
    @application.get("/types", **api_documents.TYPES)
    async def list_types(request: Request, client: AnyClient) -> Response:
        """The licence types of the catalogue, and which of them this client may issue."""
        return json_answer({"types": await request.app.state.service.read(client, lambda reading: reading.types())})

    @application.get("/types/{type_id:path}", **api_documents.TYPE)
    async def read_type(request: Request, client: AnyClient, type_id: TypeInPath) -> Response:
        """A licence type: what a licence of it has to say."""
        return json_answer(await request.app.state.service.read(client, lambda reading: reading.type(type_id)))


def _add_licences(application: FastAPI) -> None:
    @application.get("/licences", **api_documents.SEARCH)
    async def search_licences(  # noqa: PLR0917 - FastAPI passes by name
        request: Request,
        client: Reader,
        number: NumberQuery = None,
        state: Annotated[State | None, Query()] = None,
        type_id: TypeQuery = None,
        after: Annotated[str | None, Query(pattern="^(0|[1-9][0-9]{0,17})$")] = None,
        limit: Annotated[str, Query(pattern=_UP_TO_200)] = "50",
    ) -> Response:
        """Find licences of the department, a page at a time; what is said of them has to hold together."""
        _check_query(request)
        return await _search(
            request,
            client,
            Wanted(number=number, state=state, type_id=type_id, after=int(after or 0), limit=int(limit)),
        )

    @application.post("/licences/search", **api_documents.SEARCH_HOLDERS)
    async def search_holders(request: Request, client: Reader) -> Response:
        """Find licences by their holders too: what identifies a person stands in no URL, which others write down."""
        data = await request.app.state.service.bodies.read_json(request, client.name)
        return await _search(request, client, api_requests.read_search(data))

    @application.get("/licences/{number}", **api_documents.LICENCE)
    async def read_licence(request: Request, client: Reader, number: Number, type_id: TypeQuery = None) -> Response:
        """A licence, as the version of that number says."""
        return json_answer(
            await request.app.state.service.read(client, lambda reading: reading.licence(number, type_id))
        )

    @application.get("/licences/{number}/history", **api_documents.HISTORY)
    async def read_history(  # noqa: PLR0917 - likewise
        request: Request,
        client: Reader,
        number: Number,
        type_id: TypeQuery = None,
        day: _Moment = None,
        known_at: _Moment = None,
    ) -> Response:
        """What happened to a licence; with a day or a moment, what it was then as was known at another."""
        return json_answer(
            await request.app.state.service.read(
                client, lambda reading: reading.history(number, type_id, day, known_at)
            )
        )

    @application.get("/licences/{number}/status", **api_documents.STATUS)
    async def read_status(request: Request, client: Reader, number: Number, type_id: TypeQuery = None) -> Response:
        """Where a licence stands, and its credentials."""
        return json_answer(
            await request.app.state.service.read(client, lambda reading: reading.status(number, type_id))
        )


def _add_credentials(application: FastAPI) -> None:
    @application.get("/licences/{number}/credential", **api_documents.CREDENTIAL)
    async def read_credential(
        request: Request, client: Reader, number: Number, type_id: TypeQuery = None, digest: _Digest = None
    ) -> Response:
        """The credential for the holder's wallet, with all disclosures and the proofs that it was logged."""
        found = await _proven(request, client, number, type_id, digest, tlog_proof=True)
        if isinstance(found, Response):
            return found
        return Response(found.encode(), 200, {"Cache-Control": "no-store"}, CREDENTIAL_TYPE)

    def add_picture(name: str, media_type: str, document: dict[str, Any]) -> None:
        async def read_picture(
            request: Request, client: Reader, number: Number, type_id: TypeQuery = None, digest: _Digest = None
        ) -> Response:
            found = await _proven(request, client, number, type_id, digest, tlog_proof=False)
            if isinstance(found, Response):
                return found
            if found.landmark_proof is None:
                return _waiting(found.digest, published=True)
            credential = found

            def picture() -> bytes:
                code = draw_credential(credential)
                return code.png() if name == "qr.png" else code.svg().encode("ascii")

            try:
                content = await request.app.state.service.in_thread(picture)
            except LimitError as error:
                raise RefusedError(error.what, where=error.where, remedy=error.remedy) from error
            return Response(content, 200, {"Cache-Control": "no-store"}, media_type)

        read_picture.__doc__ = f"The QR code of the licence for paper, as {name[3:].upper()}."
        read_picture.__name__ = f"read_{name.replace('.', '_')}"
        application.get(f"/licences/{{number}}/{name}", **document)(read_picture)

    add_picture("qr.png", "image/png", api_documents.QR_PNG)
    add_picture("qr.svg", "image/svg+xml", api_documents.QR_SVG)


def _add_files(application: FastAPI) -> None:
    def add(path: str, document: dict[str, Any], description: str) -> None:
        async def read_file(request: Request) -> Response:
            name = request.scope["path"].lstrip("/")
            answer: Response = await request.app.state.service.files.answer(name, request)
            return answer

        read_file.__doc__ = description
        read_file.__name__ = (
            f"read_{path.strip('/').replace('/', '_').replace('.', '_').replace('{', '').replace('}', '')}"
        )
        application.head(path, include_in_schema=False)(read_file)
        application.get(path, **document)(read_file)

    add("/bundle.note", api_documents.TEXT_FILE, "The trust bundle of the region, a signed note.")
    add("/bundle.tlog-proof", api_documents.TEXT_FILE, "The proof that the trust bundle was logged.")
    add("/root/{name}", api_documents.ROOT_FILE, "A root epoch, a signed note.")
    add("/landmarks/{region}/{name}", api_documents.LANDMARK_FILE, "The landmark file of a log, or its proof.")
    add("/status/{name}", api_documents.STATUS_FILE, "A status list, or its proof.")


async def _search(request: Request, client: DepartmentClient, wanted: Wanted) -> Response:
    found: list[Found] = await request.app.state.service.read(client, lambda reading: reading.search(wanted))
    answer: dict[str, Any] = {"licences": [api_answers.found(each) for each in found]}
    if len(found) == wanted.limit:
        answer["next"] = str(found[-1].id)
    return json_answer(answer)


async def _proven(
    request: Request,
    client: Any,
    number: str,
    type_id: str | None,
    digest: str | None,
    *,
    tlog_proof: bool,
) -> Credential | Response:
    """A credential with its proofs, or the answer that it has none yet.

    Raises:
        NotFoundError: there is no such credential.
        ConflictError: the log refuses it.
        LedgerError, TrustError: the log does not answer, or not rightly.
    """
    service = request.app.state.service
    stored: StoredCredential = await service.read(client, lambda reading: reading.credential(number, type_id, digest))
    if stored.log_index is None:
        if stored.refused is not None:
            raise ConflictError(f"the log refuses the credential: {stored.refused}")
        return _waiting(stored.credential.digest, published=False)
    try:
        proven: Credential = await service.prove(stored, tlog_proof=tlog_proof)
    except NotPublishedError:
        return _waiting(stored.credential.digest, published=False, logged=stored.log_index)
    return proven


def _waiting(digest: bytes, *, published: bool, logged: int | bool = False) -> Response:
    """What is asked for is on its way: it is there once the log has answered, published, and made a landmark."""
    state = "waits_for_landmark" if published else "waits_for_publication" if logged is not False else "waits_for_log"
    return json_answer({"digest": digest.hex(), "state": state}, 202, {"Retry-After": "5"})


def _check_query(request: Request) -> None:
    """Refuse a name that is not searched by: a search that a slip of the pen made wider finds what was not meant."""
    names = [name for name, _ in request.query_params.multi_items()]
    unknown = [name for name in names if name not in _SEARCHED_BY]
    if unknown:
        raise FormatError(
            f"{unknown[0][:40]!r} is not searched by",
            where="query",
            remedy=f"Known are {', '.join(sorted(_SEARCHED_BY))}",
        )
    if len(set(names)) != len(names):
        raise FormatError("a name stands twice", where="query")

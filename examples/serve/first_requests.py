"""What each kind of user types first, once the two regions run: printed, ready to be pasted into another shell.

A licence is issued over HTTP beforehand, as a clerk's system does it, so that there is one to show.
"""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from urllib.parse import quote

import urllib3
from chopmark.key_file import read_key_file
from chopmark_service.authentication import make_token
from rich.console import Console
from rich.table import Table

from examples.demo.licences import BUSINESS, FOOD_FIELDS, ORGANISATION
from examples.demo.processes import ServiceError
from examples.demo.regions import FOOD, passphrase
from examples.serve.places import Place, until

_PYTHON = ".venv/bin/python"
_CHOPMARK = ".venv/bin/chopmark"
_HTTP = urllib3.PoolManager(timeout=10.0, retries=False)


def token(place: Place) -> str:
    """A token for one request of the clerk's system."""
    key = read_key_file(place.clerk_key).load(passphrase(place.folder), where=str(place.clerk_key))
    return make_token(key, name=place.clerk, audience=place.plan.code, now=time.time())


def licence_request(place: Place) -> dict[str, object]:
    """A food business licence for a made-up business, from today on for five years."""
    today = datetime.now(UTC).date()
    return {
        "type": f"{place.plan.code}/{FOOD}",
        "fields": {**FOOD_FIELDS, "issue_date": str(today)},
        "holders": [{"name": BUSINESS, "code": ORGANISATION, "code_kind": "001"}],
        "first_day": str(today),
        "last_day": str(today + timedelta(days=5 * 365)),
    }


def issue_sample(place: Place) -> str:
    """Issue a licence over HTTP, and answer its number once its QR code can be drawn.

    Raises:
        ServiceError: the issuer answers otherwise, or not in time.
    """
    body = json.dumps(licence_request(place), ensure_ascii=False).encode("utf-8")
    (place.folder / "licence.json").write_bytes(body)
    headers = {"Content-Type": "application/json", "Idempotency-Key": os.urandom(16).hex()}
    answer = _ask(place, "POST", "/licences", body=body, headers=headers)
    if answer.status != 201:
        raise ServiceError(f"{place.issuer} answers {answer.status}: {answer.data.decode('utf-8', 'replace')}")
    number = str(answer.json()["number"])
    until(lambda: _ask(place, "GET", f"{path(number)}/qr.png").status == 200, f"licence {number} has no QR code")
    return number


def path(number: str) -> str:
    """Where the issuer shows a licence."""
    return f"/licences/{quote(number, safe='')}"


def wait_until_verified(number: str, issuing: Place, inspecting: Place) -> None:
    """Wait until the verifier of another region has learned all that it needs to find a licence valid.

    Raises:
        ServiceError: it does not in time.
    """
    picture = _ask(issuing, "GET", f"{path(number)}/qr.png").data

    def is_valid() -> bool:
        answer = _HTTP.request(
            "POST", f"{inspecting.verifier}/verify", body=picture, headers={"Content-Type": "image/png"}
        )
        return answer.status == 200 and answer.json()["verdict"]["outcome"] == "VALID"

    until(is_valid, f"the verifier of {inspecting.plan.code} does not find licence {number} valid")


def is_ready(url: str) -> bool:
    """Whether a service can do its work."""
    try:
        return _HTTP.request("GET", f"{url}/readyz").status == 200
    except urllib3.exceptions.HTTPError:
        return False


def wait_until_ready(both: tuple[Place, Place]) -> None:
    """Wait until issuers and verifiers of both regions can do their work.

    Raises:
        ServiceError: one can not in time.
    """
    for url in (url for place in both for url in (place.issuer, place.verifier)):
        until(partial(is_ready, url), f"{url} is not ready")


def tell_addresses(both: tuple[Place, Place], console: Console, language: str, *, seconds: float) -> None:
    """Print where everything answers."""
    chinese = language == "zh"
    issuing, inspecting = both
    ready = f"两个地区已运行，用时 {seconds:.0f} 秒" if chinese else f"two regions run, after {seconds:.0f} s"
    table = Table(title=ready, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for heading in ("", issuing.plan.code, inspecting.plan.code):
        table.add_column(heading, no_wrap=True)
    for zh, en, urls in (
        ("签发", "issuer", (issuing.issuer, inspecting.issuer)),
        ("账本", "log", (issuing.log, inspecting.log)),
        ("见证", "witness", (issuing.witness, inspecting.witness)),
        ("查验", "verifier", (issuing.verifier, inspecting.verifier)),
    ):
        table.add_row(zh if chinese else en, *urls)
    console.print(table)
    for place in both:
        if place.passcode.exists():  # regions of an earlier version have none
            # A terminal is the operator's; what is kept of other outputs may be anybody's to read.
            told = _passcode(place) if console.is_terminal else place.passcode
            what = "查验网页口令" if chinese else "passcode of the page"
            console.print(f"{what}, {place.verifier}: {told}", markup=False)


def tell_requests(both: tuple[Place, Place], console: Console, language: str, *, sample: str) -> None:
    """Print a first request for each kind of user."""
    chinese = language == "zh"
    issuing, inspecting = both
    for zh, en, command in _commands(issuing, inspecting, sample):
        console.print(f"\n# {zh if chinese else en}", markup=False)
        console.print(command, markup=False)
    end = "日志：{}；按 Ctrl-C 停止" if chinese else "what the services say: {}; Ctrl-C stops them"
    console.print(f"\n{end.format(issuing.folder / 'events.jsonl')}", markup=False)


def _commands(issuing: Place, inspecting: Place, sample: str) -> list[tuple[str, str, str]]:
    folder: Path = issuing.folder
    bearer = f'-H "Authorization: Bearer $({_PYTHON} -m examples.serve.token {folder} {issuing.plan.code})"'
    issue = '-H "Idempotency-Key: $RANDOM$RANDOM" -H "Content-Type: application/json" \\\n  '
    issue += f"--data @{folder}/licence.json {issuing.issuer}/licences"
    page = inspecting.verifier
    verify = f"--data-binary @{folder}/licence.png {inspecting.verifier}/verify"
    return [
        (
            "经办人：签发证照（licence.json 为样例）",
            "a clerk issues a licence (licence.json is a sample)",
            f"curl -sS {bearer} \\\n  {issue}",
        ),
        (
            "持证人：取得二维码图片",
            "a holder gets the QR code of one that was issued before",
            f"curl -sS {bearer} \\\n  -o {folder}/licence.png {issuing.issuer}{path(sample)}/qr.png",
        ),
        (
            f"外地检查员：查验该图片，或打开网页 {page}（登录口令见 {inspecting.passcode}）",
            f"an inspector verifies the picture elsewhere, or opens {page} (passcode: {inspecting.passcode})",
            f'curl -sS -H "Content-Type: image/png" \\\n  {verify}',
        ),
        (
            "审计员：核查整个账本",
            "an auditor checks the whole log",
            f"{_CHOPMARK} log fsck {issuing.log} --policy {issuing.data}/policy",
        ),
    ]


def _passcode(place: Place) -> str:
    return place.passcode.read_text(encoding="ascii").strip()


def _ask(place: Place, method: str, target: str, **options: object) -> urllib3.BaseHTTPResponse:
    headers = {"Authorization": f"Bearer {token(place)}", **options.pop("headers", {})}  # type: ignore[dict-item]
    try:
        return _HTTP.request(method, place.issuer + target, headers=headers, **options)  # type: ignore[arg-type]
    except urllib3.exceptions.HTTPError as error:
        raise ServiceError(f"{place.issuer} does not answer: {error}") from error

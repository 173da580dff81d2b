"""The licences of the demo: plainly made-up organisations with right codes, and holders without a name."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

from chopmark.credential import Credential, issue_credential
from chopmark.entries import CredentialEntry
from chopmark.keys import Es256Signer, Signer
from chopmark_issuer.catalogue.holders import Holder
from chopmark_issuer.keys.keys import InventoryUse
from chopmark_issuer.licences.requests import IssuedVersion, IssueRequest
from chopmark_issuer.region import Region
from chopmark_ledger.client import Client, RemoteLedger

from examples.demo.regions import CONSTRUCTOR, FOOD, GUANGDONG, TRANSPORT

BUSINESS = "示例餐饮有限公司"
ORGANISATION = "91440101MA9999001E"
CITIZEN = "440100199001010007"

FOOD_FIELDS = {
    "business_name": BUSINESS,
    "organisation_code": ORGANISATION,
    "legal_representative": "示例负责人",
    "premises": "广东省广州市天河区示例路100号首层",
    "business_kind": "餐饮服务经营者（中型餐馆）",
    "items": ["热食类食品制售", "冷食类食品制售", "自制饮品制售"],
    "conditions": "不得经营生食类食品",
}
PERSON_FIELDS = {
    "holder_name": "示例持证人",
    "id_number": CITIZEN,
    "birth_date": date(1990, 1, 1),
    "restrictions": "无",
}
TRANSPORT_FIELDS = {
    **PERSON_FIELDS,
    "address": "广东省广州市天河区示例路200号",
    "categories": ["道路货物运输驾驶员"],
    "vehicle_class": "B2",
}
CONSTRUCTOR_FIELDS = {
    **PERSON_FIELDS,
    "employer": "示例建设工程有限公司",
    "grade": "一级",
    "specialities": ["建筑工程", "机电工程"],
}


def issue_food(region: Region, today: date, *, last_day: date | None = None) -> IssuedVersion:
    """A food business licence, for five years unless another last day is named."""
    request = IssueRequest(
        f"CN-GD/{FOOD}",
        {**FOOD_FIELDS, "issue_date": today},
        (Holder(BUSINESS, ORGANISATION, "001"),),
        today,
        last_day or today + timedelta(days=5 * 365),
    )
    return region.registry.issue(region.actor(GUANGDONG.food), request, at=region.clock())


def issue_personal(region: Region, today: date, holder: Es256Signer, *, safety: bool) -> IssuedVersion:
    """A certificate bound to the holder's key: of a road transport practitioner, or a constructor's registration."""
    fields = TRANSPORT_FIELDS if safety else CONSTRUCTOR_FIELDS
    issued = {"first_issue_date" if safety else "issue_date": today}
    request = IssueRequest(
        f"CN-GD/{TRANSPORT if safety else CONSTRUCTOR}",
        {**fields, **issued},
        (Holder("示例持证人", CITIZEN, "111"),),
        today,
        today + timedelta(days=3 * 365),
        (holder.public_key,),
    )
    return region.registry.issue(region.actor(GUANGDONG.transport), request, at=region.clock())


def shown(region: Region, issued: IssuedVersion) -> Credential:
    """The credential of a published licence with the path to its landmark, as its holder gets it."""
    return region.with_proofs(region.registry.credentials(issued.number)[0])


def credential_signer(region: Region, department: str) -> tuple[str, Signer]:
    """The kid of the newest credential key of a department, and the key itself: what a thief would take."""
    key = [key for key in region.keys_of(department) if key.use is InventoryUse.CREDENTIAL][-1]
    return key.kid, region.keys.signer(key.kid)


def sign_beside_registry(signer: Signer, like: Credential, **changes: object) -> Credential:
    """Sign a credential that the registry never saw, after the claims of another."""
    return issue_credential(signer, replace(like.claims, credential_id=None, **changes))  # type: ignore[arg-type]


def log_beside_registry(region: Region, stolen: RemoteLedger, credential: Credential, number: int) -> Credential:
    """Put a credential into the log as a thief with a department's access would; the answer carries its path."""
    client = Client(credential.claims.issuer, frozenset({credential.claims.issuer}))
    entry = CredentialEntry(credential.claims.issuer, credential.digest).encode()
    index = stolen.submit(client, number, [entry])[0]
    region.ledger.landmark_now()
    proof = region.ledger.landmark_proof(index)
    assert proof is not None  # noqa: S101 - the landmark was just made
    return credential.with_landmark_proof(proof)

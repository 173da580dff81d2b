"""`make demo`: two regions, licences issued, logged, drawn, read back from their pictures, and verified elsewhere.

Each region's log and witness is a process of its own; the registries and the logs reach them over HTTP.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

from chopmark.cli.trust import folder_reader
from chopmark.cli.verify import choose_language
from chopmark.keys import Signer
from chopmark.qr_drawing import draw
from chopmark.qr_image import read_qr_texts
from chopmark.refresh import refresh
from chopmark.root_epoch import Roots
from chopmark.trust_store import TrustStore
from chopmark.verdict import Outcome, Verdict
from chopmark.verifier import Verifier
from chopmark_issuer.keys.keys import InventoryUse
from chopmark_issuer.region import Region
from chopmark_verifier.desk import InspectionDesk
from rich.console import Console
from rich.table import Table
from rich.text import Text

from examples.demo.processes import Service, ServiceError, Services, ended_by_signals
from examples.demo.regions import GUANGDONG, SHANGHAI, make_peers, make_place, make_services, passphrase
from examples.demo.scenarios import PURPOSE, Case, Outage, Story

_STYLE = {Outcome.VALID: "green", Outcome.INVALID: "red", Outcome.INDETERMINATE: "yellow"}
LEFT_BEHIND = {"passphrase", "trust", "qr", "records", "services"} | {
    name for plan in (GUANGDONG, SHANGHAI) for name in (plan.code, f"{plan.code}.log.vkey", f"witness-of-{plan.code}")
}


def main() -> int:
    """Run the demo into a folder that is made anew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lang", choices=("zh", "en"), help="zh or en; your system's language when left out")
    arguments = parser.parse_args()
    language = choose_language(arguments.lang)
    folder: Path = arguments.folder
    _empty(folder)
    try:
        with ended_by_signals(), Services() as services:
            return _Demo(folder, language, services).run()
    except ServiceError as error:
        print(f"chopmark demo: {error}", file=sys.stderr)
        return 3


def _clock() -> int:
    return int(time.time())


class _Demo:
    """One run of the demo."""

    def __init__(self, folder: Path, language: str, services: Services) -> None:
        self._folder = folder
        self._language = language
        self._services = services
        self._console = Console(highlight=False)
        self._started = time.monotonic()

    def run(self) -> int:
        """Do all of it; answers the exit code."""
        folder, language, step = self._folder, self._language, self._step
        step("两个地区的账本与见证：密钥、政策", "two regions' logs and witnesses: keys, policies")
        made = make_services(folder)
        step("四个服务，各为一个进程：", "four services, each a process of its own:")
        for one, other in (made, made[::-1]):
            here, there = one.plan.code, other.plan.code
            self._start(one.log, f"{here} 账本", f"由 {there} 见证", f"witnessed by {there}")
            self._start(one.witness, f"{here} 见证", f"见证 {there} 账本", f"of the log of {there}")
        step("两个登记机构：部门、密钥、证照类型", "two registries: departments, keys, licence types")
        guangdong, shanghai = (make_place(folder, each, _clock) for each in made)
        with guangdong.region, shanghai.region:
            self._services.wait_until_ready(*(service for each in made for service in (each.log, each.witness)))
            step("首次发布，互认对方", "they publish, and take each other as peers")
            make_peers(guangdong.region, shanghai.region)
            step("广东签发证照、入账、发布", "Guangdong issues, logs and publishes")
            story = Story(guangdong, shanghai, self._services, _clock)
            story.issue()
            step("上海检查员更新信任库", "an inspector of Shanghai brings the trust store up to date")
            store = _trust_store(folder / "trust", shanghai.region, guangdong.region)
            step("绘制二维码，从图片读回，查验", "codes are drawn, read back from the pictures, verified")
            signer = _inspector(shanghai.region)
            desk = InspectionDesk(store, signer, inspector=SHANGHAI.transport, folder=folder / "records", clock=_clock)
            results = [(case, _inspect(case, store, desk, folder / "qr")) for case in story.cases(signer)]
            table, wrong = _table(results, language)
            wrong += _refusals(table, story, store, folder, language)
            step("杀死上海的见证进程，随后恢复", "the witness of Shanghai is killed, and comes back")
            outage = story.outage()
            told = f"committed {outage.committed}, published {outage.published}: {outage.problem}"
            self._console.print(f"    {guangdong.log.url}/status: {told}", markup=False)
            wrong += _outage(outage, table, story, store, language)
        self._console.print(table)
        self._services.stop()
        step("四个服务均已停止", "all four services are stopped")
        _farewell(self._console, folder, language)
        if wrong:
            self._console.print(f"not as expected: {', '.join(wrong)}", style="bold red", markup=False)
        return 1 if wrong else 0

    def _start(self, service: Service, name_zh: str, zh: str, en: str) -> None:
        pid = self._services.start(service)
        name, told = (name_zh, zh) if self._language == "zh" else (f"{service.name:<16}", en)
        self._console.print(f"    {name}  {service.url}  pid {pid:<7}  {told}", markup=False)

    def _step(self, zh: str, en: str) -> None:
        told = zh if self._language == "zh" else en
        self._console.print(f"[{time.monotonic() - self._started:5.1f} s] {told}", markup=False)


def _empty(folder: Path) -> None:
    """Make the folder anew; one that holds anything the demo did not make is left alone."""
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if names:
        if "passphrase" not in names or not names <= LEFT_BEHIND:
            sys.exit(f"{folder} is not empty and not of an earlier demo: name another folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)


def _trust_store(folder: Path, home: Region, peer: Region) -> TrustStore:
    """A store that pins Shanghai's roots, filled from what both regions publish."""
    pin = (home.settings.public / "root" / "1.note").read_bytes()
    store = TrustStore.create(folder, roots=Roots.pin(pin))
    store.put_root(home.region, pin, now=_clock())
    _refresh(store, home, peer)
    return store


def _refresh(store: TrustStore, home: Region, peer: Region) -> None:
    for region in (home, peer, home):
        done = refresh(store, region.region, folder_reader(region.settings.public), now=_clock())
    assert not done.problems, done.problems  # noqa: S101 - the demo checks itself


def _inspector(region: Region) -> Signer:
    key = next(key for key in region.keys_of(SHANGHAI.transport) if key.use is InventoryUse.INSPECTOR)
    return region.keys.signer(key.kid)


def _inspect(case: Case, store: TrustStore, desk: InspectionDesk, folder: Path) -> Verdict:
    """Draw the code, read it back from the picture, and verify what was read."""
    folder.mkdir(exist_ok=True)
    picture = folder / f"{case.name}.png"
    picture.write_bytes(draw(case.text).png())
    (folder / f"{case.name}.txt").write_text(case.text + "\n", encoding="ascii")
    text = read_qr_texts(picture.read_bytes(), where=picture.name)[0]
    if case.name == "genuine":
        return desk.inspect(text, purpose=PURPOSE).verdict
    return Verifier(store).verify(text, at=case.at, challenge=case.challenge)


def _table(results: list[tuple[Case, Verdict]], language: str) -> tuple[Table, list[str]]:
    chinese = language == "zh"
    title = (
        "上海检查员查验广东证照，仅凭信任库"
        if chinese
        else "Shanghai inspects licences of Guangdong, from its trust store alone"
    )
    table = Table(title=title, title_justify="left", padding=(0, 1))
    table.add_column("", justify="right", style="dim")
    table.add_column("出示" if chinese else "shown", overflow="fold")
    table.add_column("结论" if chinese else "verdict", no_wrap=True)
    table.add_column("", width=1, style="dim")
    table.add_column("理由" if chinese else "reason", overflow="fold")
    names = {Outcome.VALID: "有效", Outcome.INVALID: "无效", Outcome.INDETERMINATE: "无法判定"}
    wrong = []
    for number, (case, verdict) in enumerate(results, 1):
        telling = verdict.checks[case.check]
        answer = names[verdict.outcome] if chinese else verdict.outcome.value
        table.add_row(
            str(number),
            case.zh if chinese else case.en,
            Text(answer, style=_STYLE[verdict.outcome]),
            str(telling.number),
            Text(telling.message("zh" if chinese else "en")),
        )
        told = verdict.outcome is Outcome.VALID or verdict.deciding is telling
        if verdict.outcome is not case.expected or telling.reason != case.reason or not told:
            wrong.append(f"{case.name} ({verdict.outcome.value}, {verdict.deciding.reason})")
    return table, wrong


def _refusals(table: Table, story: Story, store: TrustStore, folder: Path, language: str) -> list[str]:
    """Add what is refused before any verdict: a bundle rolled back, a log with two histories."""
    chinese = language == "zh"
    refused = Text("已拒绝" if chinese else "REFUSED", style="red")
    refusal = story.roll_back(store)
    told = "信任库已接受过序号更高的清单，旧清单不予替换" if chinese else refusal
    shown = "回滚的信任清单" if chinese else "a trust bundle rolled back"
    table.add_row(str(table.row_count + 1), shown, refused, "", Text(told))
    status, evidence = story.fork(folder / "witness-of-CN-SH", passphrase(folder))
    kept = f"{evidence[0].parents[1].relative_to(folder)}/" if evidence else "-"
    told = f"见证者回答 {status}，证据留在 {kept}" if chinese else f"the witness answered {status}; evidence in {kept}"
    shown = "账本出示两种历史" if chinese else "a log that shows two histories"
    table.add_row(str(table.row_count + 1), shown, refused, "", Text(told))
    return [] if status == 422 and len(evidence) == 2 else ["fork"]


def _outage(outage: Outage, table: Table, story: Story, store: TrustStore, language: str) -> list[str]:
    """Add what becomes of a log whose witness was killed, and of a licence that was issued meanwhile."""
    chinese = language == "zh"
    _refresh(store, story.shanghai, story.guangdong)
    verdict = Verifier(store).verify(outage.code, at=_clock())
    told = (
        f"账本照常收入新证照，报告 {outage.problem}；见证恢复 {outage.waited:.1f} 秒后自行发布，查验有效"
        if chinese
        else f"the log took a licence meanwhile and said {outage.problem}; published {outage.waited:.1f} s after the "
        "witness was back, it is valid"
    )
    cut_off = outage.published < outage.committed and outage.problem == "no_quorum"
    recovered = cut_off and verdict.outcome is Outcome.VALID
    answer = ("已恢复" if chinese else "RECOVERED") if recovered else verdict.outcome.value
    shown = "见证进程被杀死" if chinese else "a log whose witness was killed"
    table.add_row(str(table.row_count + 1), shown, Text(answer, style="green" if recovered else "red"), "", Text(told))
    return [] if recovered else [f"outage ({outage.problem}, {verdict.outcome.value})"]


def _farewell(console: Console, folder: Path, language: str) -> None:
    chinese = language == "zh"
    console.print(("留在 " if chinese else "left in ") + f"{folder}/:", markup=False)
    for place, zh, en in (
        ("trust/", "上海检查员的信任库", "the inspector's trust store"),
        ("qr/", "二维码图片及其文本", "the codes, as pictures and text"),
        ("records/", "签名的查验记录", "the signed verification record"),
        ("services/", "见证政策，各服务的运行日志", "the logs' witness policies, and what each service logged"),
        ("CN-GD/log/public/", "广东账本：瓦片、条目、检查点", "Guangdong's log: tiles, entries, checkpoint"),
        (
            "CN-GD/public/",
            "广东发布的信任清单、里程碑、状态名单",
            "what Guangdong publishes: bundle, landmarks, status lists",
        ),
    ):
        console.print(f"  {place:<20}{zh if chinese else en}", markup=False)
    console.print("接下来试试：" if chinese else "try next:")
    for command in (
        f".venv/bin/chopmark verify {folder}/qr/genuine.png --trust {folder}/trust",
        f".venv/bin/chopmark inspect {folder}/qr/presentation.png",
        f".venv/bin/chopmark log fsck {folder}/CN-GD/log/public --policy {folder}/services/CN-GD.policy",
    ):
        console.print(f"  {command}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())

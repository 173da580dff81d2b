"""The page in a real Chromium: by keyboard alone, on a phone, with a picture, with a camera."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from chopmark import qr_text
from chopmark.challenge import Challenge
from chopmark.presentation import present
from chopmark.qr_drawing import draw
from PIL import Image

from specs.vectors.sample_world import NOW, make_world

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 800}
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")


class Site:
    """The served page, and codes to show it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.world = world = make_world()
        credentials = [world.issue(world.claims(kind)) for kind in ("food", "constructor", "transport")]
        self.food, constructor, self.transport = world.logged(*credentials)
        world.store(folder / "trust").put_root("CN-SH", world.home.root_epoch, now=NOW)
        self.text = qr_text.encode(self.food.encode())
        self.copy = qr_text.encode(constructor.encode())
        (folder / "food.png").write_bytes(draw(self.text).png())
        log = folder / "stderr"
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.verifier.served_verifier", str(folder), "0"],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stderr=stderr,
            )
        deadline = time.monotonic() + 40
        while '"listening"' not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            assert self.process.poll() is None, log.read_text()
            time.sleep(0.02)
        (line,) = [line for line in log.read_text().splitlines() if '"listening"' in line]
        self.url = json.loads(line)["url"]

    @property
    def passcode(self) -> str:
        return (self.folder / "records" / "passcode").read_text().strip()

    def records(self) -> list[Path]:
        return list((self.folder / "records").rglob("*.jwt"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    yield site
    site.process.terminate()
    site.process.wait(20)


FLAGS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
    yield browser
    browser.close()


@pytest.fixture
def visit(browser: Browser, site: Site) -> Iterator[Any]:
    """Opens the page; whatever the console complains of, such as the content policy, fails the test."""
    contexts, complaints = [], []

    def hear(said: Any) -> None:
        # That an answer was no 200, or never came, is told too, and is what some tests ask for.
        expected = said.text.startswith(("Failed to load resource", "htmx:sendError", "htmx:afterRequest"))
        if said.type in {"error", "warning"} and not expected:
            complaints.append(said.text)

    def opened(size: dict[str, int] = DESK, locale: str = "en-GB", **options: Any) -> Page:
        context = browser.new_context(viewport=size, locale=locale, **options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.on("console", hear)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(site.url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def sign_in(page: Page, site: Site) -> None:
    page.click("summary:has-text('sign-in')")
    page.fill("#passcode", site.passcode)
    page.press("#passcode", "Enter")
    page.wait_for_selector("#purpose")


def test_a_code_is_checked_by_keyboard_alone(visit: Any, site: Site) -> None:
    page = visit()
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "text":
            break
    page.keyboard.insert_text(site.text)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "check-text"
    page.keyboard.press("Enter")
    page.wait_for_selector(".verdict.valid")
    assert page.inner_text(".verdict h2") == "Valid"
    assert page.evaluate("document.activeElement.id") == "result", "what is read aloud next is the result"
    for _ in range(3):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "SUMMARY":
            break
    page.keyboard.press("Enter")
    assert page.locator(".checks li:visible").count() == 10


@pytest.mark.parametrize(("size", "locale"), [(PHONE, "zh-CN"), (PHONE, "en-GB"), (DESK, "zh-CN"), (DESK, "en-GB")])
def test_each_outcome_has_a_word_an_icon_and_a_colour_and_fits_the_screen(
    visit: Any, site: Site, size: dict[str, int], locale: str
) -> None:
    page = visit(size, locale)
    seen = set()
    for text, kind in ((site.text, "valid"), (site.copy, "copy"), ("EL1:NOTHING", "invalid")):
        page.fill("#text", text)
        page.click("#check-text")
        page.wait_for_selector(f".verdict.{kind}")
        banner = page.locator(".banner")
        colour = banner.evaluate("each => getComputedStyle(each).backgroundColor")
        seen.add((page.inner_text(".verdict h2"), colour, page.locator(".banner svg").inner_html()))
        assert page.locator(".step p").inner_text()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
        assert banner.evaluate("each => each.getBoundingClientRect().top < innerHeight"), "it is in sight"
    assert [len({each[part] for each in seen}) for part in range(3)] == [3, 3, 3]
    words = {each[0] for each in seen}
    assert words == ({"有效", "这是副本", "无效"} if locale == "zh-CN" else {"Valid", "A copy", "Invalid"})


@pytest.mark.parametrize("locale", ["zh-CN", "en-GB"])
def test_on_a_phone_the_head_of_the_verdict_is_in_sight_after_a_check(visit: Any, site: Site, locale: str) -> None:
    page = visit(PHONE, locale, is_mobile=True, has_touch=True, reduced_motion="reduce")
    for text, kind in ((site.text, "valid"), (site.copy, "copy"), ("EL1:NOTHING", "invalid")):
        page.fill("#text", text)
        page.click("#check-text")
        page.wait_for_selector(f".verdict.{kind}")
        page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        top = page.evaluate("document.getElementById('result').getBoundingClientRect().top")
        assert 0 <= top < PHONE["height"] / 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_has_the_focus_is_seen_against_the_page_and_its_cards(visit: Any, site: Site, scheme: str) -> None:
    page = visit(color_scheme=scheme)
    page.keyboard.press("Tab")
    page.focus("#text")
    rings = [outline(page)]
    page.fill("#text", site.text)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector(".verdict.valid")
    assert page.evaluate("document.activeElement.id") == "result"
    rings.append(outline(page))
    style = "getComputedStyle(document.querySelector('{}')).backgroundColor"
    for style_of_ring, width, colour in rings:
        assert (style_of_ring, width) == ("solid", "3px")
        for place in ("body", ".bar", ".verdict"):
            assert contrast(colour, page.evaluate(style.format(place))) >= 3, "WCAG 2.2, 1.4.11"


def outline(page: Page) -> list[str]:
    found: list[str] = page.evaluate(
        "() => { const of = getComputedStyle(document.activeElement);"
        " return [of.outlineStyle, of.outlineWidth, of.outlineColor]; }"
    )
    return found


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, `rgb(…)`, as WCAG defines it."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"[0-9]+", colour)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_language_can_be_switched(visit: Any) -> None:
    page = visit()
    page.click("text=中文")
    assert page.get_attribute("html", "lang") == "zh-Hans"
    page.click("text=English")
    assert page.get_attribute("html", "lang") == "en"


def test_a_picture_is_read_and_the_record_of_it_filed(visit: Any, site: Site) -> None:
    page = visit()
    sign_in(page, site)
    page.set_input_files("#picture", site.folder / "food.png")
    assert page.locator(".verdict").count() == 0, "a record names its purpose first"
    page.fill("#purpose", "年度检查")
    before = len(site.records())
    page.set_input_files("#picture", site.folder / "food.png")
    page.wait_for_selector(".verdict.valid")
    assert "Signed record filed" in page.inner_text(".basis")
    assert len(site.records()) == before + 1
    page.click("text=Sign out")
    page.wait_for_selector("text=Inspector sign-in")
    assert page.locator("#purpose").count() == 0


def test_a_picture_without_a_code_is_told_and_keeps_nothing_back(visit: Any, site: Site, tmp_path: Path) -> None:
    page = visit()
    Image.new("L", (240, 240), 255).save(tmp_path / "blank.png")
    with page.expect_response("**/page/check*") as answered:
        page.set_input_files("#picture", tmp_path / "blank.png")
    assert answered.value.status == 422
    page.wait_for_selector(".trouble")
    assert "No code was found" in page.inner_text(".trouble")


def test_a_challenge_is_shown_and_counted_down(visit: Any, site: Site) -> None:
    from playwright.sync_api import expect

    page = visit()
    sign_in(page, site)
    page.click("summary:has-text('Ask the holder')")
    page.click("#ask button")
    assert page.evaluate("document.activeElement.id") == "purpose", "the holder is told what for"
    page.fill("#purpose", "site visit")
    page.check("#fields input >> nth=0")
    page.click("#ask button")
    page.wait_for_selector(".asked svg")
    assert page.locator("input[name=challenge]").get_attribute("value").startswith("EC1:")
    expect(page.locator(".asked .left")).not_to_have_text("180 s")
    page.click("[data-drop]")
    assert page.locator("input[name=challenge]").count() == 0


def test_a_challenge_is_answered_and_done_with(visit: Any, site: Site) -> None:
    page = visit()
    sign_in(page, site)
    page.fill("#purpose", "site visit")
    page.click("summary:has-text('Ask the holder')")
    page.check("#fields input >> nth=1")
    page.click("#ask button")
    asked = Challenge.parse_text(page.locator("input[name=challenge]").get_attribute("value"))
    shown = present(site.transport, site.world.holder, at=asked.issued_at, challenge=asked, disclose=[2])
    page.fill("#text", site.text)
    page.click("#check-text")
    page.wait_for_selector(".verdict.invalid")
    assert "does not answer" in page.inner_text(".step")
    page.fill("#text", qr_text.encode(shown.encode()))
    page.click("#check-text")
    page.wait_for_selector(".verdict.valid")
    assert page.locator("input[name=challenge]").count() == 0, "the next licence does not answer this one"


def test_a_camera_that_sees_no_code_goes_on_looking_and_can_be_stopped(visit: Any) -> None:
    page = visit(PHONE, is_mobile=True, has_touch=True)
    asked = []
    page.on("response", lambda answer: asked.append(answer.status) if "frame=true" in answer.url else None)
    with page.expect_response(lambda answer: "frame=true" in answer.url):
        page.click("#camera")
    assert page.locator("#viewfinder").is_visible()
    assert set(asked) <= {204}
    page.click("#camera")
    assert page.locator("#viewfinder").is_hidden()


def test_a_code_before_the_camera_is_found_and_the_camera_let_go(
    playwright: Playwright, site: Site, tmp_path: Path
) -> None:
    video = film(tmp_path / "code.mjpeg", draw(site.text).png())
    filmed = [*FLAGS, f"--use-file-for-fake-video-capture={video}"]
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=filmed)
    page = browser.new_context(viewport=PHONE, locale="zh-CN").new_page()  # type: ignore[arg-type]
    page.goto(site.url)
    page.click("#camera")
    page.wait_for_selector(".verdict.valid")
    assert page.locator("#viewfinder").is_hidden()
    assert page.evaluate("document.getElementById('video').srcObject") is None
    browser.close()


def film(path: Path, picture: bytes) -> Path:
    """A film of one picture held before a camera."""
    code = Image.open(io.BytesIO(picture)).convert("RGB").resize((700, 700))
    frame = Image.new("RGB", (1280, 720), "#888")
    frame.paste(code, (290, 10))
    output = io.BytesIO()
    frame.save(output, "JPEG", quality=90)
    path.write_bytes(output.getvalue() * 30)
    return path


def test_dropping_a_picture_is_offered_to_a_mouse_and_not_to_a_finger(visit: Any) -> None:
    assert visit(DESK).locator("#scan-hint").is_visible()
    assert visit(PHONE, is_mobile=True, has_touch=True).locator("#scan-hint").is_hidden()


def test_the_page_works_without_scripts(visit: Any, site: Site) -> None:
    page = visit(java_script_enabled=False)
    assert page.locator("#drop").is_hidden(), "a place for pictures would do nothing"
    page.fill("#text", site.text)
    page.click("#check-text")
    page.wait_for_selector(".verdict.valid")
    assert page.locator("#camera").is_hidden()


def judged_valid(page: Page, site: Site) -> None:
    page.fill("#text", site.text)
    page.click("#check-text")
    page.wait_for_selector(".verdict.valid")


def gone_with(page: Page, told: str) -> None:
    """The last verdict is gone, and this is said instead."""
    from playwright.sync_api import expect

    expect(page.locator("#state")).to_have_text(told)
    expect(page.locator("#result .empty")).to_have_count(1)
    expect(page.locator(".verdict")).to_have_count(0)


def test_a_verdict_does_not_stay_beside_a_licence_that_was_not_judged(visit: Any, site: Site, tmp_path: Path) -> None:
    page = visit()
    sign_in(page, site)
    page.fill("#purpose", "site visit")
    judged_valid(page, site)
    page.fill("#purpose", "")
    page.set_input_files("#picture", site.folder / "food.png")
    gone_with(page, "Not checked: name the purpose")
    page.fill("#purpose", "site visit")
    judged_valid(page, site)
    assert page.inner_text("#state") == ""
    (tmp_path / "letter.txt").write_text("no picture")
    page.set_input_files("#picture", tmp_path / "letter.txt")
    gone_with(page, "Not checked: only PNG and JPEG pictures can be read")
    judged_valid(page, site)
    page.click("#check-text")
    gone_with(page, "Not checked: there is no code")
    page.fill("#text", " \n ")
    page.click("#check-text")
    gone_with(page, "Not checked: there is no code")
    judged_valid(page, site)
    page.fill("#text", "E")
    gone_with(page, "")
    page.fill("#purpose", "")
    page.click("#check-text")
    gone_with(page, "Not checked: name the purpose")
    page.fill("#purpose", "site visit")
    judged_valid(page, site)
    page.fill("#purpose", "")
    page.click("#camera")
    gone_with(page, "Not checked: name the purpose")


def test_a_verdict_does_not_stay_where_the_service_is_not_reached(visit: Any, site: Site) -> None:
    page = visit(locale="zh-CN")
    judged_valid(page, site)
    page.context.set_offline(True)
    page.set_input_files("#picture", site.folder / "food.png")
    gone_with(page, "未查验：连接不上查验服务，请稍后再试")
    page.context.set_offline(False)
    judged_valid(page, site)
    page.context.set_offline(True)
    page.fill("#text", site.copy)
    page.click("#check-text")
    gone_with(page, "未查验：连接不上查验服务，请稍后再试")


def test_an_answer_that_comes_late_is_not_shown_for_what_came_after(visit: Any, site: Site) -> None:
    page = visit()
    held: list[Any] = []

    def hold(route: Any) -> None:
        held.append(route)

    page.route("**/page/check*", hold)
    with page.expect_request("**/page/check*"):
        page.set_input_files("#picture", site.folder / "food.png")
    page.fill("#text", site.copy)
    with page.expect_response("**/page/check*"):
        held.pop().continue_()
    with page.expect_request("**/page/check*"):
        page.click("#check-text")
    page.fill("#text", "EL1:NOTHING")
    with page.expect_response("**/page/check*"):
        held.pop().continue_()
    page.unroute("**/page/check*")
    page.wait_for_selector("#busy", state="hidden")
    gone_with(page, "")
    assert page.input_value("#text") == "EL1:NOTHING"


@pytest.mark.parametrize(("size", "locale"), [(PHONE, "zh-CN"), (PHONE, "en-GB"), (DESK, "zh-CN"), (DESK, "en-GB")])
def test_the_words_of_each_button_stand_in_the_middle_on_one_line(
    visit: Any, size: dict[str, int], locale: str
) -> None:
    page = visit(size, locale)
    for place in ("#camera", "#picture-label"):
        outer, icon, words = (page.locator(each).bounding_box() for each in (place, f"{place} svg", f"{place} span"))
        assert words["height"] < 40, "one line"
        before, after = icon["x"] - outer["x"], outer["x"] + outer["width"] - words["x"] - words["width"]
        assert abs(before - after) < 3
    if size == PHONE:
        check, text = (page.locator(each).bounding_box() for each in ("#check-text", "#text"))
        assert check["width"] == pytest.approx(text["width"], abs=1)

"""The console in a real browser: what happens appears while one looks, without a reload, from this console alone."""

from __future__ import annotations

import asyncio
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import Browser, Page, Request, async_playwright, expect
from services.console.tests.world import START, at, measured, measurements, recorded, story

from driftloop_bus.testing import publish
from driftloop_contracts import first
from driftloop_contracts.control_plane import CommandGiven
from driftloop_kit.testing import ServiceProcess, free_port, running

pytestmark = [pytest.mark.stack, pytest.mark.browser]
ARGUMENTS: Final = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
SOON_MS: Final = 20_000


def chromium() -> str:
    """Where Debian's Chromium is. Skips, saying what to install, where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium: install it with `apt-get install chromium` (.ci/run does)")
    return found


@pytest.fixture(scope="module")
def console(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with running("console", kafka, tmp_path_factory.mktemp("console")) as process:
        yield process


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as driver:
        opened = await driver.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield opened
        await opened.close()


@pytest.fixture
async def page(browser: Browser, console: ServiceProcess) -> AsyncIterator[Page]:
    """The console's page, live. Afterwards nothing was asked of anybody else, and no script failed."""
    opened = await browser.new_page(viewport={"width": 1300, "height": 1000})
    asked: list[str] = []
    failed: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    opened.on("request", note)
    opened.on("pageerror", lambda error: failed.append(str(error)))
    await opened.goto(console.url)
    await expect(opened.locator("#live")).to_have_text("live", timeout=SOON_MS)
    yield opened
    assert [url for url in asked if not url.startswith((console.url, "data:"))] == []
    assert failed == []


async def test_a_month_appears_while_one_looks(page: Page, kafka: str) -> None:
    model = f"flight-{uuid.uuid4().hex[:8]}"
    await page.evaluate("window.neverReloaded = true")
    card = page.locator("article.model", has_text=model)
    events = story(model)
    told = dict(enumerate(events))
    for place in range(5):
        await publish(kafka, told[place][0], told[place][1])
    await expect(card).to_contain_text("version 1", timeout=SOON_MS)
    await expect(card.locator("h2 .pill")).to_have_text("steady")

    for service, event in measurements(model, range(15, 20)):
        await publish(kafka, service, event)
    chart = page.locator(".chart", has_text=f"{model}: log loss")
    await expect(chart.locator(".u-legend")).to_contain_text("version 1", timeout=SOON_MS)
    await expect(chart.locator(".u-legend")).to_contain_text("2013-06-19 09:00")

    await publish(kafka, told[5][0], told[5][1])
    await expect(card.locator("h2 .pill")).to_have_text("drift", timeout=SOON_MS)
    for place in range(6, len(events)):
        await publish(kafka, told[place][0], told[place][1])
    await expect(card).to_contain_text("version 2", timeout=SOON_MS)
    await expect(card.locator("h2 .pill")).to_have_text("steady", timeout=SOON_MS)
    for service, event in measurements(model, range(20, 32)):
        await publish(kafka, service, event)
    await expect(chart.locator(".u-legend")).to_contain_text("version 2", timeout=SOON_MS)
    await expect(chart.locator(".u-legend")).to_contain_text("2013-07-01 09:00", timeout=SOON_MS)

    lines = page.locator("#story h3", has_text=model).locator("xpath=following-sibling::ol[1]/li")
    await expect(lines).to_have_count(13)
    await expect(lines.first).to_contain_text("Drift cleared")
    await expect(lines.nth(1)).to_contain_text("promoted: version 2 answers")
    await expect(page.locator("#tail li", has_text=model).first).to_contain_text("DriftCleared")
    assert await page.evaluate("window.neverReloaded"), "all of it by the stream"


async def test_drift_retrain_and_promotion_are_drawn_as_vertical_lines(page: Page, kafka: str) -> None:
    model = f"marked-{uuid.uuid4().hex[:8]}"
    for service, event in measurements(model, range(15, 32)):
        await publish(kafka, service, event)
    only_declared, *rest = story(model)
    await publish(kafka, only_declared[0], only_declared[1])
    chart = page.locator(".chart", has_text=f"{model}: log loss")
    await expect(chart.locator("canvas")).to_be_visible(timeout=SOON_MS)
    assert await page.evaluate(COLOURS, model) == []
    for service, event in rest:
        await publish(kafka, service, event)
    await page.wait_for_function(f"(model) => ({COLOURS})(model).length === 3", arg=model, timeout=SOON_MS)


# Which of the markers' colours stand at the very top of the model's plot, above every curve.
COLOURS: Final = r"""(model) => {
  const box = [...document.querySelectorAll(".chart")].find((one) => one.textContent.includes(model));
  const canvas = box.querySelector("canvas");
  const style = getComputedStyle(document.documentElement);
  const rgb = (name) => style.getPropertyValue(name).match(/\w\w/g).map((pair) => parseInt(pair, 16));
  const row = canvas.getContext("2d").getImageData(0, 14 * devicePixelRatio, canvas.width, 4 * devicePixelRatio).data;
  const near = (at, wanted) => row[at + 3] > 150 && wanted.every((part, i) => Math.abs(part - row[at + i]) < 40);
  const places = [...Array(row.length / 4).keys()].map((place) => 4 * place);
  return ["--hot", "--cold", "--good"].filter((name) => places.some((at) => near(at, rgb(name))));
}"""


async def test_what_an_event_says_is_text_and_never_runs(page: Page, kafka: str) -> None:
    evil = '<img src=x onerror="window.owned = true"><script>window.owned = true</script>'
    await publish(
        kafka,
        "console",
        first(CommandGiven(model="m", command="freeze", given_by=evil), id=str(uuid.uuid4()), time=START),
    )
    await expect(page.locator("#tail")).to_contain_text("<script>window.owned", timeout=SOON_MS)
    assert await page.evaluate("window.owned") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_on_a_phone_nothing_is_wider_than_the_screen(page: Page, kafka: str, scheme: str) -> None:
    model = f"phone-{uuid.uuid4().hex[:8]}"
    for service, event in story(model) + measurements(model, range(15, 32)):
        await publish(kafka, service, event)
    await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    await page.set_viewport_size({"width": 390, "height": 844})
    await expect(page.locator("article.model", has_text=model)).to_contain_text("version 2", timeout=SOON_MS)
    await expect(page.locator(".chart", has_text=model)).to_be_visible(timeout=SOON_MS)
    await page.wait_for_function("document.documentElement.scrollWidth <= 390", timeout=SOON_MS)
    paper = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(17, 22, 29)" if scheme == "dark" else "rgb(245, 247, 250)")


async def test_a_page_whose_console_is_gone_says_so_and_goes_on_when_it_is_back(
    browser: Browser, kafka: str, tmp_path: Path
) -> None:
    port, model = free_port(), f"back-{uuid.uuid4().hex[:8]}"
    opened = await browser.new_page()
    with running("console", kafka, tmp_path, port=port) as console:
        await opened.goto(console.url)
        await expect(opened.locator("#live")).to_have_text("live", timeout=SOON_MS)
        await asyncio.to_thread(console.stop)
        await expect(opened.locator("#live")).to_have_text("the console does not answer; trying again", timeout=SOON_MS)
        await expect(opened.locator("body")).to_have_class("silent")
    with running("console", kafka, tmp_path, port=port):
        for service, event in [*story(model)[:5], *recorded([measured(model, "1", "loss:brier", 15, 0.2)])]:
            await publish(kafka, service, event)
        await expect(opened.locator("#live")).to_have_text("live", timeout=70_000)
        await expect(opened.locator("article.model", has_text=model)).to_contain_text("version 1", timeout=SOON_MS)
        await expect(opened.locator(".chart", has_text=model)).to_contain_text(f"{at(15):%Y-%m-%d}", timeout=SOON_MS)


async def test_where_a_key_is_asked_for_a_browser_can_give_it(browser: Browser, kafka: str, tmp_path: Path) -> None:
    key = "k" * 40
    with running("console", kafka, tmp_path, DRIFTLOOP_API_KEY=key) as console:
        assert console.get("/").status_code == 401
        context = await browser.new_context(http_credentials={"username": "anybody", "password": key})
        opened = await context.new_page()
        await opened.goto(console.url)
        await expect(opened.locator("#live")).to_have_text("live", timeout=SOON_MS)
        await context.close()

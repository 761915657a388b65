"""Reports as people see them: in a real Chromium, light and dark, of no job and of a thousand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from past_clusters import BEGAN, HOSTILE, history

from corral.view.colours import DARK, LIGHT
from corral.view.report import ENDED, report

pytestmark = [pytest.mark.real("chromium"), pytest.mark.timeout(300)]

#: What is wider than the page, or drawn beyond its picture; what has no colour, or that of what is behind it.
FAULTS = """
    const ground = getComputedStyle(document.body).backgroundColor;
    const wide = document.documentElement.scrollWidth > document.documentElement.clientWidth ? ["the page"] : [];
    const pictures = [...document.querySelectorAll("svg")];
    const beyond = pictures.flatMap(svg => [...svg.querySelectorAll("rect, path, text")].filter(e => {
        const [one, all] = [e.getBoundingClientRect(), svg.getBoundingClientRect()];
        return one.right > all.right + 2 || one.left < all.left - 2 || one.bottom > all.bottom + 2;
    })).map(e => e.outerHTML.slice(0, 200));
    const unseen = [...document.querySelectorAll("rect, .swatch, svg text, td, p")].filter(e => {
        const style = getComputedStyle(e);
        const shape = e.matches("rect, text"), swatch = e.matches(".swatch");
        const colour = shape ? style.fill : swatch ? style.backgroundColor : style.color;
        return colour == ground || colour == "rgba(0, 0, 0, 0)" || colour == "none";
    }).map(e => e.outerHTML.slice(0, 200));
    return [...wide, ...beyond, ...unseen].slice(0, 5);
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Chromium that asks nobody, and says what pages ask for."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for switch in (
        "headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-dev-shm-usage",
        "disable-background-networking", "disable-component-update", "disable-sync",
        "window-size=1200,1400", "host-resolver-rules=MAP * ~NOTFOUND",
        f"user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):  # fmt: skip
        options.add_argument(f"--{switch}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    yield driver
    driver.quit()


def asked_for(browser: Any) -> list[str]:
    messages = [json.loads(each["message"])["message"] for each in browser.get_log("performance")]
    return [each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"]


def test_a_report_is_read(browser: Any, tmp_path: Path) -> None:
    """Nothing is cut off or unseen, on light and on dark, wide and narrow; nothing is asked for, and nothing runs."""
    browser.get("about:blank")
    # What other pages asked for, its own first page among them.
    asked_for(browser)
    for jobs, text in ((0, ""), (3, ""), (12, HOSTILE), (1000, "")):
        path = tmp_path / f"{jobs}.html"
        path.write_text(report(history(jobs, text=text), standing=ENDED, made=BEGAN), encoding="utf-8")
        for kind, ground in (("light", LIGHT), ("dark", DARK)):
            features = [{"name": "prefers-color-scheme", "value": kind}]
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            browser.get(path.as_uri())
            assert hex_of(browser.execute_script("return getComputedStyle(document.body).backgroundColor")) == ground
            assert browser.execute_script(FAULTS) == [], (jobs, kind)
            browser.save_screenshot(str(tmp_path / f"{jobs}-{kind}.png"))
        assert browser.execute_script("return document.querySelectorAll('script').length") == 0
        assert {url for url in asked_for(browser) if not url.startswith("data:")} <= {path.as_uri()}
    assert not [each for each in browser.get_log("browser") if each["level"] == "SEVERE"]
    browser.set_window_size(420, 900)
    try:
        assert browser.execute_script(FAULTS) == []
    finally:
        browser.set_window_size(1200, 1400)


def test_what_is_closed_on_the_screen_is_open_on_paper(browser: Any, tmp_path: Path) -> None:
    """The evidence of failures is printed, and on white."""
    path = tmp_path / "page.html"
    path.write_text(report(history(40), standing=ENDED, made=BEGAN), encoding="utf-8")
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": features})
    try:
        browser.get(path.as_uri())
        assert hex_of(browser.execute_script("return getComputedStyle(document.body).backgroundColor")) == LIGHT
        heights = browser.execute_script(
            "return [...document.querySelectorAll('details pre')].map(e => e.offsetHeight)"
        )
        assert heights
        assert min(heights) > 0
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "screen", "features": []})


def hex_of(colour: str) -> str:
    """Of ``rgb(20, 24, 29)``."""
    return "#" + "".join(f"{int(each):02x}" for each in colour.removeprefix("rgb(").removesuffix(")").split(","))

"""The documentation as a reader sees it: every page that was built, in a real Chromium.

`nox -s docs` builds it and runs this; the variable CORRAL_BUILT_DOCS names a folder that is there already. Without
either, and without Sphinx, there is nothing to look at.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

ROOT = Path(__file__).parent.parent

#: Of a phone, and of a window beside others (CSS pixels).
WIDTHS = (400, 1280)

#: What sticks out of the window, unless it is in a part of the article that scrolls; pictures that are not there.
LOOK = """
    const scrolls = e => ["auto", "scroll", "hidden"].includes(getComputedStyle(e).overflowX);
    const article = document.querySelector("article");
    const wide = [...article.querySelectorAll("*")].filter(e => {
        const box = e.getBoundingClientRect();
        if (box.width == 0 || box.right <= window.innerWidth + 1) return false;
        for (let each = e; each != article; each = each.parentElement) if (scrolls(each)) return false;
        return true;
    }).map(e => e.outerHTML.slice(0, 200));
    if (document.documentElement.scrollWidth > window.innerWidth) wide.push("the page");
    const missing = [...document.images].filter(e => e.complete && e.naturalWidth == 0).map(e => e.src);
    const empty = [...document.querySelectorAll(".picture svg")].filter(
        e => e.getBoundingClientRect().height < 100 || e.querySelector("text") === null
    ).map(e => e.outerHTML.slice(0, 80));
    return {wide, missing, empty}
"""


class Page(HTMLParser):
    """What links of a page lead to, and what links can lead to in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: set[str] = set()
        self.links: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.targets.update(filter(None, (given.get("id"), given.get("name") if tag == "a" else None)))
        link = given.get("href") if tag in ("a", "link") else given.get("src")
        if link is not None:
            self.links.add(link)


BUILT = os.environ.get("CORRAL_BUILT_DOCS")

# For the module: where tests run without Sphinx, these are not skipped, but somewhere else.
if BUILT is None and not all(map(importlib.util.find_spec, ("sphinx", "furo", "myst_parser"))):
    pytest.skip("CORRAL_BUILT_DOCS names no built documentation, and there is no Sphinx", allow_module_level=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the pages."""
    if BUILT is not None:
        return Path(BUILT).resolve()
    target = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", str(ROOT / "docs"), str(target)]
    subprocess.run(command, check=True, timeout=100)
    return target


@pytest.fixture(scope="module")
def pages(built: Path) -> dict[Path, Page]:
    """Those that were written; sources of modules are what Sphinx makes of them."""
    every = [path for path in sorted(built.rglob("*.html")) if "_modules" not in path.parts]
    found = {path: Page(path.read_text()) for path in every}
    assert len(found) > 60
    return found


def test_every_link_leads_somewhere(built: Path, pages: dict[Path, Page]) -> None:
    """Within the documentation: to a file that is there, and to a place in it."""
    lost = []
    for path, page in pages.items():
        for link in page.links:
            place, fragment = urldefrag(link)
            if urlsplit(link).scheme or link.startswith("//"):
                continue
            target = (path.parent / unquote(urlsplit(place).path)).resolve() if place else path
            is_there = target.is_file() and target.is_relative_to(built)
            if not is_there or (fragment and target in pages and unquote(fragment) not in pages[target].targets):
                lost.append(f"{path.relative_to(built)}: {link}")
    assert lost == []


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Chromium that asks nobody."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for switch in (
        "headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-dev-shm-usage", "disable-sync",
        "disable-background-networking", "disable-component-update", "host-resolver-rules=MAP * ~NOTFOUND",
        f"user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):  # fmt: skip
        options.add_argument(f"--{switch}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    yield driver
    driver.quit()


@pytest.mark.real("chromium")
@pytest.mark.timeout(300)
def test_every_page_fits_its_window(built: Path, pages: dict[Path, Page], browser: Any) -> None:
    """Narrow and wide; with its pictures, and without a complaint of the browser's."""
    problems: dict[str, Any] = {}
    for path in pages:
        name = str(path.relative_to(built))
        for width in WIDTHS:
            screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
            if width == WIDTHS[0]:
                browser.get(path.as_uri())
            seen = {what: found for what, found in browser.execute_script(LOOK).items() if found}
            if seen:
                problems[f"{name} at {width}"] = seen
        if said := [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]:
            problems[name] = said
    assert not problems, json.dumps(problems, indent=1)

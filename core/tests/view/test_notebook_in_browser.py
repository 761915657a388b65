"""Clusters as people see them in a notebook: a real JupyterLab, a real kernel, a real Chromium."""

from __future__ import annotations

import functools
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import made_up
import pytest
from attrs import evolve

from corral.view.notebook import cluster_html

pytestmark = [pytest.mark.real("chromium"), pytest.mark.timeout(300)]

#: What is below each cell, as a person reads it.
TEXTS = """
    return [...document.querySelectorAll(".jp-CodeCell")].map(
        cell => [...cell.querySelectorAll(".jp-OutputArea-output")].map(each => each.innerText).join(" "))
"""
#: The contrast of the text of each of ours with what is behind it (WCAG 2.2, 1.4.3), the least of them.
CONTRAST = """
    const numbers = text => text.match(/[\\d.]+/g).map(Number);
    const linear = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    const behind = e => { for (; e; e = e.parentElement) {
        const found = numbers(getComputedStyle(e).backgroundColor);
        if (found.length == 3 || found[3] > 0) return found; } };
    return Math.min(...[...document.querySelectorAll(".corral *")].filter(
        e => e.tagName != "STYLE" && [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim())).map(e => {
            const pair = [light(numbers(getComputedStyle(e).color)), light(behind(e))].sort((a, b) => b - a);
            return (pair[0] + 0.05) / (pair[1] + 0.05); }))
"""

IS_READY = """
    return window.jupyterapp?.commands.hasCommand("notebook:run-all-cells")
        && document.body.innerText.includes("(ipykernel) | Idle")
        && document.querySelectorAll(".jp-Notebook-cell").length
"""

#: Nobody is there to answer questions.
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}

CELLS = [
    """
import os
from corral import Cluster, WorkerGroup
cluster = Cluster(
    backend="local", interface="lo", memory="200MB", name="looked-at",
    groups={"cpu": WorkerGroup(), "broken": WorkerGroup(python="/no/such/python")},
    backend_options={"directory": os.environ["QUEUE"], "cores": 3, "memory": "8GB"},
)
""",
    "cluster",
    "cluster",
    "from IPython.display import HTML\nHTML(open(os.environ['THOUSAND']).read())",
]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures go: the folder that CORRAL_SCREENSHOTS names, for people to look at."""
    folder = Path(os.environ.get("CORRAL_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Chromium that asks nobody but this host."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for switch in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-dev-shm-usage",
        "disable-background-networking", "disable-component-update", "disable-sync", "window-size=1300,1500",
        "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):  # fmt: skip
        options.add_argument(f"--{switch}")
    driver = Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    driver.set_script_timeout(60)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A JupyterLab with one notebook, and where that is."""
    folder = tmp_path_factory.mktemp("lab")
    cells: list[dict[str, Any]] = [
        {"cell_type": "code", "id": f"c{number}", "source": source.strip(), "metadata": {}, "outputs": [],
         "execution_count": None}
        for number, source in enumerate(CELLS)
    ]  # fmt: skip
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "thousand.html").write_text(cluster_html(made_up.overview(1000)))
    (folder / "root").mkdir()
    (folder / "root" / "clusters.ipynb").write_text(json.dumps(notebook))
    for plugin, settings in SETTINGS.items():
        path = folder / "settings" / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = {"port": port, "ip": "127.0.0.1", "root_dir": folder / "root", "port_retries": 0}
    argv = ["--no-browser", "--allow-root", "--IdentityProvider.token=", "--expose-app-in-browser"]
    argv += ["--ServerApp.disable_check_xsrf=True"]
    argv += [f"--ServerApp.{name}={value}" for name, value in options.items()]
    environment = {
        **os.environ,
        **{f"JUPYTER_{name}_DIR": str(folder / name) for name in ("CONFIG", "RUNTIME", "DATA")},
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "IPYTHONDIR": str(folder / "ipython"),
        "XDG_STATE_HOME": str(folder / "state"),
        "QUEUE": str(folder / "queue"),
        "THOUSAND": str(folder / "thousand.html"),
    }
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([sys.executable, "-m", "jupyterlab", *argv], env=environment, stdout=log, stderr=log)
    try:
        for _ in range(600):
            try:
                urlopen(f"http://127.0.0.1:{port}/api/status", timeout=10).close()
                break
            except URLError:
                assert server.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
        # Otherwise the page would ask which kernel somebody wants.
        session = {"path": "clusters.ipynb", "name": "", "type": "notebook", "kernel": {"name": "python3"}}
        urlopen(f"http://127.0.0.1:{port}/api/sessions", data=json.dumps(session).encode(), timeout=60).close()
        yield f"http://127.0.0.1:{port}/doc/tree/clusters.ipynb"
    finally:
        # Ctrl-C in a terminal asks first; a kernel ends with its server.
        server.terminate()
        server.wait()


def eventually(holds: Callable[[], Any], words: Callable[[], object]) -> Any:
    """What holds, as soon as it does; the page tells nobody when it has changed."""
    deadline = time.monotonic() + 60
    while not (found := holds()):
        assert time.monotonic() < deadline, words()
        time.sleep(0.1)
    return found


def below_cells(browser: Any) -> list[str]:
    found: list[str] = browser.execute_script(TEXTS)
    return found


def fill(browser: Any, place: int, number: int) -> None:
    """Write into a field of numbers, as people do."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    field = browser.find_elements(By.CSS_SELECTOR, ".jp-OutputArea-output input[type=number]")[place]
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(str(number), Keys.TAB)


def click(browser: Any, says: str, place: int = 0) -> None:
    from selenium.webdriver.common.by import By

    buttons = browser.find_elements(By.CSS_SELECTOR, ".jp-OutputArea-output button")
    [button for button in buttons if button.text == says][place].click()


def test_a_cluster_is_looked_at_scaled_and_closed(browser: Any, jupyter: str, pictures: Path) -> None:
    """Live in two cells, scaled by clicks, with its failures where people look; light and dark; closed at last."""
    both = slice(1, 3)

    def say(*words: str) -> None:
        """Both cells say so."""
        eventually(
            lambda: all(word in text for text in below_cells(browser)[both] for word in words),
            lambda: (words, below_cells(browser)),
        )

    browser.get(jupyter)
    eventually(lambda: browser.execute_script(IS_READY), lambda: browser.page_source[:2000])
    browser.execute_script("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    eventually(lambda: "298 ended" in below_cells(browser)[3], lambda: below_cells(browser))
    say("looked-at", "fixed at 0 jobs")
    browser.save_screenshot(str(pictures / "jupyterlab-0-jobs.png"))

    # Each display has three fields for each of two groups.
    fill(browser, 6, 2)
    click(browser, "Scale", 2)
    say("2 working", "Workers: 2 of 2 wanted workers", "scale cpu to 2 jobs")
    fill(browser, 3, 1)
    click(browser, "Scale", 1)
    say("failed", "nothing is submitted until you scale", "The node has no such Python")
    assert below_cells(browser)[0] == "", "nothing is said where nobody looks"

    browser.execute_script("document.querySelectorAll('.jp-CodeCell .corral details').forEach(e => e.open = true)")
    fill(browser, 1, 5)
    fill(browser, 2, 3)
    click(browser, "Adapt")
    say("adapt cpu between 5 and 3 jobs: ")
    fill(browser, 1, 1)
    click(browser, "Adapt")
    say("adapts, 1 to 3 jobs", "fixed at 0 jobs", "Failures (3)")
    assert browser.execute_script("return document.querySelectorAll('.corral details[open]').length") >= 2

    contrasts = {}
    for theme in ("Light", "Dark"):
        browser.execute_async_script(
            "const [theme, done] = arguments;"
            "window.jupyterapp.commands.execute('apputils:change-theme', {theme}).then(() => done())",
            f"JupyterLab {theme}",
        )
        is_light = str(theme == "Light").lower()
        eventually(
            functools.partial(
                browser.execute_script, "return document.body.dataset.jpThemeLight == arguments[0]", is_light
            ),
            lambda: browser.page_source[:500],
        )
        contrasts[theme] = eventually(lambda: browser.execute_script(CONTRAST), lambda: "no text")
        browser.save_screenshot(str(pictures / f"jupyterlab-{theme.lower()}.png"))
    assert min(contrasts.values()) >= 4.5, contrasts

    click(browser, "Close cluster")
    click(browser, "Yes")
    say("closed: this is what there was")
    eventually(lambda: not any("Scale" in text for text in below_cells(browser)), lambda: below_cells(browser))
    browser.save_screenshot(str(pictures / "jupyterlab-closed.png"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_legible_on_pages_that_name_no_colours(browser: Any, tmp_path: Path, pictures: Path, scheme: str) -> None:
    """As a page that was made of a notebook, in whichever scheme its reader has; nothing is cut off."""
    page = tmp_path / "page.html"
    everything = [cluster_html(made_up.overview(jobs)) for jobs in (0, 3, 1000)]
    closed = evolve(made_up.overview(1000), status="closed")
    everything.append(cluster_html(closed))
    page.write_text("<!doctype html><meta charset='utf-8'>" + "<hr>".join(everything))
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    try:
        browser.get(page.as_uri())
        browser.execute_script("document.querySelectorAll('details').forEach(each => each.open = true)")
        browser.save_screenshot(str(pictures / f"page-{scheme}.png"))
        assert browser.execute_script(CONTRAST) >= 4.5
        paper = browser.execute_script("return getComputedStyle(document.querySelector('.corral')).backgroundColor")
        assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 29)"}[scheme]
        wide = "return [...document.querySelectorAll('.corral')].filter(e => e.scrollWidth > e.clientWidth).length"
        assert browser.execute_script(wide) == 0
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

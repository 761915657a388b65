"""Clusters as people see them in a notebook: a real JupyterLab, a real kernel, a real Chromium."""

from __future__ import annotations

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

import pytest

pytestmark = [pytest.mark.real("chromium"), pytest.mark.timeout(300)]

#: What is in the page, as a person reads it.
TEXT = "return [...document.querySelectorAll('.jp-OutputArea-output')].map(each => each.innerText).join('\\n')"

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
    global BROWSER; BROWSER=driver
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A JupyterLab with one notebook, and where that is."""
    folder = tmp_path_factory.mktemp("lab")
    cells = [
        {"cell_type": "code", "id": f"c{number}", "source": source.strip(), "metadata": {}, "outputs": [],
         "execution_count": None}
        for number, source in enumerate(CELLS)
    ]  # fmt: skip
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
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
    deadline = time.monotonic() + 30
    while not (found := holds()):
        if time.monotonic() > deadline: BROWSER.save_screenshot("/tmp/nb/fail.png")
        assert time.monotonic() < deadline, words()
        time.sleep(0.1)
    return found


def test_a_cluster_is_looked_at_and_scaled(browser: Any, jupyter: str, pictures: Path) -> None:
    """Live in two cells, scaled by clicks, with its failures where people look; light and dark; closed at last."""
    from selenium.webdriver.common.by import By

    def text() -> str:
        return str(browser.execute_script(TEXT))

    def says(*words: str) -> bool:
        return all(word in text() for word in words)

    browser.get(jupyter)
    eventually(lambda: browser.execute_script(IS_READY), lambda: browser.page_source[:2000])
    browser.execute_script("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    eventually(lambda: text().count("looked-at") == 2, text)
    browser.save_screenshot(str(pictures / "jupyterlab-0-jobs.png"))

    fields = browser.find_elements(By.CSS_SELECTOR, ".jp-OutputArea-output input[type=number]")
    buttons = browser.find_elements(By.CSS_SELECTOR, ".jp-OutputArea-output button")
    print([b.text for b in buttons], len(fields))
    print(text())

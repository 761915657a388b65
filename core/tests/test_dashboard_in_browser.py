"""The dashboard as people see it: in a real Chromium, directly and behind a real jupyter-server-proxy."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urljoin
from urllib.request import urlopen

import pytest
from distributed import LocalCluster

from corral import Cluster
from corral.view.colours import END, PHASE, WANTED

pytestmark = [
    pytest.mark.real("chromium"),
    pytest.mark.timeout(600),
    # Bokeh's, where an event loop ends before the browser has closed its websocket.
    pytest.mark.filterwarnings("ignore:coroutine 'WSHandler.send_message' was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:.*WSHandler.send_message:pytest.PytestUnraisableExceptionWarning"),
]

# Bokeh draws below shadow roots.
CANVASES = """
    const below = node => [...node.querySelectorAll("*")].flatMap(
        e => [e, ...(e.shadowRoot ? below(e.shadowRoot) : [])]);
    return below(document).filter(e => e.tagName == "CANVAS").length
"""

IS_DRAWN = "return window.Bokeh !== undefined && Bokeh.documents.length > 0 && Bokeh.documents.every(d => d.is_idle)"

#: The jobs that the page of jobs has heard of.
JOBS = """
    const bars = Bokeh.documents[0].get_model_by_name("bars");
    return Object.fromEntries(Array.from(bars.data.id).map((id, at) => [id, bars.data.stands[at]]))
"""

#: How many pixels of all pictures have each of these colours.
PIXELS = """
    const [colours] = arguments;
    const below = node => [...node.querySelectorAll("*")].flatMap(
        e => [e, ...(e.shadowRoot ? below(e.shadowRoot) : [])]);
    const found = Object.fromEntries(colours.map(colour => [colour, 0]));
    for (const canvas of below(document).filter(e => e.tagName == "CANVAS" && e.width && e.height)) {
        const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        for (let at = 0; at < data.length; at += 4)
            if (data[at + 3] == 255) {
                const colour = "#" + [0, 1, 2].map(i => data[at + i].toString(16).padStart(2, "0")).join("");
                if (colour in found) found[colour] += 1;
            }
    }
    return found
"""

#: Text of tables and of what the pointer is told, and what a hostile name would have made of the page.
WORDS = """
    const below = node => [...node.querySelectorAll("*")].flatMap(
        e => [e, ...(e.shadowRoot ? below(e.shadowRoot) : [])]);
    const all = below(document);
    return [all.map(e => e.children.length ? "" : e.textContent).join("\\n"),
            all.filter(e => e.tagName == "IMG" && e.getAttribute("src") == "x").length]
"""

#: What this page needs and leads to on this server, and what is answered there; of each single plot there is a page
#: as well, and to make them all takes minutes.
LINKS = """
    const [done] = arguments;
    const links = new Set([...document.querySelectorAll("a[href], link[href], script[src], img[src]")].map(
        e => (e.href || e.src)).filter(
            link => new URL(link).origin == location.origin && !link.includes("/individual-")));
    Promise.all([...links].map(async link => [link, (await fetch(link)).status])).then(done)
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Chromium that asks nobody but this host, and says what its websockets do."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for switch in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-dev-shm-usage",
        "disable-background-networking", "disable-component-update", "disable-sync", "window-size=1600,1200",
        # The pages of workers want a style sheet of the internet.
        "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):  # fmt: skip
        options.add_argument(f"--{switch}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    driver.set_script_timeout(180)
    yield driver
    driver.quit()


@pytest.fixture(autouse=True)
def _leave(browser: Any) -> Iterator[None]:
    """The page is closed before what it looks at."""
    yield
    browser.get("about:blank")


@pytest.fixture(scope="module", params=["process", "job"])
def link(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """The dashboard's link of a cluster with one worker, whose scheduler is here, or in a job behind a tunnel."""
    folder = tmp_path_factory.mktemp("cluster")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        patch.delenv("JUPYTERHUB_SERVICE_PREFIX", raising=False)
        with Cluster(
            backend="local",
            # The page of the hardware has each worker measure its memory, for which 300 MB are not enough.
            memory="1GB",
            interface="lo",
            n_workers=1,
            backend_options={"directory": str(folder / "q"), "cores": 4, "memory": "8GB"},
            scheduler=request.param,
            scheduler_options={"memory": "600MB"} if request.param == "job" else None,
        ) as cluster:
            cluster.wait_for_workers(timeout=60)
            yield lambda: cluster.dashboard_link


@contextmanager
def jupyter(base: str, folder: Path) -> Iterator[str]:
    """A Jupyter server with jupyter-server-proxy, and where it is."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = {"port": port, "ip": "127.0.0.1", "base_url": base, "root_dir": folder, "port_retries": 0}
    argv = ["--no-browser", "--allow-root", "--IdentityProvider.token="]
    argv += [f"--ServerApp.{name}={value}" for name, value in options.items()]
    environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(folder), "JUPYTER_RUNTIME_DIR": str(folder / "run")}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyter_server", *argv], env=environment, stdout=log, stderr=log
        )
    try:
        here = f"http://127.0.0.1:{port}"
        for _ in range(600):
            try:
                urlopen(f"{here}{base}api/status", timeout=10).close()
                break
            except URLError:
                assert server.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
        yield here
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="module")
def canvases(browser: Any) -> int:
    """How many Dask's own dashboard has, without a prefix and seen directly."""
    with LocalCluster(n_workers=1, processes=False, dashboard_address="127.0.0.1:0", protocol="tcp://") as cluster:
        number = watch(browser, cluster.dashboard_link)
        browser.get("about:blank")
        assert number > 10
        return number


@pytest.mark.parametrize("base", [None, "/", "/user/me/"], ids=["directly", "proxied", "in JupyterHub"])
def test_the_dashboard_is_drawn(
    browser: Any,
    canvases: int,
    link: Callable[[], str],
    base: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As Dask's own is, with news through a websocket; each page to which it leads is there."""
    if base is None:
        look_around(browser, link(), canvases)
        return
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", base)
    path = link()
    assert path.startswith(f"{base}proxy/")
    with jupyter(base, tmp_path) as here:
        look_around(browser, urljoin(here, path), canvases)


def look_around(browser: Any, address: str, canvases: int) -> None:
    """The front page, which is the status page, and all that it leads to."""
    front = address.removesuffix("/status")
    for start in (front, f"{front}/", address):
        assert watch(browser, start) == canvases
        assert browser.current_url == address
    links = dict(browser.execute_async_script(LINKS))
    assert len(links) > 15
    assert all(link.startswith(f"{front}/") for link in links)
    assert {link: status for link, status in links.items() if status != 200} == {}
    browser.get(f"{front}/info")
    assert browser.current_url == f"{front}/info/main/workers.html"
    assert "_0-0" in browser.page_source
    assert watch(browser, f"{front}/jobs") >= 3
    assert set(browser.execute_script(JOBS).values()) == {"working"}


def watch(browser: Any, address: str) -> int:
    """Open a page of plots, and wait until it hears news and has drawn all of them; how many canvases there are."""
    for _ in range(3):
        if number := watch_once(browser, address):
            return number
        # Bokeh does not try again when a busy machine kept its websocket waiting; a person does.
    raise AssertionError(f"no news, or no plots: {browser.page_source[:2000]}")


def watch_once(browser: Any, address: str) -> int:
    browser.get_log("performance")
    browser.get(address)
    frames, deadline = 0, time.monotonic() + 40
    while frames < 3 or not browser.execute_script(IS_DRAWN):
        if time.monotonic() > deadline:
            return 0
        for entry in browser.get_log("performance"):
            frames += json.loads(entry["message"])["message"]["method"] == "Network.webSocketFrameReceived"
        time.sleep(0.1)
    if shots := os.environ.get("CORRAL_SHOTS"):
        browser.save_screenshot(f"{shots}/{time.time():.0f}.png")
    number: int = browser.execute_script(CANVASES)
    return number


@pytest.mark.parametrize("count", [3, 1000])
def test_the_page_of_jobs_shows_each_job(
    browser: Any, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Directly and behind a proxy: bars in the colours of their phases, and the news of a second ago; no complaint."""
    from pretend_jobs import PretendQueue, change, live

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/me/")
    queue = PretendQueue()
    options = {"directory": str(tmp_path / "q")}
    with Cluster(
        backend="local", memory="200MB", interface="lo", plugins=[queue], backend_options=options, scheduler="process"
    ) as cluster:
        cluster.scale(count)
        eventually(lambda: len(cluster.jobs) == count)

        async def begin() -> None:
            live(cluster, queue, step=30 if count < 10 else 4)

        async def alter() -> None:
            change(cluster, [1])

        cluster.sync(begin)
        path = cluster.dashboard_link.replace("/status", "/jobs")
        port, inside = path.removeprefix("/user/me/proxy/").split("/", 1)
        with jupyter("/user/me/", tmp_path) as here:
            for name, address in (("directly", f"http://127.0.0.1:{port}/{inside}"), ("proxied", urljoin(here, path))):
                look_at_jobs(browser, address, cluster)
                shots = Path(os.environ.get("CORRAL_SCREENSHOTS", tmp_path))
                browser.save_screenshot(str(shots / f"jobs-{count}-{name}.png"))
                altered = str(cluster.jobs[1].id)
                before = browser.execute_script(JOBS)[altered]
                cluster.sync(alter)
                eventually(partial(is_told_anew, browser, altered, before))
                browser.get("about:blank")


def is_told_anew(browser: Any, job: str, before: str) -> bool:
    return bool(browser.execute_script(JOBS)[job] != before)


def look_at_jobs(browser: Any, address: str, cluster: Cluster) -> None:
    browser.get_log("browser")
    assert watch(browser, address) >= 3
    eventually(lambda: len(browser.execute_script(JOBS)) == len(cluster.jobs))
    told = browser.execute_script(JOBS)
    for job in cluster.jobs:
        assert told[str(job.id)].startswith(job.phase.value)
    phases = {job.phase.value for job in cluster.jobs if not job.has_ended}
    colours = {PHASE[phase].light for phase in phases} | {WANTED.light}
    failed = bool(cluster.failures)
    if failed:
        colours.add(END["lost"].light)

    def drawn() -> bool:
        return all(browser.execute_script(PIXELS, sorted(colours)).values())

    eventually(drawn)
    words, harmed = browser.execute_script(WORDS)
    assert cluster.name in words
    assert harmed == 0
    assert ("onerror=alert(1)" in words) is failed
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []


def eventually(holds: Callable[[], Any]) -> None:
    """Within a minute; what a browser has drawn tells nobody."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it never was so"
        time.sleep(0.1)

"""The Space in a real browser: every panel fills, actions first, and nothing is asked of the network."""

import io
import os
import re
import shutil
import sys
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import psutil
import pytest
import scenes
import torch
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from xwam import XWAM4DPipeline, load_future

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = (
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-background-networking",
    "--disable-component-update",
)
KNOWN_MESSAGES = "Babylon|BJS|WebGPU|adapters|Vega|GL Driver Message|GPU stall"  # the viewer falls back to WebGL
QUIET_SECONDS = 60  # from the page's load to the last panel, with two cores to itself
PATIENCE = 120_000  # milliseconds
LAST_RESORT = 400  # seconds, after which the browser is killed and its tests fail instead of hanging
# When what was first there, in milliseconds since the page began.
WATCH = """
for (const kind of ['log', 'info', 'debug', 'warn', 'error']) {  // a viewer that complains in every frame would drown the driver
    const say = console[kind];
    let left = 100;
    console[kind] = (...words) => { if (left-- > 0) say.apply(console, words); };
}
window.firstSeen = {};
const parts = {actions: '#command-0', film: '.film video'};
new MutationObserver(() => {
    for (const [name, selector] of Object.entries(parts))
        if (!(name in window.firstSeen) && document.querySelector(selector)) window.firstSeen[name] = performance.now();
}).observe(document, {subtree: true, childList: true});
"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt-get install chromium)")


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        guard = threading.Timer(LAST_RESORT, _kill_browser)
        guard.daemon = True
        guard.start()
        yield browser
        guard.cancel()
        browser.close()


def _kill_browser():
    for child in psutil.Process().children(recursive=True):
        if re.search("chrom|node", child.name()):
            child.kill()


class Visitor:
    """A page of its own session, with what it said and asked for."""

    def __init__(self, browser: Browser, url: str, *, width: int = 1360) -> None:
        context = browser.new_context(viewport={"width": width, "height": 900}, accept_downloads=True)
        self.page: Page = context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.add_init_script(WATCH)
        self.problems: list[str] = []
        self.elsewhere: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", self._heard)
        self.page.on("request", self._asked)
        self.started = time.monotonic()
        self.page.goto(url)

    def _heard(self, message):
        if message.type == "error" and not re.search(KNOWN_MESSAGES, message.text):
            self.problems.append(message.text)

    def _asked(self, request):
        if not request.url.startswith(("http://127.0.0.1", "data:", "blob:")):
            self.elsewhere.append(request.url)

    def wait_for_views(self):
        self.page.wait_for_selector("#views img")

    def films_ready(self, count: int):
        ready = (
            "[...document.querySelectorAll('.film video')].filter(v => v.readyState == 4 && v.videoWidth > 0).length"
        )
        self.page.wait_for_function(f"{ready} >= {count}")

    def download_ready(self):
        self.page.wait_for_function("document.querySelector('#download')?.innerText.includes('MB')")

    def close(self):
        self.page.context.close()


@pytest.fixture(scope="module")
def visitor(browser, space_url):
    visitor = Visitor(browser, space_url)
    yield visitor
    visitor.close()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Screenshots for people; `pytest --basetemp=FOLDER` says where."""
    return tmp_path_factory.mktemp("screenshots")


def shows_something(page: Page, selector: str) -> bool:
    """Whether the pixels of a part differ from each other."""
    picture = Image.open(io.BytesIO(page.locator(selector).first.screenshot())).convert("RGB")
    return len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 100


def wait_until(condition, what: str, seconds: float = PATIENCE / 1000):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.2)


def test_every_panel_fills_and_actions_come_first(visitor, pictures, capsys):
    page, load = visitor.page, os.getloadavg()[0] / (os.cpu_count() or 1)
    visitor.wait_for_views()
    assert "small model that comes with the package" in page.locator("#head").inner_text()
    page.wait_for_function("document.querySelector('textarea, input[type=text]') !== null")
    page.screenshot(path=pictures / "1_opened.png", full_page=True)
    page.click("#imagine")
    visitor.films_ready(6)
    page.wait_for_selector("#cloud canvas")
    wait_until(lambda: shows_something(page, "#cloud canvas"), "the point cloud is blank")
    for panel in ("#command-0", "#command-1", "#command-2", "#state-0", "#state-1", "#state-2"):
        page.wait_for_selector(f"{panel} svg path")
    assert "Metric" in page.locator("#depth-note").inner_text()
    assert re.search(
        r"Actions after [\d.]+ s.*Dream after [\d.]+ s.*decode frames", page.locator("#status").inner_text(), re.S
    )
    visitor.download_ready()
    took = time.monotonic() - visitor.started
    load = max(load, os.getloadavg()[0] / (os.cpu_count() or 1))
    seen = page.evaluate("window.firstSeen")
    acted = seen["actions"] / 1000
    with capsys.disabled():
        figures = f"actions {acted:.1f} s, all panels and the archive {took:.1f} s"
        sys.stdout.write(f"\nfrom page load: {figures}, load per core {load:.1f}\n")
    page.screenshot(path=pictures / "2_imagined.png", full_page=True)
    assert seen["actions"] < seen["film"], "the actions wait for no film"
    assert took <= QUIET_SECONDS * max(1.0, load)
    assert not visitor.problems
    assert not visitor.elsewhere


def downloaded(page: Page, folder: Path):
    """The future in the archive that the button gives, and the names of its files."""
    with page.expect_download() as waiting:
        page.click("#download")
    archive = folder / "future.zip"
    waiting.value.save_as(archive)
    with zipfile.ZipFile(archive) as files:
        files.extractall(folder)
        return load_future(folder / "future"), files.namelist()


@pytest.fixture(scope="module")
def alone():
    """The future that the library itself gives for the page's first scene."""
    pipe = XWAM4DPipeline.from_pretrained("embedded")
    pipe.set_progress_bar_config(disable=True)
    seen = scenes.look(
        scenes.Scene(next((n for n in scenes.tasks().values() if n == scenes.DEFAULT_TASK), scenes.RECORDED), 5)
    )

    def future(seed: int):
        return pipe(seen, generator=torch.Generator().manual_seed(seed)).future()

    return future


def assert_equal_futures(one, other):
    np.testing.assert_allclose(one.actions.commands, other.actions.commands, atol=1e-3)
    for camera in other.frames:
        difference = np.abs(one.frames[camera].astype(int) - other.frames[camera].astype(int))
        assert difference.mean() < 0.5, camera


def test_the_archive_is_what_the_library_imagines(visitor, alone, tmp_path):
    future, names = downloaded(visitor.page, tmp_path)
    for ending in (".json", ".npz", ".mp4", ".png", ".ply", ".glb"):
        assert any(name.endswith(ending) for name in names), ending
    assert_equal_futures(future, alone(0))


def test_the_slider_shows_one_frame_of_the_cloud(visitor):
    page = visitor.page
    with page.expect_response(re.compile(r"dream_04\.ply")):
        slider = page.locator("#moment input[type=number]")
        slider.fill("4")
        slider.press("Enter")
    wait_until(lambda: shows_something(page, "#cloud canvas"), "the point cloud is blank")
    assert not visitor.problems


@pytest.mark.skipif(scenes.rendering_problem() is not None, reason="MuJoCo cannot render here")
def test_reality_stands_beside_the_dream(visitor, pictures):
    page = visitor.page
    page.click("#compare")
    page.wait_for_selector("#error-0 svg path")
    page.wait_for_selector("#pair-0 svg path")
    visitor.films_ready(9)
    assert "robot leaves its dream" in page.locator("#findings").inner_text()
    page.get_by_text("All errors").click()
    page.wait_for_selector("#errors >> text=PSNR")
    page.screenshot(path=pictures / "3_compared.png", full_page=True)
    assert not visitor.problems
    assert not visitor.elsewhere


def ask(visitor: Visitor, seed: int):
    """Imagine with a seed of one's own."""
    page = visitor.page
    visitor.wait_for_views()
    field = page.get_by_label("Seed of the noise")
    if not field.is_visible():
        page.get_by_text("Settings", exact=True).click()
    field.wait_for()

    def stands():  # what is typed in the moment in which the settings open is lost
        if field.input_value() == str(seed):
            return True
        field.fill(str(seed))
        field.press("Tab")
        return False

    wait_until(stands, "the page does not take the seed in")
    page.click("#imagine")
    page.wait_for_function(
        "!document.querySelector('#download')?.innerText.includes('MB')"
    )  # the old answer is put away


def test_two_users_at_once_do_not_mix(browser, visitor, space_url, alone, pictures, tmp_path):
    other = Visitor(browser, space_url, width=390)
    try:
        visitors = {21: visitor, 22: other}
        for seed, own in visitors.items():
            ask(own, seed)
        for seed, own in visitors.items():
            own.download_ready()
            folder = tmp_path / str(seed)
            folder.mkdir()
            future, _ = downloaded(own.page, folder)
            assert_equal_futures(future, alone(seed))
        wait_until(lambda: shows_something(other.page, "#cloud canvas"), "the point cloud is blank on a narrow screen")
        other.page.screenshot(path=pictures / "4_narrow.png", full_page=True)
        width = other.page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, "nothing sticks out of a narrow screen"
        assert not other.problems
    finally:
        other.close()


def test_a_bad_upload_is_answered_in_words(browser, space_url, pictures, tmp_path):
    visitor = Visitor(browser, space_url)
    try:
        page = visitor.page
        visitor.wait_for_views()
        page.get_by_role("tab", name="Your robot").click()
        picture = tmp_path / "small.png"
        Image.new("RGB", (64, 48), (200, 40, 40)).save(picture)
        page.locator("input[type=file]").first.set_input_files(picture)
        page.get_by_text("must be 160 × 128 pixels").first.wait_for()
        page.screenshot(path=pictures / "5_bad_upload.png", full_page=True)
        page.click("#imagine")
        page.get_by_text("3 views are needed").first.wait_for()
        assert page.get_by_text("Traceback").count() == 0
    finally:
        visitor.close()


def test_an_example_upload_is_imagined(browser, space_url, pictures):
    visitor = Visitor(browser, space_url)
    try:
        page = visitor.page
        visitor.wait_for_views()
        page.get_by_role("tab", name="Your robot").click()
        page.get_by_role("button", name="Fill in an example").click()
        page.wait_for_function("document.querySelector('#state textarea').value.includes('depth_step')")
        page.screenshot(path=pictures / "6_upload.png", full_page=True)
        assert not visitor.problems
    finally:
        visitor.close()

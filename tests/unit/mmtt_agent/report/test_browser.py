"""The page of `mmtt report` in a real browser, as its reader sees and uses it."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from made_logs import conn, incident, window, write
from places import DATA

api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install 'mmtt[test]'")
pytest.importorskip("vl_convert", reason="no vl-convert-python: pip install 'mmtt[report]'")

from mmtt_agent.report import library
from mmtt_agent.report.cli import report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
SERVICES = ["web", "streaming", "chat", "voip", "email", "dns", "gaming", "tunnel", "file_transfer", "remote_access"]


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with api.sync_playwright() as playwright:
        # Nobody's pages but ours are opened, and root has no sandbox.
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module", autouse=True)
def library_once():
    """It takes seconds to make."""
    made = library.javascript()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "javascript", lambda: made)
        yield


class Opened:
    """A page, and all that it asked for and said."""

    def __init__(self, browser, path: Path, **context: object) -> None:
        self.context = browser.new_context(
            timezone_id="America/New_York", viewport={"width": 1300, "height": 900}, **context
        )
        self.page = self.context.new_page()
        self.asked: list[str] = []
        self.said: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: self.said.append(dialog.message) or dialog.dismiss())
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready]")

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def rows(self, column: int) -> list[str]:
        """Texts of a column of the flows."""
        return self.page.eval_on_selector_all(
            "#table tbody tr:not(.detail)", f"rows => rows.map(row => row.cells[{column}].innerText)"
        )

    def says(self, selector: str, text: str) -> None:
        self.page.wait_for_function(
            "([selector, text]) => document.querySelector(selector).innerText.includes(text)", arg=[selector, text]
        )

    def bars(self, name: str) -> int:
        """How many bars a chart has."""
        return self.page.eval_on_selector_all(f"#chart-{name} .mark-rect.role-mark.marks path", "paths => paths.length")


@pytest.fixture
def open_page(browser):
    opened: list[Opened] = []

    def of(path: Path, **context: object) -> Opened:
        opened.append(Opened(browser, path, **context))
        return opened[-1]

    yield of
    for each in opened:
        # It has fetched nothing but itself, from wherever, and said nothing, whatever was done with it.
        assert {url.partition(":")[0] for url in each.asked} == {"file"} and len(each.asked) == 1
        assert each.said == []
        each.context.close()


def made(*files: object, output: Path) -> Path:
    done = CliRunner().invoke(report, [*map(str, files), "-o", str(output)])
    assert done.exit_code == 0, done.output
    return output


@pytest.fixture(scope="module")
def of_log(tmp_path_factory, library_once) -> Path:
    """Three hundred flows of five hours, an attack among them."""
    there = tmp_path_factory.mktemp("log")
    rows = [
        window(
            f"C{n:03}", n * 60, service=SERVICES[n % 10], application=("SSH", "unknown")[n % 2],
            orig_h=f"10.0.0.{n % 7}", orig_p=40_000 + n, resp_h=f"192.0.2.{n % 5}", resp_p=(443, 22)[n % 2],
            malicious_score=n / 1000,
        )
        for n in range(300)
    ]  # fmt: skip
    for n in (50, 51, 52):
        rows[n] = rows[n]._replace(
            malicious=True, malicious_score=0.9 + n / 1000, malicious_kind="brute_force", orig_h="10.0.9.9"
        )
    rows[60] = rows[60]._replace(
        status="too_short", service=None, application=None, malicious=None, malicious_score=None
    )
    write(there / "mmtt.log", rows)
    why = "41 like connections in 10 min, 12 s apart, each on average more suspicious than 95 % of harmless ones"
    write(
        there / "mmtt_incidents.log",
        [
            incident(
                "IAttack", "closed", 9_000, kind="brute_force", orig_h="10.0.9.9", reason=why, uids=("C050", "C052")
            )
        ],
    )
    conn(there / "conn.log", *((f"C{n:03}", "ssl", "2.5", str(n), str(n * 1000), "SF") for n in range(300)))
    return made(there / "mmtt.log", output=there / "report.html")


def test_what_there_is_at_a_glance(of_log, open_page):
    opened = open_page(of_log)
    assert opened.text("h1") == "mmtt.log" and opened.page.title() == "mmtt.log"
    totals = opened.text("#totals").split()
    assert totals[:2] == ["flows", "300"] and opened.text("#totals .alarm dd") == "3"
    # In the reader's zone, and in UTC.
    assert "2026-11-27 23:00:00 to 2026-11-28 03:59:00, America/New_York (UTC\u22125)" in opened.text("#period")
    assert "2026-11-28 04:00:00 to 2026-11-28 08:59:00 UTC" in opened.text("#period")
    card = opened.text("#incidents")
    for text in (
        "10.0.9.9 \u2192 192.0.2.7:443",
        "brute force",
        "score 0.910",
        "41 like connections in 10 min, 12 s apart",
    ):
        assert text in card
    assert opened.bars("service") > 100 and opened.bars("application") > 50
    assert opened.page.locator("#chart-scores svg .mark-symbol path").count() == 299
    assert "chat\n30" in opened.text("#legend-service") and "other (59)" in opened.text("#legend-service")
    assert "no verdict\n1" in opened.text("#legend-service")
    assert opened.rows(2)[:3] == ["10.0.9.9:40052", "10.0.9.9:40051", "10.0.9.9:40050"]
    assert len(opened.rows(0)) == 100 and "The first 100 of 300 flows" in opened.text("#listed")
    opened.page.click("#more")
    assert len(opened.rows(0)) == 300
    assert "10.0.0.1" in opened.text("#talkers") and "found beside" in opened.text("#sources")


def test_filters_and_search(of_log, open_page):
    opened = open_page(of_log)
    everything = opened.bars("service")
    opened.page.select_option("#service", "voip")
    opened.says("#count", "30 of 300 flows fit")
    assert {text.split()[0] for text in opened.rows(4)} == {"voip"} and len(opened.rows(0)) == 30
    opened.page.wait_for_function(
        f"document.querySelectorAll('#chart-service .mark-rect.role-mark.marks path').length < {everything}"
    )
    opened.page.fill("#search", "port:22 10.0.0.3")
    opened.says("#count", "5 of 300 flows fit")
    opened.page.fill("#search", "no such thing")
    opened.says("#listed", "No flow fits the filters.")
    opened.page.click("#reset")
    opened.says("#count", "300 flows")
    assert opened.page.input_value("#search") == "" and opened.page.input_value("#service") == ""
    opened.page.fill("#search", "-ssh host:10.0.0.1 brute")
    opened.says("#count", "0 of 300")
    opened.page.click("#reset")
    opened.page.select_option("#verdict", "flagged")
    opened.says("#count", "3 of 300 flows fit")
    opened.page.select_option("#verdict", "incident")
    opened.says("#count", "2 of 300 flows fit")
    opened.page.click("#reset")
    # A name in a legend, a busy host, an incident's flows.
    opened.page.click("#legend-application button:has-text('SSH')")
    opened.says("#count", "149 of 300 flows fit")
    assert opened.page.input_value("#application") == "SSH"
    opened.page.click("#talkers button:has-text('10.0.9.9')")
    opened.says("#count", "3 of 300 flows fit")
    opened.page.click("#incidents button:has-text('Its flows')")
    opened.says("#count", "2 of 300 flows fit")
    assert opened.rows(2) == ["10.0.9.9:40052", "10.0.9.9:40050"]


def test_a_span_of_time(of_log, open_page):
    opened = open_page(of_log)
    opened.page.locator("#chart-service").scroll_into_view_if_needed()
    box = opened.page.locator("#chart-service svg").bounding_box()
    y = box["y"] + box["height"] / 2
    opened.page.mouse.move(box["x"] + box["width"] * 0.5, y)
    opened.page.mouse.down()
    opened.page.mouse.move(box["x"] + box["width"] * 0.7, y, steps=5)
    opened.page.mouse.up()
    opened.says("#count", "of 300 flows fit")
    assert 40 < int(opened.text("#count").split()[0]) < 90 and opened.text("#span").startswith("2026-11-28 01:")
    opened.page.click("#span")
    opened.says("#count", "300 flows")
    assert not opened.page.is_visible("#span")


def test_order_details_and_keys(of_log, open_page):
    opened = open_page(of_log)
    opened.page.keyboard.press("Tab")
    assert opened.page.evaluate("document.activeElement.innerText") == "Skip to the flows"
    opened.page.focus("th [data-key=bytes]")
    opened.page.keyboard.press("Enter")
    assert opened.page.get_attribute("th[aria-sort]", "aria-sort") == "descending"
    assert opened.rows(6)[0] == "299 kB" and opened.page.evaluate("document.activeElement.dataset.key") == "bytes"
    opened.page.keyboard.press("Enter")
    assert opened.page.get_attribute("th[aria-sort]", "aria-sort") == "ascending" and opened.rows(6)[0] == "0 B"
    opened.page.focus(".open")
    opened.page.keyboard.press("Enter")
    assert opened.page.get_attribute(".open", "aria-expanded") == "true"
    for text in ("uid\nC000", "2026-11-27 23:00:00.000 (2026-11-28 04:00:00.000 UTC)", "protocol by Zeek\nssl"):
        assert text in opened.text("tr.detail")
    opened.page.keyboard.press("Enter")
    assert opened.page.locator("tr.detail").count() == 0
    opened.page.select_option("#zone", "utc")
    assert opened.rows(1)[0] == "2026-11-28 04:00:00" and "UTC" in opened.text("#period")


def test_packets_of_captures_are_drawn(tmp_path, open_page):
    opened = open_page(made(DATA / "office.pcap", output=tmp_path / "report.html"))
    opened.page.click("#table .open")
    opened.page.wait_for_selector("tr.detail .shape svg")
    drawn = opened.page.locator("tr.detail .shape svg .mark-rect.role-mark path").count()
    assert 4 <= drawn <= 32 and f"{drawn} packets in" in opened.text("tr.detail .shape")


def test_dark_light_narrow_and_print(of_log, open_page):
    ground = "getComputedStyle(document.body).backgroundColor"
    opened = open_page(of_log, color_scheme="dark")
    assert opened.page.evaluate(ground) == "rgb(20, 23, 28)"
    opened.page.select_option("#theme", "light")
    assert opened.page.evaluate(ground) == "rgb(255, 255, 255)"
    opened.page.select_option("#theme", "dark")
    opened.page.emulate_media(media="print")
    assert opened.page.evaluate(ground) == "rgb(255, 255, 255)" and not opened.page.is_visible("#search")
    assert opened.page.pdf().startswith(b"%PDF")
    opened.page.emulate_media(media="screen")
    opened.page.set_viewport_size({"width": 360, "height": 700})
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 360


def test_colours_can_be_told_apart(of_log, open_page):
    """Text against its ground: at least 4.5, as WCAG has it."""
    contrast = """() => {
      const part = (v) => v / 255 <= .03928 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4;
      const light = (color) => {
        const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map(part);
        return .2126 * r + .7152 * g + .0722 * b;
      };
      const probe = document.body.appendChild(document.createElement("span"));
      const of = (name) => { probe.style.color = `var(${name})`; return light(getComputedStyle(probe).color); };
      const found = [];
      const texts = ["--text", "--soft", "--accent", "--alarm"];
      const pairs = texts.flatMap((text) => [[text, "--ground"], [text, "--raised"]]);
      for (const [text, ground] of [...pairs, ["--alarm", "--alarm-ground"]]) {
        const [a, b] = [of(text), of(ground)].sort((x, y) => y - x);
        found.push([text, ground, (a + .05) / (b + .05)]);
      }
      return found;
    }"""
    for scheme in ("light", "dark"):
        for text, ground, ratio in open_page(of_log, color_scheme=scheme).page.evaluate(contrast):
            assert ratio >= 4.5, (scheme, text, ground, ratio)


def test_hostile_texts_are_texts(tmp_path, open_page):
    evil = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)>{{library}}\"'`${1}"
    write(
        tmp_path / "mmtt.log",
        [
            window(
                f"{evil}{n}", n, orig_h=evil, resp_h=evil, proto=evil, service=evil, application=evil,
                malicious=True, malicious_score=0.9, malicious_kind=evil, status=("ok", evil)[n],
                model=evil, incident=evil, capture=f"{evil}{n}",
            )
            for n in range(2)
        ],
        json=True,
    )  # fmt: skip
    write(
        tmp_path / "mmtt_incidents.log",
        [incident(evil, orig_h=evil, resp_h=evil, kind=evil, reason=evil, uids=(f"{evil}0",), capture=evil)],
        json=True,
    )
    conn(tmp_path / "conn.log", (f"{evil}0", evil, "1", "2", "3", evil))
    named = tmp_path / "<img src=y onerror=alert(2)>.log"
    (tmp_path / "mmtt.log").rename(named)
    done = CliRunner().invoke(report, [str(named), str(tmp_path), "--title", evil, "-o", str(tmp_path / "report.html")])
    assert done.exit_code == 0, done.output
    opened = open_page(tmp_path / "report.html")
    assert opened.page.title() == evil and opened.text("h1") == evil
    assert (
        evil in opened.text("#incidents") and evil in opened.text("#table") and "<img src=y" in opened.text("#sources")
    )
    opened.page.click(".open")
    opened.page.hover("#chart-service .mark-rect.role-mark.marks path >> nth=0", force=True)
    opened.page.click("#incidents button")
    opened.page.click("#reset")
    opened.page.click("#legend-service button >> nth=0")
    opened.says("#count", "1 of 2 flows fit")
    assert opened.page.locator("img").count() == 0 and opened.page.locator("script").count() == 3
    # And a script that got in by whatever way would not run.
    assert opened.page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1'; "
        "document.body.append(s); return window.ran === undefined; }"
    )
    assert any("Content Security Policy" in line for line in opened.said)
    opened.said.clear()


def test_what_is_left_out_is_told(tmp_path, open_page):
    write(
        tmp_path / "mmtt.log",
        [window(f"C{n:03}", n, malicious_score=n / 1000, service=SERVICES[n % 2]) for n in range(200)],
    )
    done = CliRunner().invoke(
        report, [str(tmp_path / "mmtt.log"), "--flows", "50", "-o", str(tmp_path / "report.html")]
    )
    assert "150 more are only counted" in done.output
    opened = open_page(tmp_path / "report.html")
    assert "Listed are the 50 most suspicious flows. 150 flows more are only counted" in opened.text("#notes")
    assert "web\n100" in opened.text("#legend-service") and "50 of 200 flows are listed" in opened.text("#count")
    opened.page.select_option("#service", "web")
    opened.says("#of", "of those listed alone")
    assert "web\n25" in opened.text("#legend-service")


def test_an_empty_page_says_so(tmp_path, open_page):
    write(tmp_path / "mmtt.log", [])
    opened = open_page(made(tmp_path / "mmtt.log", output=tmp_path / "report.html"))
    assert "There are none." in opened.text("#listed") and "None." in opened.text("#incidents")


def test_ten_thousand_flows_are_small_and_open_quickly(tmp_path, open_page):
    chance = random.Random(7)
    rows = [
        window(
            f"C{chance.getrandbits(96):017x}"[:18], n * 3, service=chance.choice(SERVICES),
            application=f"App{chance.randrange(60)}", orig_p=chance.randrange(65536),
            orig_h=f"10.{chance.randrange(4)}.{chance.randrange(256)}.{chance.randrange(256)}",
            resp_h=f"2001:db8::{chance.randrange(65536):x}", malicious_score=chance.random(),
            service_score=chance.random(), application_score=chance.random(),
        )
        for n in range(10_000)
    ]  # fmt: skip
    write(tmp_path / "mmtt.log", rows)
    page = made(tmp_path / "mmtt.log", output=tmp_path / "report.html")
    assert page.stat().st_size <= 5_000_000
    taken = []
    for _ in range(5):
        opened = open_page(page)
        # From the start of its loading to all that is on it drawn, by the browser's own clock.
        taken.append(float(opened.page.get_attribute("html", "data-ready")))
        if taken[-1] < 2_000:
            break
        time.sleep(1)
    assert min(taken) < 2_000

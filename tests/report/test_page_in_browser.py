from __future__ import annotations

import time

import numpy as np
import pytest

from counterpoint.report import figures
from counterpoint.report.page import Page

HOSTILE = "<img src=x onerror=document.title='hacked'>\"'&.tif"
NOISE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    page = Page(f"Report on {HOSTILE}", "word " * 50)
    page.verdict("NOT trusted", False, HOSTILE * 3)
    page.section("Pictures", HOSTILE)
    page.swipe(NOISE, 255 - NOISE, ("before", HOSTILE), "caption")
    page.tabs([("one", NOISE), ("two", NOISE[::-1]), (HOSTILE, NOISE[:, ::-1])], "tabs")
    page.figures([(HOSTILE, NOISE), ("bars", figures.trust_bars({HOSTILE: (0.3, 0.5)}))])
    columns = ["method", *(f"column {i}" for i in range(12))]
    page.table(columns, [[HOSTILE, *map(float, range(12))]], best={"column 3": "max"})
    page.settings({"path": "/very" * 60, "nested": {"deep": {"deeper": {"deepest": HOSTILE}}}})
    path = tmp_path_factory.mktemp("report") / "page.html"
    page.write(path)
    return path.as_uri()


@pytest.fixture
def shown(browser_page, address):
    browser_page.goto(address)
    return browser_page


def divider(page) -> float:
    """Where the divider stands, as a share of the stage, after checking that the picture is clipped there."""
    stage, line = page.locator(".stage").bounding_box(), page.locator("[role=slider]").bounding_box()
    at = (line["x"] + line["width"] / 2 - stage["x"]) / stage["width"]
    clip = page.locator(".side").nth(1).evaluate("e => getComputedStyle(e).clipPath")
    left = float(clip.rstrip(")").split()[-1].rstrip("%")) / 100  # inset(0px 0px 0px 50%)
    assert left == pytest.approx(at, abs=0.005)
    assert float(page.locator("[role=slider]").get_attribute("aria-valuenow")) == pytest.approx(
        100 * at, abs=1
    )
    return at


def test_nothing_is_fetched_and_nothing_complains(shown, address):
    shown.locator("summary").click()
    shown.locator(".blink").click()
    shown.wait_for_timeout(100)
    assert [url for url in shown.requested if not url.startswith("data:")] == [address]
    assert shown.complained == []
    assert shown.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert shown.title() == f"Report on {HOSTILE}"


def test_the_policy_stops_what_someone_might_smuggle_in(shown):
    blocked = shown.evaluate(
        """() => new Promise(resolve => {
            const seen = [];
            document.addEventListener("securitypolicyviolation", event => {
                seen.push(event.effectiveDirective);
                if (seen.length === 3) resolve(seen.sort());
            });
            const image = document.createElement("img");
            image.src = "http://127.0.0.1:9/x.png";
            const script = document.createElement("script");
            script.textContent = "document.title = 'hacked'";
            document.body.append(image, script);
            fetch("http://127.0.0.1:9/").catch(() => 0);
        })"""
    )
    assert blocked == ["connect-src", "img-src", "script-src-elem"]
    assert shown.title() == f"Report on {HOSTILE}"


def test_the_divider_follows_the_mouse_and_stops_at_the_edges(shown):
    assert divider(shown) == pytest.approx(0.5, abs=0.01)
    shown.locator(".stage").scroll_into_view_if_needed()
    box = shown.locator(".stage").bounding_box()
    y = box["y"] + box["height"] / 2
    shown.mouse.move(box["x"] + 0.5 * box["width"], y)
    shown.mouse.down()
    shown.mouse.move(box["x"] + 0.2 * box["width"], y + 5, steps=3)
    assert divider(shown) == pytest.approx(0.2, abs=0.01)
    shown.mouse.move(box["x"] + box["width"] + 60, y)
    shown.mouse.up()
    shown.mouse.move(box["x"], y)  # released: it no longer follows
    assert divider(shown) == pytest.approx(1.0, abs=0.01)


def test_the_divider_comes_to_a_touch(shown):
    shown.locator(".stage").scroll_into_view_if_needed()
    box = shown.locator(".stage").bounding_box()
    shown.touchscreen.tap(box["x"] + 0.8 * box["width"], box["y"] + 0.5 * box["height"])
    assert divider(shown) == pytest.approx(0.8, abs=0.01)


def test_the_divider_obeys_the_keyboard(shown):
    slider = shown.locator("[role=slider]")
    slider.focus()
    for keys, expected in (
        (["ArrowRight"] * 3, 0.53),
        (["ArrowLeft"], 0.52),
        (["PageDown"], 0.42),
        (["Shift+ArrowUp"], 0.52),
        (["Home", "ArrowLeft"], 0.0),
        (["End"], 1.0),
    ):
        for key in keys:
            slider.press(key)
        assert divider(shown) == pytest.approx(expected, abs=0.006)
    assert slider.get_attribute("aria-valuetext") == f"100 % before, 0 % {HOSTILE}"


def test_blinking_shows_either_side_and_ends_where_it_began(shown):
    second, seen, until = shown.locator(".side").nth(1), set(), time.monotonic() + 10
    shown.locator(".blink").click()
    while len(seen) < 2 and time.monotonic() < until:
        seen.add(second.evaluate("e => getComputedStyle(e).clipPath"))
        shown.wait_for_timeout(50)
    assert seen == {"inset(0px 0px 0px 100%)", "inset(0px 0px 0px 0%)"}
    shown.locator(".blink").click()
    assert divider(shown) == pytest.approx(0.5, abs=0.01)
    assert shown.locator(".blink").get_attribute("aria-pressed") == "false"


def test_one_tab_is_seen_at_a_time(shown):
    def visible() -> list[bool]:
        return [panel.is_visible() for panel in shown.locator("[role=tabpanel]").all()]

    tabs = shown.locator("[role=tab]")
    assert visible() == [True, False, False]
    tabs.nth(1).click()
    assert visible() == [False, True, False]
    tabs.nth(1).press("ArrowRight")
    assert visible() == [False, False, True]
    assert tabs.nth(2).evaluate("e => e === document.activeElement")
    tabs.nth(2).press("ArrowRight")
    assert visible() == [True, False, False]
    assert [tab.get_attribute("aria-selected") for tab in tabs.all()] == ["true", "false", "false"]


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_sticks_out(shown, width):
    shown.set_viewport_size({"width": width, "height": 900})
    shown.locator("summary").click()
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    sticking = shown.evaluate(
        """width => [...document.querySelectorAll("main *")]
            .filter(e => !e.closest(".scroll > *"))
            .filter(e => e.getBoundingClientRect().right > width + 0.5).map(e => e.outerHTML.slice(0, 80))""",
        width,
    )
    assert sticking == []


def test_in_print_both_sides_and_all_tabs_are_seen(shown):
    shown.emulate_media(media="print")
    assert all(panel.is_visible() for panel in shown.locator("[role=tabpanel]").all())
    boxes = [side.bounding_box() for side in shown.locator(".side").all()]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    assert not shown.locator(".tools").is_visible()


def test_dark_where_the_reader_wants_it_dark(shown):
    grounds = []
    for scheme in ("light", "dark"):
        shown.emulate_media(color_scheme=scheme)
        grounds.append(shown.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert grounds == ["rgb(255, 255, 255)", "rgb(20, 23, 26)"]

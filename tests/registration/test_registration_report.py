"""The page about a registration: every measure can be shown, and what it says is so."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from imagecodecs import png_decode

from counterpoint.core.grid import Grid
from counterpoint.data.image import Image
from counterpoint.encoders.unet import UNet
from counterpoint.registration.measure import gradient, mutual_information, trained
from counterpoint.registration.prepare import prepare
from counterpoint.registration.quality import Quality
from counterpoint.registration.report import representations, write_report
from counterpoint.registration.result import Registration
from counterpoint.registration.transform import Transform

SURE = Quality(0.93, "gradient", 0.8, 0.42, 7.5, 0.75, 0.31, 0.002)
DOUBTFUL = Quality(0.07, "gradient", 0.2, 0.03, 1.5, 0.2, 41.0, 0.3)


def measured(how, fixed, moving):
    pair = prepare(fixed, None, "fixed"), prepare(moving, None, "moving")
    if how != "learned":
        return (gradient if how == "gradient" else mutual_information)(*pair)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        kinds = {role: 1 if i.array.ndim == 2 else 3 for role, i in (("fixed", fixed), ("moving", moving))}
        return trained(
            *pair, {r: UNet.Config(channels=n, widths=(4, 4)).build().eval() for r, n in kinds.items()}
        )


def registered(how="gradient", color=False, quality=SURE, size=(96, 72)):
    """A picture and itself, turned by 30 degrees: how they lie is known, nothing is searched."""
    rng = np.random.default_rng(0)
    k, phase = rng.normal(size=(30, 2)) * 0.2, rng.random(30) * 6.3
    y, x = np.mgrid[: size[1], : size[0]]
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    middle = (np.array(size) - 1) / 2
    m = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    m[:2, 2] = np.add(middle, (4, -3)) - m[:2, :2] @ middle
    back = np.linalg.inv(m)
    there = np.stack((x, y, np.ones_like(x)), -1) @ back[:2].T
    fixed, moving = (128 + 12 * np.cos(p @ k.T + phase).sum(-1) for p in (np.stack((x, y), -1), there))
    if color:
        moving = np.stack((moving, 255 - moving, moving / 2), -1)
    grid = Grid(size)
    images = Image(fixed.astype(np.float32), grid), Image(moving.clip(0, 255).astype(np.uint8), grid)
    quality = replace(quality, measure=how)
    return Registration(Transform(m, "rigid"), quality, *images, measured(how, *images), 2.5)


def pictures(html):
    return [png_decode(base64.b64decode(m)) for m in re.findall(r"data:image/png;base64,([^\"]+)", html)]


@pytest.mark.parametrize(
    ("how", "color"), [("gradient", True), ("learned", True), ("mutual information", False)]
)
def test_any_measure_is_shown(how, color, tmp_path):
    result = registered(how, color)
    write_report(result, tmp_path / "page.html", {"command": "register <a> & b"})
    html = (tmp_path / "page.html").read_text("utf-8")
    assert f"What was compared: {how}." in html and "register &lt;a&gt; &amp; b" in html
    assert "Trusted" in html and "42%" in html and "0.31 px" in html and "75%" in html and "2.5 s" in html
    assert "<h1>Registration of moving onto fixed</h1>" in html
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]
    found = pictures(html)
    assert len(found) == 2 + 5 + 2 + 1 and all(p.std() > 0 for p in found)


@pytest.mark.parametrize("how", ["gradient", "mutual information"])
def test_representations_agree_where_the_images_do(how):
    result = registered(how)
    a, b = (p.astype(float) for p in representations(result))
    assert a.shape == b.shape and a.shape[2] == 3
    there = np.asarray(b.any(axis=-1))
    h, w = there.shape
    there[: h // 4] = there[-h // 4 :] = there[:, : w // 4] = there[:, -w // 4 :] = False
    assert there.sum() > 0.2 * h * w
    assert np.corrcoef(a[there].ravel(), b[there].ravel())[0, 1] > 0.9
    if how == "gradient":  # unless the channels are turned along, the hues are wrong
        _, wrong = representations(replace(result, measure=replace(result.measure, spin=False)))
        assert np.corrcoef(a[there].ravel(), wrong[there].ravel())[0, 1] < 0.7


def test_the_inverse_shows_the_other_way_round():
    result = registered("mutual information")
    a, b = representations(result.inverse())
    expected = representations(result)
    moving = result.measure.moving(0.25).maps[0].numpy()
    assert np.corrcoef(a[..., 0].ravel(), moving.ravel())[0, 1] > 0.99
    assert a.shape == expected[0].shape and b.std() > 5


def test_overlays_show_the_images_before_and_after():
    from counterpoint.registration.report import add_overlays
    from counterpoint.report.page import Page

    page = Page("x")
    result = registered()
    add_overlays(page, result)
    before, after = pictures(page.html())[:2]
    fixed = [p.astype(float) for p in pictures(page.html())]
    middle = np.s_[before.shape[0] // 3 : -before.shape[0] // 3, before.shape[1] // 3 : -before.shape[1] // 3]
    assert np.corrcoef(before[middle].ravel(), after[middle].ravel())[0, 1] > 0.98
    registered_color, before_color = fixed[2][middle], fixed[3][middle]

    def agree(p):
        return np.corrcoef(p[..., 0].ravel(), p[..., 1].ravel())[0, 1]

    assert agree(registered_color) > 0.98 and agree(before_color) < 0.7


def test_large_images_are_shown_smaller_and_in_place(tmp_path):
    result = registered("mutual information", size=(1500, 100))
    write_report(result, tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text("utf-8")
    assert re.search(r"Shown at 1/\d of the fixed image", html)
    fixed, after = (p.astype(float) for p in pictures(html)[:2])
    blocks = result.fixed.array.reshape(50, 2, 750, 2).mean((1, 3))
    blocks = blocks.clip(*np.percentile(blocks, (0.5, 99.5)))
    assert np.corrcoef(fixed[..., 0].ravel(), blocks.ravel())[0, 1] > 0.9995
    seen = np.zeros(fixed.shape, bool)
    middle = fixed.shape[1] // 2
    seen[15:-15, middle - 10 : middle + 10] = True
    assert np.corrcoef(fixed[seen], after[seen])[0, 1] > 0.95


def test_a_doubtful_result_is_called_so_and_a_hostile_name_stays_text(tmp_path):
    result = registered("mutual information", quality=DOUBTFUL)
    name = Path("<script>alert(1)</script>.png")
    result = replace(result, moving=replace(result.moving, path=name, calibrated=True, unit="mm"))
    write_report(result, tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text("utf-8")
    assert "Not to be trusted without a look" in html and ">Trusted<" not in html
    assert "Another alignment scores almost as well" in html
    assert "<script>alert" not in html and "&lt;script&gt;alert(1)" in html
    assert "96 × 72" in html and "not stated; pixels are used" in html and "(1.0, 1.0) mm" in html


def test_the_page_works_in_a_browser(browser_page, tmp_path):
    write_report(registered(color=True), tmp_path / "page.html")
    address = (tmp_path / "page.html").as_uri()
    browser_page.goto(address)
    stage, slider = browser_page.locator(".stage").first, browser_page.locator("[role=slider]").first
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    browser_page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    browser_page.mouse.down()
    browser_page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2, steps=3)
    browser_page.mouse.up()
    assert float(slider.get_attribute("aria-valuenow")) == pytest.approx(25, abs=2)
    clip = browser_page.locator(".side").nth(1).evaluate("e => getComputedStyle(e).clipPath")
    assert float(clip.rstrip(")").split()[-1].rstrip("%")) == pytest.approx(25, abs=2)
    browser_page.get_by_role("tab", name="checkerboard").click()
    assert browser_page.get_by_role("img", name="checkerboard").is_visible()
    assert not browser_page.get_by_role("img", name="registered, false color").is_visible()
    browser_page.locator("summary").click()
    assert browser_page.get_by_text("not stated; pixels are used").first.is_visible()
    assert browser_page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert [url for url in browser_page.requested if not url.startswith("data:")] == [address]
    assert browser_page.complained == []

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from counterpoint.cli import register as command_file
from counterpoint.core.networks import save_networks
from counterpoint.data.read import read_image
from counterpoint.encoders.unet import UNet
from counterpoint.registration import register as registration
from counterpoint.registration.options import Options

FEW = ("--angles", "-30", "30", "--report", "no")
"""Flags that keep a registration short."""
FILES = [
    "registered.png",
    "report.html",
    "result.json",
    "transform.json",
    "transform.tfm",
    "transform_3d.tfm",
]


def off(answer: dict, true: np.ndarray, side: int = 64) -> float:
    """Mean distance of the corners of the fixed image between what was found and the truth."""
    corners = np.array([(x, y, 1) for x in (0, side - 1) for y in (0, side - 1)]).T
    return float(np.linalg.norm((np.array(answer["matrix"]) @ corners - true @ corners)[:2], axis=0).mean())


class TestOnePair:
    def test_everything_is_written_and_told(self, run, two, scene):
        import SimpleITK as sitk

        fixed, moving = two
        ended = run("register", fixed, moving, "-o", "out", "--json", "--angles", "-30", "30")
        assert ended.code == 0
        answer = ended.answer
        assert off(answer, scene()[2]) < 1 and answer["matrix"][2] == [0, 0, 1]
        assert 0.5 < answer["trust"] <= 1 and answer["trusted"] is True and answer["seconds"] > 0
        assert answer["transform_file"] == "out/transform.tfm" and answer["unit"] == "px"
        assert sorted(p.name for p in Path("out").iterdir()) == FILES
        assert json.loads(Path("out/result.json").read_text()) == answer
        assert ended.err.startswith("searching by ") and "trusted (trust " in ended.err
        for name, point in (("transform.tfm", (10.0, 20.0)), ("transform_3d.tfm", (10.0, 20.0, 0.0))):
            there = sitk.ReadTransform(f"out/{name}").TransformPoint(point)
            assert there[:2] == pytest.approx((np.array(answer["matrix"]) @ (10, 20, 1))[:2])
        registered = read_image("out/registered.png").array
        inner = np.s_[16:48, 16:48]
        assert registered.shape == (64, 64) and registered.dtype == np.uint8
        expected = 255 * (1 - (read_image(fixed).array / 255.0) ** 2)
        assert np.abs(registered[inner] - expected[inner]).mean() < 4
        assert np.abs(read_image(moving).array[inner] - expected[inner]).mean() > 12
        page = Path("out/report.html").read_text(encoding="utf-8")
        assert "Registration of moving.png onto fixed.png" in page and "angles" in page

    def test_without_json_the_matrix_is_a_table(self, run, two):
        ended = run("register", *two, "-o", "out", *FEW)
        assert ended.code == 0 and "fixed → moving, pixels (x, y, 1)" in ended.out
        assert ended.err.endswith("results in out\n") and not Path("out/report.html").exists()

    def test_the_same_image_twice_is_the_identity(self, run, two):
        answer = run("register", two[0], two[0], "-o", "out", "--json", *FEW).answer
        assert np.allclose(answer["matrix"], np.eye(3), atol=0.02) and answer["trusted"]

    def test_a_second_run_replaces_the_first(self, run, two):
        assert run("register", *two, "-o", "out", "--labels", *FEW).code == 0
        again = run("register", two[0], two[0], "-o", "out", "--json", *FEW)
        assert json.loads(Path("out/result.json").read_text()) == again.answer

    @pytest.mark.parametrize("name", ["[red]:smile: ü %s{0}", 'it\'s "quoted" & <b>\n'])
    def test_names_may_hold_anything(self, run, two, name):
        files = [f"{name} {path.name}" for path in two]
        for path, new in zip(two, files, strict=True):
            path.rename(new)
        answer = run("register", *files, "-o", f"{name}/deep", "--json", "--angles", "-5", "20").answer
        assert answer["registered"] == f"{name}/deep/registered.png" and Path(answer["report"]).is_file()

    def test_a_name_that_is_no_unicode(self, run, two, elsewhere):
        odd = os.fsdecode(os.fsencode(elsewhere) + b"/caf\xe9.png")
        try:
            two[1].rename(odd)
        except OSError:
            pytest.skip("this file system wants Unicode")
        ended = run("register", two[0], odd, "-o", "out", "--json")
        assert ended.code == 0 and ended.answer["moving"] == odd
        assert "caf" in Path("out/report.html").read_text(encoding="utf-8")

    def test_paths_may_lead_out_of_the_folder(self, run, two, monkeypatch, elsewhere):
        (elsewhere / "sub").mkdir()
        monkeypatch.chdir("sub")
        assert run("register", "../fixed.png", "../moving.png", "-o", "../out", *FEW).code == 0
        assert Path("../out/registered.png").is_file()

    def test_a_name_with_a_dash_comes_after_two(self, run, two):
        two[0].rename("-fixed.png")
        assert run("register", "-o", "out", *FEW, "--", "-fixed.png", "moving.png").code == 0


class TestKinds:
    @pytest.mark.parametrize(
        ("name", "dtype", "registered"),
        [
            ("moving.png", np.uint16, "registered.png"),
            ("moving.tif", np.uint16, "registered.tif"),
            ("moving.tif", np.float32, "registered.tif"),
            ("moving.ome.tif", np.uint8, "registered.ome.tif"),
            ("moving.nii.gz", np.int16, "registered.nii.gz"),
            ("moving.mha", np.float64, "registered.mha"),
        ],
    )
    def test_the_registered_image_is_of_the_moving_ones_kind(
        self, run, two, scene, gray, save, name, dtype, registered
    ):
        array = scene()[1]
        moving = save(name, array.astype(dtype) if np.dtype(dtype).kind == "f" else gray(array, dtype))
        ended = run("register", two[0], moving, "-o", "out", "--json", *FEW)
        assert ended.code == 0 and off(ended.answer, scene()[2]) < 1
        written = read_image(f"out/{registered}").array
        assert written.dtype == dtype and written.shape == (64, 64)

    def test_a_jpeg_comes_back_as_png(self, run, two, scene, gray):
        from PIL import Image

        Image.fromarray(gray(scene()[1])).convert("RGB").save("moving.jpg", quality=95)
        answer = run("register", two[0], "moving.jpg", "-o", "out", "--json", *FEW).answer
        assert answer["registered"] == "out/registered.png" and off(answer, scene()[2]) < 1
        assert read_image("out/registered.png").array.shape == (64, 64, 3)

    @pytest.mark.parametrize("channel", ["1", "dapi"])
    def test_one_channel_is_compared_and_all_are_brought_along(self, run, two, scene, gray, save, channel):
        noise = np.random.default_rng(0).random((64, 64))
        stack = gray(np.stack((noise, scene()[1]), axis=2), np.uint16)
        about = {"spacing": (0.5, 0.5), "calibrated": True, "unit": "µm", "channels": ("noise", "DAPI")}
        moving = save("moving.ome.tif", stack, **about)
        answer = run(
            "register", two[0], moving, "-o", "out", "--json", "--moving-channel", channel, *FEW
        ).answer
        assert off(answer, scene()[2]) < 1 and answer["trusted"]
        written = read_image("out/registered.ome.tif")
        assert written.array.shape == (64, 64, 2) and written.channels == ("noise", "DAPI")
        # Only the moving image states a spacing, so both are in pixels.
        inner = np.s_[16:48, 16:48]
        expected = 65535 * (1 - (read_image(two[0]).array / 255.0) ** 2)
        assert np.abs(written.array[inner][..., 1] - expected[inner]).mean() < 0.02 * 65535

    def test_a_color_image_is_compared_by_all_its_channels(self, run, two, scene, gray, save):
        color = save("moving.png", np.stack([gray(scene()[1] * w) for w in (1, 0.5, 0.2)], axis=2))
        answer = run("register", two[0], color, "-o", "out", "--json", *FEW).answer
        assert off(answer, scene()[2]) < 1
        assert read_image("out/registered.png").array.shape == (64, 64, 3)

    def test_labels_stay_labels(self, run, two, scene, save):
        moving = scene()[1]
        labels = np.digitize(moving, (0.5, 0.8)).astype(np.uint8) * 100
        save("labels.png", labels)
        answer = run("register", two[0], "labels.png", "-o", "out", "--json", "--labels", *FEW).answer
        assert off(answer, scene()[2]) < 1.5
        assert set(np.unique(read_image("out/registered.png").array)) == {0, 100, 200}

    def test_spacing_flags(self, run, two, scene, save, gray):
        moving = scene()[1].reshape(32, 2, 32, 2).mean((1, 3))  # half the pixels, twice the size
        save("small.png", gray(moving))
        spacing = ("--fixed-spacing", "0.5", "0.5", "--moving-spacing", "1", "1")
        answer = run("register", two[0], "small.png", "-o", "out", "--json", *spacing, *FEW).answer
        halved = np.array([[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1]])
        assert off(answer, halved @ scene()[2]) < 0.5 and answer["unit"] != "px"
        transform = json.loads(Path("out/transform.json").read_text())
        assert np.linalg.det(np.array(answer["matrix"])[:2, :2]) == pytest.approx(0.25)
        assert answer["kind"] == "rigid" and "rigid" in json.dumps(transform)

    def test_masks_and_pixels_that_are_no_numbers_do_not_count(self, run, scene, save):
        fixed, moving, true = scene()
        fixed, moving = fixed.astype(np.float32), moving.astype(np.float32)
        fixed[:8], moving[:, 56:] = np.nan, np.inf
        moving[:16, :16] = 5.0  # an artifact that the mask takes out
        mask = np.ones((64, 64), np.uint8)
        mask[:16, :16] = 0
        paths = save("fixed.tif", fixed), save("moving.tif", moving), save("mask.png", mask)
        answer = run("register", *paths[:2], "-o", "out", "--json", "--moving-mask", paths[2], *FEW).answer
        assert off(answer, true) < 1.5


class TestMistakes:
    @pytest.mark.parametrize(
        ("make", "words"),
        [
            (lambda p: None, "found nothing there"),
            (lambda p: p.write_bytes(b""), "found an empty file (0 bytes)"),
            (lambda p: p.write_bytes(Path("fixed.png").read_bytes()[:900]), "as if truncated"),
            (lambda p: p.write_text("hello"), "expected a PNG image, as its suffix says, found text"),
            (lambda p: p.write_bytes(b"\xff\xd8\xff" + bytes(99)), "as its suffix says, found JPEG"),
            (lambda p: p.mkdir(), "found a folder"),
        ],
    )
    @pytest.mark.parametrize("role", ["fixed", "moving"])
    def test_a_file_that_is_no_image(self, refused, two, make, words, role):
        make(Path("bad.png"))
        pair = ("bad.png", two[1]) if role == "fixed" else (two[0], "bad.png")
        sentence = refused("register", *pair, "-o", "deep/out")
        assert sentence.startswith("bad.png: ") and words in sentence

    @pytest.mark.parametrize(
        ("array", "words"),
        [
            (np.full((64, 64), 7, np.float32), "found the same value at every pixel"),
            (np.full((64, 64), np.nan, np.float32), "expected an image with finite pixels"),
            (np.random.default_rng(0).random((12, 64), np.float32), "at least 16 × 16 pixels, found 64 × 12"),
        ],
    )
    def test_an_image_that_cannot_be_registered(self, refused, two, save, array, words):
        sentence = refused("register", two[0], save("bad.tif", array), "-o", "out")
        assert "bad.tif" in sentence and words in sentence

    def test_a_stack(self, refused, two):
        import SimpleITK as sitk

        sitk.WriteImage(sitk.GetImageFromArray(np.zeros((5, 32, 32), np.float32)), "stack.nii")
        assert refused("register", two[0], "stack.nii") == (
            "stack.nii: expected a 2-D image, found 3-D (Z=5); pick one plane"
        )

    def test_masks(self, refused, two, save):
        small, none = (
            save("small.png", np.ones((9, 9), np.uint8)),
            save("none.png", np.zeros((64, 64), np.uint8)),
        )
        assert "fixed mask: expected the image's shape" in refused(
            "register", *two, "-o", "out", "--fixed-mask", small
        )
        assert "inside its mask, found 0" in refused("register", *two, "-o", "out", "--moving-mask", none)
        assert refused("register", *two, "--moving-mask", "no.png").startswith(
            "no.png: expected an image file"
        )

    def test_masks_that_cannot_meet(self, refused, two, save):
        wide, high = np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.uint8)
        wide[28:34], high[:, 28:34] = 1, 1
        flags = ("--overlap", "0.9", "--angles", "-2", "2")
        masks = ("--fixed-mask", save("wide.png", wide), "--moving-mask", save("high.png", high))
        sentence = refused("register", *two, "-o", "out", *masks, *flags)
        assert "content that can overlap by 90%, found no such place" in sentence

    def test_flags_that_say_too_little_or_too_much(self, refused, two):
        Path("pairs.csv").write_text("fixed,moving\nfixed.png,moving.png\n")
        assert (
            refused("register", two[0]) == "register: expected two images FIXED MOVING, or --pairs TABLE.csv"
        )
        assert "found both" in refused("register", *two, "--pairs", "pairs.csv")
        assert "channel that is there" in refused("register", *two, "--moving-channel", "3")
        assert "spacing: expected two positive numbers" in refused(
            "register", *two, "--fixed-spacing", "0", "1"
        )

    def test_an_output_folder_that_cannot_be(self, refused, two):
        Path("file").write_text("in the way")
        for out in ("file", "file/below"):
            assert refused("register", *two, "-o", out).startswith(
                f"{out}: expected a folder that can be written"
            )

    @pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
    def test_a_folder_without_permission(self, refused, two):
        Path("locked").mkdir(mode=0o500)
        for out in ("locked", "locked/below"):
            assert "expected a folder that can be written" in refused("register", *two, "-o", out)

    def test_two_runs_at_once_in_one_folder(self, refused, two):
        fcntl = pytest.importorskip("fcntl")
        Path("out").mkdir()
        handle = os.open("out", os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert refused("register", *two, "-o", "out") == (
            "out: expected a free folder, found another run at work in it"
        )
        os.close(handle)

    def test_an_input_is_not_written_over(self, refused, two):
        Path("out").mkdir()
        shutil.copy(two[1], "out/registered.png")
        sentence = refused("register", two[0], "out/registered.png", "-o", "out")
        assert sentence.startswith("out/registered.png: expected an output folder without the images")


class TestModel:
    @pytest.fixture
    def model(self) -> Path:
        torch.manual_seed(0)
        one = UNet.Config(widths=(4, 8)).build()
        for weights in one.parameters():
            weights.data *= 4  # untrained, it would map everything to nearly the same value
        Path("run").mkdir()
        save_networks(Path("run/networks.safetensors"), {"fixed": one, "moving": one})
        return Path("run")

    def test_a_run_is_a_model(self, run, two, model):
        answer = run("register", two[0], two[0], "-o", "out", "--json", "--model", model, *FEW).answer
        assert answer["quality"]["measure"] == "learned"
        assert np.allclose(answer["matrix"], np.eye(3), atol=0.05)

    def test_one_for_other_channels(self, refused, two, model, save):
        color = save("color.png", np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
        sentence = refused("register", two[0], color, "-o", "out", "--model", model)
        assert "trained on images of 1 channels, but color.png has 3" in sentence

    def test_one_that_is_damaged_or_none(self, refused, two, model):
        weights = model / "networks.safetensors"
        whole = weights.read_bytes()
        weights.write_bytes(whole[:-9])
        assert "found a damaged one" in refused("register", *two, "--model", model)
        weights.write_bytes(b"PK\x03\x04 a pickle")
        assert "expected a safetensors file" in refused("register", *two, "--model", weights)
        weights.write_bytes(whole.replace(b"counterpoint-networks-1", b"counterpoint-something1"))
        assert "expected the format counterpoint-networks-1" in refused("register", *two, "--model", model)
        weights.unlink()
        assert "expected a trained model" in refused("register", *two, "--model", model)
        assert "expected a trained model" in refused("register", *two, "--model", "nowhere")


class TestManyPairs:
    @pytest.fixture
    def table(self, scene, gray, save) -> Path:
        lines = ["name,fixed,moving"]
        for i in range(3):
            fixed, moving, _ = scene(i)
            save(f"in/f{i}.png", gray(fixed))
            save(f"in/m{i}.png", gray(moving))
            lines.append(f"pair {i},f{i}.png,m{i}.png")
        path = Path("in/pairs.csv")
        path.write_text("\n".join(lines))
        return path

    @staticmethod
    def rows() -> list[dict[str, str]]:
        with Path("out/summary.csv").open(newline="") as f:
            return list(csv.DictReader(f))

    def test_each_gets_a_folder_and_all_get_a_table(self, run, table, scene):
        ended = run("register", "--pairs", table, "-o", "out", "--json", *FEW)
        assert ended.code == 0 and "3 pairs: 3 trusted, 0 to be looked at, 0 failed" in ended.err
        assert ended.answer["failed"] == [] and ended.answer["table"] == "out/summary.csv"
        for i, (row, told) in enumerate(zip(self.rows(), ended.answer["pairs"], strict=True)):
            assert row["name"] == told["name"] == f"pair {i}" and row["trusted"] == "True"
            matrix = [[float(row[f"a{r}{c}"]) for c in (1, 2, 3)] for r in (1, 2)]
            assert matrix == told["matrix"][:2] and off(told, scene(i)[2]) < 1
            assert Path(row["registered"]).is_file() and row["registered"] == f"out/pair {i}/registered.png"

    def test_one_bad_pair_does_not_stop_the_rest(self, run, table, monkeypatch):
        Path("in/m0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        real = command_file.register

        def fragile(fixed, *args, **kwargs):
            if fixed.path.name == "f2.png":
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
            return real(fixed, *args, **kwargs)

        monkeypatch.setattr(command_file, "register", fragile)
        ended = run("register", "--pairs", table, "-o", "out", *FEW)
        assert ended.code == 1 and "3 pairs: 1 trusted, 0 to be looked at, 2 failed" in ended.out
        assert "Traceback" not in ended.err
        bad, good, worse = self.rows()
        assert bad["error"].startswith("in/m0.png: expected a whole PNG image") and bad["trusted"] == "False"
        assert worse["error"] == "RuntimeError: DefaultCPUAllocator: can't allocate memory"
        assert good["error"] == "" and good["trusted"] == "True" and good["a11"]
        assert sorted(p.name for p in Path("out").iterdir()) == ["pair 1", "summary.csv"]

    def test_what_was_done_is_not_done_again_unless_something_changed(
        self, run, table, monkeypatch, save, two
    ):
        calls = []
        result = registration.register(*two, options=Options(angles=(-30, 30)))

        def quick(fixed, *_, **__):
            calls.append(fixed.path.name)
            return result

        monkeypatch.setattr(command_file, "register", quick)

        def done(*more: str) -> list[str]:
            calls.clear()
            assert run("register", "--pairs", table, *more, *FEW).code == 0
            return calls.copy()

        assert done("-o", "out") == ["f0.png", "f1.png", "f2.png"]
        first = self.rows()
        assert done("-o", "out") == [] and self.rows() == first
        assert done("-o", str(Path("out").resolve())) == []
        shutil.copy("in/m2.png", "in/m0.png")
        os.utime("in/m0.png", ns=(1, 1))
        Path("out/pair 1/registered.png").unlink()
        Path("out/pair 2/result.json").write_text("{")
        assert done("-o", "out") == ["f0.png", "f1.png", "f2.png"]
        assert done("-o", "out", "--overlap", "0.4") == ["f0.png", "f1.png", "f2.png"]
        save("mask.png", np.ones((64, 64), np.uint8))
        assert len(done("-o", "out", "--fixed-mask", "mask.png")) == 3
        save("mask.png", np.pad(np.ones((62, 62), np.uint8), 1))
        assert len(done("-o", "out", "--fixed-mask", "mask.png")) == 3

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "found an empty file"),
            ("a,b\n1,2\n", "expected columns fixed and moving"),
            ("fixed,moving\nf0.png,nope.png\n", "found 1 missing, first in/nope.png (line 2)"),
            ("fixed,moving\nf0.png,m0.png\nf0.png,m1.png\n", "expected a name of its own for every pair"),
            ("name,fixed,moving\n../x,f0.png,m0.png\n", "expected names that can be file names"),
            ("name,fixed,moving\nsummary.csv,f0.png,m0.png\n", "expected names that can be folders beside"),
        ],
    )
    def test_a_wrong_table(self, refused, table, text, words):
        table.write_text(text)
        assert words in refused("register", "--pairs", table, "-o", "out")

    def test_it_goes_on_where_it_was_killed(self, run, process, table, monkeypatch):
        started = process("register", "--pairs", table, "-o", "out", *FEW)
        started.until("[2/3] pair 1")
        assert started.signal(signal.SIGKILL).code == -signal.SIGKILL
        assert [row["name"] for row in self.rows()] == ["pair 0"]
        stamp = Path("out/pair 0/result.json").stat().st_mtime_ns
        ended = run("register", "--pairs", table, "-o", "out", "--json", *FEW)
        assert ended.code == 0 and ended.err.count("already done") >= 1
        assert Path("out/pair 0/result.json").stat().st_mtime_ns == stamp
        assert [row["name"] for row in self.rows()] == ["pair 0", "pair 1", "pair 2"]
        left = {p.name for i in range(3) for p in Path(f"out/pair {i}").iterdir() if p.name[0] != "."}
        assert left == set(FILES) - {"report.html"}


def test_ctrl_c_leaves_nothing_half_done(process, two):
    started = process("register", *two, "-o", "deep/out", "--json")
    started.until("searching by ")
    ended = started.signal(signal.SIGINT)
    assert ended.code == 130 and ended.answer["error"] == "interrupted; what was finished is kept"
    assert "Traceback" not in ended.err and not Path("deep").exists()

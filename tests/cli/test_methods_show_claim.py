from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch

from counterpoint.cli.claim import command as claim
from counterpoint.cli.main import run
from counterpoint.cli.methods import command as methods
from counterpoint.cli.report import command as report
from counterpoint.cli.show import command as show
from counterpoint.core.claim import Expect
from counterpoint.core.errors import InputError, WorkError
from counterpoint.core.networks import save_networks
from counterpoint.encoders.unet import UNet
from counterpoint.evidence import store
from counterpoint.evidence.verdict import judged


@pytest.fixture
def evidence(tmp_path):
    """Evidence for CoMIR, as if there were a claim."""
    seeds = tuple({"learned": {"success": 0.9 + i / 100}, "raw": {"success": 0.4}} for i in range(5))
    expect = Expect(arm="learned", than="raw", metric="success", margin=0.1)
    made = store.Evidence(
        claim="registration/comir", paper="Somebody. A title. 2020.", says="Maps are easier to align.",
        differs="Small.", verdict="holds", findings=(judged(expect, seeds),), seeds=seeds, code={"gone": "0"},
        commit="0" * 40, modified=False, machine={"cpu": "a", "cores": 2}, versions={"torch": "2"},
        date="2024-01-01T00:00:00Z", seconds=3.0, cpu_seconds=5.0,
    )  # fmt: skip
    store.write(made, tmp_path / "evidence")
    return made


@pytest.fixture
def claimed(evidence, monkeypatch):
    """CoMIR with a claim whose evidence is ``evidence``, made of other code."""
    for place in ("counterpoint.evidence.catalogue", "counterpoint.cli.claim"):
        monkeypatch.setattr(f"{place}.claims", lambda: {"comir": "registration/comir"})
    monkeypatch.setattr(
        "counterpoint.evidence.catalogue.module_of", lambda _: "counterpoint.methods.registration.comir"
    )
    monkeypatch.setattr(
        "counterpoint.cli.claim.module_of", lambda name: f"counterpoint.claims.registration.{name}"
    )


class TestMethods:
    def test_json_is_one_list_of_what_there_is(self, capsys):
        assert run(["methods", "--json"]) == 0
        out, err = capsys.readouterr()
        comir = next(m for m in json.loads(out) if m["name"] == "comir")
        assert comir["field"] == "registration" and comir["verdict"] == "none"
        assert "NeurIPS 2020" in comir["paper"] and comir["idea"].startswith("CoMIR: ") and err == ""

    def test_words_for_people(self, capsys):
        assert run(["methods"]) == 0
        out = capsys.readouterr().out
        assert "comir (registration): none\n    CoMIR: two networks" in out

    def test_a_verdict_is_taken_from_the_evidence(self, claimed, tmp_path, capsys):
        found, code = methods(["--field", "registration", "--evidence", str(tmp_path / "evidence")])
        assert code == 0 and found[0]["verdict"] == "holds" and "gone" in found[0]["stale"]
        assert "holds, but its code has changed" in capsys.readouterr().out

    def test_an_unknown_field_is_refused(self):
        with pytest.raises(InputError, match="unknown field 'regstration': did you mean registration"):
            methods(["--field", "regstration"])


class TestShow:
    def test_settings_have_defaults_and_words(self, capsys):
        answer, code = show(["comir"])
        rows = {row["name"]: row for row in answer["settings"]}
        assert code == 0 and rows["temperature"]["default"] == 0.1 and "τ" in rows["temperature"]["about"]
        assert rows["fixed"]["default"] == "unet" and rows["fixed.widths"]["default"] == [8, 16, 32]
        assert all(row["about"] for row in answer["settings"])
        assert {"counterpoint.encoders.unet", "counterpoint.views.patches"} <= {
            p["module"] for p in answer["parts"]
        }
        assert all(part["about"] and ".core." not in part["module"] for part in answer["parts"])
        out = capsys.readouterr().out
        assert "  temperature: float = 0.1\n      What the critic is divided by" in out
        assert answer["claim"] is None and "none yet" in out

    def test_json_is_strict(self, capsys):
        assert run(["show", "comir", "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert {"name", "field", "paper", "verdict", "settings", "parts", "claim"} <= answer.keys()

    def test_an_unknown_method_is_one_sentence(self, capsys):
        assert run(["show", "comirr"]) == 2
        assert "unknown method 'comirr': did you mean comir" in capsys.readouterr().err


class TestClaim:
    def test_what_is_run_is_kept_and_a_failure_does_not_stop_the_rest(
        self, claimed, evidence, tmp_path, monkeypatch, capsys
    ):
        monkeypatch.setattr(
            "counterpoint.cli.claim.claims", lambda: {"bad": "toy/bad", "comir": "registration/comir"}
        )

        def fake(name, jobs, said):
            if name == "toy/bad":
                raise WorkError("it burned")
            return evidence

        monkeypatch.setattr("counterpoint.cli.claim.run", fake)
        answer, code = claim(["bad", "comir", "-o", str(tmp_path / "new")])
        assert code == 1 and answer["failed"] == [{"claim": "toy/bad", "error": "it burned"}]
        assert answer["claims"][0]["verdict"] == "holds" and "code" not in answer["claims"][0]
        assert store.read("registration/comir", tmp_path / "new") == evidence
        captured = capsys.readouterr()
        assert "learned over raw in success" in captured.out and "it burned" in captured.err

    def test_stale_ones_and_dry(self, claimed, tmp_path, capsys):
        where = str(tmp_path / "evidence")
        assert claim(["--stale", "--dry", "-o", where])[0] == {"claims": [{"claim": "registration/comir"}]}
        assert claim(["--all", "--dry", "-o", where])[0] == {"claims": [{"claim": "registration/comir"}]}

    @pytest.mark.parametrize("argv", [[], ["--all", "--stale"], ["comir", "--all"]])
    def test_one_choice_must_be_made(self, argv):
        with pytest.raises(InputError, match="either names of methods, or --stale, or --all"):
            claim(argv)

    def test_an_unknown_claim_is_refused(self):
        with pytest.raises(InputError, match="unknown claim 'no_such'"):
            claim(["no_such"])


class TestReport:
    def test_a_page_of_all_methods_with_figures(self, claimed, tmp_path):
        answer, code = report(["--evidence", str(tmp_path / "evidence"), "-o", str(tmp_path / "page")])
        page = (tmp_path / "page" / "report.html").read_text()
        assert code == 0 and answer["verdicts"]["holds"] == 1
        assert (
            "The claim holds" in page
            and "Maps are easier to align." in page
            and "comir (registration)" in page
        )
        assert page.count("data:image/png") == 2 and "Changed since" in page

    def test_without_evidence_it_says_so(self, tmp_path):
        report(["--evidence", str(tmp_path), "-o", str(tmp_path / "page")])
        page = (tmp_path / "page" / "report.html").read_text()
        assert "Nothing is shown yet" in page and "data:image/png" not in page


class TestEmbed:
    @pytest.fixture
    def embed(self, tmp_path, monkeypatch):
        """The command, on a data set called "toy" and a run with one network."""

        class Toy:
            provides = frozenset({"image", "id", "label"})

            def __len__(self):
                return 5

            def parts(self, size):
                for ids in torch.arange(5).split(size):
                    yield {"image": torch.full((len(ids), 1, 4, 4), 0.5), "id": ids, "label": ids % 2}

        monkeypatch.setattr("counterpoint.data.open.open_data", lambda *_, **__: Toy())
        monkeypatch.delitem(sys.modules, "counterpoint.cli.embed", raising=False)
        network = UNet.Config(widths=(2, 3), out=3).build().eval()
        (tmp_path / "run").mkdir()
        save_networks(tmp_path / "run" / "networks.safetensors", {"image": network})
        yield lambda *argv: run(["embed", str(tmp_path / "run"), "toy", *argv])
        sys.modules.pop("counterpoint.cli.embed", None)

    def test_features_ids_and_labels_are_written(self, embed, tmp_path, capsys):
        assert embed("-o", str(tmp_path / "z.npz"), "--batch", "2", "--json") == 0
        answer = json.loads(capsys.readouterr().out)
        assert answer["samples"] == 5 and answer["dim"] == 3 and answer["labels"]
        with np.load(tmp_path / "z.npz", allow_pickle=False) as found:
            assert found["z"].shape == (5, 3) and found["label"].tolist() == [0, 1, 0, 1, 0]

    @pytest.mark.parametrize(
        ("argv", "words"),
        [
            (["-o", "z.csv"], "ends in .npz or .parquet"),
            (["-o", "z.npz", "--role", "fixed"], "unknown role 'fixed'"),
            (["-o", "z.npz", "--batch", "0"], "--batch: expected at least 1"),
            (["-o", "z.npz", "--device", "tpu"], "--device: expected cpu"),
        ],
    )
    def test_mistakes_are_one_sentence_and_write_nothing(
        self, embed, argv, words, tmp_path, monkeypatch, capsys
    ):
        monkeypatch.chdir(tmp_path)
        assert embed(*argv) == 2
        assert words in capsys.readouterr().err and [f.name for f in tmp_path.iterdir()] == ["run"]

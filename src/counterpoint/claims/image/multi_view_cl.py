"""One term over all views fills the embedding and learns better features than pairs of views do."""

from __future__ import annotations

from counterpoint.claims._glyphs import DIFFERS, ENCODER, SIDE, judged, pixels
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.methods.image.multi_view_cl import FORMS, MultiViewCL
from counterpoint.views.presets import ManyCrops

STEPS = 400


def arms(seed: int) -> Arms:
    """All forms at five views, two of them at two; equal steps, so equal images for equal views."""

    def config(form: str, count: int) -> MultiViewCL.Config:
        views = ManyCrops(count=count, size=SIDE, flip=0.0)
        plain = {"form": form, "hidden": 64, "dim": 32}
        return MultiViewCL.Config(**plain, encoder=ENCODER, views=views)  # pyright: ignore[reportArgumentType]

    asked = [(form, 5) for form in FORMS] + [("mv_dhel", 2), ("pairwise", 2)]
    trained = {f"{form}, {n} views": judged(config(form, n), seed, steps=STEPS) for form, n in asked}
    return trained | {"untrained": judged(config("mv_dhel", 2), seed, steps=0), "pixels": pixels(seed)}


CLAIM = Claim(
    paper=Paper(
        authors="Koromilas, Georgiou, Bouritsas, Giannakopoulos, Nicolaou, Panagakis",
        title="A Principled Framework for Multi-View Contrastive Learning",
        venue="arXiv",
        year=2025,
        arxiv="2507.06979",
        where="section V, accuracy over views and ranks of embeddings",
    ),
    says="With five views MV-DHEL fills the embedding, which pairs of views and MV-InfoNCE do not, and its "
    "features need fewer labels than those of every way to add up pairs.",
    arms=arms,
    expect=(
        Expect(arm="mv_dhel, 5 views", than="pairwise, 5 views", metric="embedding_rank"),
        Expect(arm="mv_dhel, 5 views", than="mv_info_nce, 5 views", metric="embedding_rank"),
        Expect(arm="mv_dhel, 5 views", than="mv_dhel, 2 views", metric="embedding_rank"),
        Expect(arm="mv_dhel, 5 views", than="pairwise, 5 views", metric="few"),
        Expect(arm="mv_dhel, 5 views", than="averaged, 5 views", metric="few"),
        Expect(arm="mv_dhel, 5 views", than="poly_view, 5 views", metric="few"),
    ),
    differs=DIFFERS.format(steps=STEPS) + " The temperature is 0.5 in all arms.",
)

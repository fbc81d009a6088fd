from __future__ import annotations

import pytest

from counterpoint.report.arms import arm_dots, gain_bars


@pytest.mark.parametrize("values", [[0.5], [0.1, 0.9, 0.4], [0.3, 0.3]])
def test_arms_are_drawn(values):
    one, other = (arm_dots({"a $x": values, "_b": [v]}, "accuracy") for v in (0.2, 0.7))
    assert one[:4] == b"\x89PNG" and one != other


def test_gains_are_drawn_by_their_verdict():
    drawn = [
        gain_bars({"a over b": (0.1, 0.05, 0.2, 0.0, v)}, "accuracy") for v in ("holds", "fails", "open")
    ]
    assert len(set(drawn)) == 3 and all(png[:4] == b"\x89PNG" for png in drawn)

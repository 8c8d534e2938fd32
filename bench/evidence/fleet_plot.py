"""The picture of a fleet's verdict: how many meters failed how often, and the bounds that decide."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.judge.fleet import FleetVerdict
from bench.judge.verdict import Verdict

_COLOUR = {Verdict.PASS: "#2e7d32", Verdict.FAIL: "#c62828"}
_UNDECIDED = "#b26a00"
_MOST_BARS = 120


def plot(judged: Sequence[FleetVerdict], by_failed: Sequence[Sequence[int]], out: Path) -> list[Path]:
    """Draw fleet.png and fleet.svg into a directory; a row for each requirement."""
    import numpy as np
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from scipy.special import betainc

    # The same verdict gives the same file.
    with rc_context({"svg.hashsalt": "twinbench", "font.size": 9}):
        figure = Figure(figsize=(11, 3.4 * len(judged)), layout="constrained")
        rows: Any = figure.subplots(len(judged), 2, squeeze=False, width_ratios=(2, 1))
        for (left, right), verdict, failed in zip(rows, judged, by_failed, strict=True):
            screen, demand, meters = verdict.screen, verdict.demand, sum(failed)
            most = min(max(len(failed), screen.refuted_from + 3), _MOST_BARS, screen.trials + 1)
            k = np.arange(most)
            seen = np.array([*failed, *[0] * most][:most], float)
            seen[-1] += sum(failed[most:])
            # Binomial, by differences of its distribution.
            up_to = np.where(k < screen.trials, betainc(np.maximum(screen.trials - k, 1), k + 1, demand.rate), 1.0)
            at_limit = np.diff(up_to, prepend=0.0)
            colour = _COLOUR.get(verdict.verdict, _UNDECIDED)
            left.bar(k, seen / meters, color=colour, width=0.8, label="of the meters")
            left.step(k, at_limit, "k--", lw=0.9, where="mid", label=f"if all just kept {demand.rate:g}")
            failing = verdict.findings[0].verdict is Verdict.FAIL
            left.axvline(
                (screen.refuted_from if failing else screen.shown_from) - 0.5,
                color="grey",
                lw=0.8,
                ls=":",
                label="counted from here",
            )
            left.set_yscale("log")
            left.set_ylim(0.2 / meters, 2)
            left.set_xlabel(
                f"failures in {screen.trials} trials" + (" (the last: or more)" if len(failed) > most else "")
            )
            left.set_ylabel("share of the meters")
            left.set_title(f"{verdict.id}: {verdict.verdict.value}", loc="left", color=colour, weight="bold")
            left.legend(frameon=False)

            for y, finding in enumerate(verdict.findings):
                shade = _COLOUR.get(finding.verdict, _UNDECIDED)
                right.plot([max(finding.lower, 1e-9), finding.upper], [y, y], color=shade, lw=5, solid_capstyle="butt")
                if finding.found:
                    right.plot(finding.found / finding.of, y, "o", color=shade, ms=6)
                if finding.bound:
                    right.plot(finding.bound, y, "|", color="black", ms=24, mew=1.5)
            right.set_xscale("log")
            right.set_xlim(0.3 / meters, 2)
            right.set_ylim(-0.6, len(verdict.findings) - 0.4)
            right.set_yticks(
                range(len(verdict.findings)), [f.what.replace(" for ", "\nfor ") for f in verdict.findings]
            )
            right.invert_yaxis()
            right.set_xlabel("share of the meters that counts against it")
            right.set_title("bar: 95 % bounds, |: what it may be", loc="left", fontsize=8)
        written = []
        for kind, options in (("png", {"dpi": 150}), ("svg", {"metadata": {"Date": None}})):
            path = out / f"fleet.{kind}"
            figure.savefig(path, format=kind, **options)
            written.append(path)
    return written

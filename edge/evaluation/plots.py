"""The two plots of an evaluation, as PNG; matplotlib is an extra (`edge-voice[evaluate]`)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import EnvironmentFault
from edge.evaluation.metrics import error_curves
from edge.evaluation.results import LABELS, percent
from edge.evaluation.trials import (
    PRESETS,
    STRANGER,
    STRANGER_WRONG_PHRASE,
    VOICE_STRANGER,
    WRONG_PHRASE,
    Trials,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colors, which color-blind people can tell apart; line styles for gray print.
_STYLES: Mapping[str, tuple[str, str]] = {
    STRANGER: ("#D55E00", "solid"),
    VOICE_STRANGER: ("#D55E00", "solid"),
    WRONG_PHRASE: ("#0072B2", "dashed"),
    STRANGER_WRONG_PHRASE: ("#555555", "dotted"),
}
_TARGET_COLOR = "#009E73"
_MARKERS = {"relaxed": "s", "balanced": "o", "strict": "^"}
_TICKS = (0.0001, 0.001, 0.01, 0.05, 0.2, 0.5)
_LEAST, _MOST = 0.00001, 0.6
"""Ends of the axes; the lower one means no error."""
_DPI = 120


def require_matplotlib() -> None:
    """Raise `EnvironmentFault` before the long work if matplotlib is not installed."""
    try:
        import matplotlib.figure  # noqa: F401, PLC0415 (an extra)
    except ImportError as error:
        raise EnvironmentFault(
            f"the plots need matplotlib ({error}); install it with: pip install"
            " 'edge-voice[evaluate]'"
        ) from error


def det_plot(trials: Trials, thresholds: Mapping[str, float]) -> bytes:
    """Detection error trade-off: false rejects against false accepts, a line for each kind.

    Both axes are normal deviates (Martin et al., "The DET curve in assessment of detection task
    performance", 1997), on which normally distributed scores give straight lines.
    """
    figure, axes = _canvas(6.4, 6.0)
    targets = trials.scores[trials.target]
    for kind in trials.nontarget_kinds:
        others = trials.scores[trials.kind == kind]
        _, rejects, accepts = error_curves(targets, others)
        color, style = _STYLES[kind]
        label = f"{LABELS[kind]}, {len(others):,} trials"
        axes.plot(
            _deviate(accepts),
            _deviate(rejects),
            color=color,
            linestyle=style,
            lw=2,
            clip_on=False,
            label=label,
        )
        for name, _ in PRESETS:
            accepted = float(np.mean(others >= thresholds[name]))
            rejected = float(np.mean(targets < thresholds[name]))
            axes.plot(
                _deviate(np.asarray([accepted])),
                _deviate(np.asarray([rejected])),
                marker=_MARKERS[name],
                color=color,
                markeredgecolor="black",
                markersize=8,
                linestyle="none",
                clip_on=False,
                zorder=3,
            )
    for name, _ in PRESETS:
        axes.plot([], [], _MARKERS[name], color="white", markeredgecolor="black", label=name)
    ticks = _deviate(np.asarray((_LEAST, *_TICKS)))
    names = ["none", *(percent(tick) for tick in _TICKS)]
    limits = tuple(_deviate(np.asarray([_LEAST, _MOST])))
    axes.set_xticks(ticks, names)
    axes.set_yticks(ticks, names)
    axes.set_xlim(*limits)
    axes.set_ylim(*limits)
    axes.plot(limits, limits, color="#BBBBBB", lw=1, zorder=0)
    axes.set_aspect("equal")
    axes.grid(color="#E5E5E5")
    axes.set_xlabel("false accepts")
    axes.set_ylabel("false rejects")
    axes.set_title(f"Error trade-off, {len(targets):,} attempts by residents", fontsize=11)
    axes.legend(loc="upper right", fontsize=9, framealpha=0.95)
    return _png(figure)


def score_plot(trials: Trials, thresholds: Mapping[str, float]) -> bytes:
    """The scores of each kind of trial, and the threshold of each preset."""
    figure, axes = _canvas(7.6, 4.4)
    groups = [(LABELS["TC" if "TC" in trials.kind else "target"], trials.target)]
    groups += [(LABELS[kind], trials.kind == kind) for kind in trials.nontarget_kinds]
    colors = [_TARGET_COLOR] + [_STYLES[kind][0] for kind in trials.nontarget_kinds]
    styles = ["solid"] + [_STYLES[kind][1] for kind in trials.nontarget_kinds]
    # Outliers must not squeeze the rest together; they are shown at the ends.
    ends = np.asarray([np.percentile(trials.scores[keep], [0.2, 99.8]) for _, keep in groups])
    bins = np.linspace(float(ends[:, 0].min()), float(ends[:, 1].max()), 60).tolist()
    for (label, keep), color, style in zip(groups, colors, styles):
        scores = np.clip(trials.scores[keep], bins[0], bins[-1])
        shares = np.full(len(scores), 100.0 / len(scores))
        axes.hist(scores, bins=bins, weights=shares, color=color, alpha=0.18, histtype="stepfilled")
        axes.hist(
            scores,
            bins=bins,
            weights=shares,
            color=color,
            linestyle=style,
            lw=1.8,
            histtype="step",
            label=f"{label}, {len(scores):,}",
        )
    axes.margins(x=0.02)
    axes.set_ylim(0.0, axes.get_ylim()[1] * 1.18)  # room for the names of the thresholds
    for name, _ in PRESETS:
        axes.axvline(thresholds[name], color="black", lw=1, linestyle=(0, (4, 3)))
        axes.annotate(
            name,
            (thresholds[name], 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(-3, -4),
            textcoords="offset points",
            rotation=90,
            ha="right",
            va="top",
            fontsize=8,
        )
    axes.set_xlabel("score (log-likelihood ratio, higher is more similar)")
    axes.set_ylabel("% of the trials of each kind")
    axes.set_title("Scores, with the threshold of each setting", fontsize=11)
    axes.legend(loc="upper left", bbox_to_anchor=(0.0, -0.16), ncols=2, fontsize=9, frameon=False)
    return _png(figure)


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    require_matplotlib()
    from matplotlib.figure import Figure  # noqa: PLC0415 (an extra)

    figure = Figure(figsize=(width, height), facecolor="white", layout="constrained")
    return figure, figure.add_subplot()


def _png(figure: Figure) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 (an extra)

    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()


def _deviate(rates: NDArray[Any]) -> NDArray[np.float64]:
    """Normal deviates of rates, clipped to the axes."""
    inverse = NormalDist().inv_cdf
    return np.asarray([inverse(rate) for rate in np.clip(rates, _LEAST, _MOST)])

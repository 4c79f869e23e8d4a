"""What all figures share."""

import matplotlib.pyplot as plt

from footpass.schema import ACTION_LABELS

# One colour a class everywhere; the palette is Okabe and Ito's, safe for colour-blind readers.
CLASS_COLOURS = dict(
    zip(
        ACTION_LABELS,
        ("#0072B2", "#56B4E9", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#000000", "#8A8A8A"),
        strict=True,
    )
)

BY_CLASS = list(CLASS_COLOURS.values())


def clean(axes: plt.Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)

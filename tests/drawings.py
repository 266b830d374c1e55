"""A slice to draw, and what a drawing says."""

import matplotlib as mpl
import numpy as np

IMAGE = np.linspace(0, 1, 36).reshape(6, 6)
MASK = np.zeros((6, 6), dtype=np.uint8)
MASK[1:3, 1:3] = 1
MASK[4, 4] = 2


def texts(figure):
    return [text.get_text() for text in figure.findobj(mpl.text.Text)]

"""Score a prediction against the truth.

Two pixels of four are lesion; the network finds one of them and calls one more. So recall,
precision and F1 are one half, and IoU a third. What is 0/0 is missing, never 0.
"""

import numpy as np

import ssinfnet as ss

truth = np.array([[1, 1], [0, 0]])
probability = np.array([[0.9, 0.2], [0.8, 0.1]])
scores = ss.scores.slice_scores(truth, probability, threshold=0.5)
print({name: round(scores[name], 3) for name in ("F1", "IoU", "Recall", "Precision")})

healthy = ss.scores.slice_scores(np.zeros((2, 2)), np.zeros((2, 2)), threshold=0.5)
print("recall of a slice without lesion:", healthy["Recall"])

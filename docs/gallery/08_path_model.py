"""Fit all paths at once.

Age acts on two measures of the lesion, and these and age on severity. Measures of fit say whether
the data agree with such a model.
"""

import ssinfnet as ss

patients = ss.phantom.example_patients(300)
paths = {"lesion_extent": ["age"], "consolidation_share": ["age"]}
fit = ss.fit_paths(patients, "severe", paths, draws=0)
print(fit.effects[["exposure", "through", "estimate", "se_robust", "p_robust"]].round(4))
print(fit.measures.round(3))

"""Ask which lesion measures carry the effect of age on severity.

300 patients are drawn from a model in which age acts through the lesion's extent and through how
much of it is consolidation. Each is tested between age and severity, with intervals from patients
drawn anew.
"""

import ssinfnet as ss

patients = ss.phantom.example_patients(300)
found = ss.mediate(patients, ["age"], "severe", ["lesion_extent", "consolidation_share"], draws=500)
columns = ["mediator", "indirect", "indirect_low", "indirect_high"]
print(found.table[columns].round(4))
print("mediators:", found.mediators("age"))

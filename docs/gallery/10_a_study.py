"""See what a study is made of.

A study is one file and everything that a run depends on. Its notebooks run in an order in which
each finds what it reads; `make reproduce STUDY=name` runs them.
"""

from collections import Counter

import ssinfnet as ss
from ssinfnet.study.schedule import runs_of

study = ss.load_study("smoke")
print(study.description)
print(f"{study.image_size} px, {study.single.training.epochs} epoch, models {study.single.models}")
for notebook, times in Counter(notebook for notebook, _ in runs_of(study, study.name)).items():
    print(f"{times:3} × {notebook}")

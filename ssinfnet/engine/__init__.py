"""Run the notebooks of a study: one by papermill, or all without it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submodules=["notebook_runs", "plain_runs"]
)

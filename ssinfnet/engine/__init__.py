"""Run the notebooks of a study: one by papermill, all without it, or one by hand in the Lab."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "fork_server",
        "forked_kernel",
        "kernels",
        "lab",
        "notebook_runs",
        "plain_runs",
        "warm_start",
    ],
    submod_attrs={"lab": ["open_study"]},
)

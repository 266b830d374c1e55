"""A study: its settings, its folders, the models of its tables, and its notebooks in order."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submodules=["config", "paths", "models", "schedule"]
)

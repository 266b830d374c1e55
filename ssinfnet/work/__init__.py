"""Show how long work will take, and end with the process that asked for it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submodules=["progress", "threads", "parent_watch"]
)

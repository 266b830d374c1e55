"""The numbers that the paper prints, and ours beside them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submodules=["contents", "published", "comparison"]
)

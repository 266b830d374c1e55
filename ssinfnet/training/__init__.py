"""What a network is trained by: losses, optimisers, inpainting, and the loop itself."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "losses",
        "optimizers",
        "checkpoints",
        "fitting",
        "segmentation",
        "pretext",
        "runs",
        "stages",
    ],
)

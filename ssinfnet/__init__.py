"""Self-supervised two-stage segmentation of COVID-19 lesions in lung CT, and what they mediate.

The modules follow the data: `config` and `paths`, `sources` to `cohort`, `networks` to
`inference`, `scores` to `report`. Import the module you need (``from ssinfnet import scores``);
importing the package alone loads none of them.
"""

from __future__ import annotations

from typing import Any

__all__ = ["__version__", "predict"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Give `predict` on first use, so that importing the package loads no deep-learning library."""
    if name == "predict":
        from ssinfnet.prediction import predict

        return predict
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

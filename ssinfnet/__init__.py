"""Self-supervised two-stage segmentation of COVID-19 lesions in lung CT, and what they mediate.

The modules follow the data: `config` and `paths`, `sources` to `cohort`, `networks` to
`inference`, `scores` to `report`. Import the module you need (``from ssinfnet import scores``);
importing the package alone loads none of them.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"

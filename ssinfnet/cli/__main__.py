"""`python -m ssinfnet.cli` is `ssinfnet`, where no script is installed."""

from ssinfnet.cli import app

__all__ = []

app(prog_name="ssinfnet")

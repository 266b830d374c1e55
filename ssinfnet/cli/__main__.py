"""`python -m ssinfnet.cli` is `ssinfnet`, where no script is installed."""

from ssinfnet.cli import app

__all__: list[str] = []

app(prog_name="ssinfnet")

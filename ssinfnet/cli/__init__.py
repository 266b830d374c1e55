"""The command line: `ssinfnet VERB`."""

from ssinfnet.cli.verbs import app

__all__ = ["app"]

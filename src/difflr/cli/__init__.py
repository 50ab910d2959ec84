"""The command line: `difflr demo`."""

from difflr.cli.app import app

__all__ = ["app"]

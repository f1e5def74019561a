"""The command line, `fritz-compress`: arguments, files and printing."""

from fritz_compress.cli.main import main

__all__ = ["main"]

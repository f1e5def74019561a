"""Silence for C++ libraries that write to standard error on their own."""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keeps what C++ and Python write to standard error off the screen.

    Exceptions pass; everything else, warnings and log lines of other threads
    included, is dropped while the body runs. Standard output stays.
    """
    with warnings.catch_warnings(), _logging_off(), _standard_error_off():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _logging_off():
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _standard_error_off():
    """Redirects the file descriptor, which C++ writes to directly."""
    try:
        descriptor = sys.__stderr__.fileno()
    except (AttributeError, OSError, ValueError):  # There is no console.
        yield
        return
    sys.__stderr__.flush()
    saved = os.dup(descriptor)
    try:
        with open(os.devnull, "wb") as sink:
            os.dup2(sink.fileno(), descriptor)
            yield
    finally:
        sys.__stderr__.flush()
        os.dup2(saved, descriptor)
        os.close(saved)

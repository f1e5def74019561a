"""coremltools without its progress bars and version notes."""

import contextlib
import io
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keeps coremltools silent in a `with` block or a decorated function.

    On import it logs every optional package that is missing or newer than it
    knows, and it draws progress bars on standard error. Exceptions are raised
    as ever. Logging and standard error are as before afterwards.
    """
    logger = logging.getLogger("coremltools")
    propagate, sink = logger.propagate, logging.NullHandler()
    logger.propagate = False
    logger.addHandler(sink)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.removeHandler(sink)
        logger.propagate = propagate

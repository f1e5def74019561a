"""What holds for all tests."""

import gc


def pytest_collection_finish():
    """Frees the garbage collector of what was imported.

    coremltools collects several times in each conversion: half its time here,
    where the heap is large.
    """
    gc.collect()
    gc.freeze()

"""The stacks of threads without their lock."""

import faulthandler


def register(signum, file):
    """From now on the signal writes the stacks of an interpreter there, whoever holds the lock."""
    faulthandler.register(signum, file=file, all_threads=True, chain=False)

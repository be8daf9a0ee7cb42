"""The stacks of the threads of one interpreter, to standard error."""

try:
    from faulthandler import cancel_dump_traceback_later as never
    from faulthandler import dump_traceback as now
    from faulthandler import dump_traceback_later as later
except ImportError:
    # An interpreter with a GIL of its own does not get it.

    def now(descriptor):
        import os
        import sys
        import traceback

        for number, frame in sys._current_frames().items():
            text = f"Thread {number:#x} (most recent call last):\n{''.join(traceback.format_stack(frame))}"
            os.write(descriptor, text.encode("utf-8", "replace"))

    def later(_limit, _repeat, _descriptor):
        """Only from outside, without its lock, and that is not to be had."""

    def never():
        """There was no later."""


def register(signum, file):
    """From now on the signal writes the stacks of this interpreter there, whoever holds the lock."""
    import faulthandler

    faulthandler.register(signum, file=file, all_threads=True, chain=False)

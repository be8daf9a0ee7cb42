"""What a daemon does in the Python of its main thread: signals, and the stacks of a crash."""

import _signal
import faulthandler
import time


def prepare(wakeup, ends, others):
    """Prepare signals, and return how far local time is ahead of UTC.

    Those of the numbers `ends` and `others` write to the descriptor `wakeup`; the former end the loading of scripts.
    """
    _signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    for number in ends:
        _signal.signal(number, _exit)
    for number in others:
        _signal.signal(number, _nothing)
    faulthandler.enable(2)
    return time.localtime().tm_gmtoff


def release_signals():
    """Let a service script have handlers of its own."""
    import signal

    signal.signal = getattr(signal.signal, "__wrapped__", signal.signal)


def serve(ends):
    """From now on the main thread executes no scripts."""
    for number in ends:
        _signal.signal(number, _nothing)


def _nothing(_number, _frame):
    pass


def _exit(_number, _frame):
    raise SystemExit(0)

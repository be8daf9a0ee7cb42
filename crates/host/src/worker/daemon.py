"""What a daemon does in Python: its signals, and the stacks of its threads."""

import _signal
import faulthandler
import sys
import time


def prepare(wakeup, ends, others, dump, switch_interval):
    """Prepare signals, and return how far local time is ahead of UTC.

    Those of the numbers `ends` and `others` write to the descriptor `wakeup`; the former end the loading of scripts. The
    signal `dump` writes the stacks of all threads to standard error, even if Python's lock is held for good.
    """
    _signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    for number in ends:
        _signal.signal(number, _exit)
    for number in others:
        _signal.signal(number, _nothing)
    faulthandler.enable(2)
    faulthandler.register(dump, 2, True)
    if switch_interval > 0:
        sys.setswitchinterval(switch_interval)
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

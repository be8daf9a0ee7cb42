"""What a daemon does in the Python of its main thread: signals, and the stacks of a crash."""

import _signal
import faulthandler
import time

# `restrict` has put another one in its place.
_register = getattr(_signal.signal, "__wrapped__", _signal.signal)


def prepare(wakeup, ends, others):
    """Prepare signals, and return how far local time is ahead of UTC.

    Those of the numbers `ends` and `others` write to the descriptor `wakeup`; the former end the loading of scripts.
    """
    _signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    for number in ends:
        _register(number, _exit)
    for number in others:
        _register(number, _nothing)
    faulthandler.enable(2)
    return time.localtime().tm_gmtoff


def release_signals():
    """Let a service script have handlers of its own."""
    _signal.signal = _register


def serve(ends):
    """From now on the main thread executes no scripts."""
    for number in ends:
        _register(number, _nothing)


def _nothing(_number, _frame):
    pass


def _exit(_number, _frame):
    raise SystemExit(0)

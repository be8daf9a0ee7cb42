"""What the threads of one interpreter are doing."""

import sys
import threading
import traceback


def of_thread(ident):
    """The stack of the thread of that number, the call that runs last; None if it runs nothing here."""
    frame = sys._current_frames().get(ident)
    return None if frame is None else "".join(traceback.format_stack(frame))


def of_all():
    """Number, name and stack of each thread, without the one that asks."""
    own = threading.get_ident()
    # Without its lock, which a thread may hold that is not to be waited for.
    names = {ident: thread.name for ident, thread in threading._active.copy().items()}
    return [
        (ident, names.get(ident, ""), "".join(traceback.format_stack(frame)))
        for ident, frame in sys._current_frames().items()
        if ident != own
    ]

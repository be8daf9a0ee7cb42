"""The stacks of the threads of one interpreter, to standard error."""

import faulthandler

now = faulthandler.dump_traceback
later = faulthandler.dump_traceback_later
never = faulthandler.cancel_dump_traceback_later

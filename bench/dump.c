/* What counter.c does, for Python's ctypes: in a process that is not httpd's. */

#include <valgrind/callgrind.h>

void dump(void)
{
    CALLGRIND_DUMP_STATS_AT("requests");
}

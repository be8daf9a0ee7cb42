/* Lets a client command callgrind from inside the server: handler "counter-dump" writes what was counted
 * since it was last called. (Its own tool, vgdb, stops the process by ptrace, which not every container
 * allows once httpd has changed its user.)
 */

#include <httpd.h>
#include <http_config.h>
#include <http_protocol.h>
#include <valgrind/callgrind.h>

static int handle(request_rec *r)
{
    if (!r->handler || strcmp(r->handler, "counter-dump"))
        return DECLINED;
    CALLGRIND_DUMP_STATS_AT("requests");
    ap_set_content_type(r, "text/plain");
    ap_rputs("ok\n", r);
    return OK;
}

static void register_hooks(apr_pool_t *pool)
{
    ap_hook_handler(handle, NULL, NULL, APR_HOOK_LAST);
}

AP_DECLARE_MODULE(counter) = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, register_hooks};

/* The least that a module of httpd can do for the same replies: the bytes, through a brigade, to the output filters.
 * Handler "bench" ends its reply with EOS alone; "bench-flush" puts a FLUSH before it, as a gateway for WSGI does after
 * each block. Which reply it is, the name of the requested file says.
 */

#include <httpd.h>
#include <http_config.h>
#include <http_protocol.h>
#include <http_request.h>
#include <apr_buckets.h>
#include <apr_strings.h>

#define KB 1024

static const char hello[] = "Hello World!\n";
static char block[KB * KB];
static char fields[20][2][32];

/* Reads the body to its end; the length, or -1 when that failed. */
static apr_off_t read_body(request_rec *r)
{
    apr_bucket_brigade *brigade = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    apr_off_t length = 0;
    int more = 1;

    while (more) {
        if (ap_get_brigade(r->input_filters, brigade, AP_MODE_READBYTES, APR_BLOCK_READ, 64 * KB) != APR_SUCCESS)
            return -1;
        for (apr_bucket *b = APR_BRIGADE_FIRST(brigade); b != APR_BRIGADE_SENTINEL(brigade); b = APR_BUCKET_NEXT(b)) {
            const char *data;
            apr_size_t len;

            if (APR_BUCKET_IS_EOS(b)) {
                more = 0;
                break;
            }
            if (APR_BUCKET_IS_METADATA(b))
                continue;
            if (apr_bucket_read(b, &data, &len, APR_BLOCK_READ) != APR_SUCCESS)
                return -1;
            length += len;
        }
        apr_brigade_cleanup(brigade);
    }
    return length;
}

/* Passes one block of bytes that outlive the request. */
static int pass(request_rec *r, apr_bucket_brigade *brigade, const char *data, apr_size_t len, int flush, int end)
{
    apr_bucket_alloc_t *alloc = r->connection->bucket_alloc;
    apr_status_t status;

    APR_BRIGADE_INSERT_TAIL(brigade, apr_bucket_immortal_create(data, len, alloc));
    if (flush)
        APR_BRIGADE_INSERT_TAIL(brigade, apr_bucket_flush_create(alloc));
    if (end)
        APR_BRIGADE_INSERT_TAIL(brigade, apr_bucket_eos_create(alloc));
    status = ap_pass_brigade(r->output_filters, brigade);
    apr_brigade_cleanup(brigade);
    return status == APR_SUCCESS;
}

static int handle(request_rec *r)
{
    const char *name, *data = block;
    apr_bucket_brigade *brigade;
    apr_size_t len;
    int flush, blocks = 0;

    if (!r->handler || strncmp(r->handler, "bench", 5))
        return DECLINED;
    flush = !strcmp(r->handler, "bench-flush");
    name = strrchr(r->filename, '/');
    name = name ? name + 1 : "";
    brigade = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    ap_set_content_type(r, "text/plain");

    len = 0;
    if (!strncmp(name, "generator", 9))
        blocks = 100, len = KB;
    else if (!strncmp(name, "many", 4))
        blocks = 1000, len = 100;
    if (blocks) {
        while (--blocks)
            if (!pass(r, brigade, block, len, 1, 0))
                return AP_FILTER_ERROR;
        return pass(r, brigade, block, len, 1, 1) ? OK : AP_FILTER_ERROR;
    }

    if (!strncmp(name, "10k", 3)) {
        len = 10 * KB;
    } else if (!strncmp(name, "1m", 2)) {
        len = KB * KB;
    } else if (!strncmp(name, "post", 4)) {
        apr_off_t body = read_body(r);
        if (body < 0)
            return HTTP_BAD_REQUEST;
        data = apr_psprintf(r->pool, "%" APR_OFF_T_FMT "\n", body);
        len = strlen(data);
    } else {
        data = hello;
        len = sizeof hello - 1;
        if (!strncmp(name, "headers", 7))
            for (int i = 0; i < 20; i++)
                apr_table_addn(r->headers_out, fields[i][0], fields[i][1]);
    }
    ap_set_content_length(r, len);
    return pass(r, brigade, data, len, flush, 1) ? OK : AP_FILTER_ERROR;
}

static void child_init(apr_pool_t *pool, server_rec *s)
{
    memset(block, 'x', sizeof block);
    for (int i = 0; i < 20; i++) {
        apr_snprintf(fields[i][0], sizeof fields[i][0], "X-Header-%02d", i);
        apr_snprintf(fields[i][1], sizeof fields[i][1], "value of field %02d", i);
    }
}

static void register_hooks(apr_pool_t *pool)
{
    ap_hook_child_init(child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(handle, NULL, NULL, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(handler) = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, register_hooks};

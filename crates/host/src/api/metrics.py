"""Metrics: what `mod_wsgi.request_metrics()` and `mod_wsgi.process_metrics()` make of the counters."""

_STATUS = ("status_1xx", "status_2xx", "status_3xx", "status_4xx", "status_5xx")
_FLOWS = ("input_bytes", "input_reads", "output_bytes", "output_writes", "gil_wait_count")


def request_metrics(told, before, threads, embedded):
    """Return the metrics of a window in which `told` was counted, and what to give as `before` for the next one."""
    import resource

    usage, rss = resource.getrusage(resource.RUSAGE_SELF), _rss()
    cpu = (usage.ru_utime, usage.ru_stime)
    of_threads = {thread[0]: _cpu_of_thread(thread[0]) for thread in told["threads"]}
    cpu_before, threads_before = before or ((0.0, 0.0), {})
    period = max((told["stop"] - told["start"]) / 1e6, 1e-6)
    user, system = ((now - then) / period for now, then in zip(cpu, cpu_before, strict=True))
    busy = [thread[2] / 1e6 for thread in told["threads"]]
    metrics = {
        "pid": told["pid"],
        "start_time": told["start"] / 1e6,
        "stop_time": told["stop"] / 1e6,
        "sample_period": period,
        "cpu_utilization": user + system,
        "cpu_user_utilization": user,
        "cpu_system_utilization": system,
        "cpu_time": user + system,
        "cpu_user_time": user,
        "cpu_system_time": system,
        "memory_max_rss": max(usage.ru_maxrss * 1024, rss),
        "memory_rss": rss,
        "request_threads_maximum": threads,
        "request_threads_started": len(told["threads"]),
        "request_threads_active": sum(1 for thread in told["threads"] if thread[3]),
        "capacity_utilization": min(sum(busy) / (period * threads), 1.0),
        "request_count": told["request_count"],
        "request_throughput": told["request_count"] / period,
    }
    metrics.update(zip(_STATUS, told["status"], strict=True))
    metrics.update((name, told[name]) for name in _FLOWS)
    for name, (count, total, least, most, buckets) in told["phases"].items():
        if embedded and name in ("queue_time", "daemon_time"):
            mean = least = most = buckets = None
        else:
            mean = total / count / 1e6 if count else None
            buckets = list(buckets)
        metrics.update({name: mean, f"{name}_min_us": least, f"{name}_max_us": most, f"{name}_buckets": buckets})
    completed = [thread[1] for thread in told["threads"]]
    metrics["request_threads_completed"] = completed
    metrics["request_threads_buckets"] = list(completed)
    metrics["request_threads_busy_time"] = busy
    metrics["request_threads_cpu_time"] = [time - threads_before.get(tid, 0.0) for tid, time in of_threads.items()]
    metrics["request_threads_current_elapsed"] = [thread[3] / 1e6 for thread in told["threads"]]
    metrics["request_threads_max_duration"] = [thread[4] / 1e6 for thread in told["threads"]]
    return metrics, (cpu, of_threads)


def process_metrics(told):
    """Return the metrics of the process since its begin."""
    import resource

    # The system counts the former now and then only.
    usage, rss = resource.getrusage(resource.RUSAGE_SELF), _rss()
    return {
        "pid": told["pid"],
        "request_busy_time": sum(thread[2] for thread in told["threads"]) / 1e6,
        "request_count": told["request_count"],
        "memory_max_rss": max(usage.ru_maxrss * 1024, rss),
        "memory_rss": rss,
        "cpu_user_time": usage.ru_utime,
        "cpu_system_time": usage.ru_stime,
        "cpu_time": usage.ru_utime + usage.ru_stime,
        "restart_time": told["process_start"] / 1e6,
        "current_time": told["stop"] / 1e6,
        "running_time": int((told["stop"] - told["process_start"]) / 1e6),
        "request_threads": len(told["threads"]),
        "active_requests": sum(1 for thread in told["threads"] if thread[3]),
        "threads": [
            {"thread_id": number, "request_count": thread[5]} for number, thread in enumerate(told["threads"], 1)
        ],
    }


def server_metrics(scoreboard):
    """Return what the scoreboard says; None if it may not be seen."""
    import json

    return None if scoreboard is None else json.loads(scoreboard)


def _rss():
    import resource

    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def _cpu_of_thread(tid):
    try:
        with open(f"/proc/self/task/{tid}/schedstat") as file:
            return int(file.read().split()[0]) / 1e9
    except OSError:
        return 0.0

use std::collections::HashSet;

use super::*;

fn parse(options: &str) -> Result<DaemonOptions, Refusal> {
    DaemonOptions::parse(Words::new(format!("shop {options}").as_bytes()))
}

fn good(options: &str) -> DaemonOptions {
    parse(options).unwrap_or_else(|refusal| panic!("{options}: {refusal}"))
}

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

#[test]
fn all_names() {
    assert_eq!(names().count(), 44 + 6, "mod_wsgi's and ours");
    assert_eq!(names().collect::<HashSet<_>>().len(), names().count());
    let idle: Vec<&str> = names().filter(|name| no_effect(name.as_bytes()).is_some()).collect();
    assert_eq!(idle, ["response-buffer-size", "socket-user"]);
}

#[test]
fn name_alone_gives_the_defaults() {
    let options = good("");
    assert_eq!(options, DaemonOptions::new(b"shop".to_vec()));
    assert_eq!((options.processes(), options.multiprocess()), (1, false));
    assert_eq!((options.threads, options.multithread()), (15, true));
    assert_eq!(options.graceful_timeout, seconds(15));
    assert_eq!(options.eviction_timeout, None);
    assert_eq!(options.shutdown_timeout, seconds(5));
    assert_eq!(options.deadlock_timeout, seconds(300));
    assert_eq!(options.connect_timeout, Duration::ZERO);
    assert_eq!(options.queue_limit(), 100);
    assert!(DaemonOptions::parse(Words::new(b"")).is_err());
}

#[test]
fn values() {
    let options = good(
        "processes=1 threads=3x user=shop group=#33 supplementary-groups=www,#44 umask=0027 home=/srv/shop \
         python=/usr/bin/python3.11 python-home=/srv/shop/venv python-path=/a:/b lang=C.UTF-8 env=A=1 env=B= \
         display-name=%{GROUP} switch-interval=0.02 server-metrics=on maximum-requests=1.5 request-timeout=60 \
         graceful-timeout=0 eviction-timeout=7 response-flush-delay=0 response-buffer-size=65536 cpu-priority=-5 \
         memory-limit=4294967296 graceful-reload=Off request-spool=ON queue-limit=20 listen-backlog=5",
    );
    assert_eq!((options.processes(), options.multiprocess()), (1, true));
    assert_eq!(options.threads, 3);
    assert_eq!(options.user, Some(Account::Name(b"shop".to_vec())));
    assert_eq!(options.group, Some(Account::Number(33)));
    let groups = vec![Account::Name(b"www".to_vec()), Account::Number(44)];
    assert_eq!(options.supplementary_groups, Some(groups));
    assert_eq!(options.umask, Some(0o27));
    assert_eq!(options.home, Some("/srv/shop".into()));
    assert_eq!(options.python, Some("/usr/bin/python3.11".into()));
    assert_eq!(options.python_home, Some("/srv/shop/venv".into()));
    assert_eq!(options.python_path, b"/a:/b");
    assert_eq!(options.lang.as_deref(), Some(&b"C.UTF-8"[..]));
    let env = [(b"A".to_vec(), b"1".to_vec()), (b"B".to_vec(), Vec::new())];
    assert_eq!(options.env, env);
    assert_eq!(options.title().as_deref(), Some(&b"(wsgi:shop)"[..]));
    assert_eq!(options.switch_interval, Some(0.02));
    assert!(options.server_metrics);
    assert_eq!(options.maximum_requests, Some(1));
    assert_eq!(options.request_timeout, seconds(60));
    assert_eq!(options.graceful_timeout, None);
    assert_eq!(options.eviction_timeout, seconds(7));
    assert_eq!(options.response_flush_delay, Duration::ZERO);
    assert_eq!(options.response_buffer_size, 65_536);
    assert_eq!(options.cpu_priority, -5);
    assert_eq!(options.memory_limit, Some(1 << 32));
    assert_eq!(options.graceful_reload, Some(false));
    assert!(options.request_spool);
    assert_eq!(options.queue_limit(), 20);
    assert!(good("threads=1 maximum-requests=1").run_once());
    assert!(good("threads=0").service());
    assert_eq!(good("listen-backlog=0").queue_limit(), 1);
    assert_eq!(good("display-name=shop").title().as_deref(), Some(&b"shop"[..]));
    assert_eq!(good("threads=2 threads=4").threads, 4, "the last one counts");
}

#[test]
fn zero_is_off_or_the_default() {
    for name in [
        "maximum-requests",
        "inactivity-timeout",
        "memory-limit",
        "send-buffer-size",
        "cpu-time-limit",
    ] {
        let mut options = good(&format!("{name}=0"));
        options.written.clear();
        assert_eq!(options, DaemonOptions::new(b"shop".to_vec()), "{name}");
    }
    assert_eq!(good("response-buffer-size=0").response_buffer_size, 8 << 20);
    assert_eq!(good("header-buffer-size=0").header_buffer_size, None);
    assert_eq!(good("shutdown-timeout=0").shutdown_timeout, None);
    assert_eq!(good("deadlock-timeout=0").deadlock_timeout, None);
}

#[test]
fn empty_values() {
    let allowed = [
        "supplementary-groups",
        "python-home",
        "python-path",
        "python-eggs",
        "lang",
        "locale",
        "display-name",
    ];
    for name in names() {
        let parsed = parse(&format!("{name}="));
        assert_eq!(parsed.is_ok(), allowed.contains(&name), "{name}");
    }
    assert_eq!(good("supplementary-groups=").supplementary_groups, Some(Vec::new()));
    assert_eq!(good("python-home= lang=").python_home, None);
}

#[test]
fn negative_numbers() {
    for name in [
        "maximum-requests",
        "inactivity-timeout",
        "request-timeout",
        "interrupt-timeout",
        "graceful-timeout",
        "eviction-timeout",
        "shutdown-timeout",
        "deadlock-timeout",
        "startup-timeout",
        "restart-interval",
        "connect-timeout",
        "socket-timeout",
        "queue-timeout",
        "response-socket-timeout",
        "response-flush-delay",
        "response-buffer-size",
        "header-buffer-size",
        "send-buffer-size",
        "receive-buffer-size",
        "listen-backlog",
        "cpu-time-limit",
        "memory-limit",
        "virtual-memory-limit",
    ] {
        let refusal = parse(&format!("{name}=-1")).unwrap_err();
        assert_eq!(refusal, format!("option '{name}' must be 0 or greater, not '-1'"));
    }
}

#[test]
fn refusals() {
    let cases = [
        ("processes=0", "option 'processes' must be at least 1, not '0'"),
        ("processes=-2", "option 'processes' must be at least 1, not '-2'"),
        ("processes=many", "option 'processes' must be a number, not 'many'"),
        ("threads=-1", "option 'threads' must be 0 or greater, not '-1'"),
        ("threads=65534", "option 'threads' must be at most 65533, not '65534'"),
        (
            "threads=99999999999999999999",
            "option 'threads' must be a smaller number, not '99999999999999999999'",
        ),
        ("user=#0", "option 'user' must be another user than root, not '#0'"),
        ("user=#1x", "option 'user' must be a name, or # and a number, not '#1x'"),
        ("user=#", "option 'user' must be a name, or # and a number, not '#'"),
        (
            "group=#4294967295",
            "option 'group' must be a name, or # and a number, not '#4294967295'",
        ),
        (
            "supplementary-groups=a,#b",
            "option 'supplementary-groups' must be a name, or # and a number, not 'a,#b'",
        ),
        (
            "umask=8",
            "option 'umask' must be an octal number such as 0027, not '8'",
        ),
        (
            "umask=-1",
            "option 'umask' must be an octal number such as 0027, not '-1'",
        ),
        (
            "umask=+7",
            "option 'umask' must be an octal number such as 0027, not '+7'",
        ),
        (
            "umask=1000",
            "option 'umask' must be an octal number such as 0027, not '1000'",
        ),
        ("home=srv", "option 'home' must be an absolute path, not 'srv'"),
        ("chroot=srv", "option 'chroot' must be an absolute path, not 'srv'"),
        (
            "python=python3",
            "option 'python' must be an absolute path, not 'python3'",
        ),
        ("env=A", "option 'env' must be NAME=VALUE, not 'A'"),
        ("env==1", "option 'env' must be NAME=VALUE, not '=1'"),
        (
            "switch-interval=0",
            "option 'switch-interval' must be a number of seconds greater than 0, not '0'",
        ),
        (
            "switch-interval=1s",
            "option 'switch-interval' must be a number of seconds greater than 0, not '1s'",
        ),
        (
            "switch-interval=inf",
            "option 'switch-interval' must be a number of seconds greater than 0, not 'inf'",
        ),
        ("server-metrics=1", "option 'server-metrics' must be On or Off, not '1'"),
        (
            "response-buffer-size=65535",
            "option 'response-buffer-size' must be 0 or at least 65536 bytes, not '65535'",
        ),
        (
            "header-buffer-size=8191",
            "option 'header-buffer-size' must be 0 or at least 8192 bytes, not '8191'",
        ),
        (
            "send-buffer-size=511",
            "option 'send-buffer-size' must be 0 or at least 512 bytes, not '511'",
        ),
        (
            "receive-buffer-size=1",
            "option 'receive-buffer-size' must be 0 or at least 512 bytes, not '1'",
        ),
        ("stack-size=0", "option 'stack-size' must be greater than 0, not '0'"),
        ("stack-size=-1", "option 'stack-size' must be greater than 0, not '-1'"),
        ("queue-limit=0", "option 'queue-limit' must be at least 1, not '0'"),
        ("Threads=1", "unknown option 'Threads' of a daemon process group"),
        (
            "proxy-buffer-size=1",
            "option 'proxy-buffer-size' is called 'response-buffer-size' now",
        ),
        (
            "script-user=a script-group=b",
            "options 'script-user' and 'script-group' exclude each other: remove one",
        ),
        (
            "threads",
            "'threads' is not an option: write name=value, without blanks around =",
        ),
    ];
    for (options, expected) in cases {
        assert_eq!(parse(options).unwrap_err(), expected, "{options}");
    }
}

#[test]
fn what_was_written_gives_the_same_options() {
    let options = good(r#"threads=2 env="A=x y" display-name='a "b"' env=A=2"#);
    let again = DaemonOptions::from_written(options.name.clone(), options.written.clone());
    assert_eq!(again, Ok(options));
}

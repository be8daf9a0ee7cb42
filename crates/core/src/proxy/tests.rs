use super::*;

/// What changes for a request with these headers from `peer`.
fn changes(headers: &str, proxies: Option<&str>, peer: &str, sent: &[(&str, &'static str)]) -> Changes<'static> {
    let headers: Vec<_> = headers
        .split_whitespace()
        .map(|name| Header::parse(name.as_bytes()).unwrap().unwrap())
        .collect();
    let parse = |word: &str| Network::parse(word.as_bytes()).unwrap();
    let proxies: Option<Vec<Network>> = proxies.map(|words| words.split_whitespace().map(parse).collect());
    apply(&headers, proxies.as_deref(), peer.as_bytes(), |key| {
        let header = HEADERS.iter().find(|header| header.key == key)?;
        let found = sent.iter().find(|(name, _)| *name == header.name)?;
        Some(found.1.as_bytes())
    })
}

fn entry(changes: &Changes<'_>, key: &str) -> Option<String> {
    let found = changes.entries.iter().rfind(|(name, _)| *name == key)?;
    Some(String::from_utf8_lossy(&found.1).into_owned())
}

#[test]
fn names() {
    assert_eq!(Header::parse(b"x-forwarded-FOR").unwrap(), Some(&HEADERS[0]));
    assert_eq!(Header::parse(b"Forwarded").unwrap(), None);
    for bad in ["", "X_Real_IP", "X-Real-IP,", "X Real", "X-\u{e4}"] {
        let refusal = Header::parse(bad.as_bytes()).unwrap_err();
        assert!(refusal.contains(&format!("'{bad}'")), "{refusal}");
    }
    for header in &HEADERS {
        let key = format!("HTTP_{}", header.name.to_uppercase().replace('-', "_"));
        assert_eq!(header.key, key);
    }
}

#[test]
fn chains() {
    let cases = [
        // (proxies, value, client, what is left of it)
        (None, "1.1.1.1, 2.2.2.2", Some("1.1.1.1"), None),
        (None, " , junk ,2.2.2.2", Some("junk"), None),
        (None, " , ,", None, None),
        (
            Some("10"),
            "1.1.1.1, 2.2.2.2, 10.0.0.1",
            Some("2.2.2.2"),
            Some("2.2.2.2, 10.0.0.1"),
        ),
        (
            Some("10"),
            "1.1.1.1,10.0.0.1 , 10.0.0.2",
            Some("1.1.1.1"),
            Some("1.1.1.1, 10.0.0.1, 10.0.0.2"),
        ),
        (
            Some("10"),
            "10.0.0.3, 10.0.0.1",
            Some("10.0.0.3"),
            Some("10.0.0.3, 10.0.0.1"),
        ),
        (Some("10"), "10.0.0.1, 2.2.2.2", Some("2.2.2.2"), Some("2.2.2.2")),
        (
            Some("10"),
            "1.1.1.1, evil.example, 10.0.0.1,",
            Some("evil.example"),
            Some("evil.example, 10.0.0.1"),
        ),
        (
            Some("10"),
            "10.0.0.9, 10.0.0.1:80",
            Some("10.0.0.1:80"),
            Some("10.0.0.1:80"),
        ),
        (
            Some("10 fd00::/8"),
            "1.1.1.1, [fd00::1], fd00::2",
            Some("[fd00::1]"),
            Some("[fd00::1], fd00::2"),
        ),
        (Some("10"), ",", None, None),
    ];
    for (proxies, value, client, left) in cases {
        let changes = changes("X-Forwarded-For", proxies, "10.0.0.1", &[("X-Forwarded-For", value)]);
        assert_eq!(entry(&changes, "REMOTE_ADDR").as_deref(), client, "{value}");
        assert_eq!(entry(&changes, "HTTP_X_FORWARDED_FOR").as_deref(), left, "{value}");
        assert_eq!(changes.removed, ["HTTP_X_CLIENT_IP", "HTTP_X_REAL_IP"]);
    }
}

#[test]
fn each_header_has_its_effect() {
    for (name, key) in [
        ("X-Client-IP", "REMOTE_ADDR"),
        ("X-Real-IP", "REMOTE_ADDR"),
        ("X-Forwarded-Host", "HTTP_HOST"),
        ("X-Host", "HTTP_HOST"),
        ("X-Forwarded-Server", "SERVER_NAME"),
        ("X-Forwarded-Port", "SERVER_PORT"),
        ("X-Script-Name", "SCRIPT_NAME"),
        ("X-Forwarded-Script-Name", "mod_wsgi.mount_point"),
    ] {
        let changes = changes(name, None, "", &[(name, "value")]);
        assert_eq!(entry(&changes, key).as_deref(), Some("value"), "{name}");
        assert!(!changes.scheme_said);
    }
}

#[test]
fn schemes() {
    for (name, value, https) in [
        ("X-Forwarded-Proto", "HTTPS", Some(true)),
        ("X-Forwarded-Scheme", "http", Some(false)),
        ("X-Scheme", "on", None),
        ("X-Forwarded-HTTPS", "On", Some(true)),
        ("X-Forwarded-SSL", "TRUE", Some(true)),
        ("X-HTTPS", "1", Some(true)),
        ("X-HTTPS", "oFF", Some(false)),
        ("X-HTTPS", "false", Some(false)),
        ("X-HTTPS", "0", Some(false)),
        ("X-HTTPS", "https", None),
    ] {
        let changes = changes(name, None, "", &[(name, value)]);
        assert_eq!((changes.scheme_said, changes.https), (true, https), "{name}: {value}");
    }
    // What means nothing leaves what was said before.
    let sent = [("X-HTTPS", "on"), ("X-Scheme", "gopher")];
    let changes = changes("X-HTTPS X-Scheme", None, "", &sent);
    assert_eq!(changes.https, Some(true));
    assert!(changes.removed.contains(&"HTTP_X_HTTPS") && !changes.removed.contains(&"HTTP_X_SCHEME"));
}

#[test]
fn the_last_of_a_kind_that_is_there_wins() {
    let sent = [("X-Real-IP", "1.1.1.1"), ("X-Client-IP", "2.2.2.2")];
    let later = changes("X-Client-IP X-Real-IP X-Forwarded-For", None, "", &sent);
    assert_eq!(entry(&later, "REMOTE_ADDR").as_deref(), Some("1.1.1.1"));
    assert_eq!(later.removed, ["HTTP_X_FORWARDED_FOR", "HTTP_X_CLIENT_IP"]);
    let earlier = changes("X-Real-IP X-Client-IP", None, "", &sent);
    assert_eq!(entry(&earlier, "REMOTE_ADDR").as_deref(), Some("2.2.2.2"));
}

#[test]
fn who_is_not_trusted_is_not_believed() {
    let sent = [("X-Real-IP", "1.1.1.1"), ("X-Scheme", "https"), ("X-Host", "x")];
    for (peer, trusted) in [
        ("10.0.0.1", true),
        ("::ffff:10.0.0.1", true),
        ("11.0.0.1", false),
        ("", false),
        ("proxy.example", false),
    ] {
        let changes = changes("X-Real-IP X-Scheme", Some("10.0.0.0/8"), peer, &sent);
        assert_eq!(!changes.entries.is_empty(), trusted, "{peer}");
        assert_eq!(changes.scheme_said, trusted, "{peer}");
        assert_eq!(!changes.removed.contains(&"HTTP_X_REAL_IP"), trusted, "{peer}");
        // Kinds of which no header is listed stay as they are.
        assert!(!changes.removed.contains(&"HTTP_X_HOST"));
    }
}

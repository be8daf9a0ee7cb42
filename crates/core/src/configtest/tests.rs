use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// A tree of a text as httpd would read it, without variables and continued lines.
fn tree(text: &str) -> Vec<Node> {
    let mut open: Vec<Vec<Node>> = vec![Vec::new()];
    let mut sections = Vec::new();
    for (line, text) in text.lines().enumerate() {
        let text = text.trim();
        if text.starts_with("</") {
            let mut section: Node = sections.pop().unwrap();
            section.children = open.pop().unwrap();
            open.last_mut().unwrap().push(section);
        } else if !text.is_empty() {
            let (name, arguments) = text.split_once(' ').unwrap_or((text, ""));
            let node = Node {
                name: name.to_owned(),
                arguments: arguments.as_bytes().to_vec(),
                place: Place {
                    file: "f".to_owned(),
                    line: u32::try_from(line).unwrap(),
                },
                children: Vec::new(),
            };
            if name.starts_with('<') {
                sections.push(node);
                open.push(Vec::new());
            } else {
                open.last_mut().unwrap().push(node);
            }
        }
    }
    open.pop().unwrap()
}

fn who(name: &str, uid: u32) -> Who {
    Who {
        name: name.to_owned(),
        uid,
        gid: uid,
        gids: vec![uid],
        has_acl: |_| false,
    }
}

fn group(name: &str, server: Option<&str>) -> Group {
    Group {
        name: name.into(),
        server: server.map(Into::into),
        who: who("ann", u32::MAX - 8),
        python_path: Vec::new(),
        chroot: false,
        processes: 2,
        threads: 15,
        python: Some(PythonPicture {
            path: "/v/bin/python".to_owned(),
            version: "3.11.2".to_owned(),
        }),
    }
}

/// A configuration with the group `all` for everybody and `own` of the host `a`.
fn configuration(text: &str) -> Configuration {
    let nodes = tree(text);
    let sections = nodes.iter().filter(|node| node.is("<VirtualHost"));
    let name = |section: &Node| {
        let named = section.children.iter().find(|node| node.is("ServerName"));
        named.map_or(b"main".to_vec(), |node| node.arguments.clone())
    };
    let hosts = sections.map(|section| Host {
        name: name(section),
        place: section.place.clone(),
    });
    Configuration {
        hosts: hosts.collect(),
        nodes,
        main: b"main".to_vec(),
        groups: vec![group("all", None), group("own", Some("a"))],
        who: who("www", u32::MAX - 7),
    }
}

fn findings(text: &str) -> Vec<String> {
    let found = review(&configuration(text));
    found
        .iter()
        .map(|finding| finding.to_string().chars().take(12).collect())
        .collect()
}

#[test]
fn groups() {
    let cases: &[(&str, &[&str])] = &[
        ("WSGIProcessGroup all", &[]),
        ("WSGIProcessGroup own", &[]),
        ("WSGIProcessGroup %{GLOBAL}", &[]),
        ("WSGIProcessGroup %{ENV:X}", &[]),
        ("wsgiprocessgroup none", &["WSGI0180: f:"]),
        ("<Location /x>\nWSGIProcessGroup none\n</Location>", &["WSGI0180: f:"]),
        ("WSGIScriptAlias /x $x process-group=none", &["WSGI0180: f:"]),
        (
            "WSGIHandlerScript h x process-group=none application-group=a",
            &["WSGI0180: f:"],
        ),
        (
            "<VirtualHost *:80>\nServerName a\nWSGIProcessGroup own\n</VirtualHost>",
            &[],
        ),
        (
            "<VirtualHost *:80>\nServerName b\nWSGIProcessGroup own\n</VirtualHost>",
            &["WSGI0181: f:"],
        ),
        (
            "<VirtualHost *:80>\nServerName b\n<Location /x>\nWSGIProcessGroup own\n</Location>\n</VirtualHost>",
            &["WSGI0181: f:"],
        ),
        ("WSGITrustedProxyHeaders X-Real-IP Forwarded", &["WSGI0185: f:"]),
    ];
    for (text, expected) in cases {
        assert_eq!(findings(text), *expected, "{text}");
    }
}

#[test]
fn hidden_aliases() {
    let alias = |urls: &[&str]| {
        let lines = urls.iter().enumerate();
        let text: String = lines.map(|(i, url)| format!("WSGIScriptAlias {url} x{i}\n")).collect();
        findings(&text).len()
    };
    assert_eq!(alias(&["/", "/x"]), 1);
    assert_eq!(alias(&["/x", "/x/y", "/z", "/"]), 1);
    assert_eq!(alias(&["/x/y", "/x", "/xy", "/"]), 0);
    assert_eq!(alias(&["/x/", "/x"]), 0);
    assert_eq!(alias(&["/x", "/x"]), 1);
    for (text, expected) in [
        ("WSGIScriptAlias / x\nWSGIScriptAliasMatch ^/y x", 1),
        ("WSGIScriptAliasMatch ^/y x\nWSGIScriptAlias /y x", 0),
        ("WSGIScriptAlias /y x\nWSGIScriptAliasMatch ^/y x", 0),
        ("WSGIScriptAlias /x y\nWSGIScriptAlias /x y", 0),
        (
            "WSGIScriptAlias / x\n<VirtualHost *>\nWSGIScriptAlias /x y\n</VirtualHost>",
            0,
        ),
        (
            "<VirtualHost *>\nWSGIScriptAlias / y\nWSGIScriptAlias /x y\n</VirtualHost>",
            1,
        ),
    ] {
        assert_eq!(findings(text).len(), expected, "{text}");
    }
}

#[test]
fn scripts() {
    let base = std::env::temp_dir().join(format!("wsgi-configtest-{}", std::process::id()));
    let (open, closed) = (base.join("open"), base.join("closed"));
    for folder in [&open, &closed] {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("app"), "").unwrap();
        fs::write(folder.join("private"), "").unwrap();
        fs::set_permissions(folder.join("private"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::set_permissions(&base, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let alias = |script: &std::path::Path, more: &str| {
        let text = format!("WSGIScriptAlias / {}{more}", script.display());
        review(&configuration(&text))
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let seen = [
        alias(&open.join("app"), ""),
        alias(&open, ""),
        alias(&open.join("none"), ""),
        alias(&open.join("private"), ""),
        alias(&open.join("private"), " process-group=all"),
        alias(&open.join("private"), "\nWSGIProcessGroup %{ENV:X}"),
        alias(&closed.join("app"), ""),
        alias(&closed.join("app"), "\nAssignUserID ann ann"),
    ];
    let line = |line: &str| findings(&line.replace('@', &open.display().to_string())).join(" ");
    let others = [
        line("WSGIAccessScript @/app"),
        line("WSGIAccessScript @/private"),
        line("<Location /x>\nWSGIAuthUserScript @/none\n</Location>"),
        line("WSGIHandlerScript h @/private"),
        line("WSGIHandlerScript h @/private process-group=all"),
        line("WSGIImportScript @/private process-group=%{ENV:X} application-group=x"),
    ];
    let mut with_path = configuration("\nWSGIDaemonProcess all");
    with_path.groups[0].python_path =
        format!("{0}:{0}/in:{1}:/no/such/folder", closed.display(), open.display()).into();
    let path: Vec<String> = review(&with_path).iter().map(ToString::to_string).collect();
    fs::remove_dir_all(&base).unwrap();
    let codes: Vec<Vec<&str>> = seen
        .iter()
        .map(|said| said.iter().map(|text| &text[..8]).collect())
        .collect();
    let expected: [&[&str]; 8] = [
        &[],
        &[],
        &["WSGI0186"],
        &["WSGI0183"],
        &["WSGI0183"],
        &[],
        &["WSGI0182"],
        &[],
    ];
    assert_eq!(codes, expected);
    let expected = ["", "WSGI0183: f:", "WSGI0186: f:", "", "WSGI0183: f:", "WSGI0197: f:"];
    assert_eq!(others, expected);
    assert!(
        seen[3][0].contains("the user www that httpd's children run as"),
        "{}",
        seen[3][0]
    );
    assert!(seen[4][0].contains("the user ann that the daemons"), "{}", seen[4][0]);
    assert!(
        seen[6][0].contains(&format!("it may not enter {};", closed.display())),
        "{}",
        seen[6][0]
    );
    assert_eq!(path.len(), 3, "{path:?}");
    assert!(
        path.iter()
            .all(|text| text.starts_with("WSGI0187: f:1: WSGIDaemonProcess all: ")),
        "{path:?}"
    );
}

#[test]
fn settings_of_inner_places_win() {
    let text = "
        WSGIProcessGroup all
        WSGIApplicationGroup main
        WSGIScriptAlias /plain /srv/a/app
        WSGIScriptAlias /option /srv/a/app process-group=%{GLOBAL} application-group=%{GLOBAL} callable-object=x
        <Location /plain>
            WSGIApplicationGroup location
        </Location>
        <Location ~ ^/plain>
            WSGIApplicationGroup pattern
        </Location>
        <Directory /srv/a>
            WSGICallableObject inner
            <Files app>
                WSGIProcessGroup %{ENV:WHO}
            </Files>
        </Directory>
        <Directory /srv>
            WSGICallableObject outer
        </Directory>
        <VirtualHost *:80 [::]:80>
            ServerName a
            WSGIProcessGroup own
            WSGIScriptAliasMatch ^/x(.*) /srv/b/$1
            <Directory /srv/sites>
                AddHandler wsgi-script .py
            </Directory>
        </VirtualHost>";
    let own = Some("/p".to_owned());
    let python = PythonPicture {
        path: own.clone().unwrap(),
        version: "3.12.1".to_owned(),
    };
    let picture = Picture::of(&configuration(text), Some(python));
    let [main, host] = &picture.hosts[..] else {
        panic!("{picture:?}")
    };
    let row = |row: &Row| {
        let group = row.process_group.clone().unwrap_or_default();
        let python = row.python.as_ref().map_or("", |python| &python.path).to_owned();
        let user = row.user.clone().unwrap_or_default();
        [
            row.url.clone(),
            group,
            row.application_group.clone(),
            row.callable.clone(),
            python,
            user,
        ]
    };
    let rows: Vec<_> = main.rows.iter().map(row).collect();
    let expected = [
        ["/plain", "%{ENV:WHO}", "location", "inner", "", ""],
        ["/option", "", "%{GLOBAL}", "x", "/p", "www"],
        [
            "<Location /plain>",
            "all",
            "location",
            "application",
            "/v/bin/python",
            "ann",
        ],
        [
            "<Location ~ ^/plain>",
            "all",
            "pattern",
            "application",
            "/v/bin/python",
            "ann",
        ],
        ["<Directory /srv/a>", "all", "main", "inner", "/v/bin/python", "ann"],
        [
            "<Files app> in <Directory /srv/a>",
            "%{ENV:WHO}",
            "main",
            "inner",
            "",
            "",
        ],
        ["<Directory /srv>", "all", "main", "outer", "/v/bin/python", "ann"],
    ];
    assert_eq!(rows, expected.map(|row| row.map(str::to_owned)));
    assert_eq!(
        (host.name.as_str(), host.addresses.as_deref()),
        ("a", Some("*:80 [::]:80"))
    );
    let rows: Vec<_> = host.rows.iter().take(2).map(row).collect();
    let expected = [
        ["~ ^/x(.*)", "own", "main", "outer", "/v/bin/python", "ann"],
        [
            "AddHandler wsgi-script .py in <Directory /srv/sites>",
            "own",
            "main",
            "outer",
            "/v/bin/python",
            "ann",
        ],
    ];
    assert_eq!(rows, expected.map(|row| row.map(str::to_owned)));
    assert_eq!(host.rows.len(), 2 + main.rows.len());
}

#[test]
fn python_in_children() {
    let daemons = "WSGIProcessGroup shop\n";
    for none in [
        "",
        "SetHandler cgi-script\n<Directory /a>\nAllowOverride None\n</Directory>",
        "<Directory /a>\nAllowOverride Limit Options=ExecCGI Nonfatal=All\nAllowOverrideList None\n</Directory>",
        "<VirtualHost *>\nWSGIProcessGroup shop\nAddHandler wsgi-script .wsgi\n</VirtualHost>",
        "<Directory /a>\nWSGIProcessGroup shop\nSetHandler wsgi-script\nAllowOverride FileInfo\n</Directory>",
        "<Directory /a>\nWSGIProcessGroup shop\n<Files x>\nSetHandler wsgi-script\n</Files>\n</Directory>",
        "WSGIHandlerScript one /a.py process-group=shop",
        "WSGIScriptAlias /x /a/wsgi-script process-group=shop\nWSGIProcessGroup shop",
    ] {
        assert!(!may_need_python(&tree(none)), "{none}");
    }
    for some in [
        "<Location /a>\nWSGIProcessGroup %{GLOBAL}\n</Location>",
        "<If \"true\">\nwsgiprocessgroup %{ENV:GROUP}\n</If>",
        "<Directory /a>\nAllowOverride Limit AuthConfig\n</Directory>",
        "<Directory /a>\nAllowOverride all\n</Directory>",
        "<Directory /a>\nAllowOverrideList WSGIAccessScript\n</Directory>",
        "WSGIHandlerScript one /a.py process-group=%{GLOBAL}",
    ] {
        assert!(may_need_python(&tree(some)), "{some}");
        assert!(may_need_python(&tree(&format!("{daemons}{some}"))), "{some}");
    }
    for uncovered in [
        "<Directory /a>\nAllowOverride FileInfo\n</Directory>",
        "<Directory /a>\nAddHandler WSGI-Script .wsgi\n</Directory>",
        "AddType application/x-httpd-wsgi .wsgi",
        "RewriteRule ^ - [H=wsgi-script]",
        "WSGIHandlerScript one /a.py application-group=one",
    ] {
        assert!(may_need_python(&tree(uncovered)), "{uncovered}");
        assert!(!may_need_python(&tree(&format!("{daemons}{uncovered}"))), "{uncovered}");
    }
}

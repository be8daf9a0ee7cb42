//! The page of all directives, as `docs/directives.md` holds it: written from the tables, so that it says what they do.

use std::fmt::Write;

use wsgi_core::daemon_options;

use super::TOPICS;
use crate::httpd::command::{Directive, Place};
use crate::module::Wsgi;

const INTRODUCTION: &str = "# Directives

<!-- Written by script/docs from the tables in src/directives and crates/core/src/daemon_options. Change those. -->

All directives, and all options of `WSGIDaemonProcess`. `httpd -t -D DUMP_WSGI_DIRECTIVES` prints this page as the \
installed module has it.

**Context** says where a directive may stand: *main*, outside of any section; *virtual host*, in `<VirtualHost>`; \
*directory*, in `<Directory>`, `<Location>`, `<Files>` and `<If>`; *.htaccess*, in such a file if `AllowOverride` has \
the word under **Override**. The innermost place counts: main, virtual host, directory, `.htaccess`, `<Location>`; \
options of an alias go before all of them. **Default** is what holds without the directive.

Names of process and application groups: `%{GLOBAL}` is httpd's own processes, or the main interpreter; `%{SERVER}` is \
`ServerName`, with the port of the listener unless that is 80 or 443; `%{HOST}` the same with the host that the client \
asks for; `%{RESOURCE}` as `%{SERVER}` with `|` and the script's place in the URL; `%{ENV:name}` a variable of the \
request (`SetEnvIf`, `RewriteRule`, `SetEnv`), or one of the process. Numbers may have something behind them, which is \
ignored; flags are On or Off in any case.
";

/// The page.
pub fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for topic in TOPICS {
        let _ = write!(page, "\n## {}\n\n", topic.title);
        page.push_str(
            "| Directive | Arguments | Default | Context | Override | What it does |\n|---|---|---|---|---|---|\n",
        );
        for directive in topic.directives {
            let name = directive.name.to_string_lossy();
            let close = if name.starts_with('<') { ">" } else { "" };
            let cells = [
                format!("`{name}{close}`"),
                code(directive.arguments),
                code(directive.default),
                context(directive).to_owned(),
                allowed_by(directive).to_owned(),
                directive.help.to_string_lossy().into_owned(),
            ];
            row(&mut page, &cells);
        }
    }
    page.push_str("\n## Options of WSGIDaemonProcess\n\n| Option | Default | What it does |\n|---|---|---|\n");
    for option in daemon_options::table() {
        let cells = [
            code(&format!("{}={}", option.name, option.value)),
            code(option.default),
            option.help.to_owned(),
        ];
        row(&mut page, &cells);
    }
    page
}

fn context(directive: &Directive<Wsgi>) -> &'static str {
    match directive.place {
        Place::Main => "main",
        Place::Server => "main, virtual host",
        Place::Directory => "main, virtual host, directory",
        Place::FileInfo => "main, virtual host, directory, .htaccess",
        Place::AuthConfig => "directory, .htaccess",
    }
}

fn allowed_by(directive: &Directive<Wsgi>) -> &'static str {
    match directive.place {
        Place::Main | Place::Server | Place::Directory => "",
        Place::FileInfo => "FileInfo",
        Place::AuthConfig => "AuthConfig",
    }
}

fn code(text: &str) -> String {
    match text {
        "" => String::new(),
        _ => format!("`{text}`"),
    }
}

fn row(page: &mut String, cells: &[String]) {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    let _ = writeln!(page, "| {} |", cells.join(" | "));
}

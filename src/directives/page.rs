//! The page of all directives, as `docs/directives.md` holds it: written from the tables, so that it says what they do.

use std::fmt::Write;

use wsgi_core::daemon_options;

use super::TOPICS;
use crate::httpd::command::{Directive, Place, Set};
use crate::module::Wsgi;

const INTRODUCTION: &str = "\
# Directives

<!-- Written by `httpd -t -D DUMP_WSGI_DIRECTIVES` from the tables in src/directives and crates/core/src/daemon_options; \
                            change it there. -->

Where a directive may stand: *main*, outside of any section; *virtual host*, there too; *directory*, in `<Directory>`, \
                            `<Location>`, `<Files>` and `<If>`; *.htaccess*, if `AllowOverride` has the word in \
                            parentheses. Of settings that may stand in several of them the innermost holds. Names of \
                            groups can be `%{GLOBAL}`, `%{SERVER}`, `%{HOST}`, `%{RESOURCE}` and `%{ENV:variable}`.
";

/// The page.
pub fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for topic in TOPICS {
        let _ = write!(page, "\n## {}\n\n", topic.title);
        page.push_str("| Directive | Arguments | Default | May stand in | What it does |\n|---|---|---|---|---|\n");
        for directive in topic.directives {
            let name = directive.name.to_string_lossy();
            let close = if name.starts_with('<') { ">" } else { "" };
            let cells = [
                format!("`{name}{close}`"),
                code(directive.arguments),
                code(directive.default),
                place(directive).to_owned(),
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

fn place(directive: &Directive<Wsgi>) -> &'static str {
    match (directive.place, &directive.set) {
        (Place::Server, Set::Global(_) | Set::Section { .. }) => "main",
        (Place::Server, _) => "main, virtual host",
        (Place::Directory, _) => "main, virtual host, directory",
        (Place::FileInfo, _) => "main, virtual host, directory, .htaccess (FileInfo)",
        (Place::AuthConfig, _) => "directory, .htaccess (AuthConfig)",
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

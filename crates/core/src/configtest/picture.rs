//! The effective picture: what runs where. It goes from the module to `wsgictl check` as JSON.

use serde::{Deserialize, Serialize};

use super::Configuration;
use super::effective::Effective;
use super::htaccess::Allowed;
use super::mount::Mount;
use super::tree::Node;
use crate::group::GroupName;

/// What runs where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// The user of httpd's children.
    pub user: String,
    /// The Python of httpd's children, if one runs there.
    pub python: Option<Python>,
    /// The daemon process groups.
    pub groups: Vec<Group>,
    /// The main server, then each virtual host.
    pub hosts: Vec<Host>,
    /// What keeps httpd from starting.
    pub errors: Vec<String>,
    /// Likely mistakes.
    pub warnings: Vec<String>,
}

/// An interpreter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Python {
    /// Its path.
    pub path: String,
    /// Major, minor and micro version.
    pub version: String,
}

/// A daemon process group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// `ServerName` of the virtual host that may use it; `None`: all.
    pub server: Option<String>,
    /// Number of daemons.
    pub processes: u32,
    /// Threads of each for requests.
    pub threads: u32,
    /// Whom they run as.
    pub user: String,
    /// What they run, if it was found.
    pub python: Option<Python>,
}

/// A virtual host or the main server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// `ServerName`.
    pub name: String,
    /// The addresses of a virtual host as written; `None`: the main server.
    pub addresses: Option<String>,
    /// Where it begins.
    pub place: Option<String>,
    /// What it runs.
    pub rows: Vec<Row>,
    /// Where files may say more when a request comes.
    pub htaccess: Vec<Htaccess>,
}

/// A section whose `.htaccess` files are read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Htaccess {
    /// The section.
    pub section: String,
    /// `file:line` of the directive that lets them.
    pub place: String,
    /// They may choose handlers, callables and how requests are passed on.
    pub file_info: bool,
    /// They may name scripts that say who may come in.
    pub auth_config: bool,
}

/// One way to an application.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// URL path, `~ ` and a regular expression, or the directive and section that choose the handler.
    pub url: String,
    /// Script or folder; `None` where requests say it.
    pub script: Option<String>,
    /// `file:line` of the directive.
    pub place: String,
    /// As configured; `None`: httpd's own processes.
    pub process_group: Option<String>,
    /// As configured.
    pub application_group: String,
    /// Name of the callable.
    pub callable: String,
    /// What runs it, where that is known.
    pub python: Option<Python>,
    /// Whom it runs as, where that is known.
    pub user: Option<String>,
}

impl Picture {
    /// The picture of a configuration; `python` is that of httpd's children.
    pub fn of(configuration: &Configuration, python: Option<Python>) -> Picture {
        let mut picture = Picture {
            user: configuration.who.name.clone(),
            python,
            ..Picture::default()
        };
        picture.groups = configuration.groups.iter().map(Group::of).collect();
        let main: &[Node] = &configuration.nodes;
        let rows = picture.rows(&[main]);
        picture.hosts.push(Host {
            name: text(&configuration.main),
            addresses: None,
            place: None,
            rows,
            htaccess: Htaccess::of(main),
        });
        for section in configuration.host_sections() {
            let rows = picture.rows(&[main, &section.children]);
            let name = configuration
                .host(section)
                .map_or(&configuration.main, |host| &host.name);
            let addresses = text(section.arguments.strip_suffix(b">").unwrap_or(&section.arguments));
            picture.hosts.push(Host {
                name: text(name),
                addresses: Some(addresses),
                place: Some(section.place.to_string()),
                rows,
                htaccess: Htaccess::of(&section.children),
            });
        }
        picture
    }

    /// The rows of a virtual host, or of the main server: those that stand in it, then those that it has from outside.
    fn rows(&self, levels: &[&[Node]]) -> Vec<Row> {
        let mut rows = Vec::new();
        for level in levels.iter().rev() {
            for mount in Mount::of(level) {
                let settings = Effective::at(levels, mount.path(), &mount.target);
                let mut row = self.row(&settings, Some(&mount));
                row.url = format!("{}{}", if mount.regex { "~ " } else { "" }, text(&mount.url));
                row.script = Some(text(&mount.target));
                row.place = mount.node.place.to_string();
                rows.push(row);
            }
            for node in *level {
                self.sections(levels, node, &mut Vec::new(), &mut rows);
            }
        }
        rows
    }

    /// Handlers, and sections with groups or callables of their own.
    fn sections<'n>(&self, levels: &[&'n [Node]], node: &'n Node, within: &mut Vec<&'n Node>, rows: &mut Vec<Row>) {
        if node.is("<VirtualHost") {
            return;
        }
        let section = within.last().copied();
        let mut words = node.words();
        let handler = (node.is("SetHandler") || node.is("AddHandler"))
            && words
                .word()
                .is_some_and(|name| name == b"wsgi-script" || name == b"application/x-httpd-wsgi");
        let script = node
            .is("WSGIHandlerScript")
            .then(|| words.word().and_then(|_| words.word()))
            .flatten();
        // A section says where its own settings hold; each of them says it once.
        let groups = section.is_some_and(|section| {
            const SETTINGS: [&str; 3] = ["WSGIProcessGroup", "WSGIApplicationGroup", "WSGICallableObject"];
            let mut settings = section.children.iter();
            settings.find(|child| SETTINGS.iter().any(|name| child.is(name))) == Some(node)
        });
        if handler || script.is_some() || groups {
            let path = |name: &str| {
                let found = within.iter().find(|section| section.is(name));
                found.and_then(|section| section.path()).unwrap_or_default()
            };
            let mut settings = Effective::at(levels, &path("<Location"), &path("<Directory"));
            for section in &*within {
                settings = settings.under(&section.children);
            }
            let mut row = self.row(&settings, None);
            row.url = match (handler || script.is_some(), section) {
                (true, Some(_)) => format!("{node} in {}", around(within)),
                (true, None) => node.to_string(),
                (false, _) => around(within),
            };
            row.script = script.as_deref().map(text);
            row.place = node.place.to_string();
            if node.is("WSGIHandlerScript") {
                let name = node.words().word().unwrap_or_default();
                row.url = format!("handler {}", text(&name));
                // Handler scripts have no other.
                row.callable = "handle_request".to_owned();
                while let Ok(Some((name, value))) = words.option() {
                    match &name[..] {
                        b"process-group" => self.set_group(&mut row, &GroupName::parse(&value)),
                        b"application-group" => row.application_group = text(&value),
                        _ => {}
                    }
                }
            }
            rows.push(row);
        }
        within.push(node);
        for child in &node.children {
            self.sections(levels, child, within, rows);
        }
        within.pop();
    }

    fn row(&self, settings: &Effective<'_>, mount: Option<&Mount<'_>>) -> Row {
        let options = mount.map(|mount| &mount.options);
        let word = |node: Option<&Node>| node.and_then(Node::word);
        let mut row = Row {
            callable: options
                .and_then(|options| options.callable_object.clone())
                .or_else(|| word(settings.callable_object))
                .map_or("application".to_owned(), |name| text(&name)),
            application_group: options
                .and_then(|options| options.application_group.clone())
                .or_else(|| word(settings.application_group).map(|name| GroupName::parse(&name)))
                .unwrap_or(GroupName::Resource)
                .to_string(),
            ..Row::default()
        };
        let group = options
            .and_then(|options| options.process_group.clone())
            .or_else(|| word(settings.process_group).map(|name| GroupName::parse(&name)))
            .unwrap_or(GroupName::Global);
        self.set_group(&mut row, &group);
        row
    }

    fn set_group(&self, row: &mut Row, name: &GroupName) {
        (row.process_group, row.python, row.user) = match name {
            GroupName::Global => (None, self.python.clone(), Some(self.user.clone())),
            name => {
                let name = name.to_string();
                let group = self.groups.iter().find(|group| group.name == name);
                let python = group.and_then(|group| group.python.clone());
                (Some(name), python, group.map(|group| group.user.clone()))
            }
        };
    }
}

impl Htaccess {
    /// Those of these nodes, without what is in virtual hosts.
    fn of(nodes: &[Node]) -> Vec<Htaccess> {
        let mut found = Vec::new();
        for section in nodes.iter().filter(|node| !node.is("<VirtualHost")) {
            for node in section.all() {
                let allowing = |child: &Node| Some((Allowed::by(child)?, child.place.to_string()));
                found.extend(
                    node.children
                        .iter()
                        .filter_map(allowing)
                        .map(|(allowed, place)| Htaccess {
                            section: node.to_string(),
                            place,
                            file_info: allowed.file_info,
                            auth_config: allowed.auth_config,
                        }),
                );
            }
        }
        found
    }
}

impl Group {
    fn of(group: &super::Group) -> Group {
        Group {
            name: text(&group.name),
            server: group.server.as_deref().map(text),
            processes: group.processes,
            threads: group.threads,
            user: group.who.name.clone(),
            python: group.python.clone(),
        }
    }
}

/// The sections that something stands in, from the inside.
fn around(within: &[&Node]) -> String {
    let sections: Vec<String> = within.iter().rev().map(ToString::to_string).collect();
    sections.join(" in ")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

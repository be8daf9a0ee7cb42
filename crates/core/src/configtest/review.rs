//! Likely mistakes. Nothing is said that is not certain or nearly so.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::effective::Effective;
use super::mount::{Mount, literal};
use super::tree::{Node, Place};
use super::{Configuration, Group};
use crate::directive::Words;
use crate::group::GroupName;
use crate::proxy::Header;
use crate::python::Who;

/// Directives that name a script other than by URL, and which of their words that is.
const SCRIPTS: [(&str, usize); 6] = [
    ("WSGIAccessScript", 0),
    ("WSGIAuthGroupScript", 0),
    ("WSGIAuthUserScript", 0),
    ("WSGIDispatchScript", 0),
    ("WSGIHandlerScript", 1),
    ("WSGIImportScript", 0),
];

/// The code of what is said about a script that is missing.
const MISSING: u16 = 186;

/// A likely mistake.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    code: u16,
    place: Option<Place>,
    text: String,
    /// It is about a file that is not there now; it may be before a request asks for it.
    pub may_pass: bool,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WSGI{:04}: ", self.code)?;
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.text)
    }
}

/// Looks through a configuration. What it says of files is as they are now.
pub fn review(configuration: &Configuration) -> Vec<Finding> {
    let mut review = Review {
        configuration,
        // With these modules and directives it is not the process's user or root folder that counts.
        files: !configuration.has("AssignUserID") && !configuration.has("ChrootDir"),
        findings: Vec::new(),
    };
    for node in &configuration.nodes {
        if !node.is("<VirtualHost") {
            node.all().for_each(|node| review.directive(node, None));
        }
    }
    for section in configuration.host_sections() {
        let name = configuration.host(section).map(|host| &host.name[..]);
        section.all().for_each(|node| review.directive(node, name));
    }
    review.level(&[&configuration.nodes]);
    for section in configuration.host_sections() {
        review.level(&[&configuration.nodes, &section.children]);
    }
    for group in &configuration.groups {
        review.python_path(group);
    }
    review.findings
}

struct Review<'c> {
    configuration: &'c Configuration,
    files: bool,
    findings: Vec<Finding>,
}

impl<'c> Review<'c> {
    fn find(&mut self, code: u16, node: &Node, text: String) {
        self.findings.push(Finding {
            code,
            place: Some(node.place.clone()),
            may_pass: code == MISSING,
            text,
        });
    }

    /// One directive by itself. `host` is the `ServerName` of the virtual host that it stands in.
    fn directive(&mut self, node: &Node, host: Option<&[u8]>) {
        if node.is("WSGIProcessGroup") {
            if let Some(name) = node.word() {
                self.group(node, &GroupName::parse(&name), host);
            }
        } else if node.is("WSGITrustedProxyHeaders") {
            let mut words = node.words();
            while let Some(word) = words.word() {
                if Header::parse(&word) == Ok(None) {
                    let text = format!(
                        "WSGITrustedProxyHeaders: {} is none of the headers that this directive knows and has no effect; \
                         take it out, or correct the name",
                        String::from_utf8_lossy(&word)
                    );
                    self.find(185, node, text);
                }
            }
        } else if let Some(mount) = Mount::of(std::slice::from_ref(node)).next()
            && let Some(name) = &mount.options.process_group
        {
            self.group(node, name, host);
        } else if node.is("<WSGIInterpreterOptions") {
            self.unexpanded(node, node.words());
        } else if let Some((_, index)) = SCRIPTS.iter().find(|(name, _)| node.is(name)) {
            self.named(node, *index, host);
        }
    }

    /// A directive that names a script by its word with that number.
    fn named(&mut self, node: &Node, index: usize, host: Option<&[u8]>) {
        let mut words = node.words();
        let Some(script) = std::iter::from_fn(|| words.word()).nth(index) else {
            return;
        };
        // Without the option only the scripts that httpd asks have a known place.
        let mut group = (!node.is("WSGIHandlerScript")).then_some(GroupName::Global);
        self.unexpanded(node, words.clone());
        while let Ok(Some((name, value))) = words.option() {
            if name == b"process-group" {
                let name = GroupName::parse(&value);
                self.group(node, &name, host);
                group = Some(name);
            }
        }
        let script = PathBuf::from(OsString::from_vec(script));
        if !self.files || !script.is_absolute() {
            return;
        }
        if let Ok(false) = script.try_exists() {
            let text = format!("{}: the script {} does not exist", node.name, script.display());
            return self.find(MISSING, node, text);
        }
        if let Some(group) = group {
            let runs_as = self.runs_as(Some(group));
            self.readable(node, &script, &runs_as);
        }
    }

    /// Options that name groups where not all of the forms are expanded.
    fn unexpanded(&mut self, node: &Node, mut options: Words<'_>) {
        let asked = !node.is("WSGIImportScript") && !node.is("<WSGIInterpreterOptions");
        while let Ok(Some((option, value))) = options.option() {
            let literal = match GroupName::parse(&value) {
                GroupName::Server | GroupName::Host => !asked,
                GroupName::Resource | GroupName::Env(_) => !node.is("WSGIHandlerScript"),
                _ => false,
            };
            if literal {
                let text = format!(
                    "{}: {}={} is a name like any other and not expanded, for there is no request, or not enough is known \
                     of it; write the name that is meant",
                    node.name.trim_start_matches('<'),
                    String::from_utf8_lossy(&option),
                    String::from_utf8_lossy(&value)
                );
                self.find(197, node, text);
            }
        }
    }

    /// A daemon process group that a directive names.
    fn group(&mut self, node: &Node, name: &GroupName, host: Option<&[u8]>) {
        let Some(name) = literal(name) else { return };
        let shown = String::from_utf8_lossy(name);
        let Some(group) = self.configuration.group(name) else {
            let text = format!(
                "{} names the process group {shown}, which no WSGIDaemonProcess defines; requests for it are answered 500: \
                 define it, or correct the name",
                node.name
            );
            return self.find(180, node, text);
        };
        // What stands outside of virtual hosts holds in all of them, that of the group too.
        if let (Some(owner), Some(host)) = (&group.server, host)
            && owner != host
        {
            let text = format!(
                "{} names the process group {shown}, which belongs to the virtual host with the ServerName {}; requests \
                 for {} are answered 500: define the group outside of virtual hosts, or another one here",
                node.name,
                String::from_utf8_lossy(owner),
                String::from_utf8_lossy(host)
            );
            self.find(181, node, text);
        }
    }

    /// The aliases of the last of the levels, which hold below the others.
    fn level(&mut self, levels: &[&'c [Node]]) {
        let mounts: Vec<Mount<'c>> = Mount::of(levels.last().copied().unwrap_or_default()).collect();
        for (index, mount) in mounts.iter().enumerate() {
            if let Some(first) = mounts[..index].iter().find(|first| first.hides(mount)) {
                let text = format!(
                    "{} {} is never reached, since {} {} at {} comes first and covers it; put the longer URL path first",
                    mount.node.name,
                    String::from_utf8_lossy(&mount.url),
                    first.node.name,
                    String::from_utf8_lossy(&first.url),
                    first.node.place
                );
                self.find(184, mount.node, text);
            }
            if self.files {
                self.script(levels, mount);
            }
        }
    }

    /// The file that an alias leads to.
    fn script(&mut self, levels: &[&'c [Node]], mount: &Mount<'c>) {
        let Some(script) = mount.script() else { return };
        let shown = script.display();
        let httpd = &self.configuration.who;
        if let Some(at) = httpd.barrier(&script) {
            let text = unreachable(httpd, "httpd's children run as", &format!("the script {shown}"), &at);
            return self.find(182, mount.node, text);
        }
        if let Ok(false) = script.try_exists() {
            let text = format!("the script {shown} does not exist; requests for it are answered 404");
            return self.find(MISSING, mount.node, text);
        }
        let group = match &mount.options.process_group {
            Some(name) => Some(name.clone()),
            None => Effective::at(levels, mount.path(), &mount.target)
                .process_group
                .and_then(Node::word)
                .map(|name| GroupName::parse(&name)),
        };
        let runs_as = self.runs_as(group);
        self.readable(mount.node, &script, &runs_as);
    }

    /// Whoever runs a script can get to it and read it.
    fn readable(&mut self, node: &Node, script: &Path, runs_as: &RunsAs<'_>) {
        let (who, role) = match runs_as {
            RunsAs::Children => (&self.configuration.who, "httpd's children run as"),
            RunsAs::Daemons(group) => (&group.who, "the daemons of its group run as"),
            RunsAs::Unknown => return,
        };
        let shown = script.display();
        if let Some(at) = who.barrier(script) {
            let text = unreachable(who, role, &format!("the script {shown}"), &at);
            self.find(182, node, text);
        } else if who.cannot_read(script) {
            let text = format!(
                "the user {} that {role} may not read the script {shown}; requests for it are answered 500: run 'chmod o+r' \
                 on the file, or name another user",
                who.name
            );
            self.find(183, node, text);
        }
    }

    fn runs_as(&self, group: Option<GroupName>) -> RunsAs<'c> {
        match group {
            None | Some(GroupName::Global) => RunsAs::Children,
            Some(GroupName::Literal(name)) => match self.configuration.group(&name) {
                Some(group) if !group.chroot => RunsAs::Daemons(group),
                _ => RunsAs::Unknown,
            },
            Some(_) => RunsAs::Unknown,
        }
    }

    /// The folders that a group imports from.
    fn python_path(&mut self, group: &Group) {
        if !self.files || group.chroot {
            return;
        }
        let mut seen = HashSet::new();
        for folder in group
            .python_path
            .split(|&b| b == b':')
            .filter(|folder| !folder.is_empty())
        {
            let path = Path::new(OsStr::from_bytes(folder));
            let shown = path.display();
            if !path.is_absolute() || !seen.insert(folder) {
                continue;
            }
            let name = String::from_utf8_lossy(&group.name);
            let barrier = group.who.barrier(path);
            let may_pass = barrier.is_none();
            let text = match (barrier, path.try_exists()) {
                (Some(at), _) => unreachable(&group.who, "its daemons run as", &format!("python-path={shown}"), &at),
                (None, Ok(false)) => format!("python-path={shown} does not exist; create it, or take it out"),
                (None, _) => continue,
            };
            self.findings.push(Finding {
                code: 187,
                place: self.configuration.place("WSGIDaemonProcess", &group.name),
                text: format!("WSGIDaemonProcess {name}: {text}"),
                may_pass,
            });
        }
    }
}

enum RunsAs<'c> {
    Children,
    Daemons(&'c Group),
    /// It is for requests to say, or cannot be known from here.
    Unknown,
}

fn unreachable(who: &Who, role: &str, what: &str, at: &Path) -> String {
    format!(
        "the user {} that {role} cannot get to {what}: it may not enter {}; run 'chmod o+x' on that folder, or name another \
         user",
        who.name,
        at.display()
    )
}

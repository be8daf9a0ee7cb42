//! What can be said about a whole configuration before a request comes: what is likely a mistake in it, and what runs
//! where.

mod children;
mod effective;
mod htaccess;
mod mount;
mod picture;
mod review;
mod tree;

use crate::python::Who;
pub use children::may_need_python;
pub use picture::{Group as GroupPicture, Host as HostPicture, Htaccess, Picture, Python as PythonPicture, Row};
pub use review::{Finding, review};
pub use tree::{Node, Place};

/// A configuration, as far as it matters here.
#[derive(Debug)]
pub struct Configuration {
    /// All directives outside of every section, and the sections.
    pub nodes: Vec<Node>,
    /// `ServerName` of the main server.
    pub main: Vec<u8>,
    /// The virtual hosts.
    pub hosts: Vec<Host>,
    /// The daemon process groups.
    pub groups: Vec<Group>,
    /// Whom httpd's children run as.
    pub who: Who,
}

/// A virtual host.
#[derive(Debug)]
pub struct Host {
    /// `ServerName`.
    pub name: Vec<u8>,
    /// Where its section begins.
    pub place: Place,
}

/// A daemon process group.
#[derive(Debug)]
pub struct Group {
    /// Its name.
    pub name: Vec<u8>,
    /// `ServerName` of the virtual host that defines it; `None`: the main server, for all.
    pub server: Option<Vec<u8>>,
    /// Whom its daemons run as.
    pub who: Who,
    /// `python-path`, as written.
    pub python_path: Vec<u8>,
    /// `chroot` is set: its paths are others.
    pub chroot: bool,
    /// Number of its daemons.
    pub processes: u32,
    /// Request threads of each.
    pub threads: u32,
    /// Its interpreter and that one's version, where it was found.
    pub python: Option<PythonPicture>,
}

impl Configuration {
    /// The group of that name.
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// The virtual host that a section is.
    fn host(&self, section: &Node) -> Option<&Host> {
        self.hosts.iter().find(|host| host.place == section.place)
    }

    /// The sections of virtual hosts.
    fn host_sections(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.is("<VirtualHost"))
    }

    /// Whether a directive stands anywhere.
    fn has(&self, name: &str) -> bool {
        self.all().any(|node| node.is(name))
    }

    /// Where a directive stands whose first word is this.
    pub fn place(&self, directive: &str, word: &[u8]) -> Option<Place> {
        let mut found = self
            .all()
            .filter(|node| node.is(directive) && node.words().word().as_deref() == Some(word));
        found.next().map(|node| node.place.clone())
    }

    /// Every directive and section.
    fn all(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flat_map(Node::all)
    }
}

#[cfg(test)]
mod tests;

//! Which settings hold for a script, as httpd's walks over sections find them: server, virtual host, `<Directory>` from
//! the shortest path on, `<Files>`, `<Location>`.
//!
//! Sections that hold for a pattern or under a condition are left out: what they cover is for requests to say. The picture
//! shows them by themselves.

use super::tree::Node;

/// What of the settings tells where a script runs; `None`: nothing says it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Effective<'n> {
    /// `WSGIProcessGroup`
    pub process_group: Option<&'n Node>,
    /// `WSGIApplicationGroup`
    pub application_group: Option<&'n Node>,
    /// `WSGICallableObject`
    pub callable_object: Option<&'n Node>,
}

impl<'n> Effective<'n> {
    /// The settings for the file `script` at the URL path `url`. `levels` are the main server's nodes and the virtual
    /// host's.
    pub fn at(levels: &[&'n [Node]], url: &[u8], script: &[u8]) -> Effective<'n> {
        let mut settings = Effective::default();
        for level in levels {
            settings.apply(level);
        }
        let nodes = || levels.iter().flat_map(|level| level.iter());
        let mut folders: Vec<(usize, &Node)> = nodes()
            .filter(|node| node.is("<Directory"))
            .filter_map(|node| {
                let path = node.path().filter(|path| covers(path, script))?;
                Some((components(&path), node))
            })
            .collect();
        folders.sort_by_key(|(components, _)| *components);
        let folders = || folders.iter().flat_map(|(_, node)| &node.children);
        for node in folders() {
            settings.set(node);
        }
        let name = script.rsplit(|&b| b == b'/').next().unwrap_or_default();
        for node in nodes().chain(folders()) {
            if node.is("<Files") && node.path().as_deref() == Some(name) {
                settings.apply(&node.children);
            }
        }
        for node in nodes() {
            if node.is("<Location") && node.path().is_some_and(|path| covers(&path, url)) {
                settings.apply(&node.children);
            }
        }
        settings
    }

    /// With what stands in a section within.
    pub fn under(mut self, nodes: &'n [Node]) -> Effective<'n> {
        self.apply(nodes);
        self
    }

    fn apply(&mut self, nodes: &'n [Node]) {
        for node in nodes {
            self.set(node);
        }
    }

    fn set(&mut self, node: &'n Node) {
        let setting = match &node.name {
            name if name.eq_ignore_ascii_case("WSGIProcessGroup") => &mut self.process_group,
            name if name.eq_ignore_ascii_case("WSGIApplicationGroup") => &mut self.application_group,
            name if name.eq_ignore_ascii_case("WSGICallableObject") => &mut self.callable_object,
            _ => return,
        };
        *setting = Some(node);
    }
}

/// Whether `path` is `section` or below it.
fn covers(section: &[u8], path: &[u8]) -> bool {
    let section = section.strip_suffix(b"/").unwrap_or(section);
    path.strip_prefix(section)
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
}

fn components(path: &[u8]) -> usize {
    path.split(|&b| b == b'/').filter(|part| !part.is_empty()).count()
}

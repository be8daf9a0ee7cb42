//! Whether something in a configuration may lead requests into httpd's own processes, beside aliases and what holds for
//! whole servers.
//!
//! Python is started in a child before the child has other threads, or never: starting it changes the environment for a
//! moment, which no other thread may read meanwhile. So what may need it later counts as if it did.

use super::htaccess::Allowed;
use super::tree::Node;
use crate::directive::Words;
use crate::group::GroupName;

/// Names of the handler for scripts.
const HANDLERS: [&[u8]; 2] = [b"wsgi-script", b"x-httpd-wsgi"];

/// Whether it may. Requests for which a daemon process group is named, by the section itself or one around it, do not
/// count.
pub fn may_need_python(nodes: &[Node]) -> bool {
    level(nodes, false)
}

/// `covered`: requests that these nodes are for run in daemons.
fn level(nodes: &[Node], covered: bool) -> bool {
    let group = |node: &Node| node.is("WSGIProcessGroup") && node.word().is_some_and(|name| is_daemons(&name));
    let covered = covered || nodes.iter().any(group);
    nodes
        .iter()
        .any(|node| directive(node, covered) || level(&node.children, covered))
}

fn directive(node: &Node, covered: bool) -> bool {
    if node.is("WSGIProcessGroup") {
        !node.word().is_some_and(|name| is_daemons(&name))
    } else if node.is("WSGIHandlerScript") {
        !own_group(node.words()).map_or(covered, |name| is_daemons(&name))
    } else if let Some(allowed) = Allowed::by(node) {
        // Access scripts always run in httpd's own processes. The group of a place is not for .htaccess files to name.
        allowed.auth_config || allowed.file_info && !covered
    } else {
        let names = |handler: &&[u8]| {
            let mut parts = node.arguments.windows(handler.len());
            parts.any(|part| part.eq_ignore_ascii_case(handler))
        };
        !covered && HANDLERS.iter().any(names)
    }
}

/// The option `process-group=` of a `WSGIHandlerScript`.
fn own_group(mut words: Words<'_>) -> Option<Vec<u8>> {
    words.word()?;
    words.word()?;
    let mut options = std::iter::from_fn(|| words.option().ok()?);
    let (_, name) = options.find(|(name, _)| name == b"process-group")?;
    Some(name)
}

fn is_daemons(name: &[u8]) -> bool {
    matches!(GroupName::parse(name), GroupName::Literal(name) if !name.is_empty())
}

//! The configuration as httpd has parsed it (`ap_directive_t` of `util_cfgtree.h`, `ap_conftree` of `http_config.h`).

use wsgi_core::configtest::{Node, Place};

use super::server::Server;
use super::{ffi, text};

impl Server<'_> {
    /// All directives of the configuration that this server belongs to.
    pub fn tree(self) -> Vec<Node> {
        // SAFETY: httpd keeps the tree as long as the configuration, and `self` shows that there is one.
        unsafe { nodes(ffi::ap_conftree) }
    }

    /// Where the section of a virtual host begins.
    pub fn place(self) -> Place {
        // SAFETY: a live server; its strings are the configuration's.
        unsafe {
            let server = self.as_ptr();
            Place {
                file: string(text::bytes((*server).defn_name)),
                line: (*server).defn_line_number,
            }
        }
    }
}

/// A directive and those that follow it in the same section.
///
/// # Safety
/// `first` is NULL or a directive of a live tree.
unsafe fn nodes(first: *const ffi::ap_directive_t) -> Vec<Node> {
    let mut found = Vec::new();
    let mut next = first;
    // SAFETY: the caller's promise holds for all that it leads to.
    while let Some(directive) = unsafe { next.as_ref() } {
        // SAFETY: as above; the strings live as long as the tree.
        let node = unsafe {
            Node {
                name: string(text::bytes(directive.directive)),
                arguments: text::bytes(directive.args).to_vec(),
                place: Place {
                    file: string(text::bytes(directive.filename)),
                    line: u32::try_from(directive.line_num).unwrap_or(0),
                },
                children: nodes(directive.first_child),
            }
        };
        found.push(node);
        next = directive.next;
    }
    found
}

fn string(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

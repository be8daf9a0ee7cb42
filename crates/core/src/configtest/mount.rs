//! The directives that lead URLs to scripts, read again from the tree.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::tree::Node;
use crate::alias::{AliasOptions, covers};
use crate::group::GroupName;

/// A `WSGIScriptAlias` or `WSGIScriptAliasMatch`.
#[derive(Debug)]
pub struct Mount<'n> {
    /// The directive.
    pub node: &'n Node,
    /// URL path, or regular expression.
    pub url: Vec<u8>,
    /// It is an expression.
    pub regex: bool,
    /// What it leads to.
    pub target: Vec<u8>,
    /// Its options.
    pub options: AliasOptions,
}

impl<'n> Mount<'n> {
    /// Those directly in these nodes, in order.
    pub fn of(nodes: &'n [Node]) -> impl Iterator<Item = Mount<'n>> {
        nodes.iter().filter_map(|node| {
            let regex = node.is("WSGIScriptAliasMatch");
            if !regex && !node.is("WSGIScriptAlias") {
                return None;
            }
            let mut words = node.words();
            let (url, target) = (words.word()?, words.word()?);
            let options = AliasOptions::parse(&mut words, AliasOptions::ALL).ok()?;
            Some(Mount {
                node,
                url,
                regex,
                target,
                options,
            })
        })
    }

    /// The URL path that it surely stands for; empty where requests say it.
    pub fn path(&self) -> &[u8] {
        if self.regex { b"" } else { &self.url }
    }

    /// The one file that it leads to; `None` for a folder, and where requests say it.
    pub fn script(&self) -> Option<PathBuf> {
        let one = self.target.starts_with(b"/")
            && !self.target.ends_with(b"/")
            && !(self.regex && self.target.contains(&b'$'));
        let path = PathBuf::from(OsString::from_vec(self.target.clone()));
        (one && !path.is_dir()).then_some(path)
    }

    /// Whether no request can come to `later`, for this one gets them all.
    pub fn hides(&self, later: &Mount<'_>) -> bool {
        if self.regex {
            return false;
        }
        let all = self.url.iter().all(|&b| b == b'/');
        // One that is said twice in the same words does no harm.
        let same = !later.regex && (&self.url, &self.target) == (&later.url, &later.target);
        !same && (all || !later.regex && covers(&self.url, &later.url).is_some())
    }
}

/// A group's name that stands in the configuration as it is.
pub fn literal(name: &GroupName) -> Option<&[u8]> {
    match name {
        GroupName::Literal(name) => Some(name),
        _ => None,
    }
}

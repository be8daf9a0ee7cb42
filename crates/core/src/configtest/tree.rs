//! The configuration as httpd has read it: directives and the sections that hold them.

use std::fmt;

use crate::directive::Words;

/// Where a directive stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as httpd opened it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
}

/// A directive, or a section with the directives in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name; of a section with a `<` in front.
    pub name: String,
    /// What stands behind it, variables put in; of a section with a `>` at the end.
    pub arguments: Vec<u8>,
    /// Where it stands.
    pub place: Place,
    /// What stands in it.
    pub children: Vec<Node>,
}

impl Node {
    /// Whether it has this name.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Its arguments word by word.
    pub fn words(&self) -> Words<'_> {
        Words::new(self.arguments.strip_suffix(b">").unwrap_or(&self.arguments))
    }

    /// The only word behind it.
    pub fn word(&self) -> Option<Vec<u8>> {
        self.words().only("").ok()
    }

    /// The path of a section that stands for a path and what is below it; none of a pattern's.
    pub fn path(&self) -> Option<Vec<u8>> {
        self.word().filter(|path| !path.iter().any(|b| b"*?[".contains(b)))
    }

    /// This and all that is in it, from the outside.
    pub fn all(&self) -> impl Iterator<Item = &Node> {
        let mut left = vec![self];
        std::iter::from_fn(move || {
            let node = left.pop()?;
            left.extend(node.children.iter().rev());
            Some(node)
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blank = if self.arguments == b">" { "" } else { " " };
        write!(f, "{}{blank}{}", self.name, String::from_utf8_lossy(&self.arguments))
    }
}

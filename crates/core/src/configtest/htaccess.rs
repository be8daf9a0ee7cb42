//! `AllowOverride` and `AllowOverrideList`: where `.htaccess` files, which are read when a request comes, may say something
//! that matters here.

use super::tree::Node;

/// What a directive lets them say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Handlers, and directives that change how a request is passed on.
    pub file_info: bool,
    /// Scripts that say who may come in.
    pub auth_config: bool,
}

impl Allowed {
    /// What this one lets them say; `None` if it is another one, or lets them say nothing of the kind.
    pub fn by(node: &Node) -> Option<Allowed> {
        let mut allowed = Allowed {
            file_info: false,
            auth_config: false,
        };
        let list = node.is("AllowOverrideList");
        if !list && !node.is("AllowOverride") {
            return None;
        }
        let mut words = node.words();
        while let Some(word) = words.word() {
            let word = word.to_ascii_lowercase();
            // Of a list any directive may be one of them.
            let all = if list { word != b"none" } else { word == b"all" };
            allowed.file_info |= all || !list && word == b"fileinfo";
            allowed.auth_config |= all || !list && word == b"authconfig";
        }
        (allowed.file_info || allowed.auth_config).then_some(allowed)
    }
}

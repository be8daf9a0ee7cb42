//! `WSGIScriptAlias`: which part of a URL path an alias covers, and the options that come with it.

use crate::directive::{Refusal, Words, flag};
use crate::group::GroupName;

/// How many bytes of `uri` the alias covers, or `None` when it does not match.
///
/// As mod_alias: a run of slashes in the alias stands for a run of one or more in the URI, other bytes compare
/// exactly, and the match must end where a path component ends, unless the alias itself ends in a slash.
pub fn covers(alias: &[u8], uri: &[u8]) -> Option<usize> {
    let (mut a, mut u) = (0, 0);
    while a < alias.len() {
        if alias[a] == b'/' {
            let run = slashes(&uri[u..]);
            if run == 0 {
                return None;
            }
            u += run;
            a += slashes(&alias[a..]);
        } else {
            if uri.get(u) != Some(&alias[a]) {
                return None;
            }
            u += 1;
            a += 1;
        }
    }
    let complete = alias.last() == Some(&b'/') || matches!(uri.get(u), None | Some(b'/'));
    complete.then_some(u)
}

/// The path that a matching URI maps to: the target and what the alias did not cover. For the alias `/` that is the
/// whole URI, so that the slash in front of the extra path is kept.
pub fn filename(alias: &[u8], target: &[u8], uri: &[u8], covered: usize) -> Vec<u8> {
    let rest = if alias == b"/" { uri } else { &uri[covered..] };
    [target, rest].concat()
}

/// Collapses runs of slashes to one.
pub fn collapse_slashes(path: &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(path.len());
    for &byte in path {
        if byte != b'/' || result.last() != Some(&b'/') {
            result.push(byte);
        }
    }
    result
}

fn slashes(path: &[u8]) -> usize {
    path.iter().take_while(|&&b| b == b'/').count()
}

/// The options of an alias; each that is set goes before the directory's and the server's setting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AliasOptions {
    /// `process-group=`
    pub process_group: Option<GroupName>,
    /// `application-group=`
    pub application_group: Option<GroupName>,
    /// `callable-object=`, taken literally
    pub callable_object: Option<Vec<u8>>,
    /// `pass-authorization=`
    pub pass_authorization: Option<bool>,
}

impl AliasOptions {
    /// The names of all.
    pub const ALL: &[&str] = &[
        "process-group",
        "application-group",
        "callable-object",
        "pass-authorization",
    ];

    /// Reads the options that end a directive's arguments, which may be of these names.
    ///
    /// # Errors
    /// Names the option that is unknown or has no value.
    pub fn parse(words: &mut Words, known: &[&str]) -> Result<AliasOptions, Refusal> {
        let mut options = AliasOptions::default();
        while let Some((name, value)) = words.option()? {
            let name = String::from_utf8_lossy(&name).into_owned();
            if !known.contains(&name.as_str()) {
                return Err(format!("unknown option {name}=; known here: {}", known.join(", ")));
            }
            if value.is_empty() {
                return Err(format!("option {name}= has no value"));
            }
            match name.as_str() {
                "process-group" => options.process_group = Some(GroupName::parse(&value)),
                "application-group" => options.application_group = Some(GroupName::parse(&value)),
                "callable-object" => options.callable_object = Some(value),
                "pass-authorization" => {
                    options.pass_authorization = Some(flag(&value).map_err(|e| format!("option {name}= {e}"))?);
                }
                _ => return Err(format!("unknown option {name}=")),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches() {
        let cases: &[(&str, &str, Option<usize>)] = &[
            ("/", "/", Some(1)),
            ("/", "/a/b", Some(1)),
            ("/", "//a", Some(2)),
            ("/x", "/x", Some(2)),
            ("/x", "/x/y", Some(2)),
            ("/x", "/xy", None),
            ("/x", "//x//y", Some(3)),
            ("//x", "/x", Some(2)),
            ("/x/", "/x/y", Some(3)),
            ("/x/", "/x", None),
            ("/x/y", "/x///y/z", Some(6)),
            ("/x", "/X", None),
            ("/x", "", None),
            ("/x", "*", None),
        ];
        for (alias, uri, expected) in cases {
            assert_eq!(covers(alias.as_bytes(), uri.as_bytes()), *expected, "{alias} {uri}");
        }
    }

    #[test]
    fn filenames() {
        let map = |alias: &str, uri: &str| {
            let covered = covers(alias.as_bytes(), uri.as_bytes()).unwrap();
            String::from_utf8(filename(alias.as_bytes(), b"/app.wsgi", uri.as_bytes(), covered)).unwrap()
        };
        assert_eq!(map("/", "/"), "/app.wsgi/");
        assert_eq!(map("/", "/a"), "/app.wsgi/a");
        assert_eq!(map("/x", "/x"), "/app.wsgi");
        assert_eq!(map("/x", "/x/a"), "/app.wsgi/a");
    }

    #[test]
    fn collapsing() {
        assert_eq!(collapse_slashes(b"//a///b/c//"), b"/a/b/c/");
        assert_eq!(collapse_slashes(b""), b"");
    }

    #[test]
    fn option_words() {
        let parse = |text: &str| AliasOptions::parse(&mut Words::new(text.as_bytes()), AliasOptions::ALL);
        let options = parse("process-group=%{GLOBAL} application-group='a b' callable-object=%{GLOBAL}").unwrap();
        assert_eq!(options.process_group, Some(GroupName::Global));
        assert_eq!(options.application_group, Some(GroupName::Literal(b"a b".to_vec())));
        assert_eq!(options.callable_object, Some(b"%{GLOBAL}".to_vec()));
        assert_eq!(parse("pass-authorization=on").unwrap().pass_authorization, Some(true));
        for bad in [
            "process-group=",
            "group=x",
            "Process-Group=x",
            "pass-authorization=maybe",
            "x",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let none = AliasOptions::parse(&mut Words::new(b"callable-object=x"), &["application-group"]);
        assert_eq!(
            none.unwrap_err(),
            "unknown option callable-object=; known here: application-group"
        );
    }
}

//! `WSGITrustedProxyHeaders` and `WSGITrustedProxies`: what a proxy in front of httpd says about the client and about the
//! address that it asked for, and which of it is believed.
//!
//! A header that is listed speaks for all of its kind: the others of that kind are taken out of environ, for whatever the
//! proxy does not set itself may come from the client.

mod network;

use std::borrow::Cow;

use crate::directive::Refusal;
pub use network::Network;

/// A header that a proxy may set.
#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub name: &'static str,
    /// Its key in environ.
    pub key: &'static str,
    says: Says,
}

/// What a header's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    /// The client's address, then each proxy that passed the request on.
    Chain,
    /// The client's address.
    Client,
    /// The host that was asked for, with or without a port.
    Host,
    /// The name of the server.
    Server,
    /// Its port.
    Port,
    /// The URL path that the application is mounted at.
    ScriptName,
    /// `http` or `https`.
    Scheme,
    /// On when the client came over TLS.
    Tls,
}

/// Headers of one kind exclude each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Client,
    Host,
    Server,
    Port,
    ScriptName,
    Scheme,
}

/// All that there are.
pub static HEADERS: [Header; 15] = [
    header("X-Forwarded-For", "HTTP_X_FORWARDED_FOR", Says::Chain),
    header("X-Client-IP", "HTTP_X_CLIENT_IP", Says::Client),
    header("X-Real-IP", "HTTP_X_REAL_IP", Says::Client),
    header("X-Forwarded-Host", "HTTP_X_FORWARDED_HOST", Says::Host),
    header("X-Host", "HTTP_X_HOST", Says::Host),
    header("X-Forwarded-Server", "HTTP_X_FORWARDED_SERVER", Says::Server),
    header("X-Forwarded-Port", "HTTP_X_FORWARDED_PORT", Says::Port),
    header("X-Script-Name", "HTTP_X_SCRIPT_NAME", Says::ScriptName),
    header(
        "X-Forwarded-Script-Name",
        "HTTP_X_FORWARDED_SCRIPT_NAME",
        Says::ScriptName,
    ),
    header("X-Forwarded-Proto", "HTTP_X_FORWARDED_PROTO", Says::Scheme),
    header("X-Forwarded-Scheme", "HTTP_X_FORWARDED_SCHEME", Says::Scheme),
    header("X-Scheme", "HTTP_X_SCHEME", Says::Scheme),
    header("X-Forwarded-HTTPS", "HTTP_X_FORWARDED_HTTPS", Says::Tls),
    header("X-Forwarded-SSL", "HTTP_X_FORWARDED_SSL", Says::Tls),
    header("X-HTTPS", "HTTP_X_HTTPS", Says::Tls),
];

const fn header(name: &'static str, key: &'static str, says: Says) -> Header {
    Header { name, key, says }
}

impl Header {
    /// The header that a word of the directive names; `None` for one that has no meaning here.
    ///
    /// # Errors
    /// When the word is no name that a header of environ may have.
    pub fn parse(word: &[u8]) -> Result<Option<&'static Header>, Refusal> {
        if word.is_empty() || !word.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'-') {
            let word = String::from_utf8_lossy(word);
            return Err(format!(
                "'{word}' is not the name of a header: write it with letters, digits and '-', as in X-Forwarded-For"
            ));
        }
        let same = |header: &&Header| header.name.as_bytes().eq_ignore_ascii_case(word);
        Ok(HEADERS.iter().find(same))
    }

    fn kind(&self) -> Kind {
        match self.says {
            Says::Chain | Says::Client => Kind::Client,
            Says::Host => Kind::Host,
            Says::Server => Kind::Server,
            Says::Port => Kind::Port,
            Says::ScriptName => Kind::ScriptName,
            Says::Scheme | Says::Tls => Kind::Scheme,
        }
    }
}

/// What changes in environ: first `entries` are set, then `removed` are taken out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes<'a> {
    /// Keys and their new values; a later one counts.
    pub entries: Vec<(&'static str, Cow<'a, [u8]>)>,
    /// Keys of headers that are not to be seen.
    pub removed: Vec<&'static str>,
    /// A header has spoken about the scheme, so the server's own connection does not count.
    pub scheme_said: bool,
    /// What it said, where it is understood.
    pub https: Option<bool>,
}

/// Puts listed headers to use, in order.
///
/// `proxies` are the addresses that are believed (`None`: every one), `peer` is the address that the request came from,
/// and `value` gives what environ has for a key.
pub fn apply<'a>(
    headers: &[&'static Header],
    proxies: Option<&[Network]>,
    peer: &[u8],
    value: impl Fn(&str) -> Option<&'a [u8]>,
) -> Changes<'a> {
    let mut changes = Changes::default();
    let trusted = proxies.is_none_or(|proxies| network::peer(peer).is_some_and(|peer| network::any(proxies, peer)));
    // The last of its kind that the request has; the kind alone where it has none.
    let mut kinds: Vec<(Kind, Option<&Header>)> = Vec::new();
    for header in headers {
        let kind = header.kind();
        let at = kinds.iter().position(|(known, _)| *known == kind).unwrap_or_else(|| {
            kinds.push((kind, None));
            kinds.len() - 1
        });
        if trusted && let Some(value) = value(header.key) {
            kinds[at].1 = Some(header);
            changes.put(header, value, proxies);
        }
    }
    let hidden = |header: &&Header| {
        let of_kind = kinds.iter().find(|(kind, _)| *kind == header.kind());
        of_kind.is_some_and(|(_, winner)| *winner != Some(*header))
    };
    changes.removed = HEADERS.iter().filter(hidden).map(|header| header.key).collect();
    changes
}

impl<'a> Changes<'a> {
    fn put(&mut self, header: &'static Header, value: &'a [u8], proxies: Option<&[Network]>) {
        let mut set = |key, value| self.entries.push((key, Cow::Borrowed(value)));
        match header.says {
            Says::Chain => {
                if let Some((client, chain)) = client(value, proxies) {
                    set("REMOTE_ADDR", client);
                    if let Some(chain) = chain {
                        self.entries.push((header.key, Cow::Owned(chain)));
                    }
                }
            }
            Says::Client => set("REMOTE_ADDR", value),
            Says::Host => set("HTTP_HOST", value),
            Says::Server => set("SERVER_NAME", value),
            Says::Port => set("SERVER_PORT", value),
            Says::ScriptName => {
                set("SCRIPT_NAME", value);
                set("mod_wsgi.mount_point", value);
            }
            Says::Scheme => self.scheme(value, &["https"], &["http"]),
            Says::Tls => self.scheme(value, &["on", "true", "1"], &["off", "false", "0"]),
        }
    }

    fn scheme(&mut self, value: &[u8], yes: &[&str], no: &[&str]) {
        let is_one_of = |words: &[&str]| words.iter().any(|word| value.eq_ignore_ascii_case(word.as_bytes()));
        self.scheme_said = true;
        if is_one_of(yes) {
            self.https = Some(true);
        } else if is_one_of(no) {
            self.https = Some(false);
        }
    }
}

/// The client of a chain of addresses, and what is left of the chain if that is not all of it.
///
/// Each proxy adds the address that it got the request from on the right. So from there the chain is believed as long as
/// those who wrote it are: up to the first address that is none of `proxies`. Where every proxy is believed, it is the
/// first address of all.
fn client<'a>(value: &'a [u8], proxies: Option<&[Network]>) -> Option<(&'a [u8], Option<Vec<u8>>)> {
    let elements = value.split(|&b| b == b',').map(<[u8]>::trim_ascii);
    let elements: Vec<&[u8]> = elements.filter(|element| !element.is_empty()).collect();
    let Some(proxies) = proxies else {
        return Some((elements.first()?, None));
    };
    let is_proxy = |element: &[u8]| network::address(element).is_some_and(|address| network::any(proxies, address));
    let at = elements.iter().rposition(|element| !is_proxy(element)).unwrap_or(0);
    Some((elements.get(at)?, Some(elements[at..].join(&b", "[..]))))
}

#[cfg(test)]
mod tests;

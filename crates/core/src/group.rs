//! Names of process and application groups, and what their `%{…}` forms stand for in a request.

use std::fmt;

/// A group's name as the configuration gives it. Only a value that is one `%{…}` token as a whole is expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupName {
    /// `%{GLOBAL}`: the empty name, that is embedded mode, or the main interpreter.
    Global,
    /// `%{SERVER}`: `ServerName`, and the port unless it is 80 or 443.
    Server,
    /// `%{HOST}`: the host that the client asked for, and the port unless it is 80 or 443.
    Host,
    /// `%{RESOURCE}`: as `%{SERVER}`, then `|` and the script's place in the URL.
    Resource,
    /// `%{ENV:name}`: a note or variable of the request, or a variable of the process.
    Env(Vec<u8>),
    /// The name itself.
    Literal(Vec<u8>),
}

/// What a name is expanded from: the facts of one request.
pub trait Facts {
    /// `ServerName`.
    fn server_name(&self) -> Vec<u8>;
    /// The host of the request, without its port; `ServerName` if the client named none.
    fn host(&self) -> Vec<u8>;
    /// The port that the request came in at. Not the one in the Host header: with that, a client could make any
    /// number of interpreters.
    fn port(&self) -> u16;
    /// The URL path of the script, runs of slashes collapsed.
    fn script_name(&self) -> Vec<u8>;
    /// The request's note of that name, else its variable, else the process's.
    fn variable(&self, name: &[u8]) -> Option<Vec<u8>>;
}

impl GroupName {
    /// Reads a configured name.
    pub fn parse(text: &[u8]) -> GroupName {
        match text {
            b"%{GLOBAL}" => GroupName::Global,
            b"%{SERVER}" => GroupName::Server,
            b"%{HOST}" => GroupName::Host,
            b"%{RESOURCE}" => GroupName::Resource,
            _ => match text.strip_prefix(b"%{ENV:").and_then(|rest| rest.strip_suffix(b"}")) {
                Some(name) => GroupName::Env(name.to_vec()),
                None => GroupName::Literal(text.to_vec()),
            },
        }
    }

    /// The name as the configuration writes it.
    pub fn written(&self) -> Vec<u8> {
        match self {
            GroupName::Global => b"%{GLOBAL}".to_vec(),
            GroupName::Server => b"%{SERVER}".to_vec(),
            GroupName::Host => b"%{HOST}".to_vec(),
            GroupName::Resource => b"%{RESOURCE}".to_vec(),
            GroupName::Env(name) => [b"%{ENV:", &name[..], b"}"].concat(),
            GroupName::Literal(name) => name.clone(),
        }
    }

    /// The name for a place where there is no request to expand it by: other forms than `%{GLOBAL}` are names like any
    /// other.
    pub fn unexpanded(self) -> GroupName {
        match self {
            GroupName::Global => GroupName::Global,
            other => GroupName::Literal(other.written()),
        }
    }

    /// The name of the group that this means in a request.
    pub fn expand(&self, facts: &impl Facts) -> Vec<u8> {
        match self {
            GroupName::Global => Vec::new(),
            GroupName::Server => with_port(facts.server_name(), facts.port()),
            GroupName::Host => with_port(facts.host(), facts.port()),
            GroupName::Resource => {
                let mut name = with_port(facts.server_name(), facts.port());
                name.push(b'|');
                name.extend(facts.script_name());
                name
            }
            GroupName::Literal(name) => name.clone(),
            GroupName::Env(name) => match facts.variable(name) {
                None => self.written(),
                Some(value) => match GroupName::parse(&value) {
                    // One step only: a variable cannot lead to another.
                    GroupName::Env(_) => value,
                    other => other.expand(facts),
                },
            },
        }
    }
}

impl fmt::Display for GroupName {
    /// As the configuration writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.written()))
    }
}

fn with_port(mut name: Vec<u8>, port: u16) -> Vec<u8> {
    if port != 80 && port != 443 {
        name.extend(format!(":{port}").into_bytes());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Request {
        port: u16,
    }

    impl Facts for Request {
        fn server_name(&self) -> Vec<u8> {
            b"example.org".to_vec()
        }
        fn host(&self) -> Vec<u8> {
            b"www.example.org".to_vec()
        }
        fn port(&self) -> u16 {
            self.port
        }
        fn script_name(&self) -> Vec<u8> {
            b"/shop".to_vec()
        }
        fn variable(&self, name: &[u8]) -> Option<Vec<u8>> {
            match name {
                b"TENANT" => Some(b"blue".to_vec()),
                b"TO_SERVER" => Some(b"%{SERVER}".to_vec()),
                b"TO_ENV" => Some(b"%{ENV:TENANT}".to_vec()),
                _ => None,
            }
        }
    }

    #[test]
    fn expansion() {
        let cases = [
            ("%{GLOBAL}", 80, ""),
            ("%{SERVER}", 80, "example.org"),
            ("%{SERVER}", 443, "example.org"),
            ("%{SERVER}", 8080, "example.org:8080"),
            ("%{HOST}", 8080, "www.example.org:8080"),
            ("%{RESOURCE}", 80, "example.org|/shop"),
            ("%{ENV:TENANT}", 80, "blue"),
            ("%{ENV:TO_SERVER}", 81, "example.org:81"),
            ("%{ENV:TO_ENV}", 80, "%{ENV:TENANT}"),
            ("%{ENV:NONE}", 80, "%{ENV:NONE}"),
            ("plain", 80, "plain"),
            ("%{OTHER}", 80, "%{OTHER}"),
            ("a%{GLOBAL}", 80, "a%{GLOBAL}"),
        ];
        for (name, port, expected) in cases {
            let got = GroupName::parse(name.as_bytes()).expand(&Request { port });
            assert_eq!(String::from_utf8(got).unwrap(), expected, "{name}");
        }
    }
}

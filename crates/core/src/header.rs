//! Header names and values: those that an application sends, and those that become `HTTP_*` variables.

use std::fmt;

/// Why a response header was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// The name is empty.
    EmptyName,
    /// The name holds a character that is not a token character (RFC 9110, section 5.6.2).
    BadName,
    /// The value holds CR, LF, NUL or another control character than a tab (RFC 9110, section 5.5).
    BadValue,
    /// `Content-Length` is not a number, or too large for one.
    BadLength,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HeaderError::EmptyName => "header name must not be empty",
            HeaderError::BadName => "header name must consist of letters, digits and !#$%&'*+-.^_`|~",
            HeaderError::BadValue => "header value must not contain control characters",
            HeaderError::BadLength => "Content-Length must be a non-negative number",
        })
    }
}

/// Checks the name of a response header.
///
/// # Errors
/// When it is no token of RFC 9110.
pub fn check_name(name: &[u8]) -> Result<(), HeaderError> {
    if name.is_empty() {
        return Err(HeaderError::EmptyName);
    }
    if name.iter().all(|&b| is_token(b)) {
        Ok(())
    } else {
        Err(HeaderError::BadName)
    }
}

/// Checks the value of a response header.
///
/// # Errors
/// When it holds a control character other than a tab.
pub fn check_value(value: &[u8]) -> Result<(), HeaderError> {
    if value.iter().any(|&b| b.is_ascii_control() && b != b'\t') {
        Err(HeaderError::BadValue)
    } else {
        Ok(())
    }
}

/// Reads the value of `Content-Length`.
///
/// # Errors
/// When it is not a plain decimal number that fits into 63 bits.
pub fn content_length(value: &[u8]) -> Result<u64, HeaderError> {
    let value = value.trim_ascii();
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(HeaderError::BadLength);
    }
    std::str::from_utf8(value)
        .ok()
        .and_then(|digits| digits.parse::<i64>().ok())
        .and_then(|number| u64::try_from(number).ok())
        .ok_or(HeaderError::BadLength)
}

/// Whether `name` is a hop-by-hop header that an application may not send, since the server alone frames the reply
/// (PEP 3333, "Other HTTP Features"). `Connection` is not among them: httpd reads `close` from it and makes its own.
pub fn is_hop_by_hop(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 5] = [b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"];
    NAMES
        .iter()
        .any(|known| known.len() == name.len() && name.eq_ignore_ascii_case(known))
}

/// Whether a request header of this name may become a variable. Others than letters, digits and `-` are left out, so
/// that `X_Foo` cannot pose as `X-Foo`; `Proxy` would become `HTTP_PROXY`, which clients obey as a setting.
pub fn is_variable(name: &[u8]) -> bool {
    !name.is_empty()
        && name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
        && !name.eq_ignore_ascii_case(b"proxy")
}

/// By byte: whether it is a token character.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let marks = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = true;
        at += 1;
    }
    table
};

fn is_token(b: u8) -> bool {
    TOKEN[usize::from(b)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["A", "X-Foo", "x_foo", "a.b", "!#$%&'*+-.^_`|~9"] {
            assert_eq!(check_name(good.as_bytes()), Ok(()), "{good}");
        }
        assert_eq!(check_name(b""), Err(HeaderError::EmptyName));
        for bad in [
            &b"X Foo"[..],
            b"X\tFoo",
            b"X:",
            b"X\r\n",
            b"X\0",
            b"(X)",
            b"X\xe9",
            b" X",
        ] {
            assert_eq!(check_name(bad), Err(HeaderError::BadName), "{bad:?}");
        }
    }

    #[test]
    fn values() {
        for good in [&b""[..], b"a", b"a\tb", b"caf\xe9", b" a "] {
            assert_eq!(check_value(good), Ok(()), "{good:?}");
        }
        for bad in [&b"a\r\nb"[..], b"a\n", b"\r", b"a\0b", b"a\x01", b"a\x7f"] {
            assert_eq!(check_value(bad), Err(HeaderError::BadValue), "{bad:?}");
        }
    }

    #[test]
    fn lengths() {
        assert_eq!(content_length(b"0"), Ok(0));
        assert_eq!(content_length(b" 12 "), Ok(12));
        assert_eq!(content_length(b"9223372036854775807"), Ok(i64::MAX as u64));
        for bad in [
            &b""[..],
            b"-1",
            b"+1",
            b"1.5",
            b"0x1",
            b"1 2",
            b"9223372036854775808",
            b"nan",
        ] {
            assert_eq!(content_length(bad), Err(HeaderError::BadLength), "{bad:?}");
        }
    }

    #[test]
    fn variables() {
        for good in ["Host", "X-Foo", "accept2"] {
            assert!(is_variable(good.as_bytes()), "{good}");
        }
        for bad in ["", "X_Foo", "X.Foo", "Proxy", "PROXY", "X\u{e9}"] {
            assert!(!is_variable(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn hop_by_hop() {
        assert!(is_hop_by_hop(b"Transfer-Encoding"));
        assert!(!is_hop_by_hop(b"Connection"));
        assert!(!is_hop_by_hop(b"Content-Length"));
    }
}

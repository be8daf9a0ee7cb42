//! The status line that an application hands to `start_response` (PEP 3333, "The start_response() Callable").

use std::fmt;

/// A valid status line: three digits, then nothing or a blank and a reason without control characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status<'a> {
    /// The number, 200 to 999.
    pub code: u16,
    /// What follows the number and its blank; may be empty.
    pub reason: &'a [u8],
}

/// Why a status line was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusError {
    /// Does not start with exactly three digits.
    NoCode,
    /// The character after the digits is not a blank.
    NoBlank,
    /// The reason holds a control character.
    ControlCharacter,
    /// A number below 200: not a final status (RFC 9110, section 15.2).
    NotFinal,
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StatusError::NoCode => "status must begin with a number of three digits",
            StatusError::NoBlank => "the number in the status must be followed by a blank",
            StatusError::ControlCharacter => "status must not contain control characters",
            StatusError::NotFinal => "status must be 200 or above; only the server sends interim responses",
        })
    }
}

/// Reads a status line such as `b"404 Not Found"`.
///
/// # Errors
/// Says which rule of PEP 3333 or RFC 9110 the line breaks.
pub fn parse(line: &[u8]) -> Result<Status<'_>, StatusError> {
    let digits = line.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits != 3 {
        return Err(StatusError::NoCode);
    }
    let code = line[..3].iter().fold(0, |n, b| n * 10 + u16::from(b - b'0'));
    let reason = match line[3..].split_first() {
        None => &[][..],
        Some((b' ', reason)) => reason,
        Some(_) => return Err(StatusError::NoBlank),
    };
    if reason.iter().any(u8::is_ascii_control) {
        return Err(StatusError::ControlCharacter);
    }
    if code < 200 {
        return Err(StatusError::NotFinal);
    }
    Ok(Status { code, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        type Parsed<'a> = Result<(u16, &'a [u8]), StatusError>;
        let cases: &[(&[u8], Parsed<'_>)] = &[
            (b"200 OK", Ok((200, b"OK"))),
            (b"200", Ok((200, b""))),
            (b"200 ", Ok((200, b""))),
            (b"299 caf\xe9 au lait", Ok((299, b"caf\xe9 au lait"))),
            (b"999 Odd", Ok((999, b"Odd"))),
            (b"", Err(StatusError::NoCode)),
            (b"OK", Err(StatusError::NoCode)),
            (b"20 OK", Err(StatusError::NoCode)),
            (b"2000 OK", Err(StatusError::NoCode)),
            (b"20x OK", Err(StatusError::NoCode)),
            (b"200OK", Err(StatusError::NoBlank)),
            (b"200\r\nX: y", Err(StatusError::NoBlank)),
            (b"200 OK\r\nX: y", Err(StatusError::ControlCharacter)),
            (b"200 O\0K", Err(StatusError::ControlCharacter)),
            (b"200 O\x7fK", Err(StatusError::ControlCharacter)),
            (b"100 Continue", Err(StatusError::NotFinal)),
            (b"000 Nothing", Err(StatusError::NotFinal)),
        ];
        for (line, expected) in cases {
            let got = parse(line).map(|s| (s.code, s.reason));
            assert_eq!(got, *expected, "{:?}", String::from_utf8_lossy(line));
        }
    }
}

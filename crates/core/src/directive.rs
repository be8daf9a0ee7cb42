//! The grammar of directives: words, flags and `name=value` options, as httpd's configuration files write them.

use std::time::Duration;

/// What a directive refuses, as a sentence for the administrator; httpd puts file and line in front.
pub type Refusal = String;

/// The name and the value of an option.
pub type NameValue = (Vec<u8>, Vec<u8>);

/// The arguments of one directive, taken word by word.
///
/// Words are separated by blanks; `"…"` and `'…'` keep blanks, and inside them a backslash keeps a quote or a
/// backslash (httpd's `ap_getword_conf`).
#[derive(Clone, Debug)]
pub struct Words<'a> {
    rest: &'a [u8],
}

impl<'a> Words<'a> {
    /// The arguments as they stand after the directive's name.
    pub fn new(arguments: &'a [u8]) -> Words<'a> {
        Words {
            rest: arguments.trim_ascii(),
        }
    }

    /// The next word, if there is one.
    pub fn word(&mut self) -> Option<Vec<u8>> {
        match self.rest.first()? {
            &quote @ (b'"' | b'\'') => {
                self.rest = &self.rest[1..];
                Some(self.quoted(quote))
            }
            _ => {
                let (word, rest) = self.rest.split_at(self.until(|b| b.is_ascii_whitespace()));
                self.rest = rest.trim_ascii_start();
                Some(word.to_vec())
            }
        }
    }

    /// The next word, which must be there.
    ///
    /// # Errors
    /// Names `what` when there is none.
    pub fn required(&mut self, what: &str) -> Result<Vec<u8>, Refusal> {
        self.word()
            .filter(|word| !word.is_empty())
            .ok_or_else(|| format!("{what} is missing"))
    }

    /// The next option, `name=value`, whose value may be quoted.
    ///
    /// # Errors
    /// When the next word is no option.
    pub fn option(&mut self) -> Result<Option<NameValue>, Refusal> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let end = self.until(|b| b == b'=' || b.is_ascii_whitespace());
        let (name, rest) = self.rest.split_at(end);
        if name.is_empty() || rest.first() != Some(&b'=') {
            let word = String::from_utf8_lossy(name).into_owned();
            return Err(format!(
                "'{word}' is not an option: write name=value, without blanks around ="
            ));
        }
        self.rest = &rest[1..];
        let value = match self.rest.first() {
            Some(b) if !b.is_ascii_whitespace() => self.word().unwrap_or_default(),
            _ => Vec::new(),
        };
        self.rest = self.rest.trim_ascii_start();
        Ok(Some((name.to_vec(), value)))
    }

    /// Ends the arguments.
    ///
    /// # Errors
    /// When a word is left.
    pub fn end(&self) -> Result<(), Refusal> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(format!(
                "too many arguments, from '{}' on",
                String::from_utf8_lossy(self.rest)
            ))
        }
    }

    /// The one word that the arguments consist of.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn only(mut self, what: &str) -> Result<Vec<u8>, Refusal> {
        let word = self.required(what)?;
        self.end()?;
        Ok(word)
    }

    /// The one word On or Off that the arguments consist of.
    ///
    /// # Errors
    /// For anything else.
    pub fn flag(self) -> Result<bool, Refusal> {
        self.only("On or Off").and_then(|word| flag(&word))
    }

    fn until(&self, stop: impl Fn(u8) -> bool) -> usize {
        self.rest.iter().position(|&b| stop(b)).unwrap_or(self.rest.len())
    }

    fn quoted(&mut self, quote: u8) -> Vec<u8> {
        let mut word = Vec::new();
        let mut bytes = self.rest.iter().copied().enumerate().peekable();
        let mut end = self.rest.len();
        while let Some((at, byte)) = bytes.next() {
            if byte == quote {
                end = at + 1;
                break;
            }
            match bytes.peek() {
                Some(&(_, next)) if byte == b'\\' && (next == quote || next == b'\\') => {
                    word.push(next);
                    bytes.next();
                }
                _ => word.push(byte),
            }
        }
        self.rest = self.rest[end..].trim_ascii_start();
        word
    }
}

/// On or Off, in any case.
///
/// # Errors
/// For any other word.
pub fn flag(word: &[u8]) -> Result<bool, Refusal> {
    match word {
        _ if word.eq_ignore_ascii_case(b"on") => Ok(true),
        _ if word.eq_ignore_ascii_case(b"off") => Ok(false),
        _ => Err(format!("must be On or Off, not '{}'", String::from_utf8_lossy(word))),
    }
}

/// A number of seconds, with or without a fraction; 0: none.
///
/// # Errors
/// For anything else, and for a negative number.
pub fn seconds(word: &[u8]) -> Result<Option<Duration>, Refusal> {
    std::str::from_utf8(word)
        .ok()
        .and_then(|word| word.parse().ok())
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .map(|time| Some(time).filter(|time| !time.is_zero()))
        .ok_or_else(|| {
            let word = String::from_utf8_lossy(word);
            format!("must be a number of seconds, 0 or greater, not '{word}'")
        })
}

/// Seconds with a fraction, above 0.
///
/// # Errors
/// For anything else.
pub fn interval(word: &[u8]) -> Result<f64, Refusal> {
    std::str::from_utf8(word)
        .ok()
        .and_then(|word| word.parse::<f64>().ok())
        .filter(|number| number.is_finite() && *number > 0.0)
        .ok_or_else(|| {
            let word = String::from_utf8_lossy(word);
            format!("must be a number of seconds greater than 0, not '{word}'")
        })
}

/// The number at the beginning of a word; what follows it is ignored, as mod_wsgi does.
///
/// # Errors
/// When there is none, or too large a one.
pub fn number(word: &[u8]) -> Result<i64, Refusal> {
    let text = word.trim_ascii_start();
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    let digits = &digits[..digits.iter().take_while(|byte| byte.is_ascii_digit()).count()];
    let refuse = |must| format!("must be {must}, not '{}'", String::from_utf8_lossy(word));
    if digits.is_empty() {
        return Err(refuse("a number"));
    }
    let number = digits
        .iter()
        .try_fold(0i64, |number, digit| {
            number.checked_mul(10)?.checked_add(i64::from(digit - b'0'))
        })
        .ok_or_else(|| refuse("a smaller number"))?;
    Ok(if negative { -number } else { number })
}

/// As [`number`], 0 or greater and no more than C keeps in an `int`.
///
/// # Errors
/// When it is none.
pub fn count(word: &[u8]) -> Result<u32, Refusal> {
    match number(word)? {
        number @ 0..=0x7fff_ffff => Ok(number as u32),
        _ => Err(format!(
            "must be 0 or greater and not above 2147483647, not '{}'",
            String::from_utf8_lossy(word)
        )),
    }
}

/// How a HEAD request is shown to the application (`WSGIMapHEADToGET`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapHead {
    /// As HEAD.
    Off,
    /// As GET.
    On,
    /// As GET when an output filter is to see the content, so that it can set the headers it would set for GET.
    Auto,
}

impl MapHead {
    /// Reads the directive's word.
    ///
    /// # Errors
    /// For a word other than On, Off and Auto.
    pub fn parse(word: &[u8]) -> Result<MapHead, Refusal> {
        if word.eq_ignore_ascii_case(b"auto") {
            return Ok(MapHead::Auto);
        }
        match flag(word) {
            Ok(true) => Ok(MapHead::On),
            Ok(false) => Ok(MapHead::Off),
            Err(_) => Err(format!(
                "must be On, Off or Auto, not '{}'",
                String::from_utf8_lossy(word)
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(arguments: &str) -> Vec<String> {
        let mut words = Words::new(arguments.as_bytes());
        std::iter::from_fn(|| words.word())
            .map(|word| String::from_utf8(word).unwrap())
            .collect()
    }

    #[test]
    fn word_rules() {
        assert_eq!(words(""), [] as [&str; 0]);
        assert_eq!(words("  a\tb  "), ["a", "b"]);
        assert_eq!(words(r#""a b" 'c "d"' e"#), ["a b", "c \"d\"", "e"]);
        assert_eq!(words(r#""a\"b\\c\d""#), [r#"a"b\c\d"#]);
        assert_eq!(words(r#"a"b"#), [r#"a"b"#]);
        assert_eq!(words(r#""open end"#), ["open end"]);
        assert_eq!(words(r#""" x"#), ["", "x"]);
    }

    #[test]
    fn options() {
        let mut words = Words::new(br#"a=1 b="x y" c= d='=' "#);
        let mut seen = Vec::new();
        while let Some((name, value)) = words.option().unwrap() {
            seen.push((String::from_utf8(name).unwrap(), String::from_utf8(value).unwrap()));
        }
        let expected = [("a", "1"), ("b", "x y"), ("c", ""), ("d", "=")];
        assert_eq!(seen, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
        for bad in ["word", "name =value", "=value"] {
            assert!(Words::new(bad.as_bytes()).option().is_err(), "{bad}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(seconds(b"0"), Ok(None));
        assert_eq!(seconds(b"1.5"), Ok(Some(Duration::from_millis(1500))));
        for bad in ["", "-1", "x", "1s", "nan", "inf", "1e300"] {
            assert!(seconds(bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(interval(b"0.01"), Ok(0.01));
        for bad in ["", "0", "-1", "1s", "nan", "inf"] {
            assert!(interval(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(number(b" +3x"), Ok(3));
        assert_eq!(number(b"-1.5"), Ok(-1));
        assert_eq!(count(b"2147483647"), Ok(i32::MAX.unsigned_abs()));
        for bad in ["", "x", "-", "99999999999999999999"] {
            assert!(number(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(count(b"-1").is_err() && count(b"2147483648").is_err());
    }

    #[test]
    fn flags() {
        assert_eq!(Words::new(b"ON").flag(), Ok(true));
        assert_eq!(Words::new(b"off").flag(), Ok(false));
        for bad in ["", "yes", "1", "On Off"] {
            assert!(Words::new(bad.as_bytes()).flag().is_err(), "{bad}");
        }
        assert_eq!(MapHead::parse(b"AUTO"), Ok(MapHead::Auto));
        assert_eq!(MapHead::parse(b"On"), Ok(MapHead::On));
        assert!(MapHead::parse(b"maybe").is_err());
    }
}

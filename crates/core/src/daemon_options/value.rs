//! Values of options. Numbers are read as loosely as mod_wsgi reads them: what follows the digits is ignored.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use super::Account;
use crate::directive::{self, NameValue, Refusal};

/// The value of one option, as written.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    pub option: &'static str,
    pub text: &'a [u8],
}

impl Value<'_> {
    fn refuse(&self, must: &str) -> Refusal {
        let text = String::from_utf8_lossy(self.text);
        format!("option '{}' must be {must}, not '{text}'", self.option)
    }

    /// The number at the beginning.
    pub fn integer(&self) -> Result<i64, Refusal> {
        directive::number(self.text).map_err(|refusal| format!("option '{}' {refusal}", self.option))
    }

    /// A number from `least` to `most`.
    pub fn between(&self, least: u32, most: u32) -> Result<u32, Refusal> {
        let number = self.integer()?;
        u32::try_from(number)
            .ok()
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| match (least, most) {
                _ if number > 0 => self.refuse(&format!("at most {most}")),
                (0, _) => self.refuse("0 or greater"),
                _ => self.refuse(&format!("at least {least}")),
            })
    }

    /// A number that is not negative and fits where C keeps an `int`.
    pub fn count(&self) -> Result<u32, Refusal> {
        self.between(0, i32::MAX.unsigned_abs())
    }

    /// A number of seconds.
    pub fn seconds(&self) -> Result<Duration, Refusal> {
        Ok(Duration::from_secs(self.count()?.into()))
    }

    /// A number of seconds; 0: none.
    pub fn timeout(&self) -> Result<Option<Duration>, Refusal> {
        Ok(Some(self.seconds()?).filter(|time| !time.is_zero()))
    }

    /// A number of milliseconds.
    pub fn milliseconds(&self) -> Result<Duration, Refusal> {
        Ok(Duration::from_millis(self.count()?.into()))
    }

    /// A number of bytes; 0: none.
    pub fn bytes(&self) -> Result<Option<u64>, Refusal> {
        match u64::try_from(self.integer()?) {
            Ok(number) => Ok(Some(number).filter(|&number| number != 0)),
            Err(_) => Err(self.refuse("0 or greater")),
        }
    }

    /// A number of bytes that is 0 (none) or at least `least`.
    pub fn buffer(&self, least: u64) -> Result<Option<u64>, Refusal> {
        match self.bytes() {
            Ok(Some(number)) if number < least => Err(self.refuse(&format!("0 or at least {least} bytes"))),
            other => other,
        }
    }

    /// A number of bytes above 0.
    pub fn positive_bytes(&self) -> Result<u64, Refusal> {
        self.bytes().ok().flatten().ok_or_else(|| self.refuse("greater than 0"))
    }

    /// A number of the range of nice values and beyond: the system cuts it.
    pub fn nice(&self) -> Result<i32, Refusal> {
        i32::try_from(self.integer()?).map_err(|_| self.refuse("a smaller number"))
    }

    /// An octal number that is a file mode's; read in full.
    pub fn octal(&self) -> Result<u32, Refusal> {
        std::str::from_utf8(self.text)
            .ok()
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|text| u32::from_str_radix(text, 8).ok())
            .filter(|&mode| mode <= 0o777)
            .ok_or_else(|| self.refuse("an octal number such as 0027"))
    }

    /// Seconds with a fraction, above 0; read in full.
    pub fn interval(&self) -> Result<f64, Refusal> {
        directive::interval(self.text).map_err(|refusal| format!("option '{}' {refusal}", self.option))
    }

    /// On or Off.
    pub fn flag(&self) -> Result<bool, Refusal> {
        directive::flag(self.text).map_err(|_| self.refuse("On or Off"))
    }

    /// A path from the root on.
    pub fn absolute(&self) -> Result<PathBuf, Refusal> {
        if self.text.first() == Some(&b'/') {
            Ok(path(self.text))
        } else {
            Err(self.refuse("an absolute path"))
        }
    }

    /// A path; empty: none.
    pub fn path(&self) -> Option<PathBuf> {
        self.words().map(|text| path(&text))
    }

    /// Text; empty: none.
    pub fn words(&self) -> Option<Vec<u8>> {
        Some(self.text.to_vec()).filter(|text| !text.is_empty())
    }

    /// A user or group.
    pub fn account(&self) -> Result<Account, Refusal> {
        self.account_of(self.text)
    }

    /// A user that is not root.
    pub fn user(&self) -> Result<Account, Refusal> {
        match self.account()? {
            Account::Number(0) => Err(self.refuse("another user than root")),
            user => Ok(user),
        }
    }

    /// Users or groups, separated by commas; may be empty.
    pub fn accounts(&self) -> Result<Vec<Account>, Refusal> {
        let parts = self.text.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        let parts = parts.filter(|part| !part.is_empty());
        parts.map(|part| self.account_of(part)).collect()
    }

    /// `NAME=VALUE`; the value may be empty.
    pub fn variable(&self) -> Result<NameValue, Refusal> {
        match self.text.iter().position(|&byte| byte == b'=') {
            Some(at) if at > 0 => Ok((self.text[..at].to_vec(), self.text[at + 1..].to_vec())),
            _ => Err(self.refuse("NAME=VALUE")),
        }
    }

    fn account_of(&self, text: &[u8]) -> Result<Account, Refusal> {
        let Some(number) = text.strip_prefix(b"#") else {
            return Ok(Account::Name(text.to_vec()));
        };
        // Read in full: the number decides whose rights a process has. 4294967295 is what C writes for "nobody".
        std::str::from_utf8(number)
            .ok()
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse::<u32>().ok())
            .filter(|&number| number != u32::MAX)
            .map(Account::Number)
            .ok_or_else(|| self.refuse("a name, or # and a number"))
    }
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}

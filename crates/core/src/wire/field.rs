//! The parts that messages consist of: numbers, and bytes led by their length.

use super::{Error, TooLarge};

/// Takes fields from the front of borrowed bytes. A message that is known to be whole is read with [`Fields::whole`]:
/// then a field that is missing is invalid, not incomplete.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
    short: Error,
}

impl<'a> Fields<'a> {
    /// Reads from bytes of which more may come.
    pub fn partial(bytes: &'a [u8]) -> Fields<'a> {
        Fields {
            rest: bytes,
            short: Error::Incomplete,
        }
    }

    /// Reads from a message that is all there.
    pub fn whole(bytes: &'a [u8]) -> Fields<'a> {
        Fields {
            rest: bytes,
            short: Error::Invalid("message ends within a field"),
        }
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(self.short)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(self.short)?;
        self.rest = rest;
        Ok(*bytes)
    }

    /// A number of one byte.
    ///
    /// # Errors
    /// When it is missing; as all the following.
    pub fn u8(&mut self) -> Result<u8, Error> {
        self.array().map(u8::from_le_bytes)
    }

    /// A number of two bytes.
    ///
    /// # Errors
    /// When it is missing.
    pub fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_le_bytes)
    }

    /// A number of four bytes.
    ///
    /// # Errors
    /// When it is missing.
    pub fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    /// A number of eight bytes.
    ///
    /// # Errors
    /// When it is missing.
    pub fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_le_bytes)
    }

    /// A signed number of eight bytes.
    ///
    /// # Errors
    /// When it is missing.
    pub fn i64(&mut self) -> Result<i64, Error> {
        self.array().map(i64::from_le_bytes)
    }

    /// A byte that is 0 or 1.
    ///
    /// # Errors
    /// When it is missing, or another number.
    pub fn bool(&mut self) -> Result<bool, Error> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Error::Invalid("flag is neither 0 nor 1")),
        }
    }

    /// Bytes led by a length of two bytes.
    ///
    /// # Errors
    /// When they are missing, or more than `bound`.
    pub fn short_text(&mut self, bound: usize) -> Result<&'a [u8], Error> {
        let len = usize::from(self.u16()?);
        self.bounded(len, bound)
    }

    /// Bytes led by a length of four bytes.
    ///
    /// # Errors
    /// When they are missing, or more than `bound`.
    pub fn text(&mut self, bound: usize) -> Result<&'a [u8], Error> {
        // Of 32 bits: no platform of this project has a smaller usize.
        let len = self.u32()? as usize;
        self.bounded(len, bound)
    }

    fn bounded(&mut self, len: usize, bound: usize) -> Result<&'a [u8], Error> {
        if len > bound {
            return Err(Error::Invalid("field longer than it may be"));
        }
        self.bytes(len)
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Ends the message.
    ///
    /// # Errors
    /// When something is left.
    pub fn end(&self) -> Result<(), Error> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Error::Invalid("message goes on after its last field"))
        }
    }
}

/// Appends bytes led by a length of two bytes.
///
/// # Errors
/// When they are more than `bound` or 65,535.
pub fn put_short_text(out: &mut Vec<u8>, text: &[u8], bound: usize, what: &'static str) -> Result<(), TooLarge> {
    match u16::try_from(text.len()) {
        Ok(len) if text.len() <= bound => {
            out.extend(len.to_le_bytes());
            out.extend(text);
            Ok(())
        }
        _ => Err(TooLarge(what)),
    }
}

/// Appends bytes led by a length of four bytes.
///
/// # Errors
/// When they are more than `bound` or 4 GB.
pub fn put_text(out: &mut Vec<u8>, text: &[u8], bound: usize, what: &'static str) -> Result<(), TooLarge> {
    match u32::try_from(text.len()) {
        Ok(len) if text.len() <= bound => {
            out.extend(len.to_le_bytes());
            out.extend(text);
            Ok(())
        }
        _ => Err(TooLarge(what)),
    }
}

/// Names with values: the variables of a request, the header fields of a reply. They were checked when the message was
/// decoded.
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    fields: Fields<'a>,
    left: usize,
}

impl<'a> Pairs<'a> {
    /// Takes a list written by [`put_pairs`].
    ///
    /// # Errors
    /// When it is not whole, or has more than `bound` pairs.
    pub fn take(fields: &mut Fields<'a>, bound: usize) -> Result<Pairs<'a>, Error> {
        let left = usize::from(fields.u16()?);
        if left > bound {
            return Err(Error::Invalid("more fields than there may be"));
        }
        let pairs = Pairs {
            fields: fields.clone(),
            left,
        };
        for _ in 0..left {
            pair(fields)?;
        }
        Ok(pairs)
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        pair(&mut self.fields).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Pairs<'_> {}

fn pair<'a>(fields: &mut Fields<'a>) -> Result<(&'a [u8], &'a [u8]), Error> {
    let name = fields.short_text(usize::MAX)?;
    let value = fields.text(usize::MAX)?;
    Ok((name, value))
}

/// Appends names with values.
///
/// # Errors
/// When there are more than `bound` or 65,535, or one is too long.
pub fn put_pairs<'p>(
    out: &mut Vec<u8>,
    pairs: impl IntoIterator<Item = (&'p [u8], &'p [u8])>,
    bound: usize,
    what: &'static str,
) -> Result<(), TooLarge> {
    let count_at = out.len();
    out.extend([0; 2]);
    let mut count = 0;
    for (name, value) in pairs {
        put_short_text(out, name, usize::MAX, what)?;
        put_text(out, value, usize::MAX, what)?;
        count += 1;
    }
    match u16::try_from(count) {
        Ok(number) if count <= bound => {
            out[count_at..count_at + 2].copy_from_slice(&number.to_le_bytes());
            Ok(())
        }
        _ => Err(TooLarge(what)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts() {
        let mut out = vec![7, 1];
        out.extend(0x1234u16.to_le_bytes());
        out.extend((-5i64).to_le_bytes());
        put_short_text(&mut out, b"short", 5, "").unwrap();
        put_text(&mut out, b"long", 5, "").unwrap();
        let mut fields = Fields::whole(&out);
        assert_eq!(fields.u8(), Ok(7));
        assert_eq!(fields.bool(), Ok(true));
        assert_eq!(fields.u16(), Ok(0x1234));
        assert_eq!(fields.i64(), Ok(-5));
        assert!(fields.end().is_err());
        assert_eq!(fields.short_text(5), Ok(&b"short"[..]));
        assert_eq!(fields.text(4), Ok(&b"long"[..]));
        assert_eq!(fields.end(), Ok(()));
        assert!(matches!(fields.u8(), Err(Error::Invalid(_))));
        assert_eq!(Fields::partial(&[1]).u16(), Err(Error::Incomplete));
        assert!(matches!(Fields::whole(&[2]).bool(), Err(Error::Invalid(_))));
    }

    #[test]
    fn bounds() {
        // Too long is invalid at once: nobody waits for the rest of it.
        assert!(matches!(Fields::partial(&[6, 0]).short_text(5), Err(Error::Invalid(_))));
        assert!(matches!(
            Fields::partial(&[255, 255, 255, 255]).text(5),
            Err(Error::Invalid(_))
        ));
        assert_eq!(
            put_short_text(&mut Vec::new(), b"123456", 5, "name"),
            Err(TooLarge("name"))
        );
        assert!(put_short_text(&mut Vec::new(), &[0; 65_536], usize::MAX, "").is_err());
        assert!(put_text(&mut Vec::new(), b"123456", 5, "").is_err());
    }

    #[test]
    fn pairs() {
        let list: [(&[u8], &[u8]); 3] = [(b"a", b"1"), (b"", b""), (b"bc", &[9; 70_000])];
        let mut out = Vec::new();
        put_pairs(&mut out, list, 3, "").unwrap();
        assert!(put_pairs(&mut Vec::new(), list, 2, "").is_err());
        let mut fields = Fields::whole(&out);
        let pairs = Pairs::take(&mut fields, 3).unwrap();
        assert_eq!(fields.end(), Ok(()));
        assert_eq!(pairs.len(), 3);
        assert_eq!(pairs.collect::<Vec<_>>(), list);
        assert!(Pairs::take(&mut Fields::whole(&out), 2).is_err());
        for end in 0..out.len().min(50) {
            assert_eq!(
                Pairs::take(&mut Fields::partial(&out[..end]), 3).err(),
                Some(Error::Incomplete)
            );
        }
    }
}

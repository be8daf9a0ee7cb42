//! The fast path of `wsgi.file_wrapper`: the rest of a regular file is left to the server to send (PEP 3333,
//! "Optional Platform-Specific File Handling").

use super::record::Record;
use crate::python::Object;

/// The rest of a file: what the application's file object would still read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    /// The file's descriptor, owned by the application's object.
    pub descriptor: i32,
    /// Position of the first byte.
    pub offset: i64,
    /// Number of bytes to the end of the file.
    pub len: u64,
}

/// The rest of the regular file behind `iterable`, if it is a file wrapper around one.
pub fn rest_of_file(record: &Record, iterable: &Object<'_>) -> Option<Rest> {
    let py = iterable.py();
    if !iterable.is_instance(record.file_wrapper.get(py)) {
        return None;
    }
    // A failure here is no failure of the request: the wrapper is iterated then.
    let range = record.functions.rest_of_file.get(py).call(&[iterable]).ok()?;
    let number = |index| range.item(index)?.as_int();
    Some(Rest {
        descriptor: i32::try_from(number(0)?).ok()?,
        offset: number(1)?,
        len: u64::try_from(number(2)?).ok()?,
    })
}

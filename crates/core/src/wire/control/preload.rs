//! Scripts that a daemon loads before it is READY.

use crate::wire::field::{Fields, put_short_text};
use crate::wire::{Error, MAX_PATH, TooLarge};

/// A script to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preload {
    /// Its path.
    pub script: Vec<u8>,
    /// The application group to load it into.
    pub application_group: Vec<u8>,
    /// A daemon that cannot load it is of no use: it ends. It is left out when the file is gone, since then nobody can ask
    /// for it. Where it is not required, its failure is logged, and the first request for it tries again.
    pub required: bool,
}

impl Preload {
    pub(super) fn put_all(out: &mut Vec<u8>, list: &[Preload]) -> Result<(), TooLarge> {
        let too_many = TooLarge("list of scripts to load is");
        out.extend(u16::try_from(list.len()).map_err(|_| too_many)?.to_le_bytes());
        for preload in list {
            put_short_text(out, &preload.script, MAX_PATH, "path of a script to load is")?;
            put_short_text(
                out,
                &preload.application_group,
                usize::MAX,
                "name of an application group is",
            )?;
            out.push(preload.required.into());
        }
        Ok(())
    }

    pub(super) fn take_all(fields: &mut Fields<'_>) -> Result<Vec<Preload>, Error> {
        let count = fields.u16()?;
        let take = |_| {
            Ok(Preload {
                script: fields.short_text(MAX_PATH)?.to_vec(),
                application_group: fields.short_text(usize::MAX)?.to_vec(),
                required: fields.bool()?,
            })
        };
        (0..count).map(take).collect()
    }
}

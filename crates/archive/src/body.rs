//! A member's body on its way to the visitor.

use std::io::{self, Read};

use crate::{Fault, Member, Refusal, WalkError};

/// Bytes read at once where the visitor does not say: large enough for the inflater's fast path, small enough for the cache.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;

/// Bytes that may turn out to be refused.
pub(crate) trait Source {
    /// Reads some bytes into `out`, which is not empty. 0 is the end, given only once everything about the bytes was checked.
    fn pull(&mut self, out: &mut [u8]) -> Result<usize, Fault>;
}

/// A body without bytes: a directory, a link, a member that cannot be read.
pub(crate) struct Empty;

impl Source for Empty {
    fn pull(&mut self, _out: &mut [u8]) -> Result<usize, Fault> {
        Ok(0)
    }
}

/// A [`Source`] as a reader that keeps its first fault, whatever the visitor makes of the error.
struct Body<'s, S> {
    source: &'s mut S,
    fault: Option<Fault>,
}

impl<S: Source> Read for Body<'_, S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let fault = match &self.fault {
            Some(fault) => fault,
            None => match self.source.pull(out) {
                Ok(count) => return Ok(count),
                Err(fault) => self.fault.insert(fault),
            },
        };
        Err(match fault {
            Fault::Refused(refusal) => io::Error::new(io::ErrorKind::InvalidData, refusal.clone()),
            Fault::Io(error) => io::Error::new(error.kind(), error.to_string()),
        })
    }
}

/// Shows a member with its body to `visit`, then reads what is left of the body into `scratch`.
///
/// A refusal met in the body names the member. It stands before the visitor's own error, which is likely made of it.
pub(crate) fn show<S: Source, E>(
    member: &Member,
    source: &mut S,
    visit: &mut impl FnMut(&Member, &mut dyn Read) -> Result<(), E>,
    scratch: &mut [u8],
) -> Result<(), WalkError<E>> {
    let mut body = Body { source, fault: None };
    let outcome = visit(member, &mut body);
    if let Some(fault) = body.fault {
        return Err(fault.into());
    }
    outcome.map_err(WalkError::Visit)?;
    while source.pull(scratch)? > 0 {}
    Ok(())
}

/// Puts the member's name into a refusal that has none.
pub(crate) fn named(fault: Fault, member: &str) -> Fault {
    match fault {
        Fault::Refused(refusal) if refusal.member().is_none() => Fault::Refused(Refusal::about(refusal, member)),
        fault => fault,
    }
}

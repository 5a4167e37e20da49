//! What the bodies of one archive may still cost.

use crate::{Code, Limits, Refusal};

/// Counts declared sizes against the limits. Bodies never give more than they declare, so this bounds the inflated bytes too.
#[derive(Debug)]
pub(crate) struct Budget<'l> {
    limits: &'l Limits,
    archive_bytes: u64,
    total: u64,
}

impl<'l> Budget<'l> {
    pub(crate) fn new(limits: &'l Limits, archive_bytes: u64) -> Self {
        Self { limits, archive_bytes, total: 0 }
    }

    /// Takes the declared size of one more member.
    pub(crate) fn take(&mut self, member: &str, size: u64) -> Result<(), Refusal> {
        if size > self.limits.member_bytes {
            return Err(Refusal::of(Code::MemberTooLarge, member).detail(format!("{size} bytes")));
        }
        self.total = self.total.saturating_add(size);
        if self.total > self.limits.total_bytes {
            return Err(Refusal::new(Code::TotalTooLarge).detail(format!("more than {}", self.limits.total_bytes)));
        }
        check_ratio(self.limits, self.archive_bytes, self.total)
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}

/// Refuses `inflated` bytes out of an archive of `archive_bytes` when no honest archive has such a ratio.
pub(crate) fn check_ratio(limits: &Limits, archive_bytes: u64, inflated: u64) -> Result<(), Refusal> {
    if inflated > limits.ratio_from_bytes && inflated > limits.ratio.saturating_mul(archive_bytes) {
        return Err(Refusal::new(Code::Bomb).detail(format!("{inflated} bytes out of {archive_bytes}")));
    }
    Ok(())
}

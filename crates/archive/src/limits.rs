//! The limits of one walk.

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// What one archive may cost. A value equal to the limit is accepted, one more is refused with a code that is not hostile
/// (except the ratio: inflating out of proportion is what a bomb does).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Members of any kind, directories included. Default 200,000: the largest honest archive met has 70,070.
    pub members: u64,
    /// Inflated bytes of one member. Default 2 GiB: the largest shared objects in CUDA wheels are between 1 and 2 GiB.
    pub member_bytes: u64,
    /// Inflated bytes of all members together. Default 10 GiB, the size PyPI grants a whole project by default.
    pub total_bytes: u64,
    /// Inflated bytes per byte of the archive file, looked at only past [`Limits::ratio_from_bytes`]. Default 50 (PyPI's number).
    pub ratio: u64,
    /// Inflated bytes up to which any ratio is accepted. Default 64 MiB (PyPI's number): small archives of repetitive text are honest.
    pub ratio_from_bytes: u64,
    /// Bytes (UTF-8) of one member's path and of a link's target. Default 1,024: four times what Windows takes, a quarter of Linux' `PATH_MAX`.
    pub path_bytes: usize,
    /// Segments of one member's path. Default 64; the deepest path seen in popular Python packages has fewer than 20.
    pub path_depth: usize,
    /// Bytes of all members' names together. Default 32 MiB: what bounds the memory of a walk; 200,000 honest names take about half.
    pub names_bytes: u64,
    /// Bytes of one extension record of a tar: pax records, or a GNU long name. Default 64 KiB.
    pub extension_bytes: u64,
    /// Whether a local header of a zip may have a ZIP64 field of zeros beside its true sizes, as some writers leave it. Default
    /// false: installers that read a wheel as a stream might believe the zeros. For archives that no installer reads.
    pub empty_zip64: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            members: 200_000,
            member_bytes: 2 * GIB,
            total_bytes: 10 * GIB,
            ratio: 50,
            ratio_from_bytes: 64 * MIB,
            path_bytes: 1024,
            path_depth: 64,
            names_bytes: 32 * MIB,
            extension_bytes: 64 * 1024,
            empty_zip64: false,
        }
    }
}

//! The scanners of `gate check` besides the built-in one: none, unless the program was built with the feature `external`.

use anyhow::Result;

use crate::args::ExternalScanner;
use crate::store::DirectoryStore;

pub(crate) use build::External;

/// The scanner that the command line switches on. It reads artifacts from this store.
///
/// # Errors
/// When this program has no such scanner, or cannot ask it: nothing is decided without what was asked for.
pub(crate) async fn switched_on(wanted: Option<ExternalScanner>, store: &DirectoryStore) -> Result<Vec<External>> {
    match wanted {
        None => Ok(Vec::new()),
        Some(ExternalScanner::CodeGuruSecurity) => Ok(vec![build::code_guru(store).await?]),
    }
}

/// A program with external scanners.
#[cfg(feature = "external")]
mod build {
    use std::io::Write as _;

    use anyhow::Result;
    use gate_aws::CodeGuru;

    use crate::store::DirectoryStore;

    pub(crate) type External = CodeGuru<DirectoryStore>;

    pub(super) async fn code_guru(store: &DirectoryStore) -> Result<External> {
        // A closed standard error is no reason to fail.
        let _ = writeln!(
            anstream::stderr(),
            "note: Amazon CodeGuru Security ended on 2025-11-20; --external-scanner is for private endpoints of the same API"
        );
        Ok(CodeGuru::from_env(store.clone()).await?)
    }
}

/// A program without.
#[cfg(not(feature = "external"))]
mod build {
    use std::convert::Infallible;

    use anyhow::{Result, bail};
    use gate_core::digest::Sha256;
    use gate_core::failure::Failure;
    use gate_core::ports::{ScanState, Scanner};
    use gate_core::report::{ContentReport, ScannerVersion};

    use crate::store::DirectoryStore;

    #[expect(clippy::unused_async, reason = "the other build reads the configuration of the SDK")]
    pub(super) async fn code_guru(_: &DirectoryStore) -> Result<External> {
        bail!(
            "this program was built without external scanners; build one with: cargo build --release -p gate --features \
             external"
        )
    }

    /// There is none.
    pub(crate) enum External {}

    impl Scanner for External {
        type Scan = Infallible;

        fn version(&self) -> ScannerVersion {
            match *self {}
        }

        async fn start(&self, _: &Sha256) -> Result<Infallible, Failure> {
            match *self {}
        }

        async fn poll(&self, scan: &mut Infallible) -> Result<ScanState, Failure> {
            match *scan {}
        }

        async fn collect(&self, scan: Infallible) -> Result<ContentReport, Failure> {
            match scan {}
        }
    }
}

//! Turns: who has an artifact scanned by a scanner in this process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use gate_core::digest::Sha256;
use gate_core::report::ScannerVersion;
use tokio::sync::OwnedMutexGuard;

/// What is scanned, and by whom.
type Work = (Sha256, ScannerVersion);

/// The scans that somebody works on or waits for. It says only who comes first, so all callers of a process may share it.
static TURNS: Mutex<BTreeMap<Work, Weak<tokio::sync::Mutex<()>>>> = Mutex::new(BTreeMap::new());

/// Waits until nobody else has this scanner work on this digest. The turn ends when the guard is dropped.
pub(crate) async fn take(artifact: &Sha256, scanner: &ScannerVersion) -> OwnedMutexGuard<()> {
    let turn = {
        let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        let work = (*artifact, scanner.clone());
        let known = turns.get(&work).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let turn = Arc::default();
            turns.insert(work, Arc::downgrade(&turn));
            turn
        })
    };
    turn.lock_owned().await
}

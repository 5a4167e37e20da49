//! Turns: who works on a digest in this process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use gate_core::digest::Sha256;
use tokio::sync::OwnedMutexGuard;

/// The digests that somebody works on or waits for. It says only who comes first, so all callers of a process may share it.
static TURNS: Mutex<BTreeMap<Sha256, Weak<tokio::sync::Mutex<()>>>> = Mutex::new(BTreeMap::new());

/// Waits until nobody else works on this digest. The turn ends when the guard is dropped.
pub(crate) async fn take(artifact: &Sha256) -> OwnedMutexGuard<()> {
    let turn = {
        let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        let known = turns.get(artifact).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let turn = Arc::default();
            turns.insert(*artifact, Arc::downgrade(&turn));
            turn
        })
    };
    turn.lock_owned().await
}

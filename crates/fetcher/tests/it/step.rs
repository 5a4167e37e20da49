//! The whole step, over real connections.

use std::collections::BTreeSet;
use std::sync::Arc;

use gate_core::SCHEMA_VERSION;
use gate_core::policy::Policy;
use gate_core::run::{self, Inputs, OutcomeDocument, RowDocument, RowKey, RowState, RunId};
use gate_core::step::StepError;
use gate_core::testing::{FixedClock, MemoryRecords};
use gate_fetcher::step::{Ports, TIME, fetch};
use gate_fetcher::{Ceiling, HttpDownloader, SimpleIndex};
use jiff::Timestamp;

use crate::world::World;

/// Where the step leaves a row, `name,source`, and how the row ended, if it did.
pub(crate) async fn fetched(
    world: &World,
    row: &str,
    ceiling: u64,
) -> Result<(RowState, Option<OutcomeDocument>), StepError> {
    let row = gate_core::request::parse(row.as_bytes()).unwrap().remove(0);
    let wanted = row.wanted.unwrap();
    let run = RunId::of_commit(1, "refs/heads/main", &"a".repeat(40), 1);
    let (state, key) = (RowState::new(run.row_key(row.line)), RowKey::of(&wanted));
    let (line, name, source) = (row.line, row.name, row.source);
    let document = RowDocument {
        schema_version: SCHEMA_VERSION,
        run,
        line,
        key,
        name,
        source,
        wanted: Some(wanted),
        told: BTreeSet::new(),
    };
    let records = MemoryRecords::default();
    run::keep_document(&records, &state.row, &document).await.unwrap();
    let (http, ceiling) = (world.http(), Arc::new(Ceiling::new(ceiling)));
    let downloader = HttpDownloader::new(Arc::clone(&http), Arc::clone(&world.quarantine), &world.limits);
    let ports = Ports {
        records: &records,
        index: &SimpleIndex::new(http),
        downloader: &downloader.below(Arc::clone(&ceiling)),
        quarantine: &*world.quarantine,
        clock: &FixedClock(Timestamp::UNIX_EPOCH),
        policy: &Policy::built_in().unwrap(),
        ceiling: &ceiling,
        time: TIME,
        settings: Inputs::fetch_settings(world.index.as_deref().unwrap_or_default(), ceiling.bytes()),
    };
    let state = fetch(state, &ports).await?;
    let ended = match &state.outcome {
        Some(key) => Some(run::read(&records, key).await.unwrap()),
        None => None,
    };
    Ok((state, ended))
}

//! The fetch step: from a row's source to archives in quarantine, over a network that rows cannot widen.
//!
//! [`fetch_row`] is the step, and [`step::fetch`] the same for the row machine. What it needs are [`SimpleIndex`] and [`HttpDownloader`], which share one [`Http`] client, and a
//! [`gate_core::ports::Quarantine`]. [`find_index`] says which index a machine uses.

mod address;
pub mod advisories;
mod config;
mod connect;
mod download;
mod guard;
mod http;
mod index;
mod index_url;
pub mod input;
mod pace;
mod page;
mod retry;
mod row;
mod select;
pub mod step;
mod tags;
mod trouble;
mod words;

pub use address::{Reach, reach};
pub use config::{FoundIndex, Machine, ThisMachine, find_index};
pub use connect::{BoxFuture, Resolve, SystemResolver};
pub use download::{Ceiling, HttpDownloader};
pub use guard::{Guard, Refusal};
pub use http::{BUFFER_BYTES, HEADER_FIELDS, Http, HttpLimits, USER_AGENT, native_roots};
pub use index::{PAGE_BYTES, SimpleIndex};
pub use index_url::{BadIndexUrl, IndexUrl};
pub use retry::Retry;
pub use row::{Fetched, FetchedArtifact, NOTE_CODES, check_source_host, fetch_row};
pub use select::{Selection, newest_matching, select, select_pinned};

//! What people read when a run is over: the page `report.html`, one mail a requester, and the local outbox that keeps the mails.
//!
//! Everything but [`step`] is rendering: a value in, text out. The only thing that touches a file is [`DirectoryOutbox`].

pub mod digest;
pub mod eml;
pub mod group;
mod outbox;
pub mod page;
pub mod plain;
pub mod step;
mod view;
pub mod words;

pub use outbox::DirectoryOutbox;
pub use view::{AssetRepository, Install, RowView, RunView, fixed_version};

//! A mail as the bytes of an `.eml` file (RFC 5322), which any mail program opens.

use gate_core::digest::Sha256;
use gate_core::failure::{Failure, FailureCode};
use gate_core::ports::Mail;
use jiff::Timestamp;
use mail_builder::MessageBuilder;
use mail_builder::headers::address::Address;
use mail_builder::headers::date::Date;

/// Where the mails of a local outbox say that they come from. Nothing is sent, so nobody answers.
pub const FROM: (&str, &str) = ("Package Gate", "package-gate@localhost.example");
/// Whom a mail without an address names: the operator's default subscription.
pub const DEFAULT_TO: (&str, &str) = ("default subscription", "default-subscription@localhost.example");

/// The mail as it would be sent. The same key, mail and time give the same `Date` and `Message-ID`.
///
/// # Errors
/// [`FailureCode::Storage`] when the mail cannot be encoded.
pub fn bytes(key: &str, mail: &Mail, at: Timestamp) -> Result<Vec<u8>, Failure> {
    let recipient = match &mail.to {
        Some(address) => Address::new_address(None::<&str>, address.as_str()),
        None => Address::new_address(Some(DEFAULT_TO.0), DEFAULT_TO.1),
    };
    let id = format!("{}@localhost.example", Sha256::of(key.as_bytes()));
    MessageBuilder::new()
        .from(Address::new_address(Some(FROM.0), FROM.1))
        .to(recipient)
        .subject(mail.subject.as_str())
        .date(Date::new(at.as_second()))
        .message_id(id)
        // RFC 3834: no vacation notice answers it.
        .header("Auto-Submitted", mail_builder::headers::raw::Raw::new("auto-generated"))
        .text_body(mail.body.as_str())
        .write_to_vec()
        .map_err(|error| Failure::new(FailureCode::Storage, format!("the mail cannot be encoded: {error}")))
}

//! SNS: mails to a topic, and who gets which of them.
//!
//! Every message carries the attribute `requester`: the address that it is for, in lower case, or [`DEFAULT_REQUESTER`]. Every
//! subscription has a filter policy on that attribute, so that a requester gets the own mails alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_sns::Client;
use aws_sdk_sns::types::MessageAttributeValue;
use gate_core::failure::{Failure, FailureCode};
use gate_core::ports::{MAX_MAIL_BODY, MAX_MAIL_KEY, Mail, Outbox, Subscription, Subscriptions};
use gate_core::step::StepError;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::errors::{Fault, Kind};

/// The message attribute that filter policies look at.
pub(crate) const REQUESTER: &str = "requester";
/// The message attribute that tells a mail from another.
const KEY: &str = "key";
/// The type of both.
const STRING: &str = "String";
/// What [`REQUESTER`] is in a mail without address.
pub(crate) const DEFAULT_REQUESTER: &str = "default";
/// A subject has fewer characters than this, and only printable ASCII (SNS API, `Publish`: `Subject`).
pub(crate) const SUBJECT_CHARS: usize = 100;
/// Body and attributes together have at most these bytes (SNS quotas: "Message size", 256 KB).
pub(crate) const MESSAGE_BYTES: usize = 262_144;
/// An address has at most these (RFC 5321, 4.5.3.1.3, without the angle brackets).
const ADDRESS_BYTES: usize = 254;
/// The longest mail that the port takes is one that SNS takes, whoever it is for.
const _: () = assert!(MAX_MAIL_BODY + MAX_MAIL_KEY + ADDRESS_BYTES + ATTRIBUTES_BYTES <= MESSAGE_BYTES);
/// Names and types of the two attributes.
const ATTRIBUTES_BYTES: usize = REQUESTER.len() + KEY.len() + 2 * STRING.len();
/// Filter policies of one topic (Amazon SNS endpoints and quotas: "Filter policies per topic").
pub(crate) const FILTER_POLICIES: usize = 200;

/// How long the list of subscriptions is believed.
const FRESH: Duration = Duration::from_secs(300);
/// Pages of the list, of 100 subscriptions each; more than these are an error of the service.
const PAGES: usize = 1_000;

const PUBLISH: &str = "sns:Publish";
const SUBSCRIBE: &str = "sns:Subscribe";
const LIST: &str = "sns:ListSubscriptionsByTopic";
const GET_ATTRIBUTES: &str = "sns:GetSubscriptionAttributes";
const SET_ATTRIBUTES: &str = "sns:SetSubscriptionAttributes";

/// One topic for mails. Its clones share what they know of its subscriptions.
#[derive(Clone, Debug)]
pub struct Topic {
    client: Client,
    arn: String,
    known: Arc<Mutex<Option<Known>>>,
}

/// The subscriptions of the topic, at one time.
#[derive(Debug)]
struct Known {
    at: Instant,
    /// Those for mails.
    by_address: BTreeMap<String, Found>,
    /// Those that are confirmed, of all kinds.
    confirmed: Vec<String>,
    /// Whether one of them lets mails without an address through; none before somebody has asked.
    has_default: Option<bool>,
}

/// What the topic's list says of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    /// The mail that asks for the owner's consent is out; or the owner has just unsubscribed, and is not asked again at once.
    Waiting,
    /// Its filter policy was not looked at yet.
    Confirmed(String),
    /// Its filter policy lets the address's own mails through.
    Reached,
}

impl Topic {
    pub(crate) fn new(client: Client, arn: &str) -> Self {
        Self { client, arn: arn.to_owned(), known: Arc::default() }
    }

    /// What is known, if it is fresh; else what the service says now.
    async fn fresh<'k>(&self, known: &'k mut Option<Known>) -> Result<&'k mut Known, Fault> {
        let fresh = match known.take() {
            Some(known) if known.at.elapsed() < FRESH => known,
            _ => self.subscriptions().await?,
        };
        Ok(known.insert(fresh))
    }

    async fn subscriptions(&self) -> Result<Known, Fault> {
        let (mut by_address, mut confirmed) = (BTreeMap::new(), Vec::new());
        let mut seen = BTreeSet::new();
        let mut token: Option<String> = None;
        for _ in 0..PAGES {
            let sent =
                self.client.list_subscriptions_by_topic().topic_arn(&self.arn).set_next_token(token).send().await;
            let page = sent.map_err(|error| Fault::of(LIST, &error))?;
            for subscription in page.subscriptions() {
                let arn = subscription.subscription_arn().filter(|arn| arn.starts_with("arn:"));
                confirmed.extend(arn.map(str::to_owned));
                if let (Some("email"), Some(address)) = (subscription.protocol(), subscription.endpoint()) {
                    let found = arn.map_or(Found::Waiting, |arn| Found::Confirmed(arn.to_owned()));
                    let entry = by_address.entry(address.to_ascii_lowercase()).or_insert_with(|| found.clone());
                    if *entry == Found::Waiting {
                        *entry = found;
                    }
                }
            }
            match page.next_token.filter(|next| !next.is_empty()) {
                None => return Ok(Known { at: Instant::now(), by_address, confirmed, has_default: None }),
                Some(next) if !seen.insert(next.clone()) => break,
                next => token = next,
            }
        }
        Err(Fault::unexpected(LIST, "pages without end"))
    }

    async fn subscribe(&self, address: &str) -> Result<Subscription, Fault> {
        let sent = self.client.subscribe().topic_arn(&self.arn).protocol("email").endpoint(address);
        let sent = sent.attributes("FilterPolicy", json!({ REQUESTER: [address] }).to_string());
        match sent.return_subscription_arn(true).send().await {
            Ok(_) => Ok(Subscription::Pending),
            Err(error) => full_or(Fault::of(SUBSCRIBE, &error)),
        }
    }

    /// The filter policy of a subscription; none lets everything through.
    async fn filter_policy(&self, arn: &str) -> Result<Option<String>, Fault> {
        let sent = self.client.get_subscription_attributes().subscription_arn(arn).send().await;
        let found = sent.map_err(|error| Fault::of(GET_ATTRIBUTES, &error))?;
        Ok(found.attributes.and_then(|mut attributes| attributes.remove("FilterPolicy")))
    }

    /// Whether one of these subscriptions lets mails without an address through.
    async fn is_default_among(&self, confirmed: &[String]) -> Result<bool, Fault> {
        for arn in confirmed {
            let policy = match self.filter_policy(arn).await {
                // It has gone since it was listed.
                Err(fault) if fault.kind == Kind::NotFound => continue,
                policy => policy?,
            };
            if policy.and_then(|policy| widened(&policy, DEFAULT_REQUESTER)).is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Lets the own mails of the address through a confirmed subscription that was made for others: the operator's, say.
    async fn widen(&self, arn: &str, address: &str) -> Result<Subscription, Fault> {
        let Some(wider) = self.filter_policy(arn).await?.and_then(|policy| widened(&policy, address)) else {
            return Ok(Subscription::Confirmed);
        };
        let set = self.client.set_subscription_attributes().subscription_arn(arn).attribute_name("FilterPolicy");
        match set.attribute_value(wider).send().await {
            Ok(_) => Ok(Subscription::Confirmed),
            Err(error) => full_or(Fault::of(SET_ATTRIBUTES, &error)),
        }
    }
}

/// A used-up quota is an answer.
fn full_or(fault: Fault) -> Result<Subscription, Fault> {
    if fault.kind == Kind::Quota { Ok(Subscription::Full) } else { Err(fault) }
}

/// The filter policy that lets an address's own mails through as well; none when this one does.
fn widened(policy: &str, address: &str) -> Option<String> {
    let mut policy: Value = serde_json::from_str(policy).unwrap_or_default();
    let conditions = policy.as_object_mut()?;
    if conditions.is_empty() {
        return None;
    }
    let requesters = conditions.entry(REQUESTER).or_insert_with(|| json!([]));
    match requesters.as_array_mut() {
        Some(requesters) if requesters.iter().any(|requester| requester == address) => return None,
        Some(requesters) => requesters.push(json!(address)),
        None => *requesters = json!([address]),
    }
    Some(policy.to_string())
}

impl Subscriptions for Topic {
    async fn ensure(&self, address: &str) -> Result<Subscription, StepError> {
        let address = address.to_ascii_lowercase();
        // Held across the calls: two mails to one address ask for consent once.
        let mut known = self.known.lock().await;
        let known = self.fresh(&mut known).await?;
        let (answer, found) = match known.by_address.get(&address) {
            Some(Found::Reached) => return Ok(Subscription::Confirmed),
            Some(Found::Waiting) => return Ok(Subscription::Pending),
            Some(Found::Confirmed(arn)) => (self.widen(arn, &address).await?, Found::Reached),
            None if known.by_address.len() >= FILTER_POLICIES => return Ok(Subscription::Full),
            None => (self.subscribe(&address).await?, Found::Waiting),
        };
        if answer != Subscription::Full {
            known.by_address.insert(address, found);
        }
        Ok(answer)
    }

    async fn default_is_confirmed(&self) -> Result<bool, StepError> {
        let mut known = self.known.lock().await;
        let known = self.fresh(&mut known).await?;
        let has_default = match known.has_default {
            Some(has_default) => has_default,
            None => self.is_default_among(&known.confirmed).await?,
        };
        known.has_default = Some(has_default);
        Ok(has_default)
    }
}

impl Outbox for Topic {
    async fn send(&self, key: &str, mail: &Mail) -> Result<(), Failure> {
        let requester = mail.to.as_deref().map_or_else(|| DEFAULT_REQUESTER.to_owned(), str::to_ascii_lowercase);
        check(mail, &requester, key)?;
        let attribute = |value: &str| {
            let built = MessageAttributeValue::builder().data_type(STRING).string_value(value).build();
            built.map_err(|_| Fault::unexpected(PUBLISH, "attribute").storage())
        };
        let sent = self.client.publish().topic_arn(&self.arn).subject(&mail.subject).message(&mail.body);
        let sent = sent.message_attributes(REQUESTER, attribute(&requester)?);
        // SNS may deliver twice, and so may we: a machine that reads the topic can tell.
        let sent = sent.message_attributes(KEY, attribute(key)?);
        match sent.send().await.map_err(|error| Fault::of(PUBLISH, &error)) {
            Ok(_) => Ok(()),
            // Whatever it does not like of this mail, it will not like the next time either.
            Err(fault) if fault.kind == Kind::Invalid => Err(Failure::new(FailureCode::Forbidden, fault.to_string())),
            Err(fault) => Err(fault.storage()),
        }
    }
}

/// What SNS would refuse, or would deliver cut: no other try helps.
fn check(mail: &Mail, requester: &str, key: &str) -> Result<(), Failure> {
    let refused = |why: &str| Err(Failure::new(FailureCode::Forbidden, why));
    let too_large = |why: String| Err(Failure::new(FailureCode::TooLarge, why));
    let Mail { subject, body, .. } = mail;
    let printable = |c: char| c.is_ascii_graphic() || c == ' ';
    if subject.starts_with(' ') || subject.is_empty() || !subject.chars().all(printable) {
        return refused("the subject of a mail must be printable ASCII and begin with no space");
    }
    if subject.len() >= SUBJECT_CHARS {
        return too_large(format!(
            "the subject of a mail has {} characters; fewer than {SUBJECT_CHARS} are taken",
            subject.len()
        ));
    }
    if requester.is_empty() || key.is_empty() || body.is_empty() {
        return refused("a mail needs a body, a key, and an address that is not empty");
    }
    let bytes = body.len() + ATTRIBUTES_BYTES + requester.len() + key.len();
    if bytes > MESSAGE_BYTES {
        return too_large(format!("a mail has {bytes} bytes with its attributes; at most {MESSAGE_BYTES} are taken"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;

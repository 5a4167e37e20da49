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
use gate_core::ports::{Mail, Outbox, Subscription, Subscriptions};
use gate_core::step::StepError;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::errors::{Fault, Kind};

/// The message attribute that filter policies look at.
pub(crate) const REQUESTER: &str = "requester";
/// Its value in a mail without address.
pub(crate) const DEFAULT_REQUESTER: &str = "default";
/// A subject has fewer characters than this, and only printable ASCII (SNS API, `Publish`: `Subject`).
pub(crate) const SUBJECT_CHARS: usize = 100;
/// Body and attributes together have at most these bytes (SNS quotas: "Message size", 256 KB).
pub(crate) const MESSAGE_BYTES: usize = 262_144;
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

/// The mail subscriptions of the topic, at one time.
#[derive(Debug)]
struct Known {
    at: Instant,
    by_address: BTreeMap<String, Found>,
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

    async fn subscriptions(&self) -> Result<BTreeMap<String, Found>, Fault> {
        let mut by_address = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut token: Option<String> = None;
        for _ in 0..PAGES {
            let sent =
                self.client.list_subscriptions_by_topic().topic_arn(&self.arn).set_next_token(token).send().await;
            let page = sent.map_err(|error| Fault::of(LIST, &error))?;
            for subscription in page.subscriptions() {
                if let (Some("email"), Some(address)) = (subscription.protocol(), subscription.endpoint()) {
                    let found = match subscription.subscription_arn() {
                        Some(arn) if arn.starts_with("arn:") => Found::Confirmed(arn.to_owned()),
                        _ => Found::Waiting,
                    };
                    let entry = by_address.entry(address.to_ascii_lowercase()).or_insert_with(|| found.clone());
                    if *entry == Found::Waiting {
                        *entry = found;
                    }
                }
            }
            match page.next_token {
                None => return Ok(by_address),
                Some(next) if next.is_empty() => return Ok(by_address),
                Some(next) if !seen.insert(next.clone()) => break,
                Some(next) => token = Some(next),
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

    /// Lets the own mails of the address through a confirmed subscription that was made for others: the operator's, say.
    async fn widen(&self, arn: &str, address: &str) -> Result<Subscription, Fault> {
        let sent = self.client.get_subscription_attributes().subscription_arn(arn).send().await;
        let found = sent.map_err(|error| Fault::of(GET_ATTRIBUTES, &error))?;
        let policy = found.attributes().and_then(|attributes| attributes.get("FilterPolicy"));
        let Some(wider) = policy.and_then(|policy| widened(policy, address)) else {
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
        let known = match &mut *known {
            Some(known) if known.at.elapsed() < FRESH => known,
            stale => stale.insert(Known { at: Instant::now(), by_address: self.subscriptions().await? }),
        };
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
}

impl Outbox for Topic {
    async fn send(&self, key: &str, mail: &Mail) -> Result<(), Failure> {
        let requester = mail.to.as_deref().map_or_else(|| DEFAULT_REQUESTER.to_owned(), str::to_ascii_lowercase);
        check(mail, &requester, key).map_err(|what| Failure::new(FailureCode::Storage, what))?;
        let attribute = |value: &str| {
            let built = MessageAttributeValue::builder().data_type("String").string_value(value).build();
            built.map_err(|_| Fault::unexpected(PUBLISH, "attribute").storage())
        };
        let sent = self.client.publish().topic_arn(&self.arn).subject(&mail.subject).message(&mail.body);
        let sent = sent.message_attributes(REQUESTER, attribute(&requester)?);
        // SNS may deliver twice, and so may we: a machine that reads the topic can tell.
        let sent = sent.message_attributes(KEY, attribute(key)?);
        sent.send().await.map_err(|error| Fault::of(PUBLISH, &error).storage())?;
        Ok(())
    }
}

const KEY: &str = "key";

/// What SNS would refuse, or would deliver cut.
fn check(mail: &Mail, requester: &str, key: &str) -> Result<(), String> {
    let Mail { subject, body, .. } = mail;
    let printable = |c: char| c.is_ascii_graphic() || c == ' ';
    if subject.starts_with(' ') || subject.is_empty() || !subject.chars().all(printable) {
        return Err("the subject of a mail must be printable ASCII and begin with no space".to_owned());
    }
    if subject.len() >= SUBJECT_CHARS {
        return Err(format!(
            "the subject of a mail has {} characters; fewer than {SUBJECT_CHARS} are taken",
            subject.len()
        ));
    }
    if requester.is_empty() || key.is_empty() || body.is_empty() {
        return Err("a mail needs a body, a key, and an address that is not empty".to_owned());
    }
    let attributes = [REQUESTER, "String", requester, KEY, "String", key].iter().map(|text| text.len()).sum::<usize>();
    let bytes = body.len() + attributes;
    if bytes > MESSAGE_BYTES {
        return Err(format!("a mail has {bytes} bytes with its attributes; at most {MESSAGE_BYTES} are taken"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;

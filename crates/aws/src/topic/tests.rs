use std::collections::HashMap;

use aws_sdk_sns::operation::get_subscription_attributes::GetSubscriptionAttributesOutput;
use aws_sdk_sns::operation::list_subscriptions_by_topic::ListSubscriptionsByTopicOutput;
use aws_sdk_sns::operation::publish::PublishOutput;
use aws_sdk_sns::operation::set_subscription_attributes::SetSubscriptionAttributesOutput;
use aws_sdk_sns::operation::subscribe::SubscribeOutput;
use aws_sdk_sns::types::Subscription as Listed;
use aws_smithy_mocks::{Rule, mock};
use gate_core::step::ErrorName;

use super::*;
use crate::testing::{client, query_error};

const ARN: &str = "arn:aws:sns:eu-west-1:111122223333:gate-verdicts";
const SUBSCRIPTION: &str = "arn:aws:sns:eu-west-1:111122223333:gate-verdicts:7";

fn topic(rules: &[&Rule]) -> Topic {
    Topic::new(client!(aws_sdk_sns, rules), ARN)
}

fn mail(to: Option<&str>) -> Mail {
    Mail { to: to.map(str::to_owned), subject: "2 packages approved".to_owned(), body: "flask 3.0.3".to_owned() }
}

fn page(subscriptions: &[(&str, &str, &str)], next: Option<&str>) -> ListSubscriptionsByTopicOutput {
    let listed = subscriptions.iter().map(|(protocol, endpoint, arn)| {
        Listed::builder().protocol(*protocol).endpoint(*endpoint).subscription_arn(*arn).topic_arn(ARN).build()
    });
    ListSubscriptionsByTopicOutput::builder()
        .set_subscriptions(Some(listed.collect()))
        .set_next_token(next.map(str::to_owned))
        .build()
}

fn lists(subscriptions: &'static [(&'static str, &'static str, &'static str)]) -> Rule {
    mock!(Client::list_subscriptions_by_topic).then_output(move || page(subscriptions, None))
}

fn subscribes(address: &'static str) -> Rule {
    mock!(Client::subscribe)
        .match_requests(move |input| {
            let policy = input.attributes().and_then(|attributes| attributes.get("FilterPolicy"));
            input.protocol() == Some("email")
                && input.endpoint() == Some(address)
                && input.return_subscription_arn() == Some(true)
                && input.topic_arn() == Some(ARN)
                && policy == Some(&format!(r#"{{"requester":["{address}"]}}"#))
        })
        .then_output(|| SubscribeOutput::builder().subscription_arn(SUBSCRIPTION).build())
}

fn has_policy(policy: Option<&'static str>) -> Rule {
    mock!(Client::get_subscription_attributes)
        .match_requests(|input| input.subscription_arn() == Some(SUBSCRIPTION))
        .then_output(move || {
            let attributes: HashMap<_, _> =
                policy.map(|policy| ("FilterPolicy".to_owned(), policy.to_owned())).into_iter().collect();
            GetSubscriptionAttributesOutput::builder().set_attributes(Some(attributes)).build()
        })
}

#[tokio::test]
async fn a_mail_is_addressed_by_an_attribute() {
    for (to, requester) in [(Some("Ada@Corp.Example"), "ada@corp.example"), (None, "default")] {
        let rule = mock!(Client::publish)
            .match_requests(move |input| {
                let value = |name: &str| input.message_attributes()?.get(name)?.string_value();
                input.topic_arn() == Some(ARN)
                    && input.subject() == Some("2 packages approved")
                    && input.message() == Some("flask 3.0.3")
                    && value("requester") == Some(requester)
                    && value("key") == Some("run-1/ada")
            })
            .then_output(|| PublishOutput::builder().message_id("1").build());
        assert_eq!(topic(&[&rule]).send("run-1/ada", &mail(to)).await, Ok(()));
        assert_eq!(rule.num_calls(), 1);
    }
}

#[tokio::test]
async fn a_mail_that_sns_would_refuse_is_not_sent() {
    let never = mock!(Client::publish).then_http_response(|| query_error(500, "InternalError"));
    let topic = topic(&[&never]);
    let longest = "s".repeat(SUBJECT_CHARS);
    for subject in ["", " leading", "line\nbreak", "naïve", "tab\t", "\u{202e}", &longest] {
        let failure = topic.send("k", &Mail { subject: subject.to_owned(), ..mail(None) }).await.unwrap_err();
        assert!(!failure.code.is_retryable(), "{subject:?}: {failure}");
    }
    let huge = "b".repeat(MESSAGE_BYTES);
    for (to, key, body) in [(Some(""), "k", "b"), (None, "", "b"), (None, "k", ""), (None, "k", &huge)] {
        let failure = topic.send(key, &Mail { body: body.to_owned(), ..mail(to) }).await.unwrap_err();
        assert!(!failure.code.is_retryable(), "{failure}");
    }
    assert_eq!(never.num_calls(), 0);
}

#[test]
fn the_limits_are_where_they_are_said_to_be() {
    let fits = |subject: usize, body: usize| {
        let mail = Mail { to: None, subject: "s".repeat(subject), body: "b".repeat(body) };
        check(&mail, "default", "k").is_ok()
    };
    for (subject, fitting) in [(1, true), (SUBJECT_CHARS - 2, true), (SUBJECT_CHARS - 1, true), (SUBJECT_CHARS, false)]
    {
        assert_eq!(fits(subject, 1), fitting, "{subject}");
    }
    let attributes = "requesterStringdefaultkeyStringk".len();
    let most = MESSAGE_BYTES - attributes;
    for (body, fitting) in [(most - 1, true), (most, true), (most + 1, false)] {
        assert_eq!(fits(9, body), fitting, "{body}");
    }
}

#[tokio::test]
async fn the_longest_mail_of_the_port_is_taken_whoever_it_is_for() {
    let address = format!("{}@{}.example", "a".repeat(64), "b".repeat(181));
    assert_eq!(address.len(), ADDRESS_BYTES);
    let long = Mail { to: Some(address), body: "b".repeat(MAX_MAIL_BODY), subject: "s".repeat(SUBJECT_CHARS - 1) };
    let rule = mock!(Client::publish)
        .match_requests(|input| input.message().map(str::len) == Some(MAX_MAIL_BODY))
        .then_output(|| PublishOutput::builder().message_id("1").build());
    assert_eq!(topic(&[&rule]).send(&"k".repeat(MAX_MAIL_KEY), &long).await, Ok(()));
    assert_eq!(rule.num_calls(), 1);
}

#[tokio::test]
async fn a_failed_publication_says_nothing_of_the_mail_and_whether_another_try_may_help() {
    for (status, code, may_help) in [
        (403, "AuthorizationError", true),
        (404, "NotFound", true),
        (429, "Throttled", true),
        (500, "InternalError", true),
        (400, "KMSAccessDenied", true),
        (400, "InvalidParameter", false),
        (400, "ParameterValueInvalid", false),
    ] {
        let rule = mock!(Client::publish).then_http_response(move || query_error(status, code));
        let failure = topic(&[&rule]).send("k", &mail(Some("ada@corp.example"))).await.unwrap_err();
        assert_eq!(failure.code.is_retryable(), may_help, "{code}");
        assert!(failure.message.contains("sns:Publish") && !failure.message.contains("ada"), "{failure}");
    }
}

#[tokio::test]
async fn a_new_address_is_subscribed_once_and_pending() {
    let list = lists(&[("email", "other@corp.example", SUBSCRIPTION), ("sqs", "arn:queue", SUBSCRIPTION)]);
    let subscribe = subscribes("ada@corp.example");
    let topic = topic(&[&list, &subscribe]);
    for _ in 0..3 {
        assert_eq!(topic.ensure("Ada@corp.example").await, Ok(Subscription::Pending));
    }
    assert_eq!((list.num_calls(), subscribe.num_calls()), (1, 1));
}

#[tokio::test]
async fn who_was_asked_or_has_just_left_is_not_asked_again() {
    for arn in ["PendingConfirmation", "Deleted", ""] {
        let list = mock!(Client::list_subscriptions_by_topic)
            .then_output(move || page(&[("email", "Ada@Corp.example", arn)], None));
        assert_eq!(topic(&[&list]).ensure("ada@corp.example").await, Ok(Subscription::Pending), "{arn}");
    }
}

#[tokio::test]
async fn a_confirmed_address_is_found_on_any_page_and_looked_at_once() {
    let list = mock!(Client::list_subscriptions_by_topic)
        .match_requests(|input| input.next_token().is_none())
        .then_output(|| page(&[("email", "ada@corp.example", "PendingConfirmation")], Some("2")));
    let second = mock!(Client::list_subscriptions_by_topic)
        .match_requests(|input| input.next_token() == Some("2"))
        .then_output(|| page(&[("email", "ada@corp.example", SUBSCRIPTION)], None));
    let attributes = has_policy(Some(r#"{"requester":["ada@corp.example"]}"#));
    let topic = topic(&[&list, &second, &attributes]);
    for _ in 0..2 {
        assert_eq!(topic.ensure("ada@corp.example").await, Ok(Subscription::Confirmed));
    }
    assert_eq!((list.num_calls(), second.num_calls(), attributes.num_calls()), (1, 1, 1));
}

#[tokio::test]
async fn the_operators_own_subscription_is_widened() {
    let list = lists(&[("email", "ada@corp.example", SUBSCRIPTION)]);
    let attributes = has_policy(Some(r#"{"requester":["default"]}"#));
    let set = mock!(Client::set_subscription_attributes)
        .match_requests(|input| {
            input.subscription_arn() == Some(SUBSCRIPTION)
                && input.attribute_name() == Some("FilterPolicy")
                && input.attribute_value() == Some(r#"{"requester":["default","ada@corp.example"]}"#)
        })
        .then_output(|| SetSubscriptionAttributesOutput::builder().build());
    let topic = topic(&[&list, &attributes, &set]);
    assert_eq!(topic.ensure("ada@corp.example").await, Ok(Subscription::Confirmed));
    assert_eq!(topic.ensure("ada@corp.example").await, Ok(Subscription::Confirmed));
    assert_eq!(set.num_calls(), 1);
}

#[test]
fn a_policy_is_widened_only_when_it_has_to_be() {
    let widened = |policy| widened(policy, "a@b.example");
    for reaches in ["{}", "", "none", r#"{"requester":["x","a@b.example"]}"#] {
        assert_eq!(widened(reaches), None, "{reaches}");
    }
    assert_eq!(widened(r#"{"requester":[]}"#).as_deref(), Some(r#"{"requester":["a@b.example"]}"#));
    assert_eq!(widened(r#"{"requester":"x"}"#).as_deref(), Some(r#"{"requester":["a@b.example"]}"#));
    assert_eq!(widened(r#"{"kind":["x"]}"#).as_deref(), Some(r#"{"kind":["x"],"requester":["a@b.example"]}"#));
}

#[tokio::test]
async fn a_subscription_without_filter_gets_everything() {
    let list = lists(&[("email", "ada@corp.example", SUBSCRIPTION)]);
    let attributes = has_policy(None);
    assert_eq!(topic(&[&list, &attributes]).ensure("ada@corp.example").await, Ok(Subscription::Confirmed));
}

#[tokio::test]
async fn a_used_up_quota_is_full() {
    for code in ["FilterPolicyLimitExceeded", "SubscriptionLimitExceeded"] {
        let list = lists(&[]);
        let subscribe = mock!(Client::subscribe).then_http_response(move || query_error(403, code));
        assert_eq!(topic(&[&list, &subscribe]).ensure("ada@corp.example").await, Ok(Subscription::Full), "{code}");
    }
    let list = lists(&[]);
    let subscribe = mock!(Client::subscribe).then_http_response(|| query_error(403, "AuthorizationError"));
    let error = topic(&[&list, &subscribe]).ensure("ada@corp.example").await.unwrap_err();
    assert_eq!(error.name, ErrorName::Denied);
}

#[tokio::test]
async fn the_last_filter_policy_is_given_away_and_no_more() {
    for (subscribed, expected, calls) in [
        (FILTER_POLICIES - 1, Subscription::Pending, 1),
        (FILTER_POLICIES, Subscription::Full, 0),
        (FILTER_POLICIES + 1, Subscription::Full, 0),
    ] {
        let list = mock!(Client::list_subscriptions_by_topic).then_output(move || {
            let addresses: Vec<_> = (0..subscribed).map(|number| format!("u{number}@corp.example")).collect();
            let entries: Vec<_> = addresses.iter().map(|address| ("email", address.as_str(), SUBSCRIPTION)).collect();
            page(&entries, None)
        });
        let subscribe = subscribes("ada@corp.example");
        assert_eq!(topic(&[&list, &subscribe]).ensure("ada@corp.example").await, Ok(expected));
        assert_eq!(subscribe.num_calls(), calls, "{subscribed}");
    }
}

#[tokio::test]
async fn a_list_without_end_is_an_error() {
    let list = mock!(Client::list_subscriptions_by_topic).then_output(|| page(&[], Some("again")));
    let error = topic(&[&list]).ensure("ada@corp.example").await.unwrap_err();
    assert_eq!(error.name, ErrorName::Transient);
    assert_eq!(list.num_calls(), 2);
}

#[tokio::test]
async fn a_list_that_failed_is_asked_for_again() {
    let broken = mock!(Client::list_subscriptions_by_topic).sequence().http_status(500, None).build();
    let list = lists(&[("email", "ada@corp.example", "PendingConfirmation")]);
    let topic = topic(&[&broken, &list]);
    assert_eq!(topic.ensure("ada@corp.example").await.unwrap_err().name, ErrorName::Transient);
    assert_eq!(topic.ensure("ada@corp.example").await, Ok(Subscription::Pending));
}

#[tokio::test]
async fn mails_without_an_address_reach_somebody_when_a_confirmed_subscription_lets_them_through() {
    for (policy, reaches) in [
        (Some(r#"{"requester":["default"]}"#), true),
        (Some(r#"{"requester":["default","ada@corp.example"]}"#), true),
        (None, true),
        (Some("{}"), true),
        (Some(r#"{"requester":["ada@corp.example"]}"#), false),
        (Some(r#"{"kind":["default"]}"#), false),
    ] {
        let list = lists(&[("email", "ops@corp.example", SUBSCRIPTION)]);
        let attributes = has_policy(policy);
        let topic = topic(&[&list, &attributes]);
        for _ in 0..2 {
            assert_eq!(topic.default_is_confirmed().await, Ok(reaches), "{policy:?}");
        }
        assert_eq!((list.num_calls(), attributes.num_calls()), (1, 1), "asked once for a while");
    }
}

#[tokio::test]
async fn a_subscription_that_is_not_confirmed_reaches_nobody() {
    for subscriptions in [&[][..], &[("email", "ops@corp.example", "PendingConfirmation")]] {
        let list = mock!(Client::list_subscriptions_by_topic).then_output(move || page(subscriptions, None));
        assert_eq!(topic(&[&list]).default_is_confirmed().await, Ok(false));
    }
}

#[tokio::test]
async fn a_queue_or_an_endpoint_is_somebody_and_one_that_has_gone_is_passed_over() {
    const GONE: &str = "arn:aws:sns:eu-west-1:111122223333:gate-verdicts:6";
    let list = lists(&[("email", "ada@corp.example", GONE), ("sqs", "arn:queue", SUBSCRIPTION)]);
    let gone = mock!(Client::get_subscription_attributes)
        .match_requests(|input| input.subscription_arn() == Some(GONE))
        .then_http_response(|| query_error(404, "NotFound"));
    let attributes = has_policy(Some(r#"{"requester":["default"]}"#));
    assert_eq!(topic(&[&list, &gone, &attributes]).default_is_confirmed().await, Ok(true));
    let list = lists(&[("email", "ops@corp.example", SUBSCRIPTION)]);
    let denied =
        mock!(Client::get_subscription_attributes).then_http_response(|| query_error(403, "AuthorizationError"));
    assert_eq!(topic(&[&list, &denied]).default_is_confirmed().await.unwrap_err().name, ErrorName::Denied);
}

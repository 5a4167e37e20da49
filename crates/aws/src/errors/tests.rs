use aws_sdk_s3::config::http::HttpResponse;
use aws_smithy_mocks::mock;

use super::*;
use crate::testing::{answer, client, json_error, loopback, query_error, xml_error};

/// The fault of one operation when the service gives this answer.
macro_rules! fault_of {
    ($sdk:ident, $operation:ident, $answer:expr, |$request:ident| $filled:expr) => {{
        let answer = $answer;
        let rule = mock!($sdk::Client::$operation).then_http_response(move || answer());
        let $request = client!($sdk, [&rule]).$operation();
        Fault::of(concat!(stringify!($sdk), ":", stringify!($operation)), &$filled.send().await.unwrap_err())
    }};
}

type Answer = Box<dyn Fn() -> HttpResponse + Send + Sync>;

fn json(status: u16, code: &'static str) -> Answer {
    Box::new(move || json_error(status, code))
}

fn check(fault: &Fault, code: &str, kind: Kind, name: ErrorName) {
    assert_eq!((fault.kind, fault.name()), (kind, name), "{fault}");
    assert!(fault.is(code), "{fault}");
    let words = fault.to_string();
    assert!(words.contains(fault.call) && words.contains(code) && words.contains("request req-1"), "{words}");
    assert!(!words.contains("PAYLOAD"), "{words}");
    assert_eq!(StepError::from(fault.clone()).name, name);
    assert_eq!((fault.storage().code, fault.storage().fault()), (FailureCode::Storage, Some(name)));
    assert_eq!(fault.scanner().code, FailureCode::ScannerUnavailable);
}

/// Status, error code, kind and name.
pub(super) type Table = &'static [(u16, &'static str, Kind, ErrorName)];

/// Errors that every service of AWS may answer with, whatever its model.
pub(super) const COMMON: Table = &[
    (400, "AccessDeniedException", Kind::Denied, ErrorName::Denied),
    (403, "AccessDenied", Kind::Denied, ErrorName::Denied),
    (400, "UnrecognizedClientException", Kind::Denied, ErrorName::Denied),
    (403, "InvalidClientTokenId", Kind::Denied, ErrorName::Denied),
    (403, "SignatureDoesNotMatch", Kind::Denied, ErrorName::Denied),
    (400, "OptInRequired", Kind::Denied, ErrorName::Denied),
    (403, "SomethingNewIsForbidden", Kind::Denied, ErrorName::Denied),
    (400, "ExpiredTokenException", Kind::Expired, ErrorName::Transient),
    (403, "ExpiredToken", Kind::Expired, ErrorName::Transient),
    (400, "RequestExpired", Kind::Expired, ErrorName::Transient),
    (400, "ThrottlingException", Kind::Throttled, ErrorName::Transient),
    (429, "SomethingNewIsSlow", Kind::Throttled, ErrorName::Transient),
    (500, "InternalFailure", Kind::Unavailable, ErrorName::Transient),
    (503, "ServiceUnavailable", Kind::Unavailable, ErrorName::Transient),
    (400, "ValidationError", Kind::Invalid, ErrorName::Configuration),
    (400, "SomethingNew", Kind::Invalid, ErrorName::Configuration),
];

/// One operation and what its model says of errors.
macro_rules! table {
    ($name:ident, $sdk:ident, $answer:ident, [$($operation:ident |$request:ident| $filled:expr;)+], $own:expr) => {
        #[tokio::test]
        async fn $name() {
            let own: Table = $own;
            for &(status, code, kind, name) in own.iter().chain(COMMON) {
                $(
                    let fault = fault_of!($sdk, $operation, $answer(status, code), |$request| $filled);
                    check(&fault, code, kind, name);
                    assert_eq!(fault.status, Some(status));
                )+
            }
        }
    };
}

fn query(status: u16, code: &'static str) -> Answer {
    Box::new(move || query_error(status, code))
}

fn xml(status: u16, code: &'static str) -> Answer {
    Box::new(move || xml_error(status, Some(code)))
}

/// S3's own.
pub(super) const S3: Table = &[
    (404, "NoSuchBucket", Kind::NotFound, ErrorName::Configuration),
    (404, "NoSuchKey", Kind::NotFound, ErrorName::Configuration),
    (404, "NoSuchUpload", Kind::Conflict, ErrorName::Transient),
    (409, "ConditionalRequestConflict", Kind::Conflict, ErrorName::Transient),
    (409, "OperationAborted", Kind::Conflict, ErrorName::Transient),
    (412, "PreconditionFailed", Kind::Conflict, ErrorName::Transient),
    (503, "SlowDown", Kind::Throttled, ErrorName::Transient),
    (500, "InternalError", Kind::Unavailable, ErrorName::Transient),
    (400, "RequestTimeout", Kind::Unavailable, ErrorName::Transient),
    (400, "BadDigest", Kind::Unavailable, ErrorName::Transient),
    (400, "IncompleteBody", Kind::Unavailable, ErrorName::Transient),
    (400, "XAmzContentSHA256Mismatch", Kind::Unavailable, ErrorName::Transient),
    (403, "RequestTimeTooSkewed", Kind::Expired, ErrorName::Transient),
    (403, "InvalidAccessKeyId", Kind::Denied, ErrorName::Denied),
    (400, "KMS.DisabledException", Kind::Denied, ErrorName::Denied),
    (400, "KMS.KMSInvalidStateException", Kind::Denied, ErrorName::Denied),
    (400, "KMS.NotFoundException", Kind::Denied, ErrorName::Denied),
    (400, "KMS.ThrottlingException", Kind::Throttled, ErrorName::Transient),
    (400, "EntityTooLarge", Kind::Invalid, ErrorName::Configuration),
];

table!(s3, aws_sdk_s3, xml, [
    get_object |r| r.bucket("b").key("k");
    put_object |r| r.bucket("b").key("k");
    list_objects_v2 |r| r.bucket("b");
    delete_object |r| r.bucket("b").key("k");
    copy_object |r| r.bucket("b").key("k").copy_source("b/c");
    create_multipart_upload |r| r.bucket("b").key("k");
    upload_part |r| r.bucket("b").key("k").upload_id("u").part_number(1);
    complete_multipart_upload |r| r.bucket("b").key("k").upload_id("u");
    abort_multipart_upload |r| r.bucket("b").key("k").upload_id("u");
], S3);

table!(secrets, aws_sdk_secretsmanager, json, [get_secret_value |r| r.secret_id("s");], &[
    (400, "DecryptionFailure", Kind::Denied, ErrorName::Denied),
    (500, "InternalServiceError", Kind::Unavailable, ErrorName::Transient),
    (400, "InvalidParameterException", Kind::Invalid, ErrorName::Configuration),
    (400, "InvalidRequestException", Kind::Invalid, ErrorName::Configuration),
    (400, "ResourceNotFoundException", Kind::NotFound, ErrorName::Configuration),
]);

table!(step_functions, aws_sdk_sfn, json, [
    start_execution |r| r.state_machine_arn("a");
    describe_execution |r| r.execution_arn("a");
], &[
    (400, "ExecutionAlreadyExists", Kind::Conflict, ErrorName::Transient),
    (400, "ExecutionDoesNotExist", Kind::NotFound, ErrorName::Configuration),
    (400, "ExecutionLimitExceeded", Kind::Quota, ErrorName::RateLimited),
    (400, "InvalidArn", Kind::Invalid, ErrorName::Configuration),
    (400, "InvalidExecutionInput", Kind::Invalid, ErrorName::Configuration),
    (400, "InvalidName", Kind::Invalid, ErrorName::Configuration),
    (400, "KmsAccessDeniedException", Kind::Denied, ErrorName::Denied),
    (400, "KmsInvalidStateException", Kind::Denied, ErrorName::Denied),
    (400, "KmsThrottlingException", Kind::Throttled, ErrorName::Transient),
    (400, "StateMachineDeleting", Kind::Conflict, ErrorName::Transient),
    (400, "StateMachineDoesNotExist", Kind::NotFound, ErrorName::Configuration),
    (400, "ValidationException", Kind::Invalid, ErrorName::Configuration),
]);

/// SNS's own.
pub(super) const SNS: Table = &[
    (403, "AuthorizationError", Kind::Denied, ErrorName::Denied),
    (403, "InvalidSecurity", Kind::Denied, ErrorName::Denied),
    (400, "EndpointDisabled", Kind::Invalid, ErrorName::Configuration),
    (403, "FilterPolicyLimitExceeded", Kind::Quota, ErrorName::Configuration),
    (403, "SubscriptionLimitExceeded", Kind::Quota, ErrorName::Configuration),
    (500, "InternalError", Kind::Unavailable, ErrorName::Transient),
    (400, "InvalidParameter", Kind::Invalid, ErrorName::Configuration),
    (400, "ParameterValueInvalid", Kind::Invalid, ErrorName::Configuration),
    (400, "KMSAccessDenied", Kind::Denied, ErrorName::Denied),
    (400, "KMSDisabled", Kind::Denied, ErrorName::Denied),
    (400, "KMSInvalidState", Kind::Denied, ErrorName::Denied),
    (400, "KMSNotFound", Kind::Denied, ErrorName::Denied),
    (403, "KMSOptInRequired", Kind::Denied, ErrorName::Denied),
    (400, "KMSThrottling", Kind::Throttled, ErrorName::Transient),
    (400, "Throttling", Kind::Throttled, ErrorName::Transient),
    (429, "Throttled", Kind::Throttled, ErrorName::Transient),
    (404, "NotFound", Kind::NotFound, ErrorName::Configuration),
];

table!(sns, aws_sdk_sns, query, [
    publish |r| r.message("m");
    subscribe |r| r.topic_arn("t").protocol("email");
    list_subscriptions_by_topic |r| r.topic_arn("t");
    get_subscription_attributes |r| r.subscription_arn("s");
    set_subscription_attributes |r| r.subscription_arn("s").attribute_name("FilterPolicy");
], SNS);

/// CodeArtifact's own.
pub(super) const CODE_ARTIFACT: Table = &[
    (402, "ServiceQuotaExceededException", Kind::Quota, ErrorName::Configuration),
    (403, "AccessDeniedException", Kind::Denied, ErrorName::Denied),
    (404, "ResourceNotFoundException", Kind::NotFound, ErrorName::Transient),
    (409, "ConflictException", Kind::Conflict, ErrorName::Transient),
    (429, "ThrottlingException", Kind::Throttled, ErrorName::Transient),
    (500, "InternalServerException", Kind::Unavailable, ErrorName::Transient),
    (400, "ValidationException", Kind::Invalid, ErrorName::Configuration),
];

table!(code_artifact, aws_sdk_codeartifact, json, [
    describe_package_version |r| r.domain("d").repository("r").format("generic".into()).package("p").package_version("1");
    list_package_version_assets |r| r.domain("d").repository("r").format("generic".into()).package("p").package_version("1");
    publish_package_version |r| r.domain("d").repository("r").format("generic".into()).package("p").package_version("1")
        .asset_name("a").asset_sha256("0");
    put_package_origin_configuration |r| r.domain("d").repository("r").format("generic".into()).package("p")
        .restrictions(restrictions());
], CODE_ARTIFACT);

fn restrictions() -> aws_sdk_codeartifact::types::PackageOriginRestrictions {
    aws_sdk_codeartifact::types::PackageOriginRestrictions::builder()
        .publish("ALLOW".into())
        .upstream("BLOCK".into())
        .build()
        .unwrap()
}

table!(code_guru, aws_sdk_codegurusecurity, json, [
    create_upload_url |r| r.scan_name("s");
    create_scan |r| r.scan_name("s").resource_id(aws_sdk_codegurusecurity::types::ResourceId::CodeArtifactId("c".into()));
    get_scan |r| r.scan_name("s");
    get_findings |r| r.scan_name("s");
], &[
    (403, "AccessDeniedException", Kind::Denied, ErrorName::Denied),
    (404, "ResourceNotFoundException", Kind::NotFound, ErrorName::Configuration),
    (409, "ConflictException", Kind::Conflict, ErrorName::Transient),
    (429, "ThrottlingException", Kind::Throttled, ErrorName::Transient),
    (500, "InternalServerException", Kind::Unavailable, ErrorName::Transient),
    (400, "ValidationException", Kind::Invalid, ErrorName::Configuration),
]);

#[tokio::test]
async fn a_status_without_a_code_decides() {
    for (status, kind) in [
        (301, Kind::Invalid),
        (400, Kind::Invalid),
        (401, Kind::Denied),
        (402, Kind::Quota),
        (403, Kind::Denied),
        (404, Kind::NotFound),
        (408, Kind::Unavailable),
        (409, Kind::Conflict),
        (410, Kind::NotFound),
        (412, Kind::Conflict),
        (418, Kind::Invalid),
        (429, Kind::Throttled),
        (500, Kind::Unavailable),
        (502, Kind::Unavailable),
        (599, Kind::Unavailable),
    ] {
        let fault = fault_of!(aws_sdk_s3, head_object, move || xml_error(status, None), |r| r.bucket("b").key("k"));
        assert_eq!(fault.kind, kind, "{status}");
    }
}

#[tokio::test]
async fn minutes_of_patience_are_a_rate_limit() {
    for (header, name) in [
        ("1", ErrorName::Transient),
        ("59", ErrorName::Transient),
        ("60", ErrorName::RateLimited),
        ("61", ErrorName::RateLimited),
        ("soon", ErrorName::Transient),
    ] {
        let body = r#"{"__type":"ThrottlingException"}"#;
        let fault =
            fault_of!(aws_sdk_codegurusecurity, get_scan, move || answer(429, &[("retry-after", header)], body), |r| r
                .scan_name("s"));
        assert_eq!(fault.name(), name, "{header}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_no_answer() {
    let fault = fault_of!(aws_sdk_sfn, describe_execution, || answer(200, &[], "<html>"), |r| r.execution_arn("a"));
    assert_eq!((fault.kind, fault.name()), (Kind::Unavailable, ErrorName::Transient));
}

#[tokio::test]
async fn no_answer_is_worth_another_try() {
    // Nothing listens on the discard port.
    let client = aws_sdk_sfn::Client::from_conf(loopback!(aws_sdk_sfn, "http://127.0.0.1:9"));
    let error = client.describe_execution().execution_arn("a").send().await.unwrap_err();
    assert!(matches!(error, SdkError::DispatchFailure(_)), "{error:?}");
    let fault = Fault::of("states:DescribeExecution", &error);
    assert_eq!((fault.name(), fault.status), (ErrorName::Transient, None));
    assert_eq!(fault.to_string(), "states:DescribeExecution gave no usable answer. Try again.");
}

#[tokio::test]
async fn a_slow_answer_is_worth_another_try() {
    let error: SdkError<aws_sdk_sfn::operation::describe_execution::DescribeExecutionError> =
        SdkError::timeout_error("slow");
    assert_eq!(Fault::of("states:DescribeExecution", &error).name(), ErrorName::Transient);
}

#[tokio::test]
async fn a_request_that_cannot_be_built_is_a_configuration_fault() {
    let never = mock!(aws_sdk_s3::Client::get_object).then_http_response(|| xml_error(500, None));
    let error = client!(aws_sdk_s3, [&never]).get_object().send().await.unwrap_err();
    assert!(matches!(error, SdkError::ConstructionFailure(_)), "{error:?}");
    assert_eq!(Fault::of("s3:GetObject", &error).name(), ErrorName::Configuration);
}

#[tokio::test]
async fn words_of_a_service_are_repeated_only_when_they_are_plain() {
    let long = "x".repeat(WORD_CHARS + 1);
    for odd in ["<script>", "two words", "\u{202e}", "", long.as_str()] {
        assert_eq!(word(odd), None, "{odd:?}");
    }
    let longest = "x".repeat(WORD_CHARS);
    for plain in ["NoSuchKey", "KMS.DisabledException", "4F2A/+=", &longest] {
        assert_eq!(word(plain).as_deref(), Some(plain));
    }
}

#[test]
fn a_fault_of_a_scanner_is_never_another_failure() {
    let unexpected = Fault::unexpected("s3:GetObject", "no body");
    assert!(unexpected.scanner().fault().is_some_and(ErrorName::is_retried));
    assert!(unexpected.storage().fault().is_some_and(ErrorName::is_retried));
    assert_eq!(unexpected.to_string(), "s3:GetObject gave no usable answer (no body). Try again.");
}

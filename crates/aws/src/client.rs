//! One SDK configuration, and the ports made from it.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use gate_core::ports::Quarantine;

use crate::codeartifact::CodeArtifact;
use crate::codeguru::CodeGuru;
use crate::config::ConfigBucket;
use crate::executions::StateMachine;
use crate::s3::{S3Quarantine, S3Records};
use crate::secrets::SecretsManager;
use crate::topic::Topic;

/// Attempts of one call, the first included. The state machines try again by themselves, later.
const ATTEMPTS: u32 = 4;
/// To open a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// Between two reads of an answer.
const READ: Duration = Duration::from_secs(30);
/// For one attempt until its answer begins: a part of 8 MiB goes up in it at 140 KB/s.
const ATTEMPT: Duration = Duration::from_secs(60);

/// Where all ports to AWS come from: one configuration, so that they share connections' settings and credentials.
#[derive(Clone, Debug)]
pub struct Aws {
    pub(crate) config: SdkConfig,
    path_style: bool,
}

impl Aws {
    /// Region, credentials and endpoints from the environment. An endpoint variable (`AWS_ENDPOINT_URL`,
    /// `AWS_ENDPOINT_URL_S3`, ...) that is set but empty counts as not set: a template has to declare what may be set later.
    pub async fn load() -> Self {
        let timeouts =
            TimeoutConfig::builder().connect_timeout(CONNECT).read_timeout(READ).operation_attempt_timeout(ATTEMPT);
        let loaded = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .timeout_config(timeouts.build())
            .load()
            .await;
        Self::of(loaded.into_builder().service_config(Environment(variable)).build(), variable)
    }

    fn of(config: SdkConfig, variable: fn(&str) -> Option<String>) -> Self {
        // Emulators have no host per bucket.
        let path_style = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"].into_iter().any(|name| variable(name).is_some());
        Self { config, path_style }
    }

    fn s3(&self) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::config::Builder::from(&self.config).force_path_style(self.path_style).build();
        aws_sdk_s3::Client::from_conf(config)
    }

    /// Small JSON documents in this bucket.
    #[must_use]
    pub fn records(&self, bucket: &str) -> S3Records {
        S3Records::new(self.s3(), bucket)
    }

    /// Artifacts in this bucket.
    #[must_use]
    pub fn quarantine(&self, bucket: &str) -> S3Quarantine {
        S3Quarantine::new(self.s3(), bucket)
    }

    /// Policy and advisories in this bucket.
    #[must_use]
    pub fn config(&self, bucket: &str) -> ConfigBucket {
        ConfigBucket::new(self.s3(), bucket)
    }

    /// The account's secrets.
    #[must_use]
    pub fn secrets(&self) -> SecretsManager {
        SecretsManager::new(aws_sdk_secretsmanager::Client::new(&self.config))
    }

    /// The executions of this state machine.
    #[must_use]
    pub fn executions(&self, machine_arn: &str) -> StateMachine {
        StateMachine::new(aws_sdk_sfn::Client::new(&self.config), machine_arn)
    }

    /// Mails to this topic, and its subscriptions.
    #[must_use]
    pub fn topic(&self, arn: &str) -> Topic {
        Topic::new(aws_sdk_sns::Client::new(&self.config), arn)
    }

    /// A repository of a domain; the owner is the account of the domain, or empty for the caller's own.
    #[must_use]
    pub fn code_artifact(&self, domain: &str, owner: &str, repository: &str) -> CodeArtifact {
        CodeArtifact::new(aws_sdk_codeartifact::Client::new(&self.config), domain, owner, repository)
    }

    /// The external scanner of that name, which reads artifacts from this quarantine. Its service ended on 2025-11-20.
    #[must_use]
    pub fn code_guru<Q: Quarantine>(&self, quarantine: Q) -> CodeGuru<Q> {
        CodeGuru::new(aws_sdk_codegurusecurity::Client::new(&self.config), quarantine)
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The settings of single services, from environment variables that are not empty.
#[derive(Debug)]
struct Environment(fn(&str) -> Option<String>);

impl LoadServiceConfig for Environment {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let service = key.service_id().to_ascii_uppercase().replace(' ', "_");
        (self.0)(&format!("{}_{service}", key.env())).or_else(|| (self.0)(key.env()))
    }
}

#[cfg(test)]
mod tests {
    use aws_config::Region;

    use super::*;

    fn aws(variable: fn(&str) -> Option<String>) -> Aws {
        let config = SdkConfig::builder().behavior_version(BehaviorVersion::latest()).region(Region::new("eu-west-1"));
        Aws::of(config.service_config(Environment(variable)).build(), variable)
    }

    fn endpoint(variable: fn(&str) -> Option<String>, service: &str) -> Option<String> {
        let key = ServiceConfigKey::builder()
            .service_id(service)
            .env("AWS_ENDPOINT_URL")
            .profile("endpoint_url")
            .build()
            .unwrap();
        Environment(variable).load_config(key)
    }

    #[test]
    fn a_service_has_its_own_endpoint_or_the_common_one_or_none() {
        let one = |name: &str| match name {
            "AWS_ENDPOINT_URL" => Some("http://all.example".to_owned()),
            "AWS_ENDPOINT_URL_CODEGURU_SECURITY" => Some("http://guru.example".to_owned()),
            _ => None,
        };
        assert_eq!(endpoint(one, "CodeGuru Security").as_deref(), Some("http://guru.example"));
        assert_eq!(endpoint(one, "S3").as_deref(), Some("http://all.example"));
        assert_eq!(endpoint(|_| None, "S3"), None);
        assert!(aws(one).path_style);
        assert!(!aws(|_| None).path_style);
    }

    #[test]
    fn a_variable_that_is_empty_is_not_set() {
        // cargo sets the first; nobody sets the second.
        assert!(variable("CARGO_PKG_NAME").is_some());
        assert_eq!(variable("PACKAGE_GATE_NOT_SET"), None);
    }
}

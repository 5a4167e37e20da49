//! The calls to the service.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_codeartifact::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_codeartifact::config::timeout::TimeoutConfig;
use aws_sdk_codeartifact::config::{Builder, ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_codeartifact::error::BoxError;
use aws_sdk_codeartifact::operation::describe_package_version::DescribePackageVersionError;
use aws_sdk_codeartifact::operation::publish_package_version::PublishPackageVersionOutput;
use aws_sdk_codeartifact::operation::publish_package_version::builders::PublishPackageVersionFluentBuilder;
use aws_sdk_codeartifact::primitives::{ByteStream, SdkBody};
use aws_sdk_codeartifact::types::{
    AllowPublish, AllowUpstream, HashAlgorithm, PackageFormat, PackageOriginRestrictions,
    PackageVersionStatus as Status, ResourceType,
};
use gate_core::coordinates::Coordinates;
use gate_core::digest::Sha256;
use gate_core::failure::Failure;
use gate_core::ports::{ArtifactReader, PublishedFile};

use super::{Assets, CodeArtifact, NAMESPACE, RECORD, record};
use crate::content::{self, Expected};
use crate::errors::Fault;

pub(super) const DESCRIBE: &str = "codeartifact:DescribePackageVersion";
const LIST: &str = "codeartifact:ListPackageVersionAssets";
const PUBLISH: &str = "codeartifact:PublishPackageVersion";
const ORIGIN: &str = "codeartifact:PutPackageOriginConfiguration";

/// Assets on one page (botocore: `ListPackageVersionAssetsMaxResults`, 1 to 1,000).
const PAGE: i32 = 1_000;
/// A version has at most 150 assets.
const PAGES: usize = 150;

/// Artifacts up to this size are sent from memory, so that the SDK can try again by itself.
pub(super) const IN_MEMORY: u64 = 8 << 20;
/// The slowest upload that is waited for, in bytes a second.
const SLOWEST: u64 = 1_000_000;
/// For the service to answer once it has all bytes.
const ANSWER: Duration = Duration::from_secs(60);

/// Why an asset was not stored.
#[derive(Debug)]
pub(super) enum Unsent {
    /// The service's word.
    Service(Fault),
    /// The artifact could not be read, or is not what it should be.
    Artifact(Failure),
}

/// Names the package version in a request.
macro_rules! package {
    ($self:ident, $coordinates:ident, $operation:ident) => {
        $self
            .client
            .$operation()
            .domain(&$self.domain)
            .set_domain_owner((!$self.owner.is_empty()).then(|| $self.owner.clone()))
            .repository(&$self.repository)
            .format(PackageFormat::Generic)
            .namespace(NAMESPACE)
            .package(&$coordinates.name)
    };
}

impl CodeArtifact {
    /// The status of the version; none when there is no such version.
    pub(super) async fn status(&self, coordinates: &Coordinates) -> Result<Option<Status>, Failure> {
        let sent = package!(self, coordinates, describe_package_version).package_version(&coordinates.version).send();
        let error = match sent.await {
            Ok(found) => {
                let status = found.package_version.and_then(|version| version.status);
                return status.map(Some).ok_or_else(|| Fault::unexpected(DESCRIBE, "no status").storage());
            }
            Err(error) => error,
        };
        let missing = error.as_service_error().and_then(|error| match error {
            DescribePackageVersionError::ResourceNotFoundException(missing) => Some(missing.resource_type()),
            _ => None,
        });
        match missing {
            // A domain or repository that is missing is a fault of the configuration.
            None | Some(Some(ResourceType::Domain | ResourceType::Repository)) => {
                Err(Fault::of(DESCRIBE, &error).storage())
            }
            Some(_) => Ok(None),
        }
    }

    /// Every asset of the version.
    pub(super) async fn assets(&self, coordinates: &Coordinates) -> Result<Assets, Failure> {
        let mut assets = Assets::new();
        let mut seen = BTreeSet::new();
        let mut token: Option<String> = None;
        for _ in 0..PAGES {
            let sent = package!(self, coordinates, list_package_version_assets)
                .package_version(&coordinates.version)
                .max_results(PAGE)
                .set_next_token(token);
            let page = sent.send().await.map_err(|error| Fault::of(LIST, &error).storage())?;
            for asset in page.assets() {
                let digest = asset.hashes().and_then(|hashes| hashes.get(&HashAlgorithm::Sha256)?.parse().ok());
                assets.insert(asset.name().to_owned(), digest);
            }
            match page.next_token {
                None => return Ok(assets),
                Some(next) if !seen.insert(next.clone()) => break,
                Some(next) => token = Some(next),
            }
        }
        Err(Fault::unexpected(LIST, "pages without end").storage())
    }

    /// Lets nothing but direct publication into a package that is new here, as the package groups of the domain do: no
    /// upstream can put a version beside ours. A package that exists keeps what it has.
    pub(super) async fn close_upstream(&self, coordinates: &Coordinates) -> Result<(), Failure> {
        let restrictions =
            PackageOriginRestrictions::builder().publish(AllowPublish::Allow).upstream(AllowUpstream::Block).build();
        let restrictions = restrictions.map_err(|_| Fault::unexpected(ORIGIN, "restrictions").storage())?;
        let sent = package!(self, coordinates, put_package_origin_configuration).restrictions(restrictions).send();
        sent.await.map_err(|error| Fault::of(ORIGIN, &error).storage())?;
        Ok(())
    }

    /// Publishes one file as an unfinished version's asset.
    pub(super) async fn put_asset<R: ArtifactReader>(
        &self,
        coordinates: &Coordinates,
        name: &str,
        expected: Expected,
        bytes: R,
    ) -> Result<(), Unsent> {
        let request = self.publish(coordinates, name, expected.sha256).unfinished(true);
        let stored = if expected.size <= IN_MEMORY {
            let bytes = content::read_all(bytes, expected).await.map_err(Unsent::Artifact)?;
            send(request, ByteStream::from(bytes), expected).await.map_err(Unsent::Service)?
        } else {
            let cut = || Fault::unexpected(PUBLISH, "answered early").storage();
            // The inner result goes through whole, so that a failure of the artifact is told from one of the service.
            let sent = content::send(bytes, expected, cut, |body| async {
                Ok(send(request, ByteStream::new(SdkBody::from_body_1_x(body)), expected).await)
            });
            sent.await.map_err(Unsent::Artifact)?.map_err(Unsent::Service)?
        };
        confirm(&stored, expected, &[Status::Unfinished, Status::Published]).map_err(Unsent::Service)
    }

    /// Publishes the record, which makes the version visible.
    pub(super) async fn put_record(&self, coordinates: &Coordinates, files: &[PublishedFile]) -> Result<(), Unsent> {
        let record = record::write(coordinates, files).map_err(Unsent::Artifact)?;
        let expected = Expected { sha256: Sha256::of(&record), size: record.len() as u64 };
        let request = self.publish(coordinates, RECORD, expected.sha256);
        let stored = send(request, ByteStream::from(record), expected).await.map_err(Unsent::Service)?;
        confirm(&stored, expected, &[Status::Published]).map_err(Unsent::Service)
    }

    fn publish(&self, coordinates: &Coordinates, asset: &str, sha256: Sha256) -> PublishPackageVersionFluentBuilder {
        package!(self, coordinates, publish_package_version)
            .package_version(&coordinates.version)
            .asset_name(asset)
            .asset_sha256(sha256.to_string())
    }
}

/// Sends one asset. The signature covers the digest that is declared, also when the body is a stream.
async fn send(
    request: PublishPackageVersionFluentBuilder,
    body: ByteStream,
    expected: Expected,
) -> Result<PublishPackageVersionOutput, Fault> {
    let patience = ANSWER + Duration::from_secs(expected.size / SLOWEST);
    let timeouts = TimeoutConfig::builder().read_timeout(patience).operation_attempt_timeout(patience);
    request
        .asset_content(body)
        .customize()
        .config_override(Builder::new().timeout_config(timeouts.build()))
        .interceptor(SignDeclared(expected.sha256))
        .send()
        .await
        .map_err(|error| Fault::of(PUBLISH, &error))
}

/// Whether the service stored what it was sent.
fn confirm(stored: &PublishPackageVersionOutput, expected: Expected, statuses: &[Status]) -> Result<(), Fault> {
    let digest = stored.asset().and_then(|asset| asset.hashes()?.get(&HashAlgorithm::Sha256)?.parse::<Sha256>().ok());
    if digest.is_some_and(|digest| digest != expected.sha256) {
        return Err(Fault::unexpected(PUBLISH, "other bytes"));
    }
    if !stored.status().is_some_and(|status| statuses.contains(status)) {
        return Err(Fault::unexpected(PUBLISH, "unexpected status"));
    }
    Ok(())
}

/// `x-amz-content-sha256` is the asset's digest here. The signer must use it: of a stream it would sign `UNSIGNED-PAYLOAD`,
/// which the service does not find in the header, and refuses.
#[derive(Debug)]
struct SignDeclared(Sha256);

impl Intercept for SignDeclared {
    fn name(&self) -> &'static str {
        "SignDeclared"
    }

    fn modify_before_signing(
        &self,
        _: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(PayloadSigningOverride::Precomputed(self.0.to_string()));
        Ok(())
    }
}

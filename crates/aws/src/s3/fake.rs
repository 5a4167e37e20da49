//! An S3 in this process, for tests: the objects are files of s3s-fs, and what that leaves out is added here: conditional GET
//! and DELETE, the SHA-256 of a copy, faults, and a record of the calls.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use gate_core::digest::Sha256;
use s3s::auth::SimpleAuth;
use s3s::dto::*;
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;

/// The only bucket.
pub(crate) const BUCKET: &str = "data";

/// See the module.
pub(crate) struct FakeS3 {
    root: tempfile::TempDir,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    calls: Mutex<Vec<String>>,
    faults: Mutex<VecDeque<(&'static str, S3ErrorCode)>>,
    parts: AtomicUsize,
    most_parts: AtomicUsize,
    wrong_copies: Mutex<bool>,
}

impl State {
    fn begin(&self, operation: &str) -> S3Result<()> {
        self.calls.lock().unwrap().push(operation.to_owned());
        let mut faults = self.faults.lock().unwrap();
        let Some(at) = faults.iter().position(|(failing, _)| *failing == operation) else { return Ok(()) };
        let (_, code) = faults.remove(at).unwrap();
        Err(code.into())
    }
}

impl FakeS3 {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join(BUCKET)).unwrap();
        Self { root, state: Arc::default() }
    }

    /// A client that never tries again.
    pub(crate) fn client(&self) -> Client {
        let fs = FileSystem::new(self.root.path()).unwrap();
        let mut service =
            S3ServiceBuilder::new(Handler { fs, root: self.root.path().into(), state: Arc::clone(&self.state) });
        service.set_auth(SimpleAuth::from_single("id", "secret"));
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(Credentials::new("id", "secret", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .endpoint_url("http://s3.example")
            .force_path_style(true)
            .http_client(s3s_aws::Client::from(service.build()));
        Client::from_conf(config.build())
    }

    /// The next calls of these operations fail so, one each.
    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = (&'static str, S3ErrorCode)>) {
        self.state.faults.lock().unwrap().extend(faults);
    }

    /// S3 answers a copy with the SHA-256 of other bytes.
    pub(crate) fn damage_copies(&self) {
        *self.state.wrong_copies.lock().unwrap() = true;
    }

    /// The operations since the last look.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.state.calls.lock().unwrap())
    }

    /// The most parts that were under way at a time.
    pub(crate) fn most_parts(&self) -> usize {
        self.state.most_parts.load(Ordering::SeqCst)
    }

    /// The keys of all objects.
    pub(crate) fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        let bucket = self.root.path().join(BUCKET);
        let mut folders = vec![bucket.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                } else {
                    keys.push(entry.path().strip_prefix(&bucket).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        keys.sort();
        keys
    }

    /// How many files of unfinished uploads there are.
    pub(crate) fn unfinished(&self) -> usize {
        let entries = std::fs::read_dir(self.root.path()).unwrap();
        entries.filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with(".upload")).count()
    }

    /// Puts other bytes under a key, behind the service's back.
    pub(crate) fn plant(&self, key: &str, bytes: &[u8]) {
        let path = self.path(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
        // The stored ETag and checksums are those of the bytes before.
        for entry in std::fs::read_dir(self.root.path()).unwrap().map(Result::unwrap) {
            if entry.file_name().to_str().unwrap().ends_with(".internal.json") {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
    }

    /// The file that holds an object.
    pub(crate) fn path(&self, key: &str) -> PathBuf {
        self.root.path().join(BUCKET).join(key)
    }

    pub(crate) fn bytes(&self, key: &str) -> Vec<u8> {
        std::fs::read(self.path(key)).unwrap()
    }
}

struct Handler {
    fs: FileSystem,
    root: PathBuf,
    state: Arc<State>,
}

impl Handler {
    async fn tag<T>(&self, bucket: String, key: String, req: &S3Request<T>) -> S3Result<Option<ETag>> {
        let input = HeadObjectInput::builder().bucket(bucket).key(key).build().unwrap();
        Ok(self.fs.head_object(with_input(req, input)).await?.output.e_tag)
    }
}

fn with_input<T, U>(req: &S3Request<T>, input: U) -> S3Request<U> {
    S3Request {
        input,
        method: req.method.clone(),
        uri: req.uri.clone(),
        headers: req.headers.clone(),
        extensions: req.extensions.clone(),
        credentials: req.credentials.clone(),
        region: req.region.clone(),
        service: req.service.clone(),
        trailing_headers: None,
    }
}

macro_rules! service {
    ($($operation:ident($input:ident) -> $output:ident;)* { $($own:tt)* }) => {
        #[async_trait::async_trait]
        impl S3 for Handler {
            $(async fn $operation(&self, req: S3Request<$input>) -> S3Result<S3Response<$output>> {
                self.state.begin(stringify!($operation))?;
                self.fs.$operation(req).await
            })*
            $($own)*
        }
    };
}

service! {
    put_object(PutObjectInput) -> PutObjectOutput;
    head_object(HeadObjectInput) -> HeadObjectOutput;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output;
    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput;
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput;
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput;
    {
        async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
            self.state.begin("get_object")?;
            let unwanted = req.input.if_none_match.clone();
            let answer = self.fs.get_object(req).await?;
            match (unwanted, &answer.output.e_tag) {
                (Some(ETagCondition::ETag(unwanted)), Some(tag)) if unwanted.weak_cmp(tag) => Err(s3_error!(NotModified)),
                _ => Ok(answer),
            }
        }

        async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
            self.state.begin("delete_object")?;
            if let Some(ETagCondition::ETag(wanted)) = &req.input.if_match {
                let tag = self.tag(req.input.bucket.clone(), req.input.key.clone(), &req).await?;
                if !tag.is_some_and(|tag| tag.weak_cmp(wanted)) {
                    return Err(s3_error!(PreconditionFailed));
                }
            }
            self.fs.delete_object(req).await
        }

        async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
            let running = self.state.parts.fetch_add(1, Ordering::SeqCst) + 1;
            self.state.most_parts.fetch_max(running, Ordering::SeqCst);
            // Long enough for the others to begin.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            let begun = self.state.begin("upload_part");
            let answer = match begun {
                Ok(()) => self.fs.upload_part(req).await,
                Err(error) => Err(error),
            };
            self.state.parts.fetch_sub(1, Ordering::SeqCst);
            answer
        }

        async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
            self.state.begin("copy_object")?;
            let path = self.root.join(&req.input.bucket).join(&req.input.key);
            let mut answer = self.fs.copy_object(req).await?;
            let mut bytes = std::fs::read(path).unwrap();
            if *self.state.wrong_copies.lock().unwrap() {
                bytes.push(0);
            }
            let hashed = super::bucket::checksum(&Sha256::of(&bytes));
            answer.output.copy_object_result.as_mut().unwrap().checksum_sha256 = Some(hashed);
            Ok(answer)
        }
    }
}

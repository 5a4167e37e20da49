//! The bytes of an artifact as the body of a request, hashed on the way.
//!
//! The last bytes are held back until the digest is known to be right: a peer that was promised a length never gets a whole
//! body of other bytes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use gate_core::digest::Sha256;
use gate_core::failure::{Failure, FailureCode};
use gate_core::ports::ArtifactReader;
use hyper::body::{Body, Frame, SizeHint};
use sha2::Digest as _;
use tokio::sync::mpsc;

/// What the bytes must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    /// Their digest.
    pub(crate) sha256: Sha256,
    /// How many.
    pub(crate) size: u64,
}

/// Chunks on their way between the reader and the connection.
const CHUNKS: usize = 4;

/// All of the bytes, verified; for artifacts that fit into memory.
pub(crate) async fn read_all<R: ArtifactReader>(reader: R, expected: Expected) -> Result<Bytes, Failure> {
    let mut verified = Verified::new(reader, expected);
    let mut all = Vec::with_capacity(usize::try_from(expected.size).unwrap_or_default());
    while let Some(chunk) = verified.next().await? {
        all.extend_from_slice(&chunk);
    }
    Ok(all.into())
}

/// Sends the bytes: `request` gets the body and answers when the peer does. The failure of reading or verifying comes before
/// the peer's, which only follows from it.
///
/// # Errors
/// [`FailureCode::DigestMismatch`] for other bytes; what the reader fails with; what `request` gives; and `cut` when the peer
/// answered well before it had all bytes.
pub(crate) async fn send<R, T, F>(
    reader: R,
    expected: Expected,
    cut: impl FnOnce() -> Failure,
    request: impl FnOnce(SentBody) -> F,
) -> Result<T, Failure>
where
    R: ArtifactReader,
    F: Future<Output = Result<T, Failure>>,
{
    let (sender, chunks) = mpsc::channel(CHUNKS);
    let body = SentBody { chunks, left: expected.size };
    let (answered, fed) = tokio::join!(request(body), feed(Verified::new(reader, expected), sender));
    let whole = fed?;
    let answer = answered?;
    if whole { Ok(answer) } else { Err(cut()) }
}

/// Whether the connection took everything.
async fn feed<R: ArtifactReader>(
    mut verified: Verified<R>,
    sender: mpsc::Sender<io::Result<Bytes>>,
) -> Result<bool, Failure> {
    loop {
        match verified.next().await {
            Ok(None) => return Ok(true),
            Ok(Some(chunk)) => {
                if sender.send(Ok(chunk)).await.is_err() {
                    return Ok(false);
                }
            }
            Err(failure) => {
                // Without this the connection would wait for the rest.
                let _ = sender.send(Err(io::Error::other("the artifact could not be read"))).await;
                return Err(failure);
            }
        }
    }
}

/// A reader whose last chunk comes only when all of its bytes are the expected ones.
struct Verified<R> {
    reader: R,
    expected: Expected,
    hasher: sha2::Sha256,
    size: u64,
    held: Option<Bytes>,
}

impl<R: ArtifactReader> Verified<R> {
    fn new(reader: R, expected: Expected) -> Self {
        Self { reader, expected, hasher: sha2::Sha256::new(), size: 0, held: None }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let Some(chunk) = self.reader.next().await? else { break };
            self.hasher.update(&chunk);
            self.size += chunk.len() as u64;
            if self.size > self.expected.size {
                return Err(self.mismatch());
            }
            if chunk.is_empty() {
                continue;
            }
            if let Some(before) = self.held.replace(chunk) {
                return Ok(Some(before));
            }
        }
        if self.size != self.expected.size || Sha256::finish(self.hasher.clone()) != self.expected.sha256 {
            return Err(self.mismatch());
        }
        Ok(self.held.take())
    }

    fn mismatch(&self) -> Failure {
        let Expected { sha256, size } = self.expected;
        let message = format!(
            "the stored bytes of artifact {sha256} are no longer the {size} bytes of that digest; fetch it again"
        );
        Failure::new(FailureCode::DigestMismatch, message)
    }
}

/// A body of known length.
#[derive(Debug)]
pub(crate) struct SentBody {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.chunks.poll_recv(context).map(|chunk| {
            let chunk = chunk?;
            if let Ok(bytes) = &chunk {
                self.left = self.left.saturating_sub(bytes.len() as u64);
            }
            Some(chunk.map(Frame::data))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    /// Gives chunks of a few bytes.
    pub(crate) struct Pieces(pub(crate) Vec<u8>, pub(crate) usize);

    impl ArtifactReader for Pieces {
        async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
            let rest = self.0.split_off(self.1.min(self.0.len()));
            let piece = std::mem::replace(&mut self.0, rest);
            Ok((!piece.is_empty()).then(|| piece.into()))
        }
    }

    fn expected(bytes: &[u8]) -> Expected {
        Expected { sha256: Sha256::of(bytes), size: bytes.len() as u64 }
    }

    /// What a peer would get, and whether it was a whole body.
    async fn sent(stored: &[u8], expected: Expected) -> (Vec<u8>, Result<(), Failure>) {
        let mut got = Vec::new();
        let seen = &mut got;
        let result = send(
            Pieces(stored.to_vec(), 3),
            expected,
            || panic!("not cut"),
            |mut body| async move {
                while let Some(frame) = body.frame().await {
                    let frame = frame.map_err(|error| Failure::new(FailureCode::Storage, error.to_string()))?;
                    seen.extend_from_slice(&frame.into_data().unwrap());
                }
                Ok(())
            },
        )
        .await;
        (got, result)
    }

    #[tokio::test]
    async fn the_right_bytes_arrive_whole() {
        for text in ["", "a", "abc", "abcd", "a longer text of several pieces"] {
            let (got, result) = sent(text.as_bytes(), expected(text.as_bytes())).await;
            assert_eq!((got.as_slice(), result), (text.as_bytes(), Ok(())));
            let all = read_all(Pieces(text.into(), 3), expected(text.as_bytes())).await.unwrap();
            assert_eq!(all, text.as_bytes());
        }
    }

    #[tokio::test]
    async fn other_bytes_never_arrive_whole() {
        let right = expected(b"the bytes that were scanned");
        for wrong in ["the bytes that were swapped", "the bytes that were scanned!", "the bytes that were scanne", ""] {
            let (got, result) = sent(wrong.as_bytes(), right).await;
            assert_eq!(result.unwrap_err().code, FailureCode::DigestMismatch, "{wrong}");
            assert!((got.len() as u64) < right.size, "{wrong}");
            let all = read_all(Pieces(wrong.into(), 3), right).await;
            assert_eq!(all.unwrap_err().code, FailureCode::DigestMismatch, "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_peer_that_does_not_want_all_of_it_has_not_got_it() {
        let bytes = vec![7; 1000];
        let cut = || Failure::new(FailureCode::Storage, "cut");
        let early = send(Pieces(bytes.clone(), 3), expected(&bytes), cut, |body| async move {
            drop(body);
            Ok(())
        });
        assert_eq!(early.await.unwrap_err().message, "cut");
        let refused = send(Pieces(bytes.clone(), 3), expected(&bytes), cut, |body| async move {
            drop(body);
            Err::<(), _>(Failure::new(FailureCode::Storage, "refused"))
        });
        assert_eq!(refused.await.unwrap_err().message, "refused");
    }
}

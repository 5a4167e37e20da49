//! The connector: one lookup, every address judged, and exactly those addresses dialled.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use gate_core::ports::Origin;
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::{Host, Url};

use crate::guard::{Guard, Refusal};

/// A boxed future, as traits that are used behind `dyn` need it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Turns a host name into addresses. A trait so that tests can give answers that change.
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of a name, which is never an IP literal.
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// The operating system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect()) })
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Dials for one [`Origin`]; a pool of its connections must not be shared with another origin.
#[derive(Clone)]
pub(crate) struct GuardedConnector {
    pub(crate) guard: Arc<Guard>,
    pub(crate) resolver: Arc<dyn Resolve>,
    pub(crate) origin: Origin,
    pub(crate) timeout: Duration,
}

impl tower_service::Service<Uri> for GuardedConnector {
    type Response = TokioIo<TcpStream>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Self::Response, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            match tokio::time::timeout(this.timeout, this.connect(&uri)).await {
                Ok(connected) => connected,
                Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
            }
        })
    }
}

impl GuardedConnector {
    async fn connect(&self, uri: &Uri) -> Result<TokioIo<TcpStream>, Error> {
        let url = Url::parse(&uri.to_string()).map_err(|_| Refusal::NoHost)?;
        self.guard.check_url(&url, self.origin)?;
        let port = url.port_or_known_default().ok_or(Refusal::NoHost)?;
        let addresses = match url.host().ok_or(Refusal::NoHost)? {
            Host::Ipv4(v4) => vec![IpAddr::V4(v4)],
            Host::Ipv6(v6) => vec![IpAddr::V6(v6)],
            Host::Domain(name) => self.resolver.lookup(name).await.map_err(NoSuchHost)?,
        };
        self.guard.judge(&url, self.origin, &addresses)?;
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        // One silent address must not use up the time of the others.
        let share = self.timeout / u32::try_from(addresses.len().clamp(1, 4)).unwrap_or(1);
        for address in addresses {
            match tokio::time::timeout(share, TcpStream::connect(SocketAddr::new(address, port))).await {
                Ok(Ok(stream)) => {
                    // What was judged is what was dialled.
                    self.guard.judge(&url, self.origin, &[stream.peer_addr()?.ip()])?;
                    stream.set_nodelay(true)?;
                    return Ok(TokioIo::new(stream));
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last.into())
    }
}

/// The name has no address, or the resolver did not answer.
#[derive(Debug, thiserror::Error)]
#[error("its name cannot be resolved")]
pub(crate) struct NoSuchHost(#[source] io::Error);

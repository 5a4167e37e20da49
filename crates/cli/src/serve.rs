//! `gate serve`: the approved packages over HTTP, on loopback.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use gate_core::coordinates::{Coordinates, Format, PackageName, normalize};
use gate_publisher::directory::DirectoryRepository;
use gate_publisher::media::Media;
use gate_publisher::simple::{self, Project};
use tokio::net::TcpListener;
use tower::ServiceExt as _;
use tower_http::services::ServeFile;

type Repository = State<Arc<DirectoryRepository>>;

/// Serves until `until` is ready. `ready` is told the address.
///
/// # Errors
/// When the port cannot be listened on.
pub(crate) async fn serve(
    repository: DirectoryRepository,
    port: u16,
    ready: impl FnOnce(SocketAddr),
    until: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    ready(listener.local_addr()?);
    axum::serve(listener, router(repository)).with_graceful_shutdown(until).await
}

fn router(repository: DirectoryRepository) -> Router {
    Router::new()
        .route("/", get(|| async { Redirect::temporary("/simple/") }))
        .route("/simple", get(|| async { Redirect::permanent("/simple/") }))
        .route("/simple/", get(projects))
        .route("/simple/{name}/", get(project))
        .route("/simple/{name}", get(|Path(name): Path<String>| async move { to_normal("simple", &name) }))
        .route("/packages/{name}/{version}/{filename}", get(wheel))
        .route("/generic", get(|| async { Redirect::permanent("/generic/") }))
        .route("/generic/", get(assets))
        .route("/generic/{name}/", get(asset))
        .route("/generic/{name}", get(|Path(name): Path<String>| async move { to_normal("generic", &name) }))
        .route("/generic/{name}/{version}/{filename}", get(archive))
        .with_state(Arc::new(repository))
}

async fn projects(State(repository): Repository, headers: HeaderMap) -> Result<Response, Refusal> {
    let media = negotiated(&headers)?;
    let body = read(repository, move |repository| match media {
        Media::Json => simple::projects_json(repository).map(|document| document.to_string()),
        Media::Html | Media::PlainHtml => simple::projects_html(repository),
    });
    Ok(answer(media, body.await?))
}

async fn project(
    State(repository): Repository,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let media = negotiated(&headers)?;
    if normalize(&name) != name {
        return Ok(to_normal("simple", &name).into_response());
    }
    let project = read(repository, move |repository| Project::read(repository, &name)).await?;
    let project = project.ok_or(Refusal::NotThere)?;
    let body = match media {
        Media::Json => project.to_json().to_string(),
        Media::Html | Media::PlainHtml => project.to_html(),
    };
    Ok(answer(media, body))
}

async fn assets(State(repository): Repository) -> Result<Response, Refusal> {
    let page = read(repository, simple::assets_html).await?;
    Ok(answer(Media::PlainHtml, page))
}

async fn asset(State(repository): Repository, Path(name): Path<String>) -> Result<Response, Refusal> {
    if normalize(&name) != name {
        return Ok(to_normal("generic", &name).into_response());
    }
    let page = read(repository, move |repository| simple::asset_html(repository, &name)).await?;
    Ok(answer(Media::PlainHtml, page.ok_or(Refusal::NotThere)?))
}

/// PEP 503: a name in another form is redirected to the normal one. What is no name leads to the list.
fn to_normal(place: &str, name: &str) -> Redirect {
    let is_name = name.parse::<PackageName>().is_ok();
    let normal = if is_name { format!("/{place}/{}/", normalize(name)) } else { format!("/{place}/") };
    Redirect::permanent(&normal)
}

async fn wheel(state: Repository, path: Path<(String, String, String)>, request: Request) -> Result<Response, Refusal> {
    download(state, Format::Pypi, path, request).await
}

async fn archive(
    state: Repository,
    path: Path<(String, String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    download(state, Format::Generic, path, request).await
}

/// Only what a release's record names is served, so that no path leads anywhere else.
async fn download(
    State(repository): Repository,
    format: Format,
    Path((name, version, filename)): Path<(String, String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    let coordinates = Coordinates { format, name, version };
    let path = read(repository, move |repository| repository.file(&coordinates, &filename)).await?;
    let response = ServeFile::new(path.ok_or(Refusal::NotThere)?).oneshot(request).await;
    Ok(response.map_or_else(|never| match never {}, |response| response.map(axum::body::Body::new)))
}

/// Reads off the threads that answer: a file that was touched is hashed before it is given away.
async fn read<T: Send + 'static>(
    repository: Arc<DirectoryRepository>,
    work: impl FnOnce(&DirectoryRepository) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(move || work(&repository)).await.map_err(io::Error::other)?
}

fn negotiated(headers: &HeaderMap) -> Result<Media, Refusal> {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    Media::preferred(accept).ok_or(Refusal::NotAcceptable)
}

fn answer(media: Media, body: String) -> Response {
    ([(header::CONTENT_TYPE, media.content_type()), (header::VARY, "Accept")], body).into_response()
}

enum Refusal {
    NotThere,
    NotAcceptable,
    Broken(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl axum::response::IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::NotThere => (StatusCode::NOT_FOUND, "not approved, or never asked for\n").into_response(),
            Self::NotAcceptable => {
                let forms = [Media::Json, Media::Html, Media::PlainHtml].map(Media::content_type).join(", ");
                (StatusCode::NOT_ACCEPTABLE, [(header::VARY, "Accept")], format!("this page is {forms}\n"))
                    .into_response()
            }
            Self::Broken(error) => {
                let error = error.to_string();
                let message = format!("the approved packages cannot be read: {}\n", gate_core::text::escape(&error));
                (StatusCode::INTERNAL_SERVER_ERROR, message).into_response()
            }
        }
    }
}

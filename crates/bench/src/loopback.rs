//! A Python index with one file, on loopback: what a download costs beyond the gate's own work is next to nothing here.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;

/// Serves until the program ends.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) port: u16,
    downloads: Arc<AtomicU64>,
}

impl Index {
    /// An index with this file of this project.
    pub(crate) fn serve(project: &str, filename: &str, sha256: &str, bytes: Vec<u8>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let downloads = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&downloads);
        let page = format!("<!DOCTYPE html><a href=\"/files/{filename}#sha256={sha256}\">{filename}</a>").into_bytes();
        let site = Arc::new([(format!("/simple/{project}/"), page), (format!("/files/{filename}"), bytes)]);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (site, counter) = (Arc::clone(&site), Arc::clone(&counter));
                std::thread::spawn(move || answer(&stream, &*site, &counter));
            }
        });
        Ok(Self { port, downloads })
    }

    /// How often the file was asked for.
    pub(crate) fn downloads(&self) -> u64 {
        self.downloads.load(Ordering::Relaxed)
    }
}

fn answer(mut stream: &TcpStream, site: &[(String, Vec<u8>)], downloads: &AtomicU64) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = request.split(' ').nth(1).unwrap_or_default();
    let found = site.iter().find(|(known, _)| known == path);
    if path.starts_with("/files/") {
        downloads.fetch_add(1, Ordering::Relaxed);
    }
    let (status, kind, body) = match found {
        Some((path, body)) if path.starts_with("/simple/") => ("200 OK", "text/html", body.as_slice()),
        Some((_, body)) => ("200 OK", "application/octet-stream", body.as_slice()),
        None => ("404 Not Found", "text/plain", b"".as_slice()),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(body)
}

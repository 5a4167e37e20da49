//! A project's page on an index: HTML (PEP 503, 592, 629, 700) or JSON (PEP 691, 700, 714, 740).

use std::collections::BTreeMap;

use gate_core::evidence::IndexFile;
use html5gum::{DefaultEmitter, Token, Tokenizer};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use url::Url;

/// The page cannot be relied on; the text continues "the index page … cannot be read: ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadPage {
    /// PEP 629: a client refuses a major version it does not know.
    #[error("it is of version {0} of the index format, and only version 1 is known")]
    Version(String),
    /// Not the JSON of PEP 691.
    #[error("its JSON is not a project's page ({0})")]
    Json(String),
}

/// The form of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Html,
    Json,
}

/// What the `Accept` header of a page's request says: JSON first, then HTML (PEP 691).
pub(crate) const ACCEPT: &str =
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01";

impl Form {
    /// The form that a `Content-Type` names, if it is one of an index's.
    pub(crate) fn of_content_type(value: &str) -> Option<Self> {
        match value.split(';').next()?.trim().to_ascii_lowercase().as_str() {
            "application/vnd.pypi.simple.v1+json" | "application/json" => Some(Self::Json),
            "application/vnd.pypi.simple.v1+html" | "text/html" | "application/xhtml+xml" => Some(Self::Html),
            _ => None,
        }
    }
}

/// Whether a `Content-Type` is one that nothing but an index gives (PEP 691).
pub(crate) fn is_marked(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(kind.as_str(), "application/vnd.pypi.simple.v1+json" | "application/vnd.pypi.simple.v1+html")
}

/// The files of a page, in its order. Links that are no URL are left out, as installers do.
pub(crate) fn parse(form: Form, body: &[u8], url: &Url) -> Result<Vec<IndexFile>, BadPage> {
    match form {
        Form::Html => parse_html(body, url),
        Form::Json => parse_json(body, url),
    }
}

fn parse_html(body: &[u8], url: &Url) -> Result<Vec<IndexFile>, BadPage> {
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true);
    let mut base: Option<Url> = None;
    let mut files = Vec::new();
    for token in Tokenizer::new_with_emitter(body, emitter) {
        let Ok(Token::StartTag(tag)) = token else { continue };
        let attribute =
            |name: &str| tag.attributes.get(name.as_bytes()).map(|value| String::from_utf8_lossy(value).into_owned());
        match tag.name.as_slice() {
            b"base" if base.is_none() => base = attribute("href").and_then(|href| url.join(href.trim()).ok()),
            b"meta" if attribute("name").is_some_and(|name| name.eq_ignore_ascii_case("pypi:repository-version")) => {
                check_version(&attribute("content").unwrap_or_default())?;
            }
            b"a" => {
                let target = attribute("href").and_then(|href| base.as_ref().unwrap_or(url).join(href.trim()).ok());
                let Some((filename, target)) = target.and_then(|target| Some((last_segment(&target)?, target))) else {
                    continue;
                };
                files.push(IndexFile {
                    filename,
                    sha256: fragment_sha256(&target),
                    url: without_fragment(target),
                    size: None,
                    requires_python: attribute("data-requires-python").and_then(non_blank),
                    upload_time: attribute("data-upload-time").and_then(|text| text.trim().parse().ok()),
                    yanked: attribute("data-yanked"),
                    provenance: attribute("data-provenance").and_then(non_blank),
                });
            }
            _ => {}
        }
    }
    Ok(files)
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct JsonPage {
    meta: JsonMeta,
    files: Vec<JsonFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct JsonMeta {
    api_version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct JsonFile {
    filename: String,
    url: String,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
    requires_python: Option<String>,
    size: Option<u64>,
    upload_time: Option<String>,
    yanked: Option<JsonYanked>,
    provenance: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum JsonYanked {
    Flag(bool),
    Reason(String),
}

fn parse_json(body: &[u8], url: &Url) -> Result<Vec<IndexFile>, BadPage> {
    let page: JsonPage = serde_json::from_slice(body).map_err(|error| BadPage::Json(error.to_string()))?;
    check_version(&page.meta.api_version)?;
    let file = |file: JsonFile| {
        let target = without_fragment(url.join(&file.url).ok()?);
        Some(IndexFile {
            filename: file.filename,
            url: target,
            sha256: file.hashes.get("sha256").and_then(|text| text.parse().ok()),
            size: file.size,
            requires_python: file.requires_python.and_then(non_blank),
            upload_time: file.upload_time.and_then(|text| text.parse().ok()),
            yanked: match file.yanked {
                None | Some(JsonYanked::Flag(false)) => None,
                Some(JsonYanked::Flag(true)) => Some(String::new()),
                Some(JsonYanked::Reason(reason)) => Some(reason),
            },
            provenance: file.provenance,
        })
    };
    Ok(page.files.into_iter().filter_map(file).collect())
}

/// `1.N` is read, anything else is not (PEP 629).
fn check_version(text: &str) -> Result<(), BadPage> {
    match text.trim().split('.').next() {
        Some("1") => Ok(()),
        _ => Err(BadPage::Version(gate_core::text::escape_to(text, 20))),
    }
}

fn non_blank(text: String) -> Option<String> {
    (!text.trim().is_empty()).then_some(text)
}

fn last_segment(url: &Url) -> Option<String> {
    let segment = url.path_segments()?.next_back()?;
    let name = percent_decode_str(segment).decode_utf8().ok()?;
    (!name.is_empty()).then(|| name.into_owned())
}

fn fragment_sha256(url: &Url) -> Option<gate_core::digest::Sha256> {
    url.fragment()?.split('&').find_map(|part| part.strip_prefix("sha256=")).and_then(|text| text.parse().ok())
}

fn without_fragment(mut url: Url) -> Url {
    url.set_fragment(None);
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use gate_core::digest::Sha256;

    const PAGE: &str = "https://i.example/simple/foo/";

    fn html(body: &str) -> Result<Vec<IndexFile>, BadPage> {
        parse(Form::Html, body.as_bytes(), &PAGE.parse().unwrap())
    }

    fn json(body: &str) -> Result<Vec<IndexFile>, BadPage> {
        parse(Form::Json, body.as_bytes(), &PAGE.parse().unwrap())
    }

    #[test]
    fn the_two_forms_say_the_same() {
        let digest = Sha256::of(b"x");
        let from_html = html(&format!(
            "<!DOCTYPE html><html><head><meta name=\"pypi:repository-version\" content=\"1.4\"></head><body>\
             <A HREF='../../f/foo-1.0-py3-none-any.whl#sha256={digest}' data-requires-python='&gt;=3.8,&lt;4' \
             data-yanked='bro&amp;ken' data-upload-time='2024-01-02T03:04:05.5Z' \
             data-dist-info-metadata='sha256=00' data-provenance='https://i.example/p'>foo</A></body></html>"
        ));
        let from_json = json(&format!(
            r#"{{"meta":{{"api-version":"1.1","x":1}},"name":"foo","versions":["1.0"],"files":[{{"filename":"foo-1.0-py3-none-any.whl",
            "url":"../../f/foo-1.0-py3-none-any.whl#x","hashes":{{"sha256":"{digest}","md5":"00"}},"requires-python":">=3.8,<4",
            "yanked":"bro&ken","upload-time":"2024-01-02T03:04:05.5Z","core-metadata":true,
            "provenance":"https://i.example/p"}}]}}"#
        ));
        assert_eq!(from_html, from_json);
        let files = from_html.unwrap();
        assert_eq!(files.len(), 1);
        assert_eq!(files[0].url.as_str(), "https://i.example/f/foo-1.0-py3-none-any.whl");
        assert_eq!(files[0].sha256, Some(digest));
        assert_eq!(files[0].requires_python.as_deref(), Some(">=3.8,<4"));
        assert_eq!(files[0].yanked.as_deref(), Some("bro&ken"));
        assert_eq!(files[0].upload_time, "2024-01-02T03:04:05.5Z".parse().ok());
    }

    #[test]
    fn a_base_element_moves_relative_links() {
        let files =
            html("<base href='/m/'><base href='/ignored/'><a href='a-1.zip'>a</a><a href='//h.example/b-1.zip'>")
                .unwrap();
        let urls: Vec<_> = files.iter().map(|file| file.url.as_str()).collect();
        assert_eq!(urls, ["https://i.example/m/a-1.zip", "https://h.example/b-1.zip"]);
    }

    #[test]
    fn html_inside_scripts_comments_and_bad_links_is_no_link() {
        let files = html(
            "<script>'<a href=s-1.zip>'</script><style><a href=t-1.zip></style><!-- <a href=c-1.zip> --><a name=x>\
             <a href='https://['>x</a><a href=''>y</a><a href='../'>up</a><a href='mailto:x'>m</a>",
        );
        assert_eq!(files, Ok(vec![]));
    }

    #[test]
    fn a_bad_digest_is_no_digest() {
        for fragment in ["", "#md5=00", "#sha256=", "#sha256=00", "#sha512=00&egg=x"] {
            assert_eq!(html(&format!("<a href='a-1.zip{fragment}'>")).unwrap()[0].sha256, None, "{fragment}");
        }
        let digest = Sha256::of(b"x");
        assert_eq!(html(&format!("<a href='a-1.zip#egg=a&sha256={digest}'>")).unwrap()[0].sha256, Some(digest));
    }

    #[test]
    fn yanked_is_an_attribute_or_a_flag_or_a_reason() {
        let yanked = |text: &str| html(&format!("<a href='a-1.zip' {text}>")).unwrap()[0].yanked.clone();
        assert_eq!((yanked(""), yanked("data-yanked")), (None, Some(String::new())));
        for (value, expected) in
            [("false", None), ("null", None), ("true", Some(String::new())), ("\"why\"", Some("why".to_owned()))]
        {
            let page = format!(
                r#"{{"meta":{{"api-version":"1.0"}},"files":[{{"filename":"a-1.zip","url":"a-1.zip","hashes":{{}},"yanked":{value}}}]}}"#
            );
            assert_eq!(json(&page).unwrap()[0].yanked, expected, "{value}");
        }
    }

    #[test]
    fn another_major_version_is_refused() {
        for (version, good) in
            [("1.0", true), ("1.999", true), ("1", true), ("2.0", false), ("", false), ("10.0", false)]
        {
            let page = format!("<meta name='pypi:repository-version' content='{version}'><a href='a-1.zip'>");
            assert_eq!(html(&page).is_ok(), good, "{version}");
            let page = format!(r#"{{"meta":{{"api-version":"{version}"}},"files":[]}}"#);
            assert_eq!(json(&page).is_ok(), good, "{version}");
        }
        assert_eq!(html("<a href='a-1.zip'>").unwrap().len(), 1, "PEP 629: no version means 1.0");
    }

    #[test]
    fn json_gives_sizes() {
        let page = r#"{"meta":{"api-version":"1.1"},"files":[{"filename":"a-1.zip","url":"a-1.zip","size":12}]}"#;
        assert_eq!(json(page).unwrap()[0].size, Some(12));
    }

    #[test]
    fn json_that_is_not_a_page_is_refused() {
        let deep = "[".repeat(100_000);
        for body in ["", "{}", "[]", "<html>", r#"{"meta":{"api-version":1},"files":[]}"#, r#"{"files":[]}"#, &deep] {
            assert!(matches!(json(body), Err(BadPage::Json(_))), "{}", &body[..body.len().min(40)]);
        }
    }

    #[test]
    fn content_types_name_the_form() {
        for (text, form) in [
            ("text/html", Some(Form::Html)),
            ("Text/HTML; charset=UTF-8", Some(Form::Html)),
            ("application/vnd.pypi.simple.v1+html", Some(Form::Html)),
            ("application/vnd.pypi.simple.v1+json", Some(Form::Json)),
            ("application/vnd.pypi.simple.v2+json", None),
            ("application/octet-stream", None),
            ("", None),
        ] {
            assert_eq!(Form::of_content_type(text), form, "{text}");
        }
    }
}

//! The media types of the simple repository API, and which of them a client prefers (PEP 691, RFC 9110 section 12.5.1).

/// How a page of the index is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// A PEP 691 document.
    Json,
    /// A PEP 503 page, under the name that PEP 691 gives it.
    Html,
    /// A PEP 503 page, for browsers and old installers.
    PlainHtml,
}

impl Media {
    /// In the order of our preference.
    const ALL: [Self; 3] = [Self::Json, Self::Html, Self::PlainHtml];

    /// What the answer's `Content-Type` says.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/vnd.pypi.simple.v1+json",
            Self::Html => "application/vnd.pypi.simple.v1+html",
            Self::PlainHtml => "text/html; charset=utf-8",
        }
    }

    /// What a client may call it: main type, subtypes.
    fn names(self) -> (&'static str, [&'static str; 2]) {
        match self {
            Self::Json => ("application", ["vnd.pypi.simple.v1+json", "vnd.pypi.simple.latest+json"]),
            Self::Html => ("application", ["vnd.pypi.simple.v1+html", "vnd.pypi.simple.latest+html"]),
            Self::PlainHtml => ("text", ["html", "html"]),
        }
    }

    /// The form that a client wants most by its `Accept` headers; none when it takes none of them. Whoever takes anything, or
    /// says nothing, gets a page.
    #[must_use]
    pub fn preferred<'a>(accept: impl Iterator<Item = &'a str>) -> Option<Self> {
        let ranges: Vec<_> = accept.flat_map(|header| header.split(',')).filter_map(Range::read).collect();
        if ranges.is_empty() {
            return Some(Self::PlainHtml);
        }
        let mut best: Option<(Rating, Self)> = None;
        for media in Self::ALL {
            let ratings = ranges.iter().filter_map(|range| range.rating(media));
            // The most exact range that names it decides.
            let rating = ratings.max_by_key(|rating| rating.exactness).filter(|rating| rating.quality > 0);
            if let Some(rating) = rating
                && best.is_none_or(|(best, _)| rating > best || (rating == best && rating.exactness == 0))
            {
                best = Some((rating, media));
            }
        }
        best.map(|(_, media)| media)
    }
}

/// One element of an `Accept` header: `text/*;q=0.5`.
struct Range<'a> {
    main: &'a str,
    sub: &'a str,
    quality: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rating {
    /// In thousandths.
    quality: u16,
    /// 0 for `*/*`, 1 for `text/*`, 2 for `text/html`.
    exactness: u8,
}

impl<'a> Range<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (main, sub) = parts.next()?.split_once('/')?;
        let quality = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        Some(Self { main, sub, quality: quality.map_or(1000, thousandths) })
    }

    fn rating(&self, media: Media) -> Option<Rating> {
        let (main, subs) = media.names();
        let same_main = self.main.eq_ignore_ascii_case(main);
        let exactness = match (self.main, self.sub) {
            ("*", "*") => 0,
            (_, "*") if same_main => 1,
            (_, sub) if same_main && subs.iter().any(|it| it.eq_ignore_ascii_case(sub)) => 2,
            _ => return None,
        };
        Some(Rating { quality: self.quality, exactness })
    }
}

/// A quality value, of 0 to 1 with three decimals; what is none is 0.
fn thousandths(text: &str) -> u16 {
    let value = text.parse::<f32>().ok().filter(|value| (0.0..=1.0).contains(value)).unwrap_or_default();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 0 and 1000")]
    let thousandths = (value * 1000.0).round() as u16;
    thousandths
}

#[cfg(test)]
mod tests {
    use super::Media;

    fn preferred(accept: &str) -> Option<Media> {
        Media::preferred(std::iter::once(accept))
    }

    #[test]
    fn installers_get_json_and_browsers_a_page() {
        let pip = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01";
        let uv = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01";
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";
        for (accept, media) in [
            (pip, Media::Json),
            (uv, Media::Json),
            (browser, Media::PlainHtml),
            ("*/*", Media::PlainHtml),
            ("", Media::PlainHtml),
            ("text/html", Media::PlainHtml),
            ("text/*;q=0.2, */*;q=0.1", Media::PlainHtml),
            ("application/vnd.pypi.simple.v1+html", Media::Html),
            ("application/vnd.pypi.simple.latest+html", Media::Html),
            ("application/vnd.pypi.simple.latest+json, text/html;q=0.5", Media::Json),
            ("APPLICATION/VND.PYPI.SIMPLE.V1+JSON;Q=0.4, text/html;q=0.399", Media::Json),
            ("application/vnd.pypi.simple.v1+json;q=0.1, text/html;q=0.5", Media::PlainHtml),
            ("application/vnd.pypi.simple.v1+json;q=0, */*", Media::PlainHtml),
            ("application/*, text/html", Media::PlainHtml),
            ("application/*", Media::Json),
            ("text/html;q=0, */*", Media::Html),
        ] {
            assert_eq!(preferred(accept), Some(media), "{accept}");
        }
        assert_eq!(Media::preferred(std::iter::empty()), Some(Media::PlainHtml));
        let two = ["text/html;q=0.3", "application/vnd.pypi.simple.v1+html;q=0.4"];
        assert_eq!(Media::preferred(two.into_iter()), Some(Media::Html));
    }

    #[test]
    fn what_takes_no_form_gets_none() {
        for accept in ["application/json", "image/*", "text/html;q=0", "text/html;q=2", "*/*;q=0", "text/html;q=x"] {
            assert_eq!(preferred(accept), None, "{accept}");
        }
    }
}

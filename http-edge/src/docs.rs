//! The API documentation pages, served from inside the binary.
//!
//! `/docs` is Swagger UI, `/redoc` is Redoc; both read the OpenAPI document of
//! this edge. Their scripts and styles are files of `http-edge/assets`, which
//! `NOTICE.md` there describes and `refresh.sh` fetches.
//!
//! # Promises
//!
//! - No request leaves the page's own origin; the `content-security-policy`
//!   holds a viewer to it, and holds inline scripts back.
//! - Links inside the pages are relative, so that they also hold where the edge
//!   is mounted under a prefix.
//! - An asset's path changes with its content, so caches may keep it for good.
//!
//! # Not here
//!
//! The OpenAPI document, methods other than `GET`, and whether the pages are
//! switched on.

use std::{
    io::Read,
    sync::{LazyLock, OnceLock},
};

use bytes::Bytes;
use flate2::{Crc, read::GzDecoder};
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{
        ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
        LOCATION, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
    },
};

/// What a page may load.
///
/// Both viewers write `style` elements and attributes. Images may come as
/// `data:` (icons) and `blob:` (Swagger UI shows image answers so); Redoc's
/// search runs in a worker made from a `blob:`.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data: blob:; media-src 'self'; font-src 'self'; connect-src 'self'; \
    worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// Path of the assets: `/docs/assets/<version>/<file>`.
const ASSETS: &str = "/docs/assets/";

/// Every file that the pages refer to, or should come with them.
static FILES: [File; 7] = [
    File::packed(
        "swagger-ui.css",
        CSS,
        include_bytes!("../assets/swagger-ui.css.gz"),
    ),
    File::packed(
        "swagger-ui-bundle.js",
        JS,
        include_bytes!("../assets/swagger-ui-bundle.js.gz"),
    ),
    File::packed(
        "redoc.standalone.js",
        JS,
        include_bytes!("../assets/redoc.standalone.js.gz"),
    ),
    File::plain(
        "swagger-init.js",
        JS,
        include_bytes!("../assets/swagger-init.js"),
    ),
    File::plain(
        "redoc-init.js",
        JS,
        include_bytes!("../assets/redoc-init.js"),
    ),
    File::plain("favicon.svg", SVG, include_bytes!("../assets/favicon.svg")),
    File::plain(
        "licenses.txt",
        TEXT,
        include_bytes!("../assets/licenses.txt"),
    ),
];

const CSS: &str = "text/css; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";

/// The version in the assets' paths: a checksum over all of them.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut crc = Crc::new();
    for file in &FILES {
        crc.update(file.stored);
    }
    format!("{:08x}", crc.sum())
});

/// The documentation pages of one edge, ready to send.
#[derive(Debug, Clone)]
pub struct Docs {
    swagger: Bytes,
    redoc: Bytes,
}

impl Docs {
    /// Pages that show the OpenAPI document at `openapi`, a path of this edge
    /// such as `/api/v1/openapi.json`.
    #[must_use]
    pub fn new(openapi: &str) -> Self {
        // Relative to `/docs` and `/redoc`; the dot keeps a first segment with
        // a colon from being a scheme.
        let openapi = escape(&format!("./{}", openapi.trim_start_matches('/')));
        let swagger = Page {
            styles: &["swagger-ui.css"],
            scripts: &["swagger-ui-bundle.js", "swagger-init.js"],
        };
        let redoc = Page {
            styles: &[],
            scripts: &["redoc.standalone.js", "redoc-init.js"],
        };
        Self {
            swagger: swagger.render(&openapi).into(),
            redoc: redoc.render(&openapi).into(),
        }
    }

    /// The answer to `GET path`, or `None` if the path is not one of these
    /// pages and their assets.
    ///
    /// `path` is relative to where the edge is mounted and begins with `/`.
    /// `headers` are the request's: `accept-encoding` decides whether an asset
    /// is sent compressed. The first client that takes no gzip costs
    /// some milliseconds; what was unpacked is kept.
    #[must_use]
    pub fn get(&self, path: &str, headers: &HeaderMap) -> Option<Response<Bytes>> {
        match path {
            "/docs" => Some(page(&self.swagger)),
            "/redoc" => Some(page(&self.redoc)),
            // The relative links would be wrong below these.
            "/docs/" => Some(redirect("../docs")),
            "/redoc/" => Some(redirect("../redoc")),
            _ => {
                let (version, name) = path.strip_prefix(ASSETS)?.split_once('/')?;
                let file = FILES.iter().find(|file| file.name == name)?;
                Some(asset(file, version == *VERSION, accepts_gzip(headers)))
            }
        }
    }
}

/// One file of `http-edge/assets`.
struct File {
    name: &'static str,
    content_type: &'static str,
    stored: &'static [u8],
    packed: bool,
    unpacked: OnceLock<Bytes>,
}

impl File {
    const fn plain(name: &'static str, content_type: &'static str, stored: &'static [u8]) -> Self {
        Self {
            name,
            content_type,
            stored,
            packed: false,
            unpacked: OnceLock::new(),
        }
    }

    const fn packed(name: &'static str, content_type: &'static str, stored: &'static [u8]) -> Self {
        let mut file = Self::plain(name, content_type, stored);
        file.packed = true;
        file
    }

    /// The file's own bytes, whatever way it is stored.
    fn content(&self) -> Bytes {
        if !self.packed {
            return Bytes::from_static(self.stored);
        }
        let unpack = || {
            let mut content = Vec::new();
            GzDecoder::new(self.stored)
                .read_to_end(&mut content)
                .expect("`refresh.sh` wrote a gzip file");
            content.into()
        };
        self.unpacked.get_or_init(unpack).clone()
    }
}

/// What makes one page different from the other.
struct Page {
    styles: &'static [&'static str],
    scripts: &'static [&'static str],
}

impl Page {
    /// The page for the document at `openapi`, which is escaped already.
    fn render(&self, openapi: &str) -> String {
        let base = format!(".{ASSETS}{}", *VERSION);
        let styles: String = self
            .styles
            .iter()
            .map(|name| format!("<link rel=\"stylesheet\" href=\"{base}/{name}\">\n"))
            .collect();
        let scripts: String = self
            .scripts
            .iter()
            .map(|name| format!("<script defer src=\"{base}/{name}\"></script>\n"))
            .collect();
        format!(
            r#"<!doctype html>
<html lang="en" data-openapi="{openapi}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>FrameX API</title>
<link rel="icon" type="image/svg+xml" href="{base}/favicon.svg">
<link rel="license" href="{base}/licenses.txt">
{styles}{scripts}</head>
<body style="margin: 0">
<div id="docs"></div>
<noscript>This page needs JavaScript. It shows what
<a href="{openapi}">the OpenAPI document</a> says.</noscript>
</body>
</html>
"#
        )
    }
}

fn page(html: &Bytes) -> Response<Bytes> {
    let mut response = response(html.clone(), HTML);
    let headers = response.headers_mut();
    set(headers, CACHE_CONTROL, "no-cache");
    set(headers, CONTENT_SECURITY_POLICY, POLICY);
    set(headers, REFERRER_POLICY, "no-referrer");
    response
}

fn redirect(to: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    set(response.headers_mut(), LOCATION, to);
    response
}

/// `current`: whether the path named the version that this binary holds. While
/// two versions run side by side, a page of one may ask the other for an asset;
/// it gets it, but no cache may keep it under the wrong version.
fn asset(file: &File, current: bool, gzip: bool) -> Response<Bytes> {
    let mut response = if file.packed && gzip {
        let mut response = response(Bytes::from_static(file.stored), file.content_type);
        set(response.headers_mut(), CONTENT_ENCODING, "gzip");
        response
    } else {
        response(file.content(), file.content_type)
    };
    let headers = response.headers_mut();
    if file.packed {
        set(headers, VARY, "accept-encoding");
    }
    let cache = if current {
        "public, max-age=31536000, immutable"
    } else {
        "no-store"
    };
    set(headers, CACHE_CONTROL, cache);
    response
}

fn response(body: Bytes, content_type: &'static str) -> Response<Bytes> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    set(headers, CONTENT_TYPE, content_type);
    set(headers, X_CONTENT_TYPE_OPTIONS, "nosniff");
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}

/// Whether `accept-encoding` prefers gzip to the plain bytes, or likes both the
/// same. Without the header it does not: such a client rarely unpacks.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let (mut gzip, mut any, mut identity) = (None, None, None);
    let codings = headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    for coding in codings {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = Some(weight(parameters));
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => gzip = gzip.max(weight),
            "*" => any = weight,
            "identity" => identity = weight,
            _ => {}
        }
    }
    let gzip = gzip.or(any).unwrap_or(0);
    gzip > 0 && gzip >= identity.unwrap_or(0)
}

/// The `q` among a coding's `parameters`, in thousandths: 1000 if there is
/// none, 0 (not acceptable) if it is malformed.
fn weight(parameters: &str) -> u16 {
    let q = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    let Some(q) = q else { return 1000 };
    let (whole, fraction) = q.split_once('.').unwrap_or((q, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return 0;
    }
    let thousandths = format!("{fraction:0<3}").parse().unwrap_or(0);
    match whole {
        "0" => thousandths,
        "1" if thousandths == 0 => 1000,
        _ => 0,
    }
}

/// `text` as the value of a quoted attribute.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('"', "&quot;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGES: [&str; 2] = ["/docs", "/redoc"];

    fn docs() -> Docs {
        Docs::new("/api/v1/openapi.json")
    }

    fn accept(values: &[&'static str]) -> HeaderMap {
        values
            .iter()
            .map(|value| (ACCEPT_ENCODING, HeaderValue::from_static(value)))
            .collect()
    }

    fn get(path: &str, accept_encoding: &[&'static str]) -> Response<Bytes> {
        docs().get(path, &accept(accept_encoding)).expect(path)
    }

    fn asset_path(name: &str) -> String {
        format!("{ASSETS}{}/{name}", *VERSION)
    }

    fn html(path: &str) -> String {
        String::from_utf8(get(path, &[]).into_body().to_vec()).unwrap()
    }

    /// The values of the attributes that make a browser load or follow.
    fn links(html: &str) -> Vec<&str> {
        ["href=\"", "src=\"", "data-openapi=\""]
            .iter()
            .flat_map(|attribute| html.split(attribute).skip(1))
            .map(|rest| rest.split('"').next().unwrap())
            .collect()
    }

    #[test]
    fn pages_are_html_that_is_checked_again() {
        for path in PAGES {
            let response = get(path, &["gzip"]);
            assert_eq!(response.status(), StatusCode::OK);
            let headers = response.headers();
            assert_eq!(headers[CONTENT_TYPE], HTML);
            assert_eq!(headers[CACHE_CONTROL], "no-cache");
            assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert_eq!(headers[REFERRER_POLICY], "no-referrer");
            assert!(!headers.contains_key(CONTENT_ENCODING));
            assert!(html(path).contains("<title>FrameX API</title>"));
        }
    }

    #[test]
    fn policy_names_no_host_and_allows_no_inline_script() {
        for path in PAGES {
            let response = get(path, &[]);
            let policy = response.headers()[CONTENT_SECURITY_POLICY]
                .to_str()
                .unwrap();
            assert!(policy.starts_with("default-src 'none'; "), "{policy}");
            assert!(policy.contains("script-src 'self';"), "{policy}");
            assert!(!policy.contains("unsafe-eval"), "{policy}");
            for source in policy.split("; ").flat_map(|rule| rule.split(' ').skip(1)) {
                assert!(
                    source.starts_with('\'') || ["data:", "blob:"].contains(&source),
                    "{source}"
                );
            }
            let html = html(path);
            assert_eq!(
                html.matches("<script").count(),
                html.matches("<script defer src=").count()
            );
        }
    }

    #[test]
    fn links_are_relative_and_lead_somewhere() {
        for path in PAGES {
            let html = html(path);
            let links = links(&html);
            assert!(links.len() > 4, "{links:?}");
            for link in links {
                let target = link.strip_prefix('.').unwrap_or_else(|| panic!("{link}"));
                assert!(
                    target == "/api/v1/openapi.json"
                        || docs().get(target, &HeaderMap::new()).is_some(),
                    "{link}"
                );
            }
        }
    }

    #[test]
    fn assets_are_sent_as_stored_if_gzip_is_accepted() {
        for file in &FILES {
            let packed = get(&asset_path(file.name), &["br, gzip"]);
            let plain = get(&asset_path(file.name), &[]);
            for response in [&packed, &plain] {
                let headers = response.headers();
                assert_eq!(headers[CONTENT_TYPE], file.content_type);
                assert_eq!(
                    headers[CACHE_CONTROL],
                    "public, max-age=31536000, immutable"
                );
                assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
                assert_eq!(headers.contains_key(VARY), file.packed);
            }
            assert!(!plain.headers().contains_key(CONTENT_ENCODING));
            assert_eq!(packed.headers().contains_key(CONTENT_ENCODING), file.packed);
            if file.packed {
                let mut unpacked = Vec::new();
                GzDecoder::new(&packed.body()[..])
                    .read_to_end(&mut unpacked)
                    .unwrap();
                assert_eq!(unpacked, plain.body()[..]);
            } else {
                assert_eq!(packed.body(), plain.body());
            }
        }
    }

    #[test]
    fn unpacked_assets_are_kept() {
        let [first, second] = [(); 2].map(|()| get(&asset_path("swagger-ui.css"), &[]).into_body());
        assert_eq!(first.as_ptr(), second.as_ptr());
    }

    #[test]
    fn assets_name_no_host_that_a_viewer_would_ask() {
        for file in &FILES {
            let content = file.content();
            let content = String::from_utf8_lossy(&content);
            for host in [
                "validator.swagger.io",
                "cdn.",
                "fonts.googleapis.com",
                "fonts.gstatic.com",
                "url(http",
                "url(//",
            ] {
                assert!(!content.contains(host), "{}: {host}", file.name);
            }
        }
    }

    #[test]
    fn asset_of_another_version_is_sent_but_not_cached() {
        let response = get("/docs/assets/0/favicon.svg", &[]);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    }

    #[test]
    fn trailing_slash_leads_back_to_the_page() {
        for (path, to) in [("/docs/", "../docs"), ("/redoc/", "../redoc")] {
            let response = get(path, &[]);
            assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
            assert_eq!(response.headers()[LOCATION], to);
        }
    }

    #[test]
    fn other_paths_are_not_ours() {
        for path in [
            "",
            "/",
            "docs",
            "/Docs",
            "/docsx",
            "/docs/assets",
            "/docs/assets/",
            "/docs/assets/favicon.svg",
            "/docs/assets/0/",
            "/docs/assets/0/NOTICE.md",
            "/docs/assets/0/../favicon.svg",
            "/docs/assets/0/0/favicon.svg",
            "/redoc/assets/0/favicon.svg",
            "/favicon.ico",
        ] {
            assert!(docs().get(path, &HeaderMap::new()).is_none(), "{path}");
        }
    }

    #[test]
    fn document_path_stays_on_this_host_and_inside_its_attribute() {
        for (given, linked) in [
            ("/api/v1/openapi.json", "./api/v1/openapi.json"),
            ("openapi.json", "./openapi.json"),
            ("//example.com/x", "./example.com/x"),
            ("a:b", "./a:b"),
            ("/a?b=\"><script>&c", "./a?b=&quot;&gt;&lt;script&gt;&amp;c"),
        ] {
            let page = Docs::new(given).get("/docs", &HeaderMap::new()).unwrap();
            let html = String::from_utf8(page.into_body().to_vec()).unwrap();
            assert!(
                html.contains(&format!("data-openapi=\"{linked}\"")),
                "{html}"
            );
        }
    }

    #[test]
    fn accept_encoding_is_read_as_the_rfc_says() {
        for (values, expected) in [
            (&[][..], false),
            (&[""], false),
            (&["gzip"], true),
            (&["GZIP"], true),
            (&["x-gzip"], true),
            (&["deflate, gzip;q=1.0, *;q=0.5"], true),
            (&["br", "gzip"], true),
            (&["br"], false),
            (&["gzipped"], false),
            (&["*"], true),
            (&["*;q=0"], false),
            (&["*;q=0, gzip"], true),
            (&["gzip;q=0, *"], false),
            (&["gzip;q=0.000"], false),
            (&["gzip ; Q=0"], false),
            (&["gzip;q=0.001"], true),
            (&["gzip;q=0.5, identity"], false),
            (&["gzip;q=0.5, identity;q=0.5"], true),
            (&["identity;q=0, *;q=0.1"], true),
            (&["gzip;q="], false),
            (&["gzip;q=2"], false),
            (&["gzip;q=1.001"], false),
            (&["gzip;q=0.0001"], false),
            (&["gzip;q=-1"], false),
            (&["gzip;q=+0.5"], false),
        ] {
            assert_eq!(accepts_gzip(&accept(values)), expected, "{values:?}");
        }
    }
}

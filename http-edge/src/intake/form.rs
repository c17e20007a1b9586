//! Multipart bodies as arguments.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use framex_core::args::{FormField, HttpBody, Upload};
use framex_core::body::ByteStream;
use framex_core::descriptor::{ApiDescriptor, Location, Parameter};
use framex_core::error::Error;
use framex_core::problem::Problem;
use futures_core::Stream;
use http::StatusCode;

use super::parts::{Head, Parts};
use super::source::{Limits, Progress};
use super::spool::Spool;
use super::{Read, unsupported};

/// Reads the form in `body`, which comes from a client if there is `progress`.
///
/// The last thing that `api` waits for is left to the handler, if it is one file.
pub(super) async fn read(
    mut body: ByteStream,
    progress: Option<Progress>,
    boundary: Option<String>,
    api: &ApiDescriptor,
    limits: Limits,
) -> Result<Read, Error> {
    let Some(boundary) = boundary else {
        return match body.next().await.transpose()? {
            None => Ok((HttpBody::Form(Vec::new()), None)),
            Some(_) => Err(unsupported("multipart/form-data; boundary=...")),
        };
    };
    let mut parts = Parts::new(body, boundary);
    let mut spool = Spool::new();
    let mut texts = Texts(limits);
    let mut fields = Vec::new();
    let mut waited_for: Vec<&Parameter> = fields_of(api).collect();
    while let Some(Head {
        name,
        filename,
        content_type,
    }) = parts.next().await?
    {
        let known = |name: &String| fields_of(api).any(|field| field.name == *name);
        let Some(name) = name.filter(known) else {
            continue;
        };
        let Some(filename) = filename else {
            let text = texts.take(&name, &mut parts).await?;
            waited_for.retain(|field| field.name != name || field.is_list());
            fields.push((name, FormField::Text(text)));
            continue;
        };
        let file = |bytes: ByteStream| {
            let upload = Upload::new(bytes).named(filename);
            FormField::File(upload.with_content_type(content_type).into())
        };
        if let Some(progress) = &progress
            && let [last] = waited_for[..]
            && last.name == name
            && last.location == Location::File
            && !last.is_list()
        {
            let rest = Rest {
                parts,
                names: fields_of(api).map(|field| field.name.clone()).collect(),
                progress: progress.clone(),
                over: false,
            };
            fields.push((name, file(ByteStream::new(rest))));
            return Ok((HttpBody::Form(fields), Some(progress.clone())));
        }
        let bytes = spool.take(&mut parts).await?;
        waited_for.retain(|field| field.name != name || field.is_list());
        fields.push((name, file(bytes)));
    }
    Ok((HttpBody::Form(fields), None))
}

fn fields_of(api: &ApiDescriptor) -> impl Iterator<Item = &Parameter> {
    let field = |p: &&Parameter| matches!(p.location, Location::Form | Location::File);
    api.parameters.iter().filter(field)
}

/// Reads texts while there is room for them.
struct Texts(Limits);

impl Texts {
    async fn take(&mut self, name: &str, parts: &mut Parts) -> Result<String, Error> {
        let mut bytes = BytesMut::new();
        while let Some(piece) = parts.data().await? {
            let left = self.0.texts.checked_sub(piece.len() as u64);
            self.0.texts = left.ok_or_else(|| {
                Error::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "the texts of the form are larger than `server.max_body_size` allows",
                )
            })?;
            bytes.extend_from_slice(&piece);
        }
        String::from_utf8(bytes.into()).map_err(|_| {
            let loc = vec!["body".into(), name.to_owned().into()];
            Error::validation(vec![Problem::new("string_unicode", loc, "expected UTF-8")])
        })
    }
}

/// A file that is the last thing an API waits for, and what comes behind it.
struct Rest {
    parts: Parts,
    /// What would have had to come before.
    names: Vec<String>,
    progress: Progress,
    over: bool,
}

impl Rest {
    /// The end of the form: only there is the file known to be whole.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while let Some(head) = ready!(self.parts.poll_head(cx))? {
            if let Some(name) = head.name.filter(|name| self.names.contains(name)) {
                let loc = vec!["body".into(), name.clone().into()];
                let text =
                    format!("`{name}` came a second time, behind a file that is read as it comes");
                return Poll::Ready(Err(Error::validation(vec![Problem::new(
                    "repeated", loc, text,
                )])));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Stream for Rest {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        let item = match ready!(self.parts.poll_data(cx)) {
            Ok(Some(bytes)) => return Poll::Ready(Some(Ok(bytes))),
            Ok(None) => ready!(self.poll_end(cx)),
            Err(error) => Err(error),
        };
        self.over = true;
        if item.is_ok() {
            self.progress.end();
        }
        Poll::Ready(item.err().map(Err))
    }
}

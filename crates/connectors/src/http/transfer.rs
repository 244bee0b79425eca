//! From a response to a complete body, or to the error that its status stands for.

use std::{
    io::{self, Write},
    path::Path,
};

use flate2::write::MultiGzDecoder;
use lagar_flow::{Error, codes};
use reqwest::{Response, StatusCode, header};
use url::Url;

use super::{
    Answer, Call, Failure, Fetched, Http, Reply, TEMPORARY, again, headers::retry_after, redact::remove_keys,
    status_text,
};
use crate::spool::{Spool, Spooled, is_too_large, too_large, write_error};

/// So many characters of a refusal are shown,
const EXCERPT_CHARS_MAX: usize = 300;
/// after secrets were taken out of so many bytes.
const EXCERPT_BYTES_MAX: usize = 16 << 10;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

impl Http<'_> {
    pub(super) async fn receive(
        &self,
        call: &Call<'_>,
        response: Response,
        url: Url,
    ) -> Result<Reply, Failure> {
        let status = response.status();
        let shown = self.shown(&url);
        if TEMPORARY.contains(&status.as_u16()) {
            let asked = header_text(&response, header::RETRY_AFTER);
            let wait = asked.and_then(|value| retry_after(&value, self.cx.clock.now()));
            let error =
                Error::new(codes::HTTP_TEMPORARY, format!("{shown} answered {}", status_text(status)));
            return Err(Failure::Again { error, wait });
        }
        if status == StatusCode::NOT_MODIFIED && call.get.is_conditional() {
            return Ok(Reply::Answer(Answer::NotModified));
        }
        // A part of the answer (206) was not asked for.
        let is_success = status.is_success() && status != StatusCode::PARTIAL_CONTENT;
        if is_success || call.get.accept.contains(&status.as_u16()) {
            return Ok(Reply::Answer(Answer::Fetched(Box::new(self.fetch(call, response, url).await?))));
        }
        self.refused(call, response, &url).await
    }

    async fn refused(&self, call: &Call<'_>, response: Response, url: &Url) -> Result<Reply, Failure> {
        let status = response.status();
        let mut message = format!("{} answered {}", self.shown(url), status_text(status));
        if let Some(excerpt) = self.excerpt(call, response).await {
            message = format!("{message}: {excerpt}");
        }
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let hint = if call.get.url.origin() == url.origin() {
                    "check `auth` and `headers` of the source, and the variables they use".to_owned()
                } else {
                    "the request was redirected to another host, which gets no credentials; use its address"
                        .to_owned()
                };
                let error = Error::new(codes::AUTH, message).hint(hint);
                let may_try_again = status == StatusCode::UNAUTHORIZED;
                if may_try_again { Ok(Reply::Refused(error)) } else { Err(error.into()) }
            }
            StatusCode::BAD_REQUEST if call.form.is_some() => {
                Ok(Reply::Refused(Error::new(codes::HTTP_STATUS, message)))
            }
            status if status.is_client_error() || status.is_server_error() => {
                Err(Error::new(codes::HTTP_STATUS, message).into())
            }
            _ => Err(Error::new(codes::HTTP_ANSWER, message).into()),
        }
    }

    /// The beginning of a refusal's body, fit to be shown.
    async fn excerpt(&self, call: &Call<'_>, mut response: Response) -> Option<String> {
        let mut bytes = Vec::new();
        while bytes.len() < EXCERPT_BYTES_MAX {
            match response.chunk().await {
                Ok(Some(piece)) => bytes.extend_from_slice(&piece),
                _ => break,
            }
        }
        bytes.truncate(EXCERPT_BYTES_MAX);
        if !call.get.redact.is_empty() {
            // What cannot be read cannot be freed of what must not be shown.
            bytes = remove_keys(&bytes, call.get.redact).ok()?;
        }
        let text = self.redactor.text(&String::from_utf8_lossy(&bytes));
        let text = text.trim();
        let cut: String = text.chars().take(EXCERPT_CHARS_MAX).collect();
        let more = if cut.len() < text.len() { "…" } else { "" };
        let shown: String = cut.chars().flat_map(escape_control).collect();
        (!shown.is_empty()).then(|| shown + more)
    }

    async fn fetch(&self, call: &Call<'_>, mut response: Response, url: Url) -> Result<Fetched, Failure> {
        let what = format!("the answer of {}", self.shown(&url));
        let mut sink = self.sink(call, &response, &url)?;
        while let Some(piece) = response.chunk().await.map_err(|error| self.transport(&url, error))? {
            sink.write_all(&piece).map_err(|error| sink.failure(&what, &error))?;
        }
        let spooled = sink.finish(&what)?;
        // They are stored as they are; one that holds a secret is as good as none.
        let stored = |name| header_text(&response, name).filter(|text| self.redactor.text(text) == *text);
        Ok(Fetched {
            spooled,
            status: response.status().as_u16(),
            etag: stored(header::ETAG),
            last_modified: stored(header::LAST_MODIFIED),
            content_type: header_text(&response, header::CONTENT_TYPE),
            links: response
                .headers()
                .get_all(header::LINK)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .collect(),
            url,
        })
    }

    fn sink(&self, call: &Call<'_>, response: &Response, url: &Url) -> Result<Sink, Error> {
        let spool = Spool::new(&self.cx.spool_dir, call.get.memory_max, call.bytes_max);
        let encoding = header_text(response, header::CONTENT_ENCODING).unwrap_or_default();
        match encoding.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => {
                if response.content_length().is_some_and(|length| length > call.bytes_max) {
                    return Err(too_large(&format!("the answer of {}", self.shown(url)), call.bytes_max));
                }
                Ok(Sink::Plain(spool))
            }
            // Not asked for, but some servers do it all the same.
            "gzip" | "x-gzip" => {
                Ok(Sink::Gzip { decoder: Box::new(MultiGzDecoder::new(spool)), magic: Vec::new() })
            }
            other => Err(Error::new(
                codes::HTTP_ANSWER,
                format!(
                    "{} answered in the encoding `{}`, which was not asked for",
                    self.shown(url),
                    self.redactor.text(other).escape_debug()
                ),
            )),
        }
    }
}

/// Where the bytes of an answer go.
enum Sink {
    Plain(Spool),
    /// With the first bytes of what came in.
    Gzip {
        decoder: Box<MultiGzDecoder<Spool>>,
        magic: Vec<u8>,
    },
}

impl Sink {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Sink::Plain(spool) => spool.write_all(bytes),
            Sink::Gzip { decoder, magic } => {
                let missing = GZIP_MAGIC.len() - magic.len();
                magic.extend_from_slice(&bytes[..missing.min(bytes.len())]);
                decoder.write_all(bytes)
            }
        }
    }

    fn finish(mut self, what: &str) -> Result<Spooled, Failure> {
        if let Sink::Gzip { decoder, magic } = &mut self {
            // An empty body has no gzip header either.
            if magic.is_empty() {
                return Ok(Spool::new(Path::new(""), 0, 0).finish());
            }
            if let Err(error) = decoder.try_finish() {
                return Err(self.failure(what, &error));
            }
        }
        match self {
            Sink::Plain(spool) => Ok(spool.finish()),
            Sink::Gzip { decoder, .. } => {
                decoder.finish().map(Spool::finish).map_err(|error| write_error(what, &error).into())
            }
        }
    }

    /// What a failed write means: too much, no gzip at all, or gzip that was damaged on its way.
    fn failure(&self, what: &str, error: &io::Error) -> Failure {
        match self {
            Sink::Gzip { magic, .. } if !is_too_large(error) && error.raw_os_error().is_none() => {
                if *magic != GZIP_MAGIC {
                    return Error::new(codes::HTTP_ANSWER, format!("{what} says that it is gzip and is not"))
                        .into();
                }
                let damaged = format!("{what} has damaged or incomplete gzip data");
                again(Error::new(codes::HTTP_TEMPORARY, damaged).caused_by(error))
            }
            _ => write_error(what, error).into(),
        }
    }
}

fn header_text(response: &Response, name: header::HeaderName) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

/// Line breaks and other control characters cannot write on a terminal or break a log line.
fn escape_control(c: char) -> Box<dyn Iterator<Item = char>> {
    if c.is_control() { Box::new(c.escape_default()) } else { Box::new(std::iter::once(c)) }
}

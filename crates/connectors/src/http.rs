//! HTTP as every source uses it: deadlines, limits, retries, rate, redirects and logins in one place.
//!
//! Redirects are followed here and not in the HTTP library, because a source may send secrets in any
//! header, and none of them may reach another host than the configured one.

mod auth;
mod config;
mod headers;
mod inside;
mod redact;
mod transfer;

use std::{
    error::Error as StdError,
    future::Future,
    io::{self, Read},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use lagar_flow::{Body, Error, Redactor, Result, codes, percent_decoded};
use reqwest::{
    Client, StatusCode,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use tokio::time::Instant;
use url::{Origin, Url};

pub(crate) use auth::{Auth, Shared};
pub(crate) use config::{HttpConfig, Rate, Retry, Timeouts, bytes_or_none, secret_texts, with_http_keys};
pub(crate) use headers::next_link;
pub(crate) use redact::remove_keys;

use crate::{
    Cx,
    spool::{MEMORY_BYTES_MAX, Spooled, hash_bytes},
};
use auth::{Login, Token, TokenAnswer, basic_header};
use inside::{IsInside, Neighbours};

const REDIRECTS_MAX: usize = 10;
const FIRST_BYTES: u64 = 512;
const TOKEN_ANSWER_BYTES_MAX: u64 = 1 << 20;
pub(crate) const USER_AGENT: &str = concat!("lagar/", env!("CARGO_PKG_VERSION"));
/// Asking later helps; 202 says that the answer is still being made.
const TEMPORARY: &[u16] = &[202, 408, 425, 429, 500, 502, 503, 504];
/// Configured headers that say nothing about who asks; every other one is treated as a secret.
const PLAIN_HEADERS: &[HeaderName] = &[
    header::ACCEPT,
    header::ACCEPT_LANGUAGE,
    header::USER_AGENT,
    header::CONTENT_TYPE,
    header::CACHE_CONTROL,
];

/// The HTTP side of one read of one source.
pub(crate) struct Http<'a> {
    cx: &'a Cx,
    client: Client,
    config: HttpConfig,
    redactor: Redactor,
    shared: &'a Shared,
    /// Secrets are sent here and nowhere else.
    home: Origin,
    neighbours: Neighbours,
    /// Sent everywhere.
    plain: HeaderMap,
    /// Sent to `home`.
    private: HeaderMap,
    login: Option<Login>,
    waits: AtomicU64,
}

/// What to get.
#[derive(Clone)]
pub(crate) struct Get<'a> {
    pub url: Url,
    /// Of the last load: the server may answer that nothing changed.
    pub etag: Option<&'a str>,
    pub last_modified: Option<&'a str>,
    /// Up to here the answer stays in memory.
    pub memory_max: usize,
    /// Keys whose values must not be shown, not even from an error's answer.
    pub redact: &'a [String],
    /// Refusals that are an answer too.
    pub accept: &'a [u16],
}

impl<'a> Get<'a> {
    pub fn new(url: Url) -> Self {
        Self { url, etag: None, last_modified: None, memory_max: MEMORY_BYTES_MAX, redact: &[], accept: &[] }
    }

    fn is_conditional(&self) -> bool {
        self.etag.is_some() || self.last_modified.is_some()
    }
}

pub(crate) enum Answer {
    /// The server says that nothing changed.
    NotModified,
    Fetched(Box<Fetched>),
}

/// A complete answer with a status of success, or one that was accepted.
pub(crate) struct Fetched {
    pub spooled: Spooled,
    pub status: u16,
    /// After redirects.
    pub url: Url,
    pub etag: Option<String>,
    pub last_modified: Option<String>,
    pub content_type: Option<String>,
    /// Values of the `Link` headers.
    pub links: Vec<String>,
}

impl Fetched {
    /// Whether the server calls it a web page.
    pub fn is_called_html(&self) -> bool {
        let html = |kind: &str| kind.trim().to_ascii_lowercase().starts_with("text/html");
        self.content_type.as_deref().is_some_and(html)
    }
}

/// One request of [`Http::run`].
struct Call<'a> {
    get: Get<'a>,
    login: Option<Login>,
    /// Sent by POST.
    form: Option<Vec<(&'static str, String)>>,
    bytes_max: u64,
    /// False for the token endpoint, which is not the source's own server.
    with_configured_headers: bool,
}

enum Reply {
    Answer(Answer),
    /// 400 or 401, with the error it becomes when nothing else can be tried.
    Refused(Error),
}

/// Why an attempt failed.
enum Failure {
    Final(Error),
    Again { error: Error, wait: Option<Duration> },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Final(error)
    }
}

fn client(timeout: &Timeouts, neighbours: &Neighbours) -> Result<Client> {
    Client::builder()
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(timeout.connect)
        .read_timeout(timeout.read)
        .dns_resolver(neighbours.clone())
        .build()
        .map_err(|error| Error::bug("the HTTP client cannot be set up").caused_by(&error))
}

impl<'a> Http<'a> {
    /// For requests that start at `url`, whose host alone gets the secrets.
    pub fn new(cx: &'a Cx, mut config: HttpConfig, url: &mut Url, shared: &'a Shared) -> Result<Self> {
        let redactor = cx.secrets.layer();
        redactor.add_url(url.as_str());
        if let Some(basic) = take_user_info(url) {
            config.auth.get_or_insert(basic);
        }
        let wrong = |what: &str| Error::new(codes::CONFIG, what.to_owned());
        let mut plain = HeaderMap::new();
        let mut private = HeaderMap::new();
        for (name, value) in config.headers.iter().filter(|(_, value)| !value.expose().is_empty()) {
            let key = HeaderName::try_from(name.as_str())
                .map_err(|_| wrong(&format!("`{}` is not the name of a header", name.escape_debug())))?;
            let mut sent = HeaderValue::try_from(value.expose()).map_err(|_| {
                wrong(&format!("the value of the header `{name}` has characters that cannot be sent"))
            })?;
            if PLAIN_HEADERS.contains(&key) {
                plain.insert(key, sent);
            } else {
                redactor.add(value.expose());
                sent.set_sensitive(true);
                private.insert(key, sent);
            }
        }
        let token_url = config.auth.as_ref().and_then(Auth::client_credentials);
        let token_url = token_url.and_then(|client| http_url(&client.token_url));
        let home = url.origin();
        let (client, neighbours) = match shared.client.get() {
            Some((known, client, neighbours)) if *known == home => (client.clone(), neighbours.clone()),
            _ => {
                let neighbours = Neighbours::of(url, token_url);
                let client = client(&config.timeout, &neighbours)?;
                // Where another read was faster, each goes on with its own.
                let _ = shared.client.set((home.clone(), client.clone(), neighbours.clone()));
                (client, neighbours)
            }
        };
        let login = match &config.auth {
            Some(auth) => {
                auth.add_secrets(&redactor);
                auth.fixed(&client, &redactor).map_err(wrong)?
            }
            None => None,
        };
        Ok(Self {
            cx,
            client,
            config,
            redactor,
            shared,
            home,
            neighbours,
            plain,
            private,
            login,
            waits: AtomicU64::new(0),
        })
    }

    /// `url` as it may be shown.
    pub fn shown(&self, url: &Url) -> String {
        self.redactor.url(url.as_str())
    }

    /// What tells requests for `url` from those of another configuration: what may be shown, and 16 bits
    /// of a hash over all that is sent with it. More bits would let a weak secret be found by trying.
    /// Only before the first request: secrets that a login brings change with every login.
    pub fn identity(&self, url: &Url) -> String {
        let headers = self.plain.iter().chain(&self.private);
        let mut sent: Vec<Vec<u8>> =
            headers.map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()].join(&b':')).collect();
        sent.extend(self.redactor.own().into_iter().map(String::into_bytes));
        sent.sort();
        sent.push(url.as_str().as_bytes().to_vec());
        format!("{}#{}", self.shown(url), &hash_bytes(&sent.join(&b'\n'))[..4])
    }

    /// A text that a server sent, as it may be shown.
    pub fn shown_text(&self, text: &str) -> String {
        self.redactor.text(text)
    }

    /// The whole answer, after as many attempts as it takes.
    pub async fn get(&self, get: &Get<'_>) -> Result<Answer> {
        // The address of a next page comes from the server, with tokens in it at times.
        self.redactor.add_url(get.url.as_str());
        let mut refreshed = false;
        loop {
            let login = match self.config.auth.as_ref().and_then(Auth::client_credentials) {
                Some(_) => Some(self.token_login().await?),
                None => self.login.clone(),
            };
            let call = Call {
                get: get.clone(),
                login,
                form: None,
                bytes_max: self.config.bytes_max,
                with_configured_headers: true,
            };
            let has_token = self.login.is_none() && call.login.is_some();
            match self.run(&call).await? {
                Reply::Answer(answer) => return Ok(answer),
                // The token may have been withdrawn before its time: one new one is tried.
                Reply::Refused(error) if has_token && !refreshed && error.code() == codes::AUTH => {
                    *self.shared.token.lock().await = None;
                    refreshed = true;
                }
                Reply::Refused(error) => return Err(error),
            }
        }
    }

    async fn token_login(&self) -> Result<Login> {
        let mut cached = self.shared.token.lock().await;
        let token = match cached.take() {
            Some(token) if token.is_fresh(self.cx.clock.now()) => token,
            _ => self.fetch_token().await?,
        };
        self.redactor.add(token.value.expose());
        let login = Login::bearer(&token.value)
            .ok_or_else(|| Error::new(codes::AUTH, "the token endpoint gave a token that cannot be sent"));
        *cached = Some(token);
        login
    }

    async fn fetch_token(&self) -> Result<Token> {
        let client = self.config.auth.as_ref().and_then(Auth::client_credentials);
        let (client, url) = client
            .and_then(|client| Some((client, http_url(&client.token_url)?)))
            .ok_or_else(|| Error::bug("a token is asked for without client credentials"))?;
        let (id, secret) = (client.client_id.expose(), client.client_secret.expose());
        let mut form = vec![("grant_type", "client_credentials".to_owned())];
        form.extend(client.scope.clone().map(|scope| ("scope", scope)));
        let mut in_body = form.clone();
        in_body.extend([("client_id", id.to_owned()), ("client_secret", secret.to_owned())]);
        // Every server must take the header (RFC 6749 §2.3.1); some take only the form.
        self.redactor.add(&form_encoded(secret));
        let header = basic_header(&self.client, &form_encoded(id), &form_encoded(secret))
            .map(|value| Login::Header(header::AUTHORIZATION, value));
        let mut refused = None;
        for (login, form) in [(header, form), (None, in_body)] {
            let call = Call {
                get: Get::new(url.clone()),
                login,
                form: Some(form),
                bytes_max: TOKEN_ANSWER_BYTES_MAX,
                with_configured_headers: false,
            };
            match self.run(&call).await? {
                Reply::Answer(Answer::Fetched(fetched)) => return self.read_token(&url, &fetched),
                Reply::Answer(Answer::NotModified) => break,
                Reply::Refused(error) => refused = Some(error),
            }
        }
        let refused = refused.unwrap_or_else(|| Error::bug("a token endpoint answered nothing"));
        Err(Error::new(codes::AUTH, refused.message().to_owned())
            .hint("check `client_id`, `client_secret` and `scope` of `auth.oauth2`"))
    }

    fn read_token(&self, url: &Url, fetched: &Fetched) -> Result<Token> {
        let answer = fetched.spooled.body.open().ok().and_then(|reader| serde_json::from_reader(reader).ok());
        let answer: TokenAnswer = answer.ok_or_else(|| {
            Error::new(
                codes::HTTP_ANSWER,
                format!("{} answered no JSON with an `access_token`", self.shown(url)),
            )
        })?;
        Ok(answer.into_token(self.cx.clock.now()))
    }

    /// Tries until there is an answer, the answer is final, or the attempts are used up.
    async fn run(&self, call: &Call<'_>) -> Result<Reply> {
        let attempts = self.config.retry.attempts;
        let mut attempt = 1;
        loop {
            self.cx.check_cancelled()?;
            self.unless_stopped(self.slot()).await?;
            let (error, asked) = match self.unless_stopped(self.attempt_in_time(call)).await? {
                Ok(reply) => return Ok(reply),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Again { error, wait }) => (error, wait),
            };
            if attempt >= attempts {
                let tries =
                    if attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") };
                return Err(error.context(format!("gave up after {tries}")));
            }
            let wait =
                asked.map_or_else(|| self.backoff(attempt), |asked| asked.min(self.config.retry.max_wait));
            tracing::warn!(
                attempt,
                attempts,
                wait_ms = wait.as_millis() as u64,
                error = %error,
                "a request failed and is tried again"
            );
            self.unless_stopped(tokio::time::sleep(wait)).await?;
            attempt += 1;
        }
    }

    async fn attempt_in_time(&self, call: &Call<'_>) -> Result<Reply, Failure> {
        let total = self.config.timeout.total;
        tokio::time::timeout(total, self.attempt(call)).await.unwrap_or_else(|_| {
            let url = self.shown(&call.get.url);
            Err(again(Error::new(codes::HTTP_TEMPORARY, format!("{url} was not done within {total:?}"))))
        })
    }

    async fn attempt(&self, call: &Call<'_>) -> Result<Reply, Failure> {
        let mut url = call.get.url.clone();
        for hop in 0..=REDIRECTS_MAX {
            if hop > 0 {
                self.slot().await;
            }
            if !self.neighbours.may_ask(&url) {
                return Err(self.sent_inside(&url).into());
            }
            let response = self.request(call, &url, hop).send().await.map_err(|e| self.transport(&url, e))?;
            match self.redirected(call, &response, &url)? {
                Some(next) => {
                    // A server that redirects may hand out secrets of its own: a signature, a token.
                    self.redactor.add_url(next.as_str());
                    url = next;
                }
                None => return self.receive(call, response, url).await,
            }
        }
        let first = self.shown(&call.get.url);
        Err(Error::new(codes::HTTP_ANSWER, format!("{first} redirects more than {REDIRECTS_MAX} times"))
            .hint("open the URL in a browser and put the final address into the project")
            .into())
    }

    fn request(&self, call: &Call<'_>, url: &Url, hop: usize) -> reqwest::RequestBuilder {
        let at_home = if call.with_configured_headers { url.origin() == self.home } else { hop == 0 };
        let mut url = url.clone();
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if call.with_configured_headers {
            headers.extend(self.plain.clone());
            if at_home {
                headers.extend(self.private.clone());
            }
        }
        match &call.login {
            Some(Login::Header(name, value)) if at_home => {
                headers.insert(name.clone(), value.clone());
            }
            // A redirect's target is complete as it stands.
            Some(Login::Query(name, value))
                if at_home && hop == 0 && !url.query_pairs().any(|(n, _)| n == name.as_str()) =>
            {
                url.query_pairs_mut().append_pair(name, value.expose());
            }
            _ => {}
        }
        let conditions =
            [(header::IF_NONE_MATCH, call.get.etag), (header::IF_MODIFIED_SINCE, call.get.last_modified)];
        for (name, value) in conditions {
            if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
                headers.insert(name, value);
            }
        }
        let request = match &call.form {
            Some(form) => self.client.post(url).form(form),
            None => self.client.get(url),
        };
        request.headers(headers)
    }

    /// Where `response` sends us, if it does.
    fn redirected(&self, call: &Call<'_>, response: &reqwest::Response, url: &Url) -> Result<Option<Url>> {
        if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let wrong = |what: &str| {
            let status = response.status().as_u16();
            Error::new(codes::HTTP_ANSWER, format!("{} answered {status} {what}", self.shown(url)))
        };
        if call.form.is_some() {
            return Err(wrong("to a login, which is not sent elsewhere"));
        }
        let location = response
            .headers()
            .get(header::LOCATION)
            .and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
        let location = location.ok_or_else(|| wrong("without saying where to go"))?;
        let mut next = url.join(location).map_err(|_| wrong("with a target that is not a URL"))?;
        if !is_http(&next) {
            return Err(wrong(&format!("with a target that is {}: and not http: or https:", next.scheme())));
        }
        // What a server writes there is not ours to log in with.
        take_user_info(&mut next);
        Ok(Some(next))
    }

    fn sent_inside(&self, url: &Url) -> Error {
        let message = format!("a server sent us to {}, which is inside a network", self.shown(url));
        Error::new(codes::HTTP_ANSWER, message).hint(
            "a server out in the open has no business there; if it is meant, put that address into the project",
        )
    }

    fn transport(&self, url: &Url, error: reqwest::Error) -> Failure {
        if cause::<IsInside>(&error).is_some() {
            return self.sent_inside(url).into();
        }
        if let Some(why @ rustls::Error::InvalidCertificate(_)) = cause(&error) {
            let message = format!("the certificate of {} is not accepted", self.shown(url));
            return Error::new(codes::CERTIFICATE, message)
                .hint("the machine's trusted authorities decide; SSL_CERT_FILE names others. There is no switch to go without")
                .caused_by(why)
                .into();
        }
        let what = if error.is_timeout() && error.is_connect() {
            format!("cannot connect to {} within {:?}", self.shown(url), self.config.timeout.connect)
        } else if error.is_timeout() {
            format!("{} sent nothing for {:?}", self.shown(url), self.config.timeout.read)
        } else if error.is_connect() {
            format!("cannot connect to {}", self.shown(url))
        } else {
            format!("the answer of {} broke off", self.shown(url))
        };
        again(Error::new(codes::HTTP_TEMPORARY, what).caused_by(&error.without_url()))
    }

    /// Waits until the rate allows one more request.
    async fn slot(&self) {
        let Some(Rate { spacing }) = self.config.rate else { return };
        let start = {
            let mut next = self.shared.next_slot.lock().await;
            let start = next.map_or_else(Instant::now, |next| next.max(Instant::now()));
            *next = Some(start + spacing);
            start
        };
        tokio::time::sleep_until(start).await;
    }

    /// A random share of a wait that doubles with every attempt.
    fn backoff(&self, attempt: u32) -> Duration {
        let Retry { wait, max_wait, .. } = self.config.retry;
        let ceiling = wait.saturating_mul(2u32.saturating_pow(attempt - 1)).min(max_wait);
        ceiling.mul_f64(share(self.cx.seed, self.waits.fetch_add(1, Ordering::Relaxed)))
    }

    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        unless_stopped(self.cx, work).await
    }
}

/// Ends `work` at once when the run is stopped.
pub(crate) async fn unless_stopped<T>(cx: &Cx, work: impl Future<Output = T>) -> Result<T> {
    tokio::select! {
        biased;
        () = cx.cancel.cancelled() => Err(Error::new(codes::STOPPED, "stopped")),
        done = work => Ok(done),
    }
}

/// The first cause of `error` that is a `T`; an I/O error may carry one without naming it as its cause.
fn cause<'e, T: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let carried = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = carried.map(|carried| carried as &(dyn StdError + 'static)).or_else(|| error.source());
    }
    None
}

fn again(error: Error) -> Failure {
    Failure::Again { error, wait: None }
}

/// The n-th number of `seed`, from 0 to 1 (SplitMix64).
fn share(seed: u64, n: u64) -> f64 {
    let mut z = seed.wrapping_add((n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    (z >> 11) as f64 / (1u64 << 53) as f64
}

/// Enough of a body to tell a web page from data, without a byte order mark and leading space.
pub(crate) fn first_bytes(body: &Body) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(reader) = body.open() {
        // What cannot be read here fails again, and is reported, where the body is decoded.
        let _ = reader.take(FIRST_BYTES).read_to_end(&mut bytes);
    }
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes).trim_ascii_start().to_vec()
}

/// An address that this module can talk to.
pub(crate) fn http_url(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| is_http(url) && url.has_host())
}

pub(crate) fn is_http(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

/// Removes `user:password@`.
pub(crate) fn take_user_info(url: &mut Url) -> Option<Auth> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let auth =
        Auth::basic(&percent_decoded(url.username()), &percent_decoded(url.password().unwrap_or_default()));
    // These fail only for URLs without a host, which have no user info either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Some(auth)
}

fn form_encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// `404 Not Found`.
fn status_text(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_repeats_with_its_seed_and_fills_its_range() {
        let draw = |seed| (0..1000).map(|n| share(seed, n)).collect::<Vec<_>>();
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!(draw(7).iter().all(|x| (0.0..1.0).contains(x)));
        let mean = draw(7).iter().sum::<f64>() / 1000.0;
        assert!((0.45..0.55).contains(&mean), "{mean}");
    }
}

//! Credentials as all of AWS's tools find them, in the same order, kept while they are good and renewed in time.
//!
//! Keys, session, profile and region come from the environment that we are given (a project may have them in its
//! `.env`); what a platform sets for the process (containers, instances, web identities) the SDK reads itself.

use std::{
    error::Error as _,
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use aws_config::{
    BehaviorVersion, Region,
    ecs::EcsCredentialsProvider,
    imds::{self, credentials::ImdsCredentialsProvider, region::ImdsRegionProvider},
    profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider},
    provider_config::ProviderConfig,
    timeout::TimeoutConfig,
    web_identity_token::WebIdentityTokenCredentialsProvider,
};
use aws_credential_types::{
    Credentials,
    credential_feature::AwsCredentialFeature as Feature,
    provider::{ProvideCredentials, error::CredentialsError as ProviderError},
};
use aws_types::service_config::ServiceConfigKey;
use lagar_flow::Secret;
use object_store::{CredentialProvider, aws::AwsCredential};
use tokio::sync::{Mutex, OnceCell};
use tracing::{instrument::WithSubscriber, subscriber::NoSubscriber};

use super::http::Http;

const INSTANCE: &str = "instance";
/// The region when nothing says one: S3 itself answers there for all.
const REGION_DEFAULT: &str = "us-east-1";
/// Credentials are renewed when a quarter of their life is left, but not earlier than this before their end.
const RENEW_BEFORE: Duration = Duration::from_secs(300);
/// Keys without an end may be exchanged in their file: they are looked up again after so long.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(900);
/// A metadata service is on the same machine. Where there is none, nobody wants to wait for that to be clear.
const METADATA_WITHIN: Duration = Duration::from_secs(1);
/// The same for the services that hand out sessions.
const SERVICE_CONNECT_WITHIN: Duration = Duration::from_secs(5);
const SERVICE_WITHIN: Duration = Duration::from_secs(20);

/// What the environment says about AWS.
#[derive(Debug, Clone, Default)]
pub(super) struct Env {
    pub key: Option<Secret>,
    pub secret: Option<Secret>,
    pub session: Option<Secret>,
    pub region: Option<String>,
    pub profile: Option<String>,
    pub endpoint: Option<String>,
}

impl Env {
    pub fn read(env: &dyn Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| env(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        let secret = |name: &str| get(name).map(Secret::new);
        Self {
            key: secret("AWS_ACCESS_KEY_ID"),
            secret: secret("AWS_SECRET_ACCESS_KEY"),
            session: secret("AWS_SESSION_TOKEN"),
            region: get("AWS_REGION").or_else(|| get("AWS_DEFAULT_REGION")),
            profile: get("AWS_PROFILE"),
            endpoint: get("AWS_ENDPOINT_URL_S3").or_else(|| get("AWS_ENDPOINT_URL")),
        }
    }
}

/// Why there are no credentials.
#[derive(Debug, Clone)]
pub(crate) enum CredentialsError {
    /// Nobody has any: who was asked, and why not.
    None(Vec<(String, String)>),
    /// The one whose turn it is cannot give them.
    Failed {
        provider: String,
        why: String,
        /// It did not answer: asking again may help.
        is_temporary: bool,
    },
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None(tried) => {
                let each: Vec<String> = tried.iter().map(|(name, why)| format!("{name} ({why})")).collect();
                write!(f, "tried in this order: {}", each.join(", "))
            }
            Self::Failed { provider, why, .. } => write!(f, "{provider}: {why}"),
        }
    }
}

impl std::error::Error for CredentialsError {}

impl From<CredentialsError> for object_store::Error {
    fn from(error: CredentialsError) -> Self {
        object_store::Error::Generic { store: "S3", source: Box::new(error) }
    }
}

/// Where credentials, region and endpoint come from; all that is shown of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// "environment variables", "profile `etl` (role)", …
    pub provider: String,
    pub region: String,
    /// Where the region was found.
    pub region_from: &'static str,
    /// One of one's own; no secret is in it.
    pub endpoint: Option<String>,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; region {} ({})", self.provider, self.region, self.region_from)?;
        match &self.endpoint {
            Some(endpoint) => write!(f, "; endpoint {endpoint}"),
            None => Ok(()),
        }
    }
}

/// The chain of those who may have credentials, and what it gave last.
#[derive(Debug)]
pub(super) struct Chain {
    env: Env,
    config: ProviderConfig,
    /// From the environment or the profile.
    pub endpoint: Option<String>,
    /// As far as the environment and the profile say it.
    region: Option<(String, &'static str)>,
    instance_region: OnceCell<Option<String>>,
    held: RwLock<Option<Arc<Held>>>,
    renewing: Mutex<()>,
}

#[derive(Debug)]
struct Held {
    provider: String,
    is_instance: bool,
    credential: Arc<AwsCredential>,
    expires: Option<SystemTime>,
    renew_at: SystemTime,
}

impl Held {
    fn is_good(&self, now: SystemTime) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

impl Chain {
    pub async fn new(env: Env) -> Self {
        let config = ProviderConfig::default().with_http_client(Http::default()).with_timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(SERVICE_CONNECT_WITHIN)
                .operation_attempt_timeout(SERVICE_WITHIN)
                .operation_timeout(SERVICE_WITHIN)
                .build(),
        );
        let profile_region = match &env.region {
            Some(_) => None,
            None => {
                let mut provider = ProfileFileRegionProvider::builder().configure(&config);
                if let Some(profile) = &env.profile {
                    provider = provider.profile_name(profile);
                }
                aws_config::meta::region::ProvideRegion::region(&provider.build()).await
            }
        };
        let region = match (&env.region, profile_region) {
            (Some(region), _) => Some((region.clone(), "environment")),
            (None, Some(region)) => Some((region.to_string(), "profile")),
            (None, None) => None,
        };
        let signing = region.as_ref().map_or(REGION_DEFAULT, |(region, _)| region).to_owned();
        let config = config.with_region(Some(Region::new(signing.clone())));
        let endpoint = match &env.endpoint {
            Some(endpoint) => Some(endpoint.clone()),
            None => profile_endpoint(&env, signing).await,
        };
        Self {
            env,
            config,
            endpoint,
            region,
            instance_region: OnceCell::new(),
            held: RwLock::default(),
            renewing: Mutex::default(),
        }
    }

    /// Good credentials; asks for new ones when their time comes. Who must wait for none does not.
    async fn current(&self) -> Result<Arc<Held>, CredentialsError> {
        let held = || self.held.read().unwrap_or_else(PoisonError::into_inner).clone();
        let now = SystemTime::now();
        let _renewing = match held() {
            Some(held) if now < held.renew_at => return Ok(held),
            Some(held) if held.is_good(now) => match self.renewing.try_lock() {
                Ok(renewing) => renewing,
                Err(_) => return Ok(held), // somebody is at it
            },
            _ => self.renewing.lock().await,
        };
        let now = SystemTime::now();
        let old = held();
        if let Some(held) = old.as_ref().filter(|held| now < held.renew_at) {
            return Ok(held.clone()); // renewed while we waited
        }
        let asked = silently(self.ask()).await;
        if let Ok(found) = &asked {
            tracing::debug!(provider = found.provider, expires = ?found.expires, "credentials were given");
        }
        let found = match (asked, old) {
            (Ok(found), _) => found,
            (Err(error), Some(old)) if old.is_good(now) => {
                tracing::warn!(
                    "the credentials could not be renewed, the old ones are used up to their end: {error}"
                );
                let (credential, expires) = (old.credential.clone(), old.expires);
                let renew_at = renew_at(now, expires);
                Held {
                    provider: old.provider.clone(),
                    is_instance: old.is_instance,
                    credential,
                    expires,
                    renew_at,
                }
            }
            (Err(error), _) => return Err(error),
        };
        let found = Arc::new(found);
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Some(found.clone());
        Ok(found)
    }

    /// Asks one after the other. The first that has credentials wins, and one that should have some and cannot
    /// give them ends the search: nobody wants another login than the one that was set up.
    async fn ask(&self) -> Result<Held, CredentialsError> {
        let profile = format!("profile `{}`", self.env.profile.as_deref().unwrap_or("default"));
        let mut tried = Vec::new();
        match (&self.env.key, &self.env.secret) {
            (Some(key), Some(secret)) => {
                let session = self.env.session.as_ref().map(|session| session.expose().to_owned());
                let found = Credentials::new(key.expose(), secret.expose(), session, None, "environment");
                return Ok(hold("environment variables", &found));
            }
            (None, None) => {
                tried.push(("environment variables".into(), "AWS_ACCESS_KEY_ID is not set".into()))
            }
            (key, _) => {
                let missing = if key.is_none() { "AWS_ACCESS_KEY_ID" } else { "AWS_SECRET_ACCESS_KEY" };
                let why = format!("{missing} is not set, only the other half is");
                return Err(CredentialsError::Failed {
                    provider: "environment variables".into(),
                    why,
                    is_temporary: false,
                });
            }
        }
        let mut from_profile = ProfileFileCredentialsProvider::builder().configure(&self.config);
        if let Some(profile) = &self.env.profile {
            from_profile = from_profile.profile_name(profile);
        }
        let providers: [(&str, Box<dyn ProvideCredentials>); 4] = [
            (&profile, Box::new(from_profile.build())),
            (
                "web identity",
                Box::new(WebIdentityTokenCredentialsProvider::builder().configure(&self.config).build()),
            ),
            ("container", Box::new(EcsCredentialsProvider::builder().configure(&self.config).build())),
            (
                INSTANCE,
                Box::new(
                    ImdsCredentialsProvider::builder()
                        .configure(&self.config)
                        .imds_client(self.metadata())
                        .build(),
                ),
            ),
        ];
        for (name, provider) in providers {
            match provider.provide_credentials().await {
                Ok(found) => return Ok(hold(name, &found)),
                // That there is no instance, or one without a role, also comes as an error.
                Err(error)
                    if matches!(error, ProviderError::CredentialsNotLoaded(_))
                        || name == INSTANCE && !is_temporary(&error) =>
                {
                    tried.push((name.to_owned(), reason(&error)));
                }
                Err(error) => {
                    let is_temporary = is_temporary(&error);
                    let (provider, why) = (name.to_owned(), reason(&error));
                    return Err(CredentialsError::Failed { provider, why, is_temporary });
                }
            }
        }
        Err(CredentialsError::None(tried))
    }

    /// The metadata service of an instance in the cloud.
    fn metadata(&self) -> imds::Client {
        imds::Client::builder()
            .configure(&self.config)
            .connect_timeout(METADATA_WITHIN)
            .read_timeout(METADATA_WITHIN)
            .max_attempts(2)
            .build()
    }

    /// Where everything comes from. Asks for credentials, and an instance for its region.
    pub async fn access(&self) -> Result<Access, CredentialsError> {
        let held = self.current().await?;
        let (region, region_from) = match &self.region {
            Some((region, from)) => (region.clone(), *from),
            None if held.is_instance && self.endpoint.is_none() => {
                let ask = || async {
                    let provider =
                        ImdsRegionProvider::builder().configure(&self.config).imds_client(self.metadata());
                    provider.build().region().await.map(|region| region.to_string())
                };
                match silently(self.instance_region.get_or_init(ask)).await {
                    Some(region) => (region.clone(), "instance"),
                    None => (REGION_DEFAULT.to_owned(), "default"),
                }
            }
            None => (REGION_DEFAULT.to_owned(), "default"),
        };
        let endpoint = self.endpoint.as_deref().map(lagar_flow::redact_url);
        Ok(Access { provider: held.provider.clone(), region, region_from, endpoint })
    }
}

#[async_trait]
impl CredentialProvider for Chain {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        Ok(self.current().await?.credential.clone())
    }
}

/// The endpoint of S3 that the profile sets, for S3 alone or for all services.
async fn profile_endpoint(env: &Env, region: String) -> Option<String> {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .no_credentials()
        .http_client(Http::default())
        .region(Region::new(region));
    if let Some(profile) = &env.profile {
        loader = loader.profile_name(profile);
    }
    let config = loader.load().await;
    let key =
        ServiceConfigKey::builder().service_id("S3").env("AWS_ENDPOINT_URL").profile("endpoint_url").build();
    let of_s3 = key.ok().and_then(|key| config.service_config()?.load_config(key));
    of_s3.or_else(|| config.endpoint_url().map(str::to_owned))
}

fn hold(provider: &str, found: &Credentials) -> Held {
    let provider = match kind(found) {
        Some(kind) => format!("{provider} ({kind})"),
        None => provider.to_owned(),
    };
    let features = found.get_property::<Vec<Feature>>();
    Held {
        provider,
        is_instance: features.is_some_and(|features| features.contains(&Feature::CredentialsImds)),
        credential: Arc::new(AwsCredential {
            key_id: found.access_key_id().to_owned(),
            secret_key: found.secret_access_key().to_owned(),
            token: found.session_token().map(str::to_owned),
        }),
        expires: found.expiry(),
        renew_at: renew_at(SystemTime::now(), found.expiry()),
    }
}

/// What the credentials are made of, as the SDK marks them.
fn kind(found: &Credentials) -> Option<&'static str> {
    let features = found.get_property::<Vec<Feature>>()?;
    let marked = features.iter().find_map(|feature| match feature {
        Feature::CredentialsProfileStsWebIdToken => Some("role by web identity"),
        Feature::CredentialsSso => Some("SSO"),
        Feature::CredentialsProcess => Some("credential_process"),
        Feature::CredentialsImds => Some("metadata service"),
        Feature::CredentialsHttp => Some("credentials endpoint"),
        _ => None,
    });
    // A profile's role has no mark; but its keys have an end, which those written into the profile have not.
    let is_role = features.contains(&Feature::CredentialsProfile) && found.expiry().is_some();
    marked.or(is_role.then_some("role"))
}

/// When to ask for new credentials: while some life is left in the old ones, and sooner the shorter it is. An
/// endpoint may hand out the same ones again; then the next time is nearer to their end.
fn renew_at(now: SystemTime, expires: Option<SystemTime>) -> SystemTime {
    let Some(expires) = expires else { return now + LOOK_AGAIN_AFTER };
    match expires.duration_since(now) {
        Ok(life) => expires - (life / 4).min(RENEW_BEFORE),
        Err(_) => now,
    }
}

/// The innermost text: what happened, without the layers that only say where.
fn reason(error: &ProviderError) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match error {
        // What it then says of itself is no reason.
        ProviderError::CredentialsNotLoaded(_) if error.source().is_none() => {
            "it has no credentials".to_owned()
        }
        _ => innermost.to_string(),
    }
}

/// The SDK's own log shows whole answers, with the secrets in them.
fn silently<F: Future>(work: F) -> tracing::instrument::WithDispatch<F> {
    work.with_subscriber(NoSubscriber::default())
}

/// Whether a service did not answer, or not with what it is there for.
fn is_temporary(error: &ProviderError) -> bool {
    use aws_smithy_runtime_api::client::result::ConnectorError;
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if error.is::<ConnectorError>() {
            return true;
        }
        next = error.source();
    }
    matches!(error, ProviderError::ProviderTimedOut(_))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_renewed_before_their_end_and_not_all_the_time() {
        let now = SystemTime::now();
        let seconds = |expires: u64| {
            let at = renew_at(now, Some(now + Duration::from_secs(expires)));
            at.duration_since(now).unwrap().as_secs()
        };
        assert_eq!(seconds(3600), 3300);
        assert_eq!(seconds(400), 300);
        assert_eq!(seconds(60), 45);
        assert_eq!(renew_at(now, Some(now - Duration::from_secs(1))), now);
        assert_eq!(renew_at(now, None), now + LOOK_AGAIN_AFTER);
    }

    #[tokio::test]
    async fn half_a_login_is_not_passed_over() {
        let env = |name: &str| (name == "AWS_ACCESS_KEY_ID").then(|| "canary-id".to_owned());
        let env = Env { profile: Some("no-such-profile".into()), ..Env::read(&env) };
        assert!(!format!("{env:?}").contains("canary"));
        let error = Chain::new(env).await.current().await.unwrap_err();
        assert!(error.to_string().contains("AWS_SECRET_ACCESS_KEY is not set"), "{error}");
    }
}

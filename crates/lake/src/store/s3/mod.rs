//! S3 and what speaks like it, set up as AWS's own tools are.

mod bucket;
mod credentials;
mod http;
mod refusal;
mod uploads;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use lagar_flow::{Error, Result, codes, redact_url};
use object_store::{ObjectStore, path::Path};
use tokio::sync::OnceCell;

use super::{Deadlines, Guarded, later};
pub(crate) use bucket::Bucket;
pub use credentials::Access;
pub(crate) use credentials::CredentialsError;
use credentials::{Chain, Env};
pub(crate) use refusal::Refusal;
pub(crate) use uploads::UploadsError;

/// How to reach S3, and with which credentials. Clones share the credentials and the connections.
#[derive(Debug, Clone, Default)]
pub struct S3Settings(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    login: Arc<Login>,
    buckets: Mutex<BTreeMap<String, Arc<Bucket>>>,
}

/// What the environment says, and what was made of it when it was first needed.
#[derive(Debug, Default)]
struct Login {
    env: Env,
    chain: OnceCell<Arc<Chain>>,
}

impl Login {
    async fn chain(&self) -> Arc<Chain> {
        let make = || async { Arc::new(Chain::new(self.env.clone()).await) };
        self.chain.get_or_init(make).await.clone()
    }
}

impl S3Settings {
    /// `env` answers for environment variables; an empty value counts as not set. Nothing else is looked at yet.
    pub fn from_env(env: &dyn Fn(&str) -> Option<String>) -> Self {
        let login = Arc::new(Login { env: Env::read(env), chain: OnceCell::new() });
        Self(Arc::new(Shared { login, ..Shared::default() }))
    }

    /// Who gave the credentials, and for which region and endpoint; asks for them.
    pub(crate) async fn access(&self) -> Result<Access, object_store::Error> {
        Ok(self.0.login.chain().await.access().await?)
    }

    /// The bucket of `url` and the path in it.
    pub(crate) fn open(&self, url: &str) -> Result<(Arc<dyn ObjectStore>, Path)> {
        let (bucket, path) = self.bucket(url)?;
        Ok((bucket, path))
    }

    /// The same, for calls that not every store has.
    pub(crate) fn bucket(&self, url: &str) -> Result<(Arc<Bucket>, Path)> {
        let wrong = |why: &str| {
            Error::new(codes::LAKE_CONFIG, format!("`{}` is not an address in S3: {why}", redact_url(url)))
                .hint("write s3://BUCKET/PREFIX")
        };
        let (_, rest) = url.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
        let (name, key) = rest.split_once('/').unwrap_or((rest, ""));
        if name.is_empty() || name.contains(['@', ':', '?', '#']) {
            return Err(wrong("the name of the bucket is missing or not allowed"));
        }
        let path = Path::parse(key).map_err(|_| wrong("the path has an empty or forbidden part"))?;
        let mut buckets = self.0.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket =
            buckets.entry(name.to_owned()).or_insert_with(|| Arc::new(Bucket::new(name, &self.0.login)));
        Ok((bucket.clone(), path))
    }

    /// As [`super::open_object`].
    pub(crate) fn open_object(&self, url: &str) -> Result<(Arc<dyn ObjectStore>, Path)> {
        match url.split_once("://").map(|(scheme, _)| scheme) {
            Some("s3" | "s3a") => {
                let (store, path) = self.open(url)?;
                Ok((Arc::new(Guarded::new(store, Deadlines::default())), path))
            }
            Some("hdfs" | "viewfs") => Err(later(url)),
            _ => Err(Error::new(codes::CONFIG, format!("`{}` is not an address in S3", redact_url(url)))
                .hint("write s3://BUCKET/PATH")),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_and_never_printed() {
        let env = |name: &str| match name {
            "AWS_ACCESS_KEY_ID" => Some("canary-id".to_owned()),
            "AWS_SECRET_ACCESS_KEY" => Some("canary-secret".to_owned()),
            "AWS_ENDPOINT_URL" => Some("http://127.0.0.1:9000/".to_owned()),
            "AWS_SESSION_TOKEN" => Some(String::new()),
            _ => None,
        };
        let settings = S3Settings::from_env(&env);
        assert!(settings.0.login.env.secret.is_some() && settings.0.login.env.session.is_none());
        let (store, path) = settings.open_object("s3a://bucket/a/b.csv").unwrap();
        assert_eq!((store.to_string().as_str(), path.as_ref()), ("s3://bucket", "a/b.csv"));
        assert!(!format!("{settings:?} {store:?}").contains("canary"));
        assert_eq!(settings.open_object("ftp://x/y").unwrap_err().code(), codes::CONFIG);
    }

    #[tokio::test]
    async fn keys_in_the_environment_are_found_first() {
        let env = |name: &str| match name {
            "AWS_ACCESS_KEY_ID" => Some("canary-id".to_owned()),
            "AWS_SECRET_ACCESS_KEY" => Some("canary-secret".to_owned()),
            "AWS_REGION" => Some("eu-west-1".to_owned()),
            "AWS_ENDPOINT_URL" => Some("http://user:canary-password@127.0.0.1:9000/".to_owned()),
            _ => None,
        };
        let shown = S3Settings::from_env(&env).access().await.unwrap().to_string();
        assert!(
            shown.starts_with("environment variables; region eu-west-1 (environment); endpoint "),
            "{shown}"
        );
        assert!(!shown.contains("canary"), "{shown}");
    }
}

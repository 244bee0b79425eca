//! S3 and what speaks like it, set up by the environment variables that AWS's own tools read.

use std::{sync::Arc, time::Duration};

use lagar_flow::{Error, Result, Secret, codes, redact_url};
use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    path::Path,
};

use super::{Deadlines, Guarded, later};

/// The longest that a store is asked again before its error is ours. The library's three minutes look
/// like a run that hangs.
const RETRY_FOR: Duration = Duration::from_secs(30);
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// For one request with its body; a longer body is asked for again from where it broke off.
const REQUEST_WITHIN: Duration = Duration::from_secs(300);

/// How to reach S3, and with which credentials.
#[derive(Debug, Clone, Default)]
pub struct S3Settings {
    values: Vec<(AmazonS3ConfigKey, Secret)>,
    endpoint: Option<String>,
}

impl S3Settings {
    /// `env` answers for environment variables; an empty value counts as not set.
    pub fn from_env(env: &dyn Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| env(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        let keys = [
            ("AWS_ACCESS_KEY_ID", AmazonS3ConfigKey::AccessKeyId),
            ("AWS_SECRET_ACCESS_KEY", AmazonS3ConfigKey::SecretAccessKey),
            ("AWS_SESSION_TOKEN", AmazonS3ConfigKey::Token),
            ("AWS_DEFAULT_REGION", AmazonS3ConfigKey::Region),
            ("AWS_REGION", AmazonS3ConfigKey::Region),
        ];
        Self {
            values: keys.into_iter().filter_map(|(name, key)| Some((key, Secret::new(get(name)?)))).collect(),
            endpoint: get("AWS_ENDPOINT_URL_S3").or_else(|| get("AWS_ENDPOINT_URL")),
        }
    }

    /// The bucket of `url` and the path in it.
    pub(crate) fn open(&self, url: &str) -> Result<(Arc<dyn ObjectStore>, Path)> {
        let wrong = |why: &str| {
            Error::new(codes::LAKE_CONFIG, format!("`{}` is not an address in S3: {why}", redact_url(url)))
                .hint("write s3://BUCKET/PREFIX")
        };
        let (_, rest) = url.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() || bucket.contains(['@', ':', '?', '#']) {
            return Err(wrong("the name of the bucket is missing or not allowed"));
        }
        let path = Path::parse(key).map_err(|_| wrong("the path has an empty or forbidden part"))?;
        let mut builder = AmazonS3Builder::new().with_bucket_name(bucket).with_retry(RetryConfig {
            backoff: BackoffConfig { max_backoff: Duration::from_secs(5), ..Default::default() },
            max_retries: 10,
            retry_timeout: RETRY_FOR,
        });
        for (key, value) in &self.values {
            builder = builder.with_config(*key, value.expose());
        }
        let mut client =
            ClientOptions::new().with_connect_timeout(CONNECT_WITHIN).with_timeout(REQUEST_WITHIN);
        if let Some(endpoint) = &self.endpoint {
            // An endpoint of one's own seldom answers for bucket.host: the bucket goes into the path.
            builder = builder
                .with_endpoint(endpoint.trim_end_matches('/'))
                .with_virtual_hosted_style_request(false);
            client = client.with_allow_http(endpoint.starts_with("http://"));
        }
        let store = builder
            .with_client_options(client)
            .build()
            .map_err(|e| wrong("the settings do not fit together").caused_by(&e))?;
        Ok((Arc::new(store), path))
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
        assert_eq!(settings.values.len(), 2);
        assert!(!format!("{settings:?}").contains("canary"));
        let (store, path) = settings.open_object("s3a://bucket/a/b.csv").unwrap();
        assert_eq!((store.to_string().as_str(), path.as_ref()), ("AmazonS3(bucket)", "a/b.csv"));
        assert_eq!(settings.open_object("ftp://x/y").unwrap_err().code(), codes::CONFIG);
    }
}

//! Uploads in parts that were begun and never put together. The library cannot list them, so that one
//! request is made here, signed by the library.

use chrono::{DateTime, Utc};
use object_store::{
    CredentialProvider, Error, Result,
    aws::AwsAuthorizer,
    client::{HttpConnector, HttpRequestBody, ReqwestConnector},
    multipart::MultipartStore,
    path::Path,
};
use serde::Deserialize;

use super::{
    bucket::{Bucket, client_options},
    refusal::told,
};

/// An upload that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unfinished {
    /// What it would become, from the bucket's root.
    pub object: Path,
    pub id: String,
    pub begun: DateTime<Utc>,
}

/// Why there is no list.
#[derive(Debug)]
pub(crate) enum UploadsError {
    /// The store does not have such a list, or not for us: a status and what it says.
    Refused(String),
    Failed(Error),
}

/// One page of S3's answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    is_truncated: bool,
    next_key_marker: Option<String>,
    next_upload_id_marker: Option<String>,
    #[serde(default, rename = "Upload")]
    uploads: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    key: String,
    upload_id: String,
    initiated: DateTime<Utc>,
}

fn failed(e: impl std::error::Error + Send + Sync + 'static) -> UploadsError {
    UploadsError::Failed(Error::Generic { store: "S3", source: Box::new(e) })
}

impl Bucket {
    /// The uploads of objects below `folder` that nobody has ended.
    pub(crate) async fn uploads(&self, folder: &Path) -> Result<Vec<Unfinished>, UploadsError> {
        let chain = self.0.login.chain().await;
        let region = chain.access().await.map_err(|e| UploadsError::Failed(e.into()))?.region;
        let bucket = match &chain.endpoint {
            Some(endpoint) => format!("{}/{}", endpoint.trim_end_matches('/'), self.0.name),
            None => format!("https://s3.{region}.amazonaws.com/{}", self.0.name),
        };
        let options = client_options(chain.endpoint.as_deref());
        let client = ReqwestConnector::default().connect(&options).map_err(UploadsError::Failed)?;
        let mut found = Vec::new();
        let mut after: Option<(String, String)> = None;
        loop {
            let mut url = url::Url::parse(&bucket).map_err(failed)?;
            url.query_pairs_mut().append_pair("uploads", "").append_pair("encoding-type", "url");
            if !folder.as_ref().is_empty() {
                url.query_pairs_mut().append_pair("prefix", &format!("{folder}/"));
            }
            if let Some((key, id)) = &after {
                url.query_pairs_mut().append_pair("key-marker", key).append_pair("upload-id-marker", id);
            }
            let request = http::Request::get(url.as_str()).body(HttpRequestBody::empty());
            let mut request = request.map_err(failed)?;
            let credential = chain.get_credential().await.map_err(UploadsError::Failed)?;
            AwsAuthorizer::new(&credential, "s3", &region).authorize(&mut request, None);
            let answer = client.execute(request).await.map_err(failed)?;
            let status = answer.status();
            let body = answer.into_body().bytes().await.map_err(failed)?;
            let text = String::from_utf8_lossy(&body);
            if status.is_client_error() || status == http::StatusCode::NOT_IMPLEMENTED {
                return Err(UploadsError::Refused(status.to_string()));
            }
            if !status.is_success() {
                return Err(failed(std::io::Error::other(format!("the list of uploads: {status}"))));
            }
            let page: Page = quick_xml::de::from_str(&text).map_err(failed)?;
            for entry in page.uploads {
                // A name that no object of ours can have is not ours.
                if let Ok(object) = Path::from_url_path(&entry.key) {
                    found.push(Unfinished { object, id: entry.upload_id, begun: entry.initiated });
                }
            }
            after = match (page.is_truncated, page.next_key_marker) {
                (true, Some(key)) => {
                    let key = Path::from_url_path(&key).map_err(failed)?.to_string();
                    Some((key, page.next_upload_id_marker.unwrap_or_default()))
                }
                _ => return Ok(found),
            };
        }
    }

    /// Gives up an upload: its parts go.
    pub(crate) async fn abort(&self, upload: &Unfinished) -> Result<()> {
        match self.store().await?.abort_multipart(&upload.object, &upload.id).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(told(e)),
        }
    }
}

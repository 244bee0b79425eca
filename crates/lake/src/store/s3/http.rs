//! The HTTP client of the object stores, for the SDK: no second one is built into the binary.

use std::{fmt, sync::OnceLock, time::Duration};

use aws_smithy_runtime_api::client::{
    http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use object_store::{
    ClientOptions,
    client::{
        HttpClient as Client, HttpConnector as _, HttpError, HttpErrorKind, HttpRequestBody, ReqwestConnector,
    },
};

/// For services that set none.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// One client for all of the SDK's calls; it is made for the first one.
#[derive(Debug, Default)]
pub(super) struct Http {
    client: std::sync::Arc<OnceLock<Result<Client, String>>>,
}

impl HttpClient for Http {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        let within = settings.connect_timeout().unwrap_or(CONNECT_WITHIN)
            + settings.read_timeout().unwrap_or(ANSWER_WITHIN);
        SharedHttpConnector::new(Connector { client: self.client.clone(), within })
    }
}

struct Connector {
    client: std::sync::Arc<OnceLock<Result<Client, String>>>,
    /// For the whole exchange: these answers are small.
    within: Duration,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (client, within) = (self.client.clone(), self.within);
        HttpConnectorFuture::new(async move {
            let client = client.get_or_init(connect).clone();
            let client = client.map_err(|why| ConnectorError::other(why.into(), None))?;
            match tokio::time::timeout(within, exchange(&client, request)).await {
                Ok(answer) => answer,
                Err(_) => Err(ConnectorError::timeout(
                    format!("no answer within {} s", within.as_secs_f64()).into(),
                )),
            }
        })
    }
}

fn connect() -> Result<Client, String> {
    // Metadata services have no TLS.
    let options = ClientOptions::new().with_allow_http(true).with_connect_timeout(CONNECT_WITHIN);
    ReqwestConnector::default().connect(&options).map_err(|e| e.to_string())
}

async fn exchange(client: &Client, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let request = request.try_into_http1x().map_err(|e| ConnectorError::user(e.into()))?;
    let body = request.body().bytes().map(Bytes::copy_from_slice);
    let body = body.ok_or_else(|| ConnectorError::user("a body that is a stream cannot be sent".into()))?;
    let answer = client.execute(request.map(|_| HttpRequestBody::from(body))).await.map_err(failed)?;
    let (head, body) = answer.into_parts();
    let body = body.bytes().await.map_err(failed)?;
    let answer = http::Response::from_parts(head, SdkBody::from(body));
    HttpResponse::try_from(answer).map_err(|e| ConnectorError::other(e.into(), None))
}

fn failed(error: HttpError) -> ConnectorError {
    match error.kind() {
        HttpErrorKind::Timeout => ConnectorError::timeout(error.into()),
        HttpErrorKind::Connect | HttpErrorKind::Request | HttpErrorKind::Interrupted => {
            ConnectorError::io(error.into())
        }
        _ => ConnectorError::other(error.into(), None),
    }
}

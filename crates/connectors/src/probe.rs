//! Whether a web server answers at all, for `lagar doctor`.

use lagar_flow::{Error, Result, codes};
use reqwest::{Client, redirect};
use url::Url;

use crate::{Cx, http::Timeouts};

/// Asks the server of `url` for a head. No login, header or query goes along, so that nothing can leak:
/// what the server answers only shows that it is there.
pub(crate) async fn server(cx: &Cx, url: &Url, timeout: &Timeouts) -> Result<String> {
    let mut url = url.clone();
    crate::http::take_user_info(&mut url);
    url.set_query(None);
    url.set_fragment(None);
    let client = Client::builder()
        .user_agent(crate::http::USER_AGENT)
        .redirect(redirect::Policy::none())
        .connect_timeout(timeout.connect)
        .read_timeout(timeout.read)
        .build()
        .map_err(|error| Error::bug("the HTTP client cannot be set up").caused_by(&error))?;
    let shown = cx.secrets.url(url.as_str());
    let answer = client.head(url).send().await.map_err(|error| {
        Error::new(codes::HTTP_TEMPORARY, format!("{shown} does not answer"))
            .caused_by(&error.without_url())
            .hint("check the address, and what lies between: DNS, proxy, firewall")
    })?;
    let status = answer.status();
    if status.is_server_error() {
        return Err(Error::new(codes::HTTP_TEMPORARY, format!("{shown} answers {status}")));
    }
    Ok(format!("{shown} answers ({} to a request without login or parameters)", status.as_u16()))
}

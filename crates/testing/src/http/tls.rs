//! Certificates of a test's own authority, good and bad ones.

use std::{io, net::TcpStream, path::Path, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// Signs certificates; clients that trust it are told of [`Authority::write`]'s file.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
pub struct Certificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

fn failed(error: rcgen::Error) -> io::Error {
    io::Error::other(error)
}

impl Authority {
    pub fn new() -> io::Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(failed)?;
        CertifiedIssuer::self_signed(params, key).map(Self).map_err(failed)
    }

    /// Writes the authority's own certificate, as PEM, for `SSL_CERT_FILE`.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        std::fs::write(path, self.0.pem())
    }

    /// A certificate for a host name or address; `expired` ones ended in 2001.
    pub fn certify(&self, host: &str, expired: bool) -> io::Result<Certificate> {
        let mut params = CertificateParams::new(vec![host.to_owned()]).map_err(failed)?;
        if expired {
            (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
        }
        let key = KeyPair::generate().map_err(failed)?;
        let signed = params.signed_by(&key, &self.0).map_err(failed)?;
        Ok(Certificate {
            chain: vec![signed.der().clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        })
    }
}

impl Certificate {
    pub(super) fn config(&self, protocols: &[&[u8]]) -> Arc<ServerConfig> {
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|config| {
                config.with_no_client_auth().with_single_cert(self.chain.clone(), self.key.clone_key())
            });
        let mut config = config.unwrap_or_else(|error| panic!("a certificate of our own: {error}"));
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }
}

pub(super) fn accept(
    config: &Arc<ServerConfig>,
    stream: TcpStream,
) -> io::Result<StreamOwned<ServerConnection, TcpStream>> {
    let connection = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
    Ok(StreamOwned::new(connection, stream))
}

//! Certificates, read from their files at each connection so that a rotation needs no restart. Trusts the configured
//! authority and no other; the system's authorities only where none is configured.

use std::{io, path::Path, sync::Arc};

use lapin::tcp::{RustlsConnector, RustlsConnectorConfig};
use rustls::{
    CertificateError, ClientConfig, RootCertStore,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::trouble::Trouble;
use crate::config::Tls;

/// Largest certificate or key file read: a bundle of all public authorities fits.
const PEM_BYTES_MAX: u64 = 4 << 20;

/// Our identity and whom we trust, from the files as they are now. Blocks on small files.
pub(super) fn connector(tls: &Tls) -> Result<RustlsConnector, Trouble> {
    let client = match &tls.client {
        None => None,
        Some(files) => {
            let chain = certificates(&files.certfile, "tls.certfile")?;
            let key =
                PrivateKeyDer::from_pem_slice(&read(&files.keyfile, "tls.keyfile")?).map_err(|error| {
                    unusable(&files.keyfile, "tls.keyfile", format!("no private key: {error}"))
                })?;
            Some((chain, key, files.keyfile.as_path()))
        }
    };
    match &tls.ca_cert {
        Some(file) => private(file, client),
        None => system(client),
    }
}

type Client<'f> = Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, &'f Path)>;

fn private(ca_cert: &Path, client: Client<'_>) -> Result<RustlsConnector, Trouble> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca_cert, "tls.ca_cert")? {
        roots.add(certificate).map_err(|error| unusable(ca_cert, "tls.ca_cert", error.to_string()))?;
    }
    let provider =
        CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()));
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(ca_cert, "tls.ca_cert", error.to_string()))?
        .with_root_certificates(roots);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some((chain, key, keyfile)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| unusable(keyfile, "tls.keyfile", error.to_string()))?,
    };
    Ok(RustlsConnector::from(Arc::new(config)))
}

fn system(client: Client<'_>) -> Result<RustlsConnector, Trouble> {
    let config = RustlsConnectorConfig::new_with_platform_verifier();
    match client {
        None => config.connector_with_no_client_auth().map_err(|error| {
            unusable(Path::new("the system's certificates"), "tls.ca_cert", error.to_string())
        }),
        Some((chain, key, keyfile)) => config
            .connector_with_single_cert(chain, key)
            .map_err(|error| unusable(keyfile, "tls.keyfile", error.to_string())),
    }
}

/// The certificates of a PEM file, at least one.
pub(crate) fn certificates(file: &Path, key: &'static str) -> Result<Vec<CertificateDer<'static>>, Trouble> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(file, key)?).collect();
    match found {
        Ok(found) if found.is_empty() => Err(unusable(file, key, "no certificate in it".into())),
        Ok(found) => Ok(found),
        Err(error) => Err(unusable(file, key, format!("not PEM: {error}"))),
    }
}

fn read(file: &Path, key: &'static str) -> Result<Vec<u8>, Trouble> {
    let failed = |error: io::Error| unusable(file, key, error.to_string());
    let length = std::fs::metadata(file).map_err(failed)?.len();
    if length > PEM_BYTES_MAX {
        return Err(unusable(file, key, format!("{length} bytes are more than any certificate has")));
    }
    std::fs::read(file).map_err(failed)
}

fn unusable(file: &Path, key: &'static str, reason: String) -> Trouble {
    Trouble::Certificate { file: file.to_owned(), key, reason }
}

/// What a failed TLS handshake means to the person who configured it.
pub(super) fn handshake_failed(error: &io::Error, tls: &Tls, host: &str) -> String {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(cause) = cause else { return error.to_string() };
    let trusted =
        tls.ca_cert.as_deref().map_or("the system's certificates".into(), |file| file.display().to_string());
    match cause {
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature | CertificateError::Other(_),
        ) => format!(
            "its certificate is not from an authority in {trusted}: tls.ca_cert must hold the broker's"
        ),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!("its certificate is not for the name {host} that amqp_url has"),
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "its certificate has expired (or this machine's clock is wrong)".into(),
        rustls::Error::InvalidMessage(_) => format!("it does not speak TLS on this port ({cause})"),
        rustls::Error::AlertReceived(alert) => format!("it answered with the alert {alert:?}: see its log"),
        _ => cause.to_string(),
    }
}

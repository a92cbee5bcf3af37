//! From settings to a mirror that talks to the real services: clients, credentials, the hosts that may be contacted.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use flatbus_base::Secret;
use flatbus_http::{Client, RequestBudget, Settings, Urgency, Url};
use flatbus_oci::{AuthFile, Error, HttpRegistry, Registry, RemoteSettings};
use flatbus_upstream::{bodhi::BodhiApi, koji::KojiHub, quay::QuayApi};

use crate::{
    config::Config,
    mirror::{Mirror, Registries},
};

/// The service manager's name for quay's token.
const QUAY_CREDENTIAL: &str = "quay-token";

/// Who we are to the registries and to quay's API.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    /// Registry credentials; none where everything is open.
    pub registries: Option<Arc<AuthFile>>,
    /// An OAuth token of quay's API, used for nothing else.
    pub quay: Option<Secret>,
}

impl Secrets {
    /// Reads the files that the settings name, else the credentials in the service manager's folder, where it has any.
    /// `mounted`: files come from a read-only mount whose modes say nothing, as in a container.
    ///
    /// # Errors
    /// When a file that is named can't be read, or others may read it.
    pub fn read(config: &Config, folder: Option<&Path>, mounted: bool) -> Result<Self, Error> {
        let registries = AuthFile::given(config.auth_file.as_deref(), folder, mounted)?.map(Arc::new);
        let quay = Secret::find(config.quay_token_file.as_deref(), folder, QUAY_CREDENTIAL, mounted);
        let quay = quay.map(|(path, trusted)| Secret::from_file(&path, trusted)).transpose();
        let quay = quay.map_err(|error| Error::Setup { why: error.to_string() })?;
        Ok(Self { registries, quay })
    }
}

/// The HTTP client's settings for these settings of ours: no other host is ever contacted.
pub fn http_settings(config: &Config) -> Settings {
    let mut settings = Settings { ca_file: config.ca_file.clone(), ..Settings::default() };
    let locations = config.sources.locations();
    for location in locations.iter().chain([&config.destination]) {
        settings.hosts.allow(location.host());
    }
    for url in [Some(&config.koji), Some(&config.bodhi), config.quay_api.as_ref()].into_iter().flatten() {
        settings.hosts.allow(host(url));
    }
    for redirect in &config.redirect_hosts {
        settings.hosts.allow(redirect);
    }
    settings.budgets = config.budgets.iter().map(RequestBudget::entry).collect();
    settings
}

/// Host and port as a list of hosts has them.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

impl Mirror {
    /// A mirror of the real services. `http` must have been made with [`http_settings`].
    ///
    /// # Errors
    /// When a location names no registry.
    pub fn from_config(config: Config, http: &Client, secrets: &Secrets) -> Result<Self, Error> {
        let registry = |location, credentials, urgency| {
            HttpRegistry::new(http.clone(), RemoteSettings::at(location, credentials, urgency))
        };
        let ours = || secrets.registries.clone();
        let pushing = registry(&config.destination, ours(), Urgency::Push)?;
        let unhurried = Arc::new(pushing.with_urgency(Urgency::Survey));
        let anonymous = Arc::new(registry(&config.destination, None, Urgency::Read)?);
        let mut sources: BTreeMap<String, Arc<dyn Registry>> = BTreeMap::new();
        for location in config
            .sources
            .locations()
            .iter()
            .filter(|location| location.registry != config.destination.registry)
        {
            let source = registry(location, ours(), Urgency::Read)?;
            sources.insert(location.host(), Arc::new(source));
        }
        let registries = Registries { destination: Arc::new(pushing), anonymous, sources };
        let koji = Arc::new(KojiHub::new(http.clone(), config.koji.clone()));
        let bodhi = Arc::new(BodhiApi::new(http.clone(), config.bodhi.clone()));
        let quay = config.quay_api.clone().zip(secrets.quay.clone());
        let quay = quay.map(|(api, token)| Arc::new(QuayApi::new(http.clone(), api, token)) as Arc<_>);
        Ok(Self::new(config, registries, koji, bodhi, quay).with_unhurried(unhurried))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use flatbus_base::Random;

    use super::*;
    use crate::config::RawConfig;

    fn config(more: &str) -> Config {
        let text = format!(
            "destination = \"http://127.0.0.1:5000/fedora\"\nkoji = \"http://127.0.0.1:8080/kojihub\"\nquay_api = \"https://quay.example/\"\n{more}"
        );
        Config::try_from(toml::from_str::<RawConfig>(&text).unwrap()).unwrap()
    }

    #[test]
    fn only_configured_hosts_may_be_contacted() {
        let settings = http_settings(&config(""));
        let allows = |url: &str| settings.hosts.allows(&Url::parse(url).unwrap());
        for url in [
            "http://127.0.0.1:5000/v2/",
            "http://127.0.0.1:8080/kojihub",
            "https://bodhi.fedoraproject.org/updates/",
            "https://quay.example/api/v1/",
            "https://cdn01.quay.io/x",
            "https://candidate-registry.fedoraproject.org/v2/",
        ] {
            assert!(allows(url), "{url}");
        }
        for url in
            ["http://127.0.0.1:22/", "https://evil.example/", "http://169.254.169.254/latest/meta-data"]
        {
            assert!(!allows(url), "{url}");
        }
        assert_eq!(settings.budgets["quay.io"].requests_per_s.get(), 5);
    }

    #[test]
    fn a_named_secret_that_others_may_read_is_refused_and_one_of_the_service_manager_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("quay-token");
        fs::write(&path, "s3cret\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let named = config(&format!("quay_token_file = {path:?}"));
        let error = Secrets::read(&named, None, false).unwrap_err().to_string();
        assert!(error.contains("chmod 600") && !error.contains("s3cret"), "{error}");
        assert!(Secrets::read(&named, None, true).unwrap().quay.is_some());
        let secrets = Secrets::read(&config(""), Some(folder.path()), false).unwrap();
        assert_eq!(secrets.quay.as_ref().map(Secret::expose), Some("s3cret"));
        assert!(secrets.registries.is_none());
        assert!(!format!("{secrets:?}").contains("s3cret"));
    }

    #[tokio::test]
    async fn a_mirror_is_made_of_settings_alone() {
        let config = config("");
        let http = Client::new(http_settings(&config), Random::from_seed(1)).unwrap();
        Mirror::from_config(config, &http, &Secrets::default()).unwrap();
    }
}

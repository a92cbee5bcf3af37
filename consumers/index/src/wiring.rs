//! From settings to an index of a real registry: its clients, and the hosts that may be contacted.

use std::sync::Arc;

use flatbus_http::{Client, RequestBudget, Settings, Urgency};
use flatbus_oci::{Error, HttpRegistry, Location, RemoteSettings};

use crate::{
    Index,
    config::{Config, Output},
    entry,
    serve::{self, BadRoute, Routes},
};

/// The HTTP client's settings for these settings of ours: no other host is ever contacted.
pub fn http_settings(config: &Config) -> Settings {
    let mut settings = Settings { ca_file: config.ca_file.clone(), ..Settings::default() };
    for location in [&config.registry, &config.clients] {
        settings.hosts.allow(location.host());
    }
    for redirect in &config.redirect_hosts {
        settings.hosts.allow(redirect);
    }
    settings.budgets = config.budgets.iter().map(RequestBudget::entry).collect();
    settings
}

impl Index {
    /// An index of the real registry, read without credentials. `http` must have been made with [`http_settings`].
    ///
    /// # Errors
    /// When a location names no registry.
    pub fn from_config(config: Config, http: &Client) -> Result<Self, Error> {
        let registry = |location: &Location| {
            HttpRegistry::new(http.clone(), RemoteSettings::at(location, None, Urgency::Read)).map(Arc::new)
        };
        let (registry, clients) = (registry(&config.registry)?, registry(&config.clients)?);
        Ok(Self::new(config, registry, clients))
    }
}

/// What the site server, or httpd's configuration, is made from.
///
/// # Errors
/// When an output can't be asked for.
pub fn site(config: &Config) -> Result<serve::Settings, BadRoute> {
    Ok(serve::Settings {
        site_dir: config.site_dir.clone(),
        routes: Routes::new(config.outputs.iter().map(Output::route).collect())?,
        empty: entry::empty(config.public_url()),
        front: (config.clients != config.registry).then(|| config.registry.clone()),
    })
}

#[cfg(test)]
mod tests {
    use flatbus_base::Random;
    use flatbus_http::Url;

    use super::*;
    use crate::config::RawConfig;

    fn config() -> Config {
        let text = "registry = \"https://quay.example/fedora\"\nclients = \"https://front.example\"\nsite_dir = \"/srv/site\"\n[[indexes]]\noutput = \"index/a.json\"\ntag = \"latest\"\n";
        Config::try_from(toml::from_str::<RawConfig>(text).unwrap()).unwrap()
    }

    #[test]
    fn only_configured_hosts_may_be_contacted() {
        let settings = http_settings(&config());
        let allows = |url: &str| settings.hosts.allows(&Url::parse(url).unwrap());
        assert!(
            allows("https://quay.example/v2/")
                && allows("https://front.example/v2/")
                && allows("https://cdn01.quay.io/x")
        );
        assert!(!allows("https://evil.example/") && !allows("http://127.0.0.1:22/"));
    }

    #[tokio::test]
    async fn an_index_and_its_site_are_made_of_settings_alone() {
        let config = config();
        let http = Client::new(http_settings(&config), Random::from_seed(1)).unwrap();
        Index::from_config(config.clone(), &http).unwrap();
        assert_eq!(site(&config).unwrap().front, Some(config.registry));
    }
}

//! What an operator should know before trusting a configuration: a plain sentence a finding. Changes nothing that stays.

use flatbus_http::summed_budgets;
use flatbus_oci::{Digest, Error, Repository};
use flatbus_runtime::Finding;

use crate::Index;

/// A name that no repository has: whoever answers that it isn't there, answers.
const NOBODY: &str = "flatbus-check";

impl Index {
    /// Looks at everything that an index with these settings depends on.
    pub async fn check(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let nobody: Option<Repository> = NOBODY.parse().ok();
        for (registry, location) in
            [(&self.registry, &self.config.registry), (&self.clients, &self.config.clients)]
        {
            let Some(name) = nobody.as_ref().and_then(|name| location.repository(name)) else { continue };
            let answer = match registry.manifest_head(&name, &Digest::of(b"").into()).await {
                // Who doesn't know us may still tell everybody what is public.
                Err(Error::Unauthorized { .. } | Error::Denied { .. } | Error::NotFound { .. }) => Ok(None),
                other => other,
            };
            findings.push(Finding::of(&answer, format_args!("The registry {location}")));
            if self.config.registry == self.config.clients {
                break;
            }
        }
        findings.push(self.site_finding());
        let rates = summed_budgets(&self.config.budgets);
        findings.extend(
            rates.iter().map(|rate| Finding { well: !rate.is_too_fast(), sentence: rate.to_string() }),
        );
        findings
    }

    fn site_finding(&self) -> Finding {
        let dir = &self.config.site_dir;
        let shown = dir.display();
        match std::fs::metadata(dir) {
            Ok(found) if !found.is_dir() => {
                Finding::wrong(format!("{shown} is no folder: choose another site_dir."))
            }
            Ok(found) if found.permissions().readonly() => {
                Finding::wrong(format!("{shown} can't be written: give it to the user flatbus."))
            }
            Ok(_) => Finding::well(format!(
                "The site is {shown}, with {} files of an index.",
                self.config.outputs.len()
            )),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Finding::well(format!("The site {shown} is not there yet, and is made at the first start."))
            }
            Err(error) => Finding::wrong(format!("{shown} can't be looked at: {error}.")),
        }
    }
}

//! What an operator should know before trusting a configuration: a plain sentence a finding. Changes nothing that stays.

use flatbus_base::chain;
use flatbus_http::{HostRate, QUAY_PER_S_MAX, summed_budgets};
use flatbus_oci::{Digest, Error, Repository, Tag, withdrawn};
use flatbus_runtime::Finding;
use flatbus_upstream::{bodhi::UpdateQuery, koji::BuildRef};
use jiff::{SignedDuration, Timestamp};

use crate::{
    desired::{LATEST, TESTING, stable_at, testing_at},
    fact::BuildFact,
    mirror::Mirror,
    sources::Placed,
    tagname::{holding_tag, tag_for},
    writer::TagWriter,
};

/// How far back pushes are looked for.
const SAMPLED: SignedDuration = SignedDuration::from_hours(60 * 24);
/// Builds looked at.
const SAMPLES_MAX: usize = 5;

impl Mirror {
    /// Looks at everything that a mirror with these settings depends on.
    pub async fn check(&self, now: Timestamp) -> Vec<Finding> {
        let koji = self.koji.ping().await;
        let bodhi = self.bodhi.ping().await;
        let mut findings = vec![Finding::of(&koji, "Koji"), Finding::of(&bodhi, "Bodhi")];
        let samples = match (koji, bodhi) {
            (Ok(()), Ok(())) => self.samples(now, &mut findings).await,
            _ => Vec::new(),
        };
        self.check_sources(&samples, &mut findings).await;
        self.check_destination(&samples, &mut findings).await;
        findings.extend(summed_budgets(&self.config.budgets).iter().map(paced));
        findings.push(self.unpaced());
        findings
    }

    /// Builds of the updates that were pushed last.
    async fn samples(&self, now: Timestamp, findings: &mut Vec<Finding>) -> Vec<Placed> {
        match self.newest(now).await {
            Ok(samples) if samples.is_empty() => {
                findings.push(Finding::wrong("No Flatpak was pushed in the last 60 days, or no source covers them: nothing more could be looked at."));
                samples
            }
            Ok(samples) => samples,
            Err(error) => {
                findings.push(Finding::wrong(format!("The newest pushes can't be read: {}.", chain(&error))));
                Vec::new()
            }
        }
    }

    async fn newest(&self, now: Timestamp) -> Result<Vec<Placed>, flatbus_upstream::Error> {
        let since = now.checked_sub(SAMPLED).unwrap_or(Timestamp::UNIX_EPOCH);
        let mut updates = self
            .bodhi
            .updates(&UpdateQuery { modified_since: Some(since), ..UpdateQuery::default() })
            .await?;
        updates.retain(|update| stable_at(update).or(testing_at(update)).is_some());
        updates.sort_by_key(|update| std::cmp::Reverse(stable_at(update).max(testing_at(update))));
        let nvrs = updates.iter().flat_map(|update| self.config.releases.builds(update)).take(SAMPLES_MAX);
        let refs: Vec<BuildRef> = nvrs.map(|nvr| BuildRef::Nvr(nvr.to_owned())).collect();
        let answers = if refs.is_empty() { Vec::new() } else { self.koji.builds(&refs).await? };
        let facts = answers.into_iter().flatten().flatten().map(|build| BuildFact::of(&build));
        Ok(facts.filter_map(|fact| self.config.sources.place(&fact).ok()).collect())
    }

    async fn check_sources(&self, samples: &[Placed], findings: &mut Vec<Finding>) {
        for location in self.config.sources.locations() {
            let name = samples
                .first()
                .map(|build| build.repository.clone())
                .or_else(|| "flatbus-check".parse().ok());
            let (Some(repository), Ok(registry)) =
                (name.and_then(|name| location.repository(&name)), self.registry_at(&location))
            else {
                continue;
            };
            let digest = samples.first().map_or_else(|| Digest::of(b""), |build| build.digest);
            let answer = unless_refused(registry.manifest_head(&repository, &digest.into()).await);
            findings.push(Finding::of(&answer, format_args!("The source {location}")));
        }
    }

    async fn check_destination(&self, samples: &[Placed], findings: &mut Vec<Finding>) {
        let host = self.config.destination.host();
        let mut ours = None;
        let mut strangers = Vec::new();
        let mut reached = samples.is_empty();
        for build in samples {
            let Some(full) = self.config.destination.repository(&build.repository) else { continue };
            match self.written_by(&full, build).await {
                Ok(Some(stranger)) => strangers.push(stranger),
                Ok(None) => ours = ours.or(self.is_held(&full, build).await.then_some(full)),
                Err(error) => {
                    findings.push(Finding::wrong(format!(
                        "The destination {host} does not answer: {}.",
                        chain(&error)
                    )));
                    return;
                }
            }
            reached = true;
        }
        if reached && !samples.is_empty() {
            findings.push(Finding::well(format!("The destination {host} answers.")));
        }
        strangers.dedup();
        findings.extend(strangers.into_iter().map(Finding::wrong));
        match ours {
            Some(full) => self.check_rights(&full, findings).await,
            None => findings.push(Finding::well(format!(
                "{host} holds none of the newest pushes as ours yet: the right to push was not tried."
            ))),
        }
    }

    /// A tag of this repository that names a build without our holding tag: somebody else wrote it.
    async fn written_by(&self, full: &Repository, build: &Placed) -> Result<Option<String>, Error> {
        for name in [LATEST, TESTING] {
            let Some(tag) = tag_for(name) else { continue };
            let named = self.head(full, &tag).await?;
            if named.is_none_or(|digest| digest != build.digest || withdrawn::is(&digest))
                || self.config.tag_writer == TagWriter::Bodhi
            {
                continue;
            }
            if !self.is_held(full, build).await {
                return Ok(Some(format!(
                    "{full}:{tag} names {} and has no tag {} beside it: somebody else wrote it. If Bodhi pushes there, set \
                     tag_writer = \"bodhi\"; if it was there before, run `flatbus mirror adopt {}`.",
                    build.fact.nvr,
                    holding_tag(build.fact.id).map(|tag| tag.to_string()).unwrap_or_default(),
                    build.repository,
                )));
            }
        }
        Ok(None)
    }

    async fn is_held(&self, full: &Repository, build: &Placed) -> bool {
        let Some(tag) = holding_tag(build.fact.id) else { return false };
        matches!(self.head(full, &tag).await, Ok(Some(digest)) if digest == build.digest)
    }

    async fn head(&self, full: &Repository, tag: &Tag) -> Result<Option<Digest>, Error> {
        let head =
            unless_refused(self.registries.destination.manifest_head(full, &tag.clone().into()).await)?;
        Ok(head.flatten().map(|head| head.digest))
    }

    /// Begins an upload and gives it up: nothing shows the right to push more plainly.
    async fn check_rights(&self, full: &Repository, findings: &mut Vec<Finding>) {
        let host = self.config.destination.host();
        findings.push(match self.registries.destination.upload_begin(full).await {
            Ok(upload) => {
                self.registries.destination.upload_cancel(full, upload).await;
                Finding::well(format!("{host} lets us push to {full}."))
            }
            Err(error) => Finding::wrong(format!(
                "{host} does not let us push to {full}: {}. Look at auth_file.",
                chain(&error)
            )),
        });
        if let Some(quay) = &self.quay {
            let answer = quay.visibility(full.as_str()).await;
            findings.push(Finding::of(&answer, "quay's API, with the token in quay_token_file,"));
        }
    }

    /// A quay without a budget is asked until it says no.
    fn unpaced(&self) -> Finding {
        let host = self.config.destination.host();
        match self.config.budgets.iter().any(|budget| budget.host == host) {
            true => Finding::well(format!("Requests to {host} are paced.")),
            false if self.config.quay_api.is_some() || host.ends_with("quay.io") => Finding::wrong(format!(
                "Requests to {host} are not paced: add it to budgets, quay.io takes about {QUAY_PER_S_MAX} a second from one address."
            )),
            false => Finding::well(format!("Requests to {host} are not paced.")),
        }
    }
}

fn paced(rate: &HostRate) -> Finding {
    Finding { well: !rate.is_too_fast(), sentence: rate.to_string() }
}

/// A refusal is an answer: many registries refuse to speak of what isn't there.
fn unless_refused<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Error::Unauthorized { .. } | Error::Denied { .. } | Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

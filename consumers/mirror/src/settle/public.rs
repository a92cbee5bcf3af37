//! Proof that anybody can read what is about to be named: nothing is named before.

use flatbus_oci::{Digest, Error, Repository};
use flatbus_runtime::Failure;
use flatbus_upstream::quay::Visibility;
use tracing::info;

use crate::mirror::Mirror;

/// What an anonymous GET showed.
enum Seen {
    Readable,
    Refused,
    Missing,
}

impl Mirror {
    /// Makes sure that a digest can be fetched without credentials; on quay makes the repository public if need be.
    pub(super) async fn ensure_public(&self, full: &Repository, digest: &Digest) -> Result<(), Failure> {
        match self.look_as_anybody(full, digest).await? {
            Seen::Readable => Ok(()),
            Seen::Missing => Err(self.not_yet(full, digest)),
            Seen::Refused => self.make_public(full, digest).await,
        }
    }

    async fn make_public(&self, full: &Repository, digest: &Digest) -> Result<(), Failure> {
        let host = self.config.destination.host();
        let Some(quay) = &self.quay else {
            return Err(Failure::park(format!(
                "{host}/{full} is not public: make it public there (quay: Settings, Make Public), or give flatbus an OAuth token \
                 (quay_api and quay_token_file), then run `flatbus ledger retry mirror --all-parked`"
            )));
        };
        if quay.visibility(full.as_str()).await? != Some(Visibility::Public) {
            quay.make_public(full.as_str()).await?;
            info!(repository = %full, "Made {host}/{full} public");
        }
        match self.look_as_anybody(full, digest).await? {
            Seen::Readable => Ok(()),
            Seen::Refused | Seen::Missing => Err(self.not_yet(full, digest)),
        }
    }

    async fn look_as_anybody(&self, full: &Repository, digest: &Digest) -> Result<Seen, Failure> {
        match self.registries.anonymous.manifest_get(full, &(*digest).into()).await {
            Ok(Some(_)) => Ok(Seen::Readable),
            Ok(None) => Ok(Seen::Missing),
            Err(Error::Unauthorized { .. } | Error::Denied { .. }) => Ok(Seen::Refused),
            Err(error) => {
                Err(Failure::from(error)
                    .context(format_args!("looking at {full}@{digest} without credentials")))
            }
        }
    }

    fn not_yet(&self, full: &Repository, digest: &Digest) -> Failure {
        let host = self.config.destination.host();
        Failure::retry(format!(
            "{host}/{full}@{digest} was pushed but can't be read without credentials yet: no tag was moved"
        ))
    }
}

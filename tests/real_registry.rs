//! The registry client and the copy engine on real servers: docker-registry, and the embedded one.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "support/registry.rs"]
mod registry;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use flatbus_base::{Random, Secret};
use flatbus_embedded::registry as embedded;
use flatbus_http::{Client, HostList, Settings};
use flatbus_oci::{
    AuthFile, Copier, CopySettings, Credentials, Destination, Digest, Error, HttpRegistry, NoProgress,
    Progress, Registry, RemoteSettings, Repository, Source, Tag, UploadMode,
    conformance::{self, Expect},
    testing::Recipe,
};
use registry::{DockerRegistry, PASSWORD, USER};

/// docker-registry 2.8 deletes no tag alone, and throws away an upload whose signed state is older than its bytes: one
/// that was cut begins anew.
const DOCKER: Expect = Expect { tag_delete: false, resume: false };

fn client() -> Client {
    let settings = Settings {
        hosts: HostList::new(["127.0.0.1:*"]),
        read_timeout: Duration::from_secs(30),
        elapsed_max: Duration::from_secs(5),
        ..Settings::default()
    };
    Client::new(settings, Random::from_seed(1)).unwrap()
}

fn remote(host: &str, credentials: Option<Credentials>) -> Arc<dyn Registry> {
    let credentials = credentials.map(|credentials| Arc::new(AuthFile::single(host, credentials)));
    let settings =
        RemoteSettings { host: host.to_owned(), plain_http: true, credentials, ..RemoteSettings::default() };
    Arc::new(HttpRegistry::new(client(), settings).unwrap())
}

fn password() -> Option<Credentials> {
    Some(Credentials::Password { user: USER.to_owned(), password: Secret::new(PASSWORD) })
}

fn repository(name: &str) -> Repository {
    name.parse().unwrap()
}

fn tag(name: &str) -> Tag {
    name.parse().unwrap()
}

#[tokio::test]
async fn docker_registry_passes_the_suite() {
    let server = DockerRegistry::start();
    conformance::all(remote(&server.host(), None), &repository("suite"), DOCKER).await;
}

#[tokio::test]
async fn docker_registry_behind_a_password_passes_the_suite() {
    let server = DockerRegistry::start_with_password();
    conformance::all(remote(&server.host(), password()), &repository("suite"), DOCKER).await;
}

#[tokio::test]
async fn without_the_password_nothing_is_read_and_the_reason_is_told() {
    let server = DockerRegistry::start_with_password();
    let refused =
        remote(&server.host(), None).manifest_head(&repository("x"), &tag("y").into()).await.unwrap_err();
    assert!(matches!(refused, Error::Unauthorized { .. }), "{refused}");
    let wrong = Credentials::Password { user: USER.to_owned(), password: Secret::new("letmein") };
    let refused = remote(&server.host(), Some(wrong)).upload_begin(&repository("x")).await.unwrap_err();
    assert!(matches!(refused, Error::Unauthorized { .. }), "{refused}");
    assert!(!refused.to_string().contains("letmein"));
}

#[tokio::test]
async fn behind_tls_only_a_trusted_registry_is_spoken_to() {
    let (server, authorities) = DockerRegistry::start_with_tls();
    let remote = |ca: &std::path::Path| {
        let settings = Settings {
            hosts: HostList::new(["127.0.0.1:*"]),
            ca_file: Some(ca.to_owned()),
            elapsed_max: Duration::from_secs(5),
            ..Settings::default()
        };
        let client = Client::new(settings, Random::from_seed(1)).unwrap();
        Arc::new(
            HttpRegistry::new(client, RemoteSettings { host: server.host(), ..RemoteSettings::default() })
                .unwrap(),
        )
    };
    conformance::all(remote(&authorities.ca), &repository("suite"), DOCKER).await;
    let refused = remote(&authorities.other).ping().await.unwrap_err();
    assert!(matches!(refused, Error::Http(flatbus_http::Error::Tls { .. })), "{refused}");
}

#[tokio::test]
async fn images_are_copied_between_docker_registries() {
    let (source, destination) = (DockerRegistry::start(), DockerRegistry::start_with_password());
    let (from, to) = (remote(&source.host(), None), remote(&destination.host(), password()));
    conformance::copies(from, to, &repository("suite")).await;
}

#[tokio::test]
async fn the_embedded_registry_passes_the_suite() {
    for tag_delete in [true, false] {
        let server = embedded::start(embedded::Settings { tag_delete, ..embedded::Settings::default() })
            .await
            .unwrap();
        let expect = Expect { tag_delete, resume: true };
        conformance::all(remote(&server.host(), None), &repository("suite"), expect).await;
        server.stop().await;
    }
}

#[tokio::test]
async fn images_are_copied_between_embedded_and_docker_registries() {
    let embedded = embedded::start(embedded::Settings::default()).await.unwrap();
    let docker = DockerRegistry::start();
    let (embedded_remote, docker_remote) = (remote(&embedded.host(), None), remote(&docker.host(), None));
    conformance::copies(embedded_remote.clone(), docker_remote.clone(), &repository("out")).await;
    conformance::copies(docker_remote, embedded_remote, &repository("back")).await;
    embedded.stop().await;
}

/// Another client's opinion: what we pushed and copied, oci-client pulls and verifies.
#[tokio::test]
async fn a_second_client_pulls_what_we_copied() {
    use oci_client::{Reference, client::ClientProtocol, secrets::RegistryAuth};
    let (source, destination) = (DockerRegistry::start(), DockerRegistry::start());
    let (from, to) = (remote(&source.host(), None), remote(&destination.host(), None));
    let image =
        Recipe { layer_bytes: 200_000, ..Recipe::flatpak("app/org.gnome.eog/x86_64/stable", 5) }.make();
    image.push(from.as_ref(), &repository("eog"), &[]).await.unwrap();
    let from = Source { registry: from, repository: repository("eog"), digest: image.digest() };
    let to = Destination { registry: to, repository: repository("fedora/eog"), mount_from: Vec::new() };
    Copier::new(CopySettings::default()).copy(from, to, &[tag("latest")], &NoProgress).await.unwrap();

    let config = oci_client::client::ClientConfig { protocol: ClientProtocol::Http, ..Default::default() };
    let second = oci_client::Client::try_from(config).unwrap();
    let at = |reference: &str| -> Reference {
        format!("{}/fedora/eog{reference}", destination.host()).parse().unwrap()
    };
    let accept = [flatbus_oci::manifest::OCI_INDEX, flatbus_oci::manifest::OCI_MANIFEST];
    let anonymous = RegistryAuth::Anonymous;
    let (bytes, digest) = second.pull_manifest_raw(&at(":latest"), &anonymous, &accept).await.unwrap();
    assert_eq!((bytes, digest), (image.index.bytes.clone(), image.digest().to_string()));
    for manifest in &image.manifests {
        let by_digest = at(&format!("@{}", manifest.digest));
        let (bytes, _) = second.pull_manifest_raw(&by_digest, &anonymous, &accept).await.unwrap();
        assert_eq!(bytes, manifest.bytes);
    }
    for blob in &image.blobs {
        let mut pulled = Vec::new();
        second.pull_blob(&at(":latest"), Digest::of(blob).to_string().as_str(), &mut pulled).await.unwrap();
        assert_eq!(pulled, *blob);
    }
}

/// Stops the given registry once so many bytes have gone.
struct Breaker {
    after: u64,
    came: Mutex<u64>,
    server: Mutex<Option<DockerRegistry>>,
    restarted: tokio::sync::mpsc::UnboundedSender<DockerRegistry>,
}

impl Progress for Breaker {
    fn bytes_came(&self, bytes: u64) {
        let mut came = self.came.lock().unwrap();
        *came += bytes;
        if *came < self.after {
            return;
        }
        if let Some(mut server) = self.server.lock().unwrap().take() {
            server.kill();
            server.start_again();
            let _ = self.restarted.send(server);
        }
    }
}

/// SIGKILL of either side in the middle of a layer: the copy goes on and ends well.
#[tokio::test]
async fn a_registry_that_is_killed_and_comes_back_in_mid_copy_costs_only_time() {
    for (upload, kill_source) in [
        (UploadMode::Stream, true),
        (UploadMode::Stream, false),
        (UploadMode::Chunks { bytes: 4 << 20 }, true),
        (UploadMode::Chunks { bytes: 4 << 20 }, false),
    ] {
        let (source, destination) = (DockerRegistry::start(), DockerRegistry::start());
        let (from, to) = (remote(&source.host(), None), remote(&destination.host(), None));
        let image = Recipe { layer_bytes: 40 << 20, ..Recipe::plain(6) }.make();
        image.push(from.as_ref(), &repository("eog"), &[]).await.unwrap();
        let (restarted, mut back) = tokio::sync::mpsc::unbounded_channel();
        let (victim, survivor) = if kill_source { (source, destination) } else { (destination, source) };
        let server = Mutex::new(Some(victim));
        let breaker = Breaker { after: 30 << 20, came: Mutex::new(0), server, restarted };
        let from = Source { registry: from, repository: repository("eog"), digest: image.digest() };
        let to = Destination { registry: to, repository: repository("fedora/eog"), mount_from: Vec::new() };
        let engine = Copier::new(CopySettings { upload, ..CopySettings::default() });
        engine.copy(from.clone(), to.clone(), &[tag("latest")], &breaker).await.unwrap();
        let _victim = back.recv().await.expect("it was killed");
        let again = engine.copy(from, to.clone(), &[tag("latest")], &NoProgress).await.unwrap();
        assert_eq!(again.requests, 1);
        for blob in &image.blobs {
            let held = to.registry.blob_head(&to.repository, &Digest::of(blob)).await;
            assert_eq!(held, Ok(Some(blob.len() as u64)));
        }
        drop(survivor);
    }
}

#[tokio::test]
async fn a_copy_within_a_registry_moves_no_bytes() {
    let server = DockerRegistry::start();
    let registry = remote(&server.host(), None);
    let image = Recipe::plain(7).make();
    image.push(registry.as_ref(), &repository("staging/eog"), &[]).await.unwrap();
    let from =
        Source { registry: registry.clone(), repository: repository("staging/eog"), digest: image.digest() };
    let to = Destination { registry, repository: repository("fedora/eog"), mount_from: Vec::new() };
    let copied =
        Copier::new(CopySettings::default()).copy(from, to, &[tag("latest")], &NoProgress).await.unwrap();
    assert_eq!((copied.blobs_mounted, copied.bytes), (4, 0));
}

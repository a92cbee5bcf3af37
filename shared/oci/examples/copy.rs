//! Copies images from registry to registry and prints what it took as one line of JSON.
//!
//! ```text
//! copy [--plain-http] [--auth-file FILE] [--chunks MIB] SOURCE DESTINATION [SOURCE DESTINATION …]
//! ```
//!
//! Both are pull specs; destinations by tag. Pairs with one source and one destination's repository are one copy with
//! several tags.
#![expect(clippy::print_stdout, reason = "this is what it is for")]

use std::{collections::BTreeMap, error::Error, path::Path, sync::Arc, time::Duration};

use flatbus_base::{Clock as _, Random, SystemClock};
use flatbus_http::{Client, HostList, Settings};
use flatbus_oci::{
    AuthFile, Copied, Copier, CopySettings, Destination, HttpRegistry, ImageRef, NoProgress, Reference,
    Registry, RemoteSettings, Source, Tag, UploadMode,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

/// Images copied at once.
const COPIES_AT_ONCE_MAX: usize = 8;

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Default)]
struct Arguments {
    plain_http: bool,
    auth_file: Option<String>,
    chunks_mib: Option<usize>,
    specs: Vec<ImageRef>,
}

/// One copy with all its tags.
struct Pair {
    from: ImageRef,
    to: ImageRef,
    tags: Vec<Tag>,
}

#[derive(Serialize)]
struct Told {
    from: String,
    to: String,
    tags: Vec<Tag>,
    wall_s: f64,
    #[serde(flatten)]
    copied: Copied,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = arguments(std::env::args().skip(1))?;
    let pairs = pairs(&arguments.specs)?;
    let registries = registries(&arguments)?;
    let upload =
        arguments.chunks_mib.map_or_else(UploadMode::default, |mib| UploadMode::Chunks { bytes: mib << 20 });
    let engine = Copier::new(CopySettings { upload, ..CopySettings::default() });
    let copies = pairs.iter().map(|pair| copy(&engine, &registries, pair));
    let copies: Vec<_> = stream::iter(copies).buffered(COPIES_AT_ONCE_MAX).try_collect().await?;
    println!("{}", serde_json::json!({ "copies": copies }));
    Ok(())
}

async fn copy(
    engine: &Copier,
    registries: &BTreeMap<String, Arc<dyn Registry>>,
    pair: &Pair,
) -> Result<Told, Failure> {
    let of = |host: &str| registries.get(host).cloned().ok_or("a host that wasn't named");
    let (source, destination) = (of(&pair.from.host)?, of(&pair.to.host)?);
    let digest = match &pair.from.reference {
        Reference::Digest(digest) => *digest,
        tag => {
            source
                .manifest_head(&pair.from.repository, tag)
                .await?
                .ok_or("the source has no such image")?
                .digest
        }
    };
    let from = Source { registry: source, repository: pair.from.repository.clone(), digest };
    let to =
        Destination { registry: destination, repository: pair.to.repository.clone(), mount_from: Vec::new() };
    let began = SystemClock.monotonic();
    let copied = engine.copy(from, to, &pair.tags, &NoProgress).await?;
    let wall_s = (SystemClock.monotonic() - began).as_secs_f64();
    Ok(Told { from: pair.from.to_string(), to: pair.to.to_string(), tags: pair.tags.clone(), wall_s, copied })
}

fn pairs(specs: &[ImageRef]) -> Result<Vec<Pair>, Failure> {
    let mut pairs: Vec<Pair> = Vec::new();
    for pair in specs.chunks(2) {
        let [from, to] = pair else { return Err("each source needs a destination".into()) };
        let Reference::Tag(tag) = &to.reference else { return Err("destinations are named by tag".into()) };
        let same = |known: &&mut Pair| {
            known.from == *from && known.to.host == to.host && known.to.repository == to.repository
        };
        match pairs.iter_mut().find(same) {
            Some(known) => known.tags.push(tag.clone()),
            None => pairs.push(Pair { from: from.clone(), to: to.clone(), tags: vec![tag.clone()] }),
        }
    }
    Ok(pairs)
}

/// One registry a host, so that connections and tokens are shared.
fn registries(arguments: &Arguments) -> Result<BTreeMap<String, Arc<dyn Registry>>, Failure> {
    let hosts = HostList::new(arguments.specs.iter().map(|spec| &spec.host));
    let settings = Settings { hosts, read_timeout: Duration::from_secs(300), ..Settings::default() };
    let client = Client::new(settings, Random::from_system())?;
    let credentials = match &arguments.auth_file {
        None => None,
        Some(path) => Some(Arc::new(AuthFile::read(Path::new(path), false)?)),
    };
    let mut registries: BTreeMap<String, Arc<dyn Registry>> = BTreeMap::new();
    for ImageRef { host, .. } in &arguments.specs {
        let settings = RemoteSettings {
            host: host.clone(),
            plain_http: arguments.plain_http,
            credentials: credentials.clone(),
            ..RemoteSettings::default()
        };
        registries.insert(host.clone(), Arc::new(HttpRegistry::new(client.clone(), settings)?));
    }
    Ok(registries)
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<Arguments, Failure> {
    let mut arguments = Arguments::default();
    while let Some(argument) = given.next() {
        let mut value = || given.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--plain-http" => arguments.plain_http = true,
            "--auth-file" => arguments.auth_file = Some(value()?),
            "--chunks" => arguments.chunks_mib = Some(value()?.parse()?),
            spec => arguments.specs.push(spec.parse()?),
        }
    }
    if arguments.specs.is_empty() { Err("copy SOURCE DESTINATION …".into()) } else { Ok(arguments) }
}

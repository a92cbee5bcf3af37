//! What the demo says.

use flatbus_schemas::TagMoved;
use serde_json::json;

use super::{
    super::{
        args::Common,
        output::{json as as_json, line, maybe_time, table as as_table},
    },
    servers::Servers,
    story::{Move, Told},
};

/// Hexadecimal digits of a digest that a person compares.
const DIGEST_SHOWN: usize = 12;

pub fn welcome(common: &Common) {
    if !common.json {
        line(
            "flatbus demo: a bus, two registries, a Koji and a Bodhi on 127.0.0.1; the years 2018 to 2022 of three applications.",
        );
    }
}

/// One line as it happens.
pub fn moves(told: &[Move]) {
    for group in groups(told) {
        let first = &group[0];
        line(format!(
            "{}  {}: {} → {}",
            maybe_time(first.at),
            first.moved.repository,
            tags(group),
            what(&first.moved)
        ));
    }
}

/// Moves of one repository to one digest for one reason: they follow one another.
fn groups(moves: &[Move]) -> impl Iterator<Item = &[Move]> {
    moves.chunk_by(|a, b| {
        (&a.because, a.at, &a.moved.repository, &a.moved.digest)
            == (&b.because, b.at, &b.moved.repository, &b.moved.digest)
    })
}

fn tags(group: &[Move]) -> String {
    group.iter().map(|told| told.moved.tag.as_str()).collect::<Vec<_>>().join(", ")
}

fn what(moved: &TagMoved) -> String {
    match &moved.digest {
        Some(digest) => digest.trim_start_matches("sha256:").chars().take(DIGEST_SHOWN).collect(),
        None => "gone".to_owned(),
    }
}

/// What moved where and why; at last where every tag stands.
pub fn table(common: &Common, told: &Told) -> anyhow::Result<()> {
    if common.json {
        return told.moves.iter().try_for_each(|moved| {
            as_json(&json!({"at": moved.at, "because": moved.because, "took_ms": moved.took.as_millis(), "moved": moved.moved}))
        });
    }
    line("");
    let rows = groups(&told.moves).map(row).collect();
    as_table(
        &["back then", "repository", "tags", "now name", "build", "because of", "took"],
        rows,
        "Nothing moved.",
    );
    line("");
    line(format!(
        "{} messages in {:.1} s, {} of them noise; {} tags moved.",
        told.messages,
        told.took.as_secs_f64(),
        told.noise,
        told.moves.len()
    ));
    Ok(())
}

fn row(group: &[Move]) -> Vec<String> {
    let (told, moved) = (&group[0], &group[0].moved);
    let update = moved.update.as_deref().unwrap_or_default();
    vec![
        maybe_time(told.at),
        moved.repository.clone(),
        tags(group),
        what(moved),
        moved.nvr.clone().unwrap_or_default(),
        format!("{} {update}", told.because).trim_end().to_owned(),
        format!("{} ms", told.took.as_millis()),
    ]
}

/// What a person can try now.
pub fn what_next(servers: &Servers) {
    let (host, config) = (servers.world.public.host(), servers.config.display());
    let flatbus =
        std::env::current_exe().map_or_else(|_| "flatbus".to_owned(), |path| path.display().to_string());
    line("");
    line("Everything is still up. Try, in another terminal:");
    line(format!("  skopeo list-tags --tls-verify=false docker://{host}/fedora/eog"));
    line(format!("  skopeo inspect --tls-verify=false docker://{host}/fedora/eog:latest"));
    line(format!("  {flatbus} status mirror --config {config}"));
    line(format!("  {flatbus} survey mirror --dry-run --config {config}"));
    line(format!("  {flatbus} ledger list mirror --config {config}"));
    line("Ctrl-C ends it and leaves nothing behind.");
}

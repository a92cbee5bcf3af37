//! Plays a history in a world of its own, on paused time, and says what came of it.

use std::collections::BTreeMap;

use tokio::runtime::Builder;

use crate::{
    fault::Fault, gate::Service, history::History, invariant::Invariant, trace::Trace, witness::Twice,
    world::World,
};

/// What came of a history.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Promises that were broken.
    pub violations: Vec<(Invariant, String)>,
    /// The end: what each tag of the destination names.
    pub tags: BTreeMap<String, String>,
    /// What each tag should name by the rule.
    pub desired: BTreeMap<String, String>,
    /// What was last told of each tag.
    pub told: BTreeMap<String, Option<String>>,
    /// How often each fault struck.
    pub struck: BTreeMap<Fault, u64>,
    /// Calls of the outside, by whom was called.
    pub calls: BTreeMap<Service, u64>,
    /// Settles that were compared with their second.
    pub twice: Twice,
    /// How often the process began to live.
    pub lives: u64,
    /// What happened, line by line, where it was asked for.
    pub trace: String,
}

impl Report {
    /// Whether every promise was kept.
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
    }
}

/// Plays a history.
pub fn play(history: &History) -> Report {
    play_on(history, Trace::default())
}

/// Plays a history and tells all of it.
pub fn tell(history: &History) -> Report {
    play_on(history, Trace::kept())
}

/// Plays a history, telling it while it happens.
pub fn follow(history: &History) -> Report {
    play_on(history, Trace::followed())
}

#[expect(clippy::expect_used, reason = "a runtime without I/O needs nothing of the system")]
fn play_on(history: &History, trace: Trace) -> Report {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime can be made");
    let told = trace.clone();
    trace.with_logs(|| runtime.block_on(live_through(history, told)))
}

async fn live_through(history: &History, trace: Trace) -> Report {
    let mut world = World::new(history.seed, history.setting, trace.clone()).await;
    for chapter in &history.chapters {
        world.pass(chapter.after).await;
        world.event(&chapter.event).await;
        world.check_bounds();
    }
    world.end().await;
    let shown = |digest: &flatbus_oci::Digest| digest.to_string();
    Report {
        violations: world.witness.violations(),
        tags: world
            .tags()
            .iter()
            .map(|((name, tag), digest)| (format!("{name}:{tag}"), shown(digest)))
            .collect(),
        desired: world
            .witness
            .desired(world.fedora().updates())
            .iter()
            .map(|((name, tag), digest)| (format!("{name}:{tag}"), shown(digest)))
            .collect(),
        told: world
            .witness
            .last_told()
            .into_iter()
            .map(|(subject, digest)| (subject, digest.as_ref().map(shown)))
            .collect(),
        struck: world.gate.struck(),
        calls: world.gate.calls_of(),
        twice: world.witness.twice(),
        lives: world.gate.life().number,
        trace: trace.read(),
    }
}

//! A world and everything that can be done to it. Histories and stories speak through this.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flatbus_base::{Clock, SimClock};
use flatbus_bus::MemoryBus;
use flatbus_ledger::{Fault as DiskFault, Filter, KeyState};
use flatbus_oci::{Digest, MemoryRegistry, Repository, memory::Abilities, withdrawn};
use flatbus_schemas::Message;
use flatbus_upstream::{memory::MemoryQuay, quay::Visibility};
use jiff::SignedDuration;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    fault::{Fault, Realm},
    fedora::{self, Deed, Fedora, PUBLIC, Push, RUNTIME, choose, message, public_name, tag},
    gate::{Gate, Service},
    history::{Blow, Event, Setting},
    invariant::Invariant,
    mirror::{self, Outside, QUEUE},
    trace::Trace,
    unit::{Disk, Door, Keeper},
    witness::{Witness, subject},
};

/// When every world begins.
const START: &str = "2026-01-05T00:00:00Z";
/// Everything must be settled this long after the last fault: a key may be told to wait for a day.
const QUIET_WITHIN: Duration = Duration::from_secs(26 * 3600);
/// Unacknowledged deliveries that the broker gives.
const PREFETCH: usize = 10;
/// Calls of one service that may be under way at once: settles, times the copies' blobs and the looks of each.
const UNDER_WAY_MAX: usize = 64;

/// A world. Make one inside a paused runtime.
pub struct World {
    /// Where everything passes.
    pub gate: Gate,
    /// Who sees everything.
    pub witness: Witness,
    /// The broker.
    pub bus: MemoryBus,
    /// The destination.
    pub public: MemoryRegistry,
    /// The unit, while it runs.
    pub door: Door,
    /// The unit's disk.
    pub disk: Disk,
    setting: Setting,
    clock: SimClock,
    fedora: Arc<Mutex<Fedora>>,
    post: Post,
    agenda: BTreeMap<(Instant, u64), Later>,
    agenda_number: u64,
    /// Fedora's next push meets these.
    push_faults: Vec<Blow>,
    malformed: BTreeSet<String>,
    _tasks: JoinSet<()>,
}

/// Messages on their way, and what is to happen to them.
#[derive(Default)]
struct Post {
    armed: Vec<(Blow, u16, u16)>,
    held: Vec<Message>,
}

/// What happens at its time.
enum Later {
    Deliver(Message),
    Connect,
    DiskWell,
    ImageBack(i64),
    Public(Repository),
    PushEnds { alias: String, to: Push, dies: bool },
    RuntimeBuilt,
}

impl World {
    /// A world in which nothing has happened yet, and a unit that starts.
    #[expect(clippy::expect_used, reason = "the start is a good time")]
    pub async fn new(seed: u64, setting: Setting, trace: Trace) -> Self {
        let clock = SimClock::starting_at(START.parse().expect("a time"));
        let abilities = Abilities {
            tag_delete: !setting.keeps_tags,
            new_repositories_public: !setting.quay,
            ..Abilities::default()
        };
        let public = MemoryRegistry::with(PUBLIC, abilities);
        let gate = Gate::new(seed, clock.clone(), trace);
        let witness = Witness::new(gate.clone(), public.clone(), setting.bodhi_writes);
        let fedora = Fedora::new(clock.clone());
        let outside = Outside {
            setting,
            candidate: fedora.candidate.clone(),
            public: public.clone(),
            koji: fedora.koji.clone(),
            bodhi: fedora.bodhi.clone(),
            quay: setting.quay.then(|| quay_before(&public)),
            witness: witness.clone(),
        };
        let (bus, disk, door) = (MemoryBus::new(), Disk::default(), Door::default());
        bus.declare(QUEUE, &["#"]);
        let keeper = Keeper {
            queue: QUEUE,
            settings: mirror::settings(setting),
            make: Box::new(move |line| outside.mirror(line)),
            affected: mirror::affected(),
            gate: gate.clone(),
            witness: witness.clone(),
            bus: bus.clone(),
            clock: clock.clone(),
            seed,
            disk: disk.clone(),
            door: door.clone(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(keeper.keep());
        Self {
            gate,
            witness,
            bus,
            public,
            door,
            disk,
            setting,
            clock,
            fedora: Arc::new(Mutex::new(fedora)),
            post: Post::default(),
            agenda: BTreeMap::new(),
            agenda_number: 0,
            push_faults: Vec::new(),
            malformed: BTreeSet::new(),
            _tasks: tasks,
        }
    }

    /// Fedora.
    pub fn fedora(&self) -> MutexGuard<'_, Fedora> {
        self.fedora.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time passes, and what is due meanwhile happens.
    pub async fn pass(&mut self, time: Duration) {
        let until = self.clock.monotonic() + time;
        while let Some(entry) = self.agenda.first_entry() {
            let at = entry.key().0;
            if at > until {
                break;
            }
            let later = entry.remove();
            tokio::time::sleep_until(at).await;
            self.happen(later);
        }
        tokio::time::sleep_until(until).await;
    }

    fn later(&mut self, after: Duration, what: Later) {
        self.agenda_number += 1;
        self.agenda.insert((self.clock.monotonic() + after, self.agenda_number), what);
    }

    fn happen(&mut self, later: Later) {
        match later {
            Later::Deliver(message) => {
                self.gate.say(|| format!("  a late message arrives: {}", message.topic));
                self.bus.publish(message);
            }
            Later::Connect => self.bus.connect(false),
            Later::DiskWell => self.disk.suffer(None, None),
            Later::ImageBack(build) => self.fedora().bring_image_back(build),
            Later::Public(repository) => self.public.set_public(&repository, true),
            Later::PushEnds { alias, to, dies } => self.end_push(&alias, to, dies),
            Later::RuntimeBuilt => self.runtime_arrives(),
        }
        self.gate.changed();
    }

    /// Something happens.
    pub async fn event(&mut self, event: &Event) {
        self.gate.say(|| format!("## {event}"));
        match event {
            Event::Deed(deed) => self.deed(*deed),
            Event::Noise(count) => (0..*count).for_each(|pick| {
                let message = self.fedora().noise(pick);
                self.bus.publish(message);
            }),
            Event::Blow(blow) => self.blow(*blow).await,
            Event::Restart => self.gate.life().stop.cancel(),
            Event::Survey => self.ask_survey().await,
        }
        self.gate.changed();
    }

    fn deed(&mut self, deed: Deed) {
        if let Deed::Push { pick, to } = deed
            && !self.push_faults.is_empty()
        {
            return self.begin_push(pick, to);
        }
        let message = self.fedora().act(deed);
        self.made();
        if let Some(message) = message {
            self.deliver(message);
        }
    }

    /// The witness knows every build.
    fn made(&self) {
        if let Some(build) = self.fedora().builds().last() {
            self.witness.knows(build);
        }
    }

    /// Bodhi's composer works on an update, and copies its tags before the database says so, where it writes them.
    fn begin_push(&mut self, pick: u8, to: Push) {
        let Some(alias) = self.fedora().pushable(pick, to) else { return };
        let blow = self.push_faults.remove(0);
        self.gate.count(blow.fault);
        self.fedora().begin_push(&alias, to);
        let dies = blow.fault == Fault::ComposeDies;
        if self.setting.bodhi_writes {
            self.bodhi_copies(&alias, to, if dies { 2 } else { usize::MAX });
        }
        self.later(fedora::COMPOSE + blow.lasts, Later::PushEnds { alias, to, dies });
    }

    fn end_push(&mut self, alias: &str, to: Push, dies: bool) {
        if dies {
            self.fedora().abandon_push(alias);
        } else {
            let message = self.fedora().finish_push(alias, to);
            self.deliver(message);
        }
    }

    /// What Bodhi's skopeo does: images and their tags, one after the other, at most so many tags.
    fn bodhi_copies(&mut self, alias: &str, to: Push, tags_max: usize) {
        let fedora = self.fedora();
        let Some(update) = fedora.updates().find(|update| update.alias == alias) else { return };
        let floating = if to == Push::Stable { "latest" } else { "testing" };
        let mut moved = Vec::new();
        for build in update.builds.iter().filter_map(|build| fedora.build(&build.nvr)) {
            let versions = [format!("{}-{}", build.version, build.release), build.version.clone()];
            for name in versions.iter().map(String::as_str).chain([floating]).take(tags_max) {
                let to = public_name(build.package.repository);
                fedora.copy_image(build, &self.public, &to, &[tag(name)]);
                moved.push((to, tag(name)));
            }
        }
        drop(fedora);
        moved.iter().for_each(|(repository, tag)| self.witness.stranger_moved(repository, tag));
    }

    fn runtime_arrives(&mut self) {
        let pick = u8::MAX;
        let deeds = [
            Deed::Build { package: RUNTIME, new_version: false, imported: false },
            Deed::Submit { pick, more: 0 },
            Deed::Push { pick, to: Push::Stable },
        ];
        deeds.into_iter().for_each(|deed| self.deed(deed));
    }

    /// A message is sent, and meets what is ordered for it.
    fn deliver(&mut self, message: Message) {
        let held = std::mem::take(&mut self.post.held);
        match self.post.fault() {
            None => self.bus.publish(message),
            Some(blow) => {
                self.gate.count(blow.fault);
                self.gate.say(|| format!("     ! {} meets: {}", message.topic, blow.fault));
                match blow.fault {
                    Fault::MessageLost => {}
                    Fault::MessageDoubled => {
                        self.bus.publish(message.clone());
                        self.bus.publish(message);
                    }
                    Fault::MessageLate => self.later(blow.lasts, Later::Deliver(message)),
                    _ => self.post.held.push(message),
                }
            }
        }
        held.into_iter().for_each(|message| self.bus.publish(message));
    }

    /// Something goes wrong, or is about to.
    pub async fn blow(&mut self, blow: Blow) {
        match blow.fault.realm() {
            _ if blow.fault.strikes_calls() => self.gate.arm(blow),
            Realm::Post => self.blow_post(blow),
            Realm::Broker => self.blow_broker(blow),
            Realm::Store => self.blow_store(blow),
            Realm::Process => {
                self.gate.count(blow.fault);
                self.disk.keep_at_crash(if blow.fault == Fault::PowerCut {
                    usize::from(blow.times)
                } else {
                    0
                });
                self.gate.kill_after(u64::from(blow.skip));
            }
            Realm::RegistryState => self.blow_registry(blow),
            Realm::Fedora => match blow.fault {
                Fault::RuntimeLate => {
                    self.gate.count(blow.fault);
                    self.later(blow.lasts, Later::RuntimeBuilt);
                }
                _ => self.push_faults.push(blow),
            },
            Realm::Clock => {
                self.gate.count(blow.fault);
                let by = SignedDuration::try_from(blow.lasts).unwrap_or_default();
                self.clock.jump(if blow.fault == Fault::ClockBack { -by } else { by });
            }
            Realm::Registry | Realm::Upstream => self.gate.arm(blow),
        }
    }

    fn blow_post(&mut self, blow: Blow) {
        let message = match blow.fault {
            Fault::MessageMalformed => {
                let message = self.fedora().malform();
                self.malformed.insert(message.id.clone());
                message
            }
            Fault::MessageForged => self.fedora().forge(blow.pick),
            Fault::MessageFromStaging => message::of_staging(&self.fedora().forge(blow.pick)),
            _ => return self.post.armed.push((blow, blow.skip, blow.times.max(1))),
        };
        self.gate.count(blow.fault);
        self.bus.publish(message);
    }

    fn blow_broker(&mut self, blow: Blow) {
        self.gate.count(blow.fault);
        match blow.fault {
            Fault::BrokerGone => {
                self.bus.disconnect("the broker is gone");
                self.later(blow.lasts, Later::Connect);
            }
            Fault::ConsumerCancelled => {
                self.bus.disconnect("the broker cancelled the consumer");
                self.bus.connect(false);
            }
            Fault::QueueMissing => self.bus.lose_queue(QUEUE),
            _ => self.gate.take_away(Service::Broker, blow.lasts),
        }
    }

    fn blow_store(&mut self, blow: Blow) {
        self.gate.count(blow.fault);
        match blow.fault {
            Fault::StoreFull => self.disk.suffer(Some(DiskFault::Full), None),
            Fault::StoreFailing => self.disk.suffer(Some(DiskFault::Io), None),
            Fault::StoreSlow => self.disk.suffer(None, Some(Duration::from_secs(3))),
            Fault::StoreHeld => {
                self.disk.suffer(Some(DiskFault::Locked), None);
                self.gate.kill();
            }
            _ => return self.disk.suffer(Some(DiskFault::Corrupt), None), // Until it is opened anew.
        }
        self.later(blow.lasts, Later::DiskWell);
    }

    fn blow_registry(&mut self, blow: Blow) {
        match blow.fault {
            Fault::Outage => {
                let service = if blow.pick.is_multiple_of(2) { Service::Public } else { Service::Candidate };
                self.gate.take_away(service, blow.lasts);
            }
            Fault::ManifestVanished => {
                let gone = self.fedora().lose_image(blow.pick);
                if let Some(build) = gone {
                    self.gate.count(blow.fault);
                    self.later(blow.lasts, Later::ImageBack(build));
                }
            }
            Fault::RepositoryPrivate => {
                let names = self.public.repositories();
                let Some(name) = choose(names.iter(), blow.pick).cloned() else { return };
                self.gate.count(blow.fault);
                self.public.set_public(&name, false);
                self.later(blow.lasts, Later::Public(name));
            }
            _ => self.move_a_tag(blow),
        }
    }

    /// Somebody else points a tag that the mirror wrote at another of its images.
    fn move_a_tag(&mut self, blow: Blow) {
        let tags = self.tags();
        let written =
            tags.iter().filter(|((_, tag), digest)| !tag.starts_with("build-") && !withdrawn::is(digest));
        let Some(((repository, name), _)) = choose(written, blow.pick) else { return };
        let others = tags.iter().filter(|((of, _), _)| of == repository);
        let Some((_, other)) = choose(others, blow.pick / 3) else { return };
        self.gate.count(blow.fault);
        self.public.set_tag(repository, &tag(name), *other);
        self.witness.stranger_moved(repository, &tag(name));
    }

    /// Every tag of the destination.
    pub fn tags(&self) -> BTreeMap<(Repository, String), Digest> {
        let mut all = BTreeMap::new();
        for repository in self.public.repositories() {
            for (tag, digest) in self.public.tags_of(&repository) {
                all.insert((repository.clone(), tag.to_string()), digest);
            }
        }
        all
    }

    async fn ask_survey(&self) {
        self.door.ask("POST", "/survey", r#"{"full": true}"#).await;
    }

    /// Looks at what must hold at any time.
    pub fn check_bounds(&self) {
        let unacked = self.bus.unacked(QUEUE);
        if unacked > PREFETCH {
            self.witness.broken(Invariant::BoundsHold, format!("{unacked} deliveries are unacknowledged"));
        }
        if let (true, Some(ledger)) = (self.setting.crowded, self.door.ledger()) {
            let doubtful = ledger.counts().doubtful;
            // What a settle finds doubtful must not be lost: it may go past the bound.
            if doubtful > mirror::CROWDED * 4 {
                self.witness.broken(Invariant::BoundsHold, format!("{doubtful} keys are doubtful"));
            }
        }
        for (service, most) in self.gate.under_way_most() {
            if most > UNDER_WAY_MAX {
                self.witness.broken(Invariant::BoundsHold, format!("{most} calls of {service} at once"));
            }
        }
    }

    /// Everything that was broken is mended; what was held up arrives; a person looks at what is parked; a last survey.
    /// Then all that must hold at the end is looked at.
    pub async fn end(&mut self) {
        self.gate.say(|| "## everything is mended".to_owned());
        while let Some((at, _)) = self.agenda.first_key_value().map(|(key, _)| *key) {
            self.pass(at.saturating_duration_since(self.clock.monotonic())).await;
        }
        std::mem::take(&mut self.post.held).into_iter().for_each(|message| self.bus.publish(message));
        self.mend();
        self.quiet("after everything was mended").await;
        self.person_looks().await;
        self.quiet("after a person looked").await;
        self.survey().await;
        self.quiet("after the last survey").await;
        self.check_end();
    }

    fn mend(&mut self) {
        self.gate.heal();
        self.disk.suffer(None, None);
        self.bus.connect(false);
        self.push_faults.clear();
        self.post.armed.clear();
        for repository in self.public.repositories() {
            self.public.set_public(&repository, true);
        }
        let fedora = self.fedora();
        fedora.builds().for_each(|build| fedora.bring_image_back(build.id));
    }

    /// An operator adopts what Bodhi made, and has everything that is parked tried again.
    async fn person_looks(&mut self) {
        if self.setting.bodhi_writes {
            let ours = |name: &Repository| {
                let tagged = !self.public.tags_of(name).is_empty();
                let name = name.as_str().strip_prefix("fedora/").filter(|_| tagged)?;
                Some(format!("\"adopt/{name}\""))
            };
            let keys: Vec<String> = self.public.repositories().iter().filter_map(ours).collect();
            self.door.ask("POST", "/keys/mark", &format!("{{\"keys\": [{}]}}", keys.join(","))).await;
            self.quiet("after repositories were adopted").await;
        }
        self.door.ask("POST", "/keys/retry", r#"{"all_parked": true}"#).await;
    }

    /// Waits for a full survey that begins now.
    pub async fn survey(&mut self) {
        let begun = self.clock.wall();
        self.ask_survey().await;
        let done = |world: &Self| {
            world
                .door
                .ledger()
                .is_some_and(|ledger| ledger.survey().last_full.is_some_and(|last| last >= begun))
        };
        if !self.until(done).await {
            self.witness.broken(Invariant::EverythingEnds, "the last survey was never complete".to_owned());
        }
    }

    /// Waits until nothing is under way.
    pub async fn quiet(&mut self, when: &str) {
        if !self.until(Self::is_quiet).await {
            let left = self.left();
            self.witness.broken(Invariant::EverythingEnds, format!("never quiet {when}: {left}"));
        }
    }

    async fn until(&mut self, holds: impl Fn(&Self) -> bool) -> bool {
        let until = self.clock.monotonic() + QUIET_WITHIN;
        let mut wait = Duration::from_millis(100);
        while self.clock.monotonic() < until {
            self.pass(wait).await;
            if holds(self) {
                return true;
            }
            wait = (wait * 2).min(Duration::from_secs(60));
        }
        false
    }

    fn is_quiet(&self) -> bool {
        let Some(ledger) = self.door.ledger() else { return false };
        let counts = ledger.counts();
        counts.doubtful == counts.parked
            && counts.in_flight == 0
            && counts.outbox == 0
            && self.bus.waiting(QUEUE) + self.bus.unacked(QUEUE) == 0
            && ledger.survey().owed.is_none()
    }

    /// What is under way or parked, for a person.
    pub fn left(&self) -> String {
        let Some(ledger) = self.door.ledger() else { return "the unit is not running".to_owned() };
        let counts = ledger.counts();
        let keys: Vec<String> = ledger
            .list(&Filter::default(), None, 10)
            .into_iter()
            .map(|shown| {
                format!("{} ({:?}: {})", shown.key, shown.state, shown.last_error.unwrap_or_default())
            })
            .collect();
        format!(
            "{} messages, {} unacked, {} announcements, survey owed {:?}, keys: {}",
            self.bus.waiting(QUEUE),
            self.bus.unacked(QUEUE),
            counts.outbox,
            ledger.survey().owed,
            keys.join("; ")
        )
    }

    fn check_end(&self) {
        let desired = self.witness.desired(self.fedora().updates());
        let told = self.witness.last_told();
        for ((repository, tag), digest) in &desired {
            let subject = subject(repository, tag);
            let names = self.public.named(repository, tag);
            if names != Some(*digest) {
                self.witness.broken(
                    Invariant::TheEndIsTheRule,
                    format!("{subject} names {names:?}, the rule says {digest}"),
                );
            } else if told.get(&subject) != Some(&Some(*digest)) {
                let last = told.get(&subject);
                self.witness.broken(
                    Invariant::FactsAreAnnounced,
                    format!("{subject} names {digest}, and what was told last is {last:?}"),
                );
            }
            if self.public.is_public(repository) != Some(true) {
                self.witness
                    .broken(Invariant::TagsAreReadable, format!("{subject} can't be read by anybody"));
            }
        }
        self.check_no_testing(&desired);
        self.check_nothing_left();
    }

    /// Where nothing is in testing, nothing stands at `testing`.
    fn check_no_testing(&self, desired: &crate::rule::Tags) {
        for ((repository, name), digest) in self.tags() {
            let gone = !desired.contains_key(&(repository.clone(), tag(&name)))
                && repository.as_str().starts_with("fedora/");
            if name == "testing" && gone && !withdrawn::is(&digest) {
                self.witness.broken(
                    Invariant::TheEndIsTheRule,
                    format!("{repository}:testing names {digest}, the rule says nothing"),
                );
            }
            if !withdrawn::is(&digest) && !self.public.is_complete(&repository, &digest) {
                self.witness.broken(
                    Invariant::TagsNameCompleteImages,
                    format!("{repository}:{name} names {digest}, of which a part is missing"),
                );
            }
        }
    }

    fn check_nothing_left(&self) {
        let Some(ledger) = self.door.ledger() else { return };
        let parked = ledger.list(&Filter { state: Some(KeyState::Parked), ..Filter::default() }, None, 10);
        for shown in parked {
            self.witness.broken(
                Invariant::NothingIsLeft,
                format!("{} is parked: {}", shown.key, shown.last_error.unwrap_or_default()),
            );
        }
        let parked = ledger.parked_messages(None, usize::MAX).unwrap_or_default();
        for shown in parked.iter().filter(|shown| !self.malformed.contains(&shown.id)) {
            self.witness.broken(
                Invariant::NothingIsLeft,
                format!(
                    "the message {} ({}) is parked, and nothing is wrong with it: {}",
                    shown.id, shown.topic, shown.reason
                ),
            );
        }
    }
}

impl Post {
    /// The fault of the next message.
    fn fault(&mut self) -> Option<Blow> {
        let (blow, skip, left) = self.armed.first_mut()?;
        if *skip > 0 {
            *skip -= 1;
            return None;
        }
        *left -= 1;
        let blow = *blow;
        self.armed.retain(|(_, _, left)| *left > 0);
        Some(blow)
    }
}

/// quay's API in front of a registry: what it makes public is public there.
fn quay_before(registry: &MemoryRegistry) -> MemoryQuay {
    let quay = MemoryQuay::new();
    let registry = registry.clone();
    quay.on_change(move |name, visibility| {
        if let Ok(name) = name.parse() {
            registry.set_public(&name, visibility == Visibility::Public);
        }
    });
    quay
}

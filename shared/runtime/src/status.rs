//! What the unit says of itself: the board that its tasks write on, and the status page read from it.

use std::sync::{Arc, Mutex, PoisonError};

use flatbus_base::Moment;
use flatbus_ledger::{Counts, Ledger, SurveyState};
use flatbus_telemetry::metrics::{Counter, Gauge, Metrics};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// `GET /status`: everything an operator asks first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// The consumer's name.
    pub consumer: String,
    /// flatbus' version.
    pub version: String,
    /// `live` or `shadow`.
    pub mode: String,
    /// When the process began.
    pub started: Timestamp,
    /// In words, as the service manager shows it.
    pub summary: String,
    /// What a person should look at, most pressing first; empty when all is well.
    pub attention: Vec<String>,
    /// The bus.
    pub bus: BusStatus,
    /// The ledger's counts.
    pub ledger: Counts,
    /// The survey.
    pub survey: SurveyStatus,
}

/// The bus, as the status page has it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct BusStatus {
    /// Whether messages are being consumed.
    pub consuming: bool,
    /// Since when it is so.
    pub since: Option<Timestamp>,
    /// Why not, and what to do.
    pub reason: Option<String>,
    /// When a message last came.
    pub last_delivery: Option<Timestamp>,
    /// When an announcement was last confirmed.
    pub last_announcement: Option<Timestamp>,
    /// Why announcements wait.
    pub publishing_trouble: Option<String>,
}

/// The survey, as the status page has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SurveyStatus {
    /// Whether one runs.
    pub running: bool,
    /// How many keys the last complete one found.
    pub last_keys: Option<u64>,
    /// Why the last one failed.
    pub last_failure: Option<String>,
    /// What the ledger keeps of it.
    pub state: SurveyState,
}

/// `GET /ready`, in the shape of fedora-messaging's own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ready {
    /// Whether messages are being consumed, and went through of late where that is asked for.
    pub consuming: bool,
    /// Announcements confirmed.
    pub published: u64,
    /// Deliveries.
    pub consumed: Consumed,
}

/// The counts of fedora-messaging's `/ready`, in our terms.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Consumed {
    /// Delivered.
    pub received: u64,
    /// Recorded and acknowledged.
    pub processed: u64,
    /// Of another environment: counted and dropped.
    pub dropped: u64,
    /// Not understood: parked with their bodies.
    pub rejected: u64,
    /// Always 0: we never give a message back.
    pub failed: u64,
}

/// What the tasks write down. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Board {
    notes: Arc<Mutex<Notes>>,
    metrics: Metrics,
}

#[derive(Default)]
struct Notes {
    bus: BusStatus,
    last_through: Option<Moment>,
    unwritable: Option<String>,
    set_aside: Option<String>,
    surveying: bool,
    survey_keys: Option<u64>,
    survey_failure: Option<String>,
}

impl Board {
    pub fn new(metrics: Metrics) -> Self {
        Self { notes: Arc::default(), metrics }
    }

    fn note<T>(&self, f: impl FnOnce(&mut Notes) -> T) -> T {
        f(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn consuming(&self, state: Result<(), String>, now: Moment) {
        self.metrics.set(Gauge::Consuming, i64::from(state.is_ok()));
        self.note(|notes| {
            if notes.bus.consuming != state.is_ok() || notes.bus.since.is_none() {
                notes.bus.since = Some(now.wall);
            }
            notes.bus.consuming = state.is_ok();
            notes.bus.reason = state.err();
            notes.last_through.get_or_insert(now);
        });
    }

    /// A message, or a probe of ours, went through.
    pub fn went_through(&self, now: Moment) {
        self.metrics.set(Gauge::LastDelivery, now.wall.as_second());
        self.note(|notes| {
            notes.last_through = Some(now);
            notes.bus.last_delivery = Some(now.wall);
        });
    }

    /// A probe of ours came back: the way through the broker is whole.
    pub fn probed(&self, now: Moment) {
        self.metrics.set(Gauge::LastProbe, now.wall.as_second());
    }

    pub fn announced(&self, now: Moment) {
        self.note(|notes| notes.bus.last_announcement = Some(now.wall));
    }

    pub fn publishing(&self, trouble: Option<String>) {
        self.note(|notes| notes.bus.publishing_trouble = trouble);
    }

    pub fn unwritable(&self, reason: Option<String>) {
        self.metrics.set(Gauge::Paused, i64::from(reason.is_some()));
        self.note(|notes| notes.unwritable = reason);
    }

    pub fn set_aside(&self, place: String) {
        self.metrics.count(Counter::LedgerSetAside, 1u64);
        self.note(|notes| notes.set_aside = Some(place));
    }

    pub fn surveying(&self, running: bool) {
        self.note(|notes| notes.surveying = running);
    }

    pub fn surveyed(&self, keys: u64, now: Moment) {
        self.metrics.set(Gauge::SurveyComplete, now.wall.as_second());
        self.note(|notes| {
            notes.survey_keys = Some(keys);
            notes.survey_failure = None;
        });
    }

    pub fn survey_failed(&self, reason: String) {
        self.note(|notes| notes.survey_failure = Some(reason));
    }

    /// Whether something went through within `within` (zero asks nothing).
    pub fn alive(&self, now: Moment, within: std::time::Duration) -> bool {
        let through = self.note(|notes| notes.last_through);
        within.is_zero()
            || through.is_some_and(|at| now.monotonic.saturating_duration_since(at.monotonic) <= within)
    }

    pub fn ready(&self, now: Moment, within: std::time::Duration) -> Ready {
        let consuming = self.note(|notes| notes.bus.consuming && notes.unwritable.is_none());
        let count = |counter| self.metrics.get(counter);
        Ready {
            consuming: consuming && self.alive(now, within),
            published: count(Counter::AnnouncementsSent),
            consumed: Consumed {
                received: count(Counter::Received),
                processed: count(Counter::Acked),
                dropped: count(Counter::Foreign),
                rejected: count(Counter::Undecodable),
                failed: 0,
            },
        }
    }

    pub fn bus(&self) -> BusStatus {
        self.note(|notes| notes.bus.clone())
    }

    pub fn survey(&self, ledger: &Ledger) -> SurveyStatus {
        self.note(|notes| SurveyStatus {
            running: notes.surveying,
            last_keys: notes.survey_keys,
            last_failure: notes.survey_failure.clone(),
            state: ledger.survey(),
        })
    }

    /// What a person should look at, most pressing first.
    pub fn attention(&self, counts: &Counts) -> Vec<String> {
        let mut list = Vec::new();
        self.note(|notes| {
            list.extend(notes.unwritable.clone());
            list.extend(notes.set_aside.as_ref().map(|place| {
                format!("The ledger was corrupt and was set aside in {place}; an empty one was opened and a survey is owed")
            }));
            if !notes.bus.consuming {
                list.push(format!("Not consuming: {}", notes.bus.reason.as_deref().unwrap_or("not connected yet")));
            }
            list.extend(notes.bus.publishing_trouble.as_ref().map(|why| format!("Announcements wait: {why}")));
            list.extend(notes.survey_failure.as_ref().map(|why| format!("The last survey failed: {why}")));
        });
        if counts.parked > 0 {
            list.push(format!("{} keys are parked: `flatbus ledger list --parked` tells why", counts.parked));
        }
        if counts.parked_messages > 0 {
            list.push(format!("{} messages could not be understood and are parked", counts.parked_messages));
        }
        list
    }

    /// One line for the service manager.
    pub fn summary(&self, counts: &Counts) -> String {
        let bus = self.note(|notes| match (&notes.unwritable, notes.bus.consuming, &notes.bus.reason) {
            (Some(reason), ..) => format!("paused: {reason}"),
            (None, true, _) => "consuming".to_owned(),
            (None, false, Some(reason)) => format!("not consuming: {reason}"),
            (None, false, None) => "connecting".to_owned(),
        });
        format!(
            "{bus}; {} doubtful, {} waiting, {} parked, {} to announce",
            counts.doubtful, counts.waiting, counts.parked, counts.outbox
        )
    }

    /// Brings the gauges up to date with the ledger.
    pub fn gauge(&self, counts: &Counts, survey: &SurveyState, disk_bytes: u64) {
        let set = |gauge, value: usize| self.metrics.set(gauge, i64::try_from(value).unwrap_or(i64::MAX));
        set(Gauge::Doubtful, counts.doubtful);
        set(Gauge::Due, counts.due);
        set(Gauge::Waiting, counts.waiting);
        set(Gauge::InFlight, counts.in_flight);
        set(Gauge::Parked, counts.parked);
        set(Gauge::ParkedMessages, counts.parked_messages);
        set(Gauge::Outbox, counts.outbox);
        self.metrics.set(Gauge::LedgerDisk, i64::try_from(disk_bytes).unwrap_or(i64::MAX));
        self.metrics.set(Gauge::OldestDue, counts.oldest_due.map_or(0, Timestamp::as_second));
        self.metrics.raise(Counter::ParkedMessagesDropped, counts.parked_dropped);
        self.metrics.set(Gauge::SurveyOwed, i64::from(survey.owed.is_some()));
    }
}

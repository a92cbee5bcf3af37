//! The catalogue: every metric there is, with its name, unit and help. A name stands nowhere else.
//!
//! Nothing is counted here; [`crate::metrics`] does that.

/// What a metric is measured in. It ends the metric's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A plain number.
    None,
    /// Seconds, or a time as seconds since 1970.
    Seconds,
    /// Bytes.
    Bytes,
}

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows. Shown with `_total` behind its name.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// What is known of a metric before anything was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// The full name as it is shown, less `_total`.
    pub name: &'static str,
    /// Label and value, where several variants share a name.
    pub label: Option<(&'static str, &'static str)>,
    /// Unit.
    pub unit: Unit,
    /// Kind.
    pub kind: Kind,
    /// One sentence for the person who reads the dashboard. The same for all variants of one name.
    pub help: &'static str,
}

/// Declares one kind's enum, the list of its variants and their descriptions in one table.
macro_rules! catalogue {
    ($(#[$doc:meta])* $kind:ident { $($variant:ident, $name:literal $([$label:literal = $value:literal])?, $unit:ident, $help:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $kind { $(#[doc = concat!($help $(, " `", $label, "=", $value, "`")?)] $variant,)+ }

        impl $kind {
            /// Every one there is.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Name, unit and help.
            pub const fn describe(self) -> Description {
                match self {
                    $(Self::$variant => Description {
                        name: $name,
                        label: catalogue!(@label $($label = $value)?),
                        unit: Unit::$unit,
                        kind: Kind::$kind,
                        help: $help,
                    },)+
                }
            }
        }
    };
    (@label) => { None };
    (@label $label:literal = $value:literal) => { Some(($label, $value)) };
}

catalogue! {
    /// What only grows.
    Counter {
        Received, "flatbus_deliveries_received", None, "Messages that the source delivered.";
        Marked, "flatbus_deliveries" ["result" = "marked"], None, "Deliveries by what became of them.";
        Unmarked, "flatbus_deliveries" ["result" = "unmarked"], None, "Deliveries by what became of them.";
        Foreign, "flatbus_deliveries" ["result" = "foreign"], None, "Deliveries by what became of them.";
        Undecodable, "flatbus_deliveries" ["result" = "undecodable"], None, "Deliveries by what became of them.";
        Acked, "flatbus_deliveries_acked", None, "Deliveries acknowledged, each after it was recorded.";
        ParkedMessagesDropped, "flatbus_parked_messages_dropped", None, "Parked messages thrown away because too many were parked.";
        SettledChanged, "flatbus_keys_settled" ["result" = "changed"], None, "Keys that were settled, by what came of it.";
        SettledUnchanged, "flatbus_keys_settled" ["result" = "unchanged"], None, "Keys that were settled, by what came of it.";
        SettledRetried, "flatbus_keys_settled" ["result" = "retried"], None, "Keys that were settled, by what came of it.";
        SettledParked, "flatbus_keys_settled" ["result" = "parked"], None, "Keys that were settled, by what came of it.";
        SettledFatal, "flatbus_keys_settled" ["result" = "fatal"], None, "Keys that were settled, by what came of it.";
        Collapsed, "flatbus_marks_collapsed", None, "Marks that became an owed survey because too many keys were doubtful.";
        AnnouncementsSent, "flatbus_announcements" ["result" = "confirmed"], None, "Announcements, by whether the broker confirmed them.";
        AnnouncementsFailed, "flatbus_announcements" ["result" = "failed"], None, "Announcements, by whether the broker confirmed them.";
        SurveysStarted, "flatbus_surveys" ["result" = "started"], None, "Surveys.";
        SurveysComplete, "flatbus_surveys" ["result" = "complete"], None, "Surveys.";
        SurveysFailed, "flatbus_surveys" ["result" = "failed"], None, "Surveys.";
        SurveyKeys, "flatbus_survey_keys", None, "Keys that surveys looked at.";
        Reconnects, "flatbus_bus_reconnects", None, "Times that the connection to the broker was lost and tried anew.";
        LedgerCommits, "flatbus_ledger_commits", None, "Group commits of the ledger.";
        LedgerFailures, "flatbus_ledger_failures", None, "Group commits that the disk refused.";
        LedgerSetAside, "flatbus_ledger_set_aside", None, "Corrupt ledgers moved aside and begun anew.";
        CopiedBytes, "flatbus_copied_bytes", Bytes, "Bytes written to registries.";
    }
}

catalogue! {
    /// What goes up and down.
    Gauge {
        ProcessStart, "process_start_time_seconds", Seconds, "When the process began, in seconds since 1970.";
        Consuming, "flatbus_bus_consuming", None, "1 while messages are being consumed, else 0.";
        Paused, "flatbus_bus_paused", None, "1 while reading is paused because nothing can be recorded, else 0.";
        LastDelivery, "flatbus_last_delivery_timestamp_seconds", Seconds, "When the last message was delivered, in seconds since 1970; 0: never.";
        LastProbe, "flatbus_last_probe_timestamp_seconds", Seconds, "When a probe last went all the way, in seconds since 1970; 0: never.";
        Doubtful, "flatbus_keys_doubtful", None, "Keys whose truth must be looked at, whatever their state.";
        Due, "flatbus_keys" ["state" = "due"], None, "Doubtful keys by state.";
        Waiting, "flatbus_keys" ["state" = "waiting"], None, "Doubtful keys by state.";
        InFlight, "flatbus_keys" ["state" = "in_flight"], None, "Doubtful keys by state.";
        Parked, "flatbus_keys" ["state" = "parked"], None, "Doubtful keys by state.";
        OldestDue, "flatbus_oldest_due_timestamp_seconds", Seconds, "When the key that has been due longest became due, in seconds since 1970; 0: none is due.";
        ParkedMessages, "flatbus_parked_messages", None, "Messages that could not be understood and are kept.";
        Outbox, "flatbus_outbox_length", None, "Announcements recorded and not yet confirmed by the broker.";
        SurveyOwed, "flatbus_survey_owed", None, "1 while a survey is owed, else 0.";
        SurveyComplete, "flatbus_survey_complete_timestamp_seconds", Seconds, "When the last complete survey ended, in seconds since 1970; 0: never.";
        LedgerDisk, "flatbus_ledger_disk_bytes", Bytes, "Size of the ledger on disk.";
    }
}

catalogue! {
    /// Distributions.
    Histogram {
        Settle, "flatbus_settle_seconds", Seconds, "How long settling took.";
        EventToSettled, "flatbus_event_to_settled_seconds", Seconds, "How long after its first mark a key was settled.";
    }
}

/// HTTP requests, counted by host: hosts are those of the configuration, so they are few.
pub const HTTP_REQUESTS: Description = Description {
    name: "flatbus_http_requests",
    label: None,
    unit: Unit::None,
    kind: Kind::Counter,
    help: "HTTP requests by host, and how many of them were answered 429.",
};

/// What is counted of HTTP requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HttpOutcome {
    /// Sent, whatever came of it.
    Sent,
    /// Answered 429: slow down.
    Limited,
}

impl HttpOutcome {
    /// Every one there is.
    pub const ALL: &[Self] = &[Self::Sent, Self::Limited];

    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Limited => "limited",
        }
    }
}

/// Every metric there is.
pub fn all() -> impl Iterator<Item = Description> {
    let counters = Counter::ALL.iter().map(|metric| metric.describe());
    let gauges = Gauge::ALL.iter().map(|metric| metric.describe());
    let histograms = Histogram::ALL.iter().map(|metric| metric.describe());
    counters.chain(gauges).chain(histograms).chain([HTTP_REQUESTS])
}

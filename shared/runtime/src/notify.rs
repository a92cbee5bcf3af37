//! What the service manager is told: ready, alive, stopping, and how it goes in words.

use std::time::Duration;

use sd_notify::NotifyState;

/// The dispatch loop turns at least this often where a watchdog may watch it, and where none does.
const TURN_MAX: Duration = Duration::from_secs(5);
const TURN_MAX_UNWATCHED: Duration = Duration::from_secs(60);

/// Says things to systemd, or to nobody where there is none. Cheap to clone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manager {
    enabled: bool,
}

impl Manager {
    /// Speaks through `$NOTIFY_SOCKET`, where there is one.
    pub fn from_env() -> Self {
        Self { enabled: std::env::var_os("NOTIFY_SOCKET").is_some() }
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        if self.enabled
            && let Err(error) = sd_notify::notify(states)
        {
            tracing::debug!(%error, "The service manager could not be told");
        }
    }

    /// Configuration and credentials are valid and the ledger is open; whether the bus is consuming is another matter.
    pub(crate) fn ready(&self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// Whether anybody listens.
    pub(crate) fn listens(self) -> bool {
        self.enabled
    }

    /// The longest turn of the dispatch loop.
    pub(crate) fn turn_max(self) -> Duration {
        if self.enabled { TURN_MAX } else { TURN_MAX_UNWATCHED }
    }

    /// Called from the dispatch loop itself: a loop that hangs stops saying it.
    pub(crate) fn alive(&self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    /// In words, for `systemctl status`.
    pub(crate) fn status(&self, words: &str) {
        self.tell(&[NotifyState::Status(words)]);
    }

    pub(crate) fn stopping(&self) {
        self.tell(&[NotifyState::Stopping]);
    }
}

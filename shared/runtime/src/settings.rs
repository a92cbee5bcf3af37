//! The runtime's own settings: `[consumer_config.runtime]` of a consumer's file.
//!
//! What a file may say is [`RawSettings`]; what the loop uses is [`Settings`], whose values can't be wrong.

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use serde::Deserialize;

/// Whether the consumer changes the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It does.
    #[default]
    Live,
    /// It does everything but that, and lists what it would have done.
    Shadow,
}

/// What the file may say. Every key is optional; the defaults are those of [`Settings::default`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawSettings {
    mode: Option<Mode>,
    state_dir: Option<PathBuf>,
    socket: Option<PathBuf>,
    allow_network_fs: Option<bool>,
    settles_max: Option<NonZeroUsize>,
    settle_timeout_s: Option<u64>,
    retry_wait_min_s: Option<u64>,
    retry_wait_max_s: Option<u64>,
    park_after_s: Option<u64>,
    doubtful_max: Option<NonZeroUsize>,
    survey_every_s: Option<u64>,
    survey_full_every_s: Option<u64>,
    survey_gap_min_s: Option<u64>,
    survey_keys_per_s: Option<u32>,
    drain_timeout_s: Option<u64>,
    alive_within_s: Option<u64>,
    probe_every_s: Option<u64>,
    topic_prefixes: Option<Vec<String>>,
    container_door: Option<SocketAddr>,
}

/// The runtime's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `mode`: live or shadow.
    pub mode: Mode,
    /// `state_dir`: the ledger's folder, and the consumer's files. Default `/var/lib/flatbus/<consumer>`.
    pub state_dir: PathBuf,
    /// `socket`: where the command line finds the unit. Default `/run/flatbus/<consumer>.sock`.
    pub socket: PathBuf,
    /// `allow_network_fs`: put up with a ledger where locks and syncs may not hold.
    pub allow_network_fs: bool,
    /// `settles_max`: keys settled at once.
    pub settles_max: usize,
    /// `settle_timeout_s`: longest time for one settle; then it failed and is tried again.
    pub settle_timeout: Duration,
    /// `retry_wait_min_s`: first wait of a failing key; doubled from there.
    pub retry_wait_min: Duration,
    /// `retry_wait_max_s`: longest wait of a failing key.
    pub retry_wait_max: Duration,
    /// `park_after_s`: how long a key may keep failing before a person must look.
    pub park_after: Duration,
    /// `doubtful_max`: doubtful keys held, parked ones apart; more collapse into "survey owed".
    pub doubtful_max: usize,
    /// `survey_every_s`: a survey of what changed, this often.
    pub survey_every: Duration,
    /// `survey_full_every_s`: a full survey, this often.
    pub survey_full_every: Duration,
    /// `survey_gap_min_s`: never sooner than this after the last one began.
    pub survey_gap_min: Duration,
    /// `survey_keys_per_s`: pace of a survey.
    pub survey_keys_per_s: u32,
    /// `drain_timeout_s`: how long running keys may go on after SIGTERM.
    pub drain_timeout: Duration,
    /// `alive_within_s`: alive while a message or a probe went through within this time; 0 asks nothing.
    pub alive_within: Duration,
    /// `probe_every_s`: a message of our own sent and expected back this often; 0 sends none. Its routing key must be
    /// bound to our queue.
    pub probe_every: Duration,
    /// `topic_prefixes`: messages of other environments are counted and dropped; empty takes all.
    pub topic_prefixes: Vec<String>,
    /// `container_door`: where the whole door is served in a container, beside the socket. Keep it on 127.0.0.1: whoever
    /// reaches it may write.
    pub container_door: SocketAddr,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::Live,
            state_dir: PathBuf::from("/var/lib/flatbus"),
            socket: PathBuf::from("/run/flatbus/flatbus.sock"),
            allow_network_fs: false,
            settles_max: 8,
            settle_timeout: Duration::from_secs(3 * 3600),
            retry_wait_min: Duration::from_secs(2),
            retry_wait_max: Duration::from_secs(600),
            park_after: Duration::from_secs(24 * 3600),
            doubtful_max: 100_000,
            survey_every: Duration::from_secs(600),
            survey_full_every: Duration::from_secs(24 * 3600),
            survey_gap_min: Duration::from_secs(60),
            survey_keys_per_s: 20,
            drain_timeout: Duration::from_secs(60),
            alive_within: Duration::ZERO,
            probe_every: Duration::ZERO,
            topic_prefixes: vec!["org.fedoraproject.prod".to_owned()],
            container_door: SocketAddr::from(([127, 0, 0, 1], 8088)),
        }
    }
}

impl Settings {
    /// The defaults of a consumer: its folder and socket.
    pub fn of(consumer: &str) -> Self {
        Self {
            state_dir: PathBuf::from("/var/lib/flatbus").join(consumer),
            socket: PathBuf::from("/run/flatbus").join(format!("{consumer}.sock")),
            ..Self::default()
        }
    }

    /// What the file says, over the consumer's defaults.
    pub fn from_raw(consumer: &str, raw: RawSettings) -> Self {
        let base = Self::of(consumer);
        let seconds = |value: Option<u64>, default| value.map_or(default, Duration::from_secs);
        Self {
            mode: raw.mode.unwrap_or(base.mode),
            state_dir: raw.state_dir.unwrap_or(base.state_dir),
            socket: raw.socket.unwrap_or(base.socket),
            allow_network_fs: raw.allow_network_fs.unwrap_or(base.allow_network_fs),
            settles_max: raw.settles_max.map_or(base.settles_max, NonZeroUsize::get),
            settle_timeout: seconds(raw.settle_timeout_s, base.settle_timeout),
            retry_wait_min: seconds(raw.retry_wait_min_s, base.retry_wait_min),
            retry_wait_max: seconds(raw.retry_wait_max_s, base.retry_wait_max),
            park_after: seconds(raw.park_after_s, base.park_after),
            doubtful_max: raw.doubtful_max.map_or(base.doubtful_max, NonZeroUsize::get),
            survey_every: seconds(raw.survey_every_s, base.survey_every),
            survey_full_every: seconds(raw.survey_full_every_s, base.survey_full_every),
            survey_gap_min: seconds(raw.survey_gap_min_s, base.survey_gap_min),
            survey_keys_per_s: raw.survey_keys_per_s.unwrap_or(base.survey_keys_per_s).max(1),
            drain_timeout: seconds(raw.drain_timeout_s, base.drain_timeout),
            alive_within: seconds(raw.alive_within_s, base.alive_within),
            probe_every: seconds(raw.probe_every_s, base.probe_every),
            topic_prefixes: raw.topic_prefixes.unwrap_or(base.topic_prefixes),
            container_door: raw.container_door.unwrap_or(base.container_door),
        }
    }

    /// Whether a topic is of an environment that is listened to.
    pub fn listens_to(&self, topic: &str) -> bool {
        let of =
            |prefix: &String| topic.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with('.'));
        self.topic_prefixes.is_empty() || self.topic_prefixes.iter().any(of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_of_another_environment_is_not_listened_to() {
        let settings = Settings::of("toy");
        assert!(settings.listens_to("org.fedoraproject.prod.bodhi.update.edit"));
        assert!(!settings.listens_to("org.fedoraproject.stg.bodhi.update.edit"));
        assert!(!settings.listens_to("org.fedoraproject.production.bodhi.update.edit"));
    }
}

//! What a unit says of itself: [`logs`] for people, [`metrics`] for machines.
//!
//! The law of logs. The sentence stands alone *and* its fields can be searched. A failure is logged once, where it is
//! handled. `error!`: a person should act. `warn!`: we coped. `info!`: one line a settled key. The same thing has the
//! same field name everywhere, with its unit last: `consumer`, `key`, `topic`, `message_id`, `image.repository`,
//! `image.tag`, `image.digest`, `host`, `wait_s`, `copied_bytes`. Never a secret, never a body, never a URL with
//! userinfo or a query.
//!
//! Nothing here reads a clock or knows a consumer: what is measured is handed in.

mod catalogue;
pub mod logs;
pub mod metrics;

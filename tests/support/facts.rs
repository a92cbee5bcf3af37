//! Facts about one broker, looked at side by side, each in a virtual host of its own.

use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    thread::{self, ScopedJoinHandle},
    time::Duration,
};

use futures::FutureExt;
use tokio::{runtime::Runtime, time::timeout};

use crate::rabbitmq::Rabbit;

/// A fact by name: what is done, in which virtual host.
pub type Fact = (&'static str, for<'r> fn(&'r Rabbit, String) -> Pin<Box<dyn Future<Output = ()> + 'r>>);

/// Makes facts of async functions.
macro_rules! facts {
    ($($fact:ident),* $(,)?) => {{
        let facts: Vec<facts::Fact> =
            vec![$((stringify!($fact), |rabbit, vhost| Box::pin($fact(rabbit, vhost)))),*];
        facts
    }};
}

/// Fails with the names of those that don't hold, or not in time.
pub fn all_hold(facts: &[Fact], rabbit: &Rabbit, runtime: fn() -> Runtime, longest: Duration) {
    let failed: Vec<&str> = thread::scope(|scope| {
        let runs: Vec<ScopedJoinHandle<'_, Option<&str>>> = facts
            .iter()
            .enumerate()
            .map(|(number, (name, fact))| {
                scope.spawn(move || {
                    let story = AssertUnwindSafe(fact(rabbit, format!("test{number}"))).catch_unwind();
                    let told = runtime().block_on(async { timeout(longest, story).await });
                    (!matches!(told, Ok(Ok(())))).then_some(*name)
                })
            })
            .collect();
        runs.into_iter().filter_map(|run| run.join().unwrap()).collect()
    });
    assert!(failed.is_empty(), "not so: {failed:#?}");
}

//! The smallest consumer that can be wrong in every way: it makes `made` equal `truth`, and can be told to fail.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

pub mod running;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    str::FromStr,
    sync::{Arc, Mutex},
    time::Duration,
};

use flatbus_runtime::{Change, Consumer, Ctx, Fact, Failure, Settled, SurveyScope};
use flatbus_schemas::{Announcement, FromMessage, Malformed, Message, Severity};
use futures::{Stream, stream};
use serde_json::json;
use tokio::sync::Notify;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Thing(pub String);

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Thing {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.contains('!') {
            Err("not a thing".to_owned())
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

/// `toy.changed` names things; every other topic concerns nobody.
pub enum Event {
    Changed(Vec<String>),
    Unrelated,
}

impl FromMessage for Event {
    fn from_message(message: &Message) -> Result<Self, Malformed> {
        if !message.topic.ends_with(".toy.changed") {
            return Ok(Self::Unrelated);
        }
        serde_json::from_slice(&message.body).map(Self::Changed).map_err(|error| Malformed {
            topic: message.topic.clone(),
            id: message.id.clone(),
            reason: error.to_string(),
        })
    }
}

/// The world outside, shared by a test and its consumers.
#[derive(Default)]
pub struct World {
    pub truth: BTreeMap<String, String>,
    pub made: BTreeMap<String, String>,
    /// What the next settles of a thing answer instead of working.
    pub trouble: BTreeMap<String, VecDeque<Trouble>>,
    pub also: BTreeMap<String, Vec<String>>,
    pub settled: Vec<String>,
    pub batches: Vec<Vec<String>>,
    pub running: BTreeSet<String>,
    pub most_running: usize,
    pub survey_fails: bool,
    pub surveys: Vec<SurveyScope>,
}

#[derive(Clone)]
pub enum Trouble {
    Retry,
    After(Duration),
    Park,
    Fatal,
    Panic,
    Hang,
    /// The effect happens, then the process dies: the settle never answers.
    DieAfterEffect,
    /// Waits until the test says go, after the effect.
    Wait(Arc<Notify>),
}

#[derive(Clone, Default)]
pub struct Toy {
    pub world: Arc<Mutex<World>>,
    /// Lane by first letter instead of by thing.
    pub lanes: bool,
}

impl Toy {
    pub fn world<T>(&self, f: impl FnOnce(&mut World) -> T) -> T {
        f(&mut self.world.lock().unwrap())
    }

    pub fn truth(&self, thing: &str, value: &str) {
        self.world(|world| world.truth.insert(thing.to_owned(), value.to_owned()));
    }

    pub fn trouble(&self, thing: &str, troubles: impl IntoIterator<Item = Trouble>) {
        self.world(|world| world.trouble.entry(thing.to_owned()).or_default().extend(troubles));
    }

    pub fn settled(&self) -> Vec<String> {
        self.world(|world| world.settled.clone())
    }

    async fn one(&self, ctx: &Ctx, thing: &str) -> Result<Settled<Thing>, Failure> {
        let trouble = self.world(|world| world.trouble.get_mut(thing).and_then(VecDeque::pop_front));
        match trouble {
            Some(Trouble::Retry) => return Err(Failure::retry("not now")),
            Some(Trouble::After(wait)) => {
                return Err(Failure {
                    message: "slow down".to_owned(),
                    remedy: flatbus_base::Remedy::RetryAfter(wait),
                });
            }
            Some(Trouble::Park) => return Err(Failure::park("a person must look")),
            Some(Trouble::Fatal) => {
                return Err(Failure { message: "no".to_owned(), remedy: flatbus_base::Remedy::Fatal });
            }
            Some(Trouble::Panic) => panic!("a bug"),
            Some(Trouble::Hang) => std::future::pending::<()>().await,
            Some(Trouble::DieAfterEffect) => {
                self.make(ctx, thing);
                std::future::pending::<()>().await;
            }
            Some(Trouble::Wait(go)) => {
                self.make(ctx, thing);
                go.notified().await;
            }
            None => {}
        }
        let changed = self.make(ctx, thing);
        let (value, also) = self.world(|world| {
            (world.truth.get(thing).cloned(), world.also.get(thing).cloned().unwrap_or_default())
        });
        ctx.remember(&format!("seen/{thing}"), &value)?;
        let fact = Fact { subject: format!("toy:{thing}"), value, detail: json!({"thing": thing}) };
        Ok(Settled { facts: vec![fact], also: also.into_iter().map(Thing).collect(), changed })
    }

    fn make(&self, ctx: &Ctx, thing: &str) -> bool {
        self.world(|world| {
            let wanted = world.truth.get(thing).cloned();
            if world.made.get(thing) == wanted.as_ref() {
                return false;
            }
            if ctx.shadow() {
                ctx.would(format!("make {thing} {wanted:?}"));
                return false;
            }
            match wanted {
                Some(value) => drop(world.made.insert(thing.to_owned(), value)),
                None => drop(world.made.remove(thing)),
            }
            true
        })
    }
}

impl Consumer for Toy {
    const NAME: &'static str = "toy";
    const BATCH_MAX: usize = 1;
    type Event = Event;
    type Key = Thing;

    fn affected(&self, event: &Event) -> Vec<Thing> {
        match event {
            Event::Changed(things) => things.iter().cloned().map(Thing).collect(),
            Event::Unrelated => Vec::new(),
        }
    }

    fn lane(&self, key: &Thing) -> String {
        if self.lanes { key.0[..1].to_owned() } else { key.0.clone() }
    }

    fn rank(&self, key: &Thing) -> u8 {
        u8::from(!key.0.starts_with("runtime"))
    }

    async fn settle(&self, ctx: &Ctx, batch: &[Thing]) -> Vec<Result<Settled<Thing>, Failure>> {
        self.world(|world| {
            world.batches.push(batch.iter().map(|thing| thing.0.clone()).collect());
            world.running.extend(batch.iter().map(|thing| self.lane(thing)));
            world.most_running = world.most_running.max(world.running.len());
        });
        let mut results = Vec::new();
        for thing in batch {
            tokio::time::sleep(Duration::from_millis(1)).await;
            self.world(|world| world.settled.push(thing.0.clone()));
            results.push(self.one(ctx, &thing.0).await);
            self.world(|world| world.running.remove(&self.lane(thing)));
        }
        results
    }

    fn survey(&self, _ctx: &Ctx, scope: SurveyScope) -> impl Stream<Item = Result<Thing, Failure>> + Send {
        let (keys, fails) = self.world(|world| {
            world.surveys.push(scope);
            let keys: BTreeSet<_> = world.truth.keys().chain(world.made.keys()).cloned().collect();
            (keys, world.survey_fails)
        });
        let keys: Vec<_> = if fails {
            vec![Err(Failure::retry("the listing failed"))]
        } else {
            keys.into_iter().map(|k| Ok(Thing(k))).collect()
        };
        stream::iter(keys)
    }

    fn announce(&self, change: &Change) -> Option<Announcement> {
        Some(Announcement {
            topic: "toy.made".to_owned(),
            schema: "toy.made.v1".to_owned(),
            severity: Severity::Info,
            body: json!({"subject": change.fact.subject, "value": change.fact.value, "previous": change.previous}),
        })
    }
}

/// A toy whose queue others consume too.
pub struct Sharing(pub Toy);

impl Consumer for Sharing {
    const NAME: &'static str = Toy::NAME;
    const SHARES_QUEUE: bool = true;
    type Event = Event;
    type Key = Thing;

    fn affected(&self, event: &Event) -> Vec<Thing> {
        self.0.affected(event)
    }

    async fn settle(&self, ctx: &Ctx, batch: &[Thing]) -> Vec<Result<Settled<Thing>, Failure>> {
        self.0.settle(ctx, batch).await
    }

    fn survey(&self, ctx: &Ctx, scope: SurveyScope) -> impl Stream<Item = Result<Thing, Failure>> + Send {
        self.0.survey(ctx, scope)
    }

    fn announce(&self, change: &Change) -> Option<Announcement> {
        self.0.announce(change)
    }
}

/// A message that names things.
pub fn changed(id: &str, things: &[&str]) -> Message {
    message(id, "org.fedoraproject.prod.toy.changed", &serde_json::to_vec(things).unwrap())
}

pub fn message(id: &str, topic: &str, body: &[u8]) -> Message {
    Message {
        topic: topic.to_owned(),
        id: id.to_owned(),
        headers: serde_json::Map::new(),
        severity: Severity::Info,
        sent_at: None,
        priority: None,
        body: body.to_vec(),
    }
}

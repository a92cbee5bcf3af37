//! Queues and bindings as the configuration wants them, on a fresh connection. Makes what it may, waits for what others
//! must make, and knows when messages may have been lost.

use std::{future::Future, sync::Arc, time::Duration};

use flatbus_base::Random;
use lapin::{
    Channel, Consumer,
    options::{BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions},
    protocol::AMQPSoftError,
    types::{FieldTable, ShortString},
};
use tokio::time::timeout;
use tracing::warn;

use super::{
    connect::Link,
    trouble::{self, Trouble},
    wire,
};
use crate::{
    Config,
    config::{Binding, Queue},
};

/// What outlives a connection.
#[derive(Clone)]
pub(super) struct Topology {
    config: Arc<Config>,
    random: Random,
    /// The name of the queue that the configuration leaves unnamed: a UUID, as the public broker demands.
    own_name: String,
    /// A queue was not there, or had to be made: messages may have been missed. Until it is told.
    pub gap: bool,
}

/// A channel that consumes.
pub(super) struct Consuming {
    pub channel: Channel,
    pub consumers: Vec<(String, Consumer)>,
}

impl Topology {
    pub fn new(config: Arc<Config>, random: Random) -> Self {
        let own_name = random.uuid().to_string();
        Self { config, random, own_name, gap: false }
    }

    /// Declares, binds and consumes, all within the handshake's time for each step.
    pub async fn set_up(&mut self, link: &Link) -> Result<Consuming, Trouble> {
        let config = Arc::clone(&self.config);
        for queue in &config.queues {
            self.declare(link, queue).await?;
            self.bind(link, queue).await?;
        }
        let channel = self.in_time("opening a channel", link.channel()).await?;
        let qos = channel.basic_qos(config.prefetch_count.get(), BasicQosOptions::default());
        self.in_time("the prefetch count", qos).await?;
        let mut consumers = Vec::with_capacity(config.queues.len());
        for queue in &config.queues {
            let name = self.name_of(queue);
            let consumer = self.consume(&channel, &name).await?;
            consumers.push((name, consumer));
        }
        Ok(Consuming { channel, consumers })
    }

    fn name_of(&self, queue: &Queue) -> String {
        if queue.name.is_empty() { self.own_name.clone() } else { queue.name.clone() }
    }

    /// Looks first whether it is there, on a channel of its own: a look that fails closes the channel.
    async fn declare(&mut self, link: &Link, queue: &Queue) -> Result<(), Trouble> {
        let name = self.name_of(queue);
        let looked = self.try_declare(link, queue, &name, true).await?;
        match looked.as_ref().map_err(trouble::soft) {
            Ok(()) if queue.passive => return Ok(()),
            Ok(()) => {}
            Err(Some(AMQPSoftError::NOTFOUND)) => {
                self.gap = true;
                if queue.passive {
                    return Err(Trouble::QueueMissing { queue: name });
                }
            }
            // An exclusive queue of our last connection, whose end the broker has not noticed yet.
            Err(Some(AMQPSoftError::RESOURCELOCKED)) if queue.name.is_empty() => {
                self.gap = true;
                self.own_name = self.random.uuid().to_string();
            }
            // Looking may be refused where making is allowed.
            Err(Some(AMQPSoftError::ACCESSREFUSED)) if !queue.passive => self.gap = true,
            Err(_) => {}
        }
        if let (Err(error), true) = (looked, queue.passive) {
            return Err(unusable(name, &error));
        }
        let name = self.name_of(queue);
        self.try_declare(link, queue, &name, false).await?.map_err(|error| unusable(name, &error))
    }

    /// The outer error is the connection's, the inner one the broker's answer.
    async fn try_declare(
        &self,
        link: &Link,
        queue: &Queue,
        name: &str,
        passive: bool,
    ) -> Result<lapin::Result<()>, Trouble> {
        let channel = self.in_time("opening a channel", link.channel()).await?;
        let options = QueueDeclareOptions {
            passive,
            durable: queue.durable,
            exclusive: queue.exclusive,
            auto_delete: queue.auto_delete,
            nowait: false,
        };
        let declaring = channel.queue_declare(short(name), options, wire::arguments(&queue.arguments));
        let declared = self.answer("declaring a queue", declaring).await?;
        Ok(declared.map(|_| ()))
    }

    /// A binding that a passive queue may not make is its administrators' to make: said, and gone without.
    async fn bind(&self, link: &Link, queue: &Queue) -> Result<(), Trouble> {
        let name = self.name_of(queue);
        for binding in &queue.bindings {
            for routing_key in &binding.routing_keys {
                let Err(error) = self.try_bind(link, &name, binding, routing_key).await? else { continue };
                let refused = Trouble::Binding {
                    queue: name.clone(),
                    exchange: binding.exchange.clone(),
                    routing_key: routing_key.clone(),
                    said: trouble::said(&error),
                };
                if !queue.passive {
                    return Err(refused);
                }
                warn!(queue = name, "{refused}; taking it as made by the broker's administrators");
            }
        }
        Ok(())
    }

    async fn try_bind(
        &self,
        link: &Link,
        queue: &str,
        binding: &Binding,
        routing_key: &str,
    ) -> Result<lapin::Result<()>, Trouble> {
        let channel = self.in_time("opening a channel", link.channel()).await?;
        let binding = channel.queue_bind(
            short(queue),
            short(&binding.exchange),
            short(routing_key),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        self.answer("binding a queue", binding).await
    }

    async fn consume(&self, channel: &Channel, name: &str) -> Result<Consumer, Trouble> {
        let tag = short(&self.random.uuid().to_string());
        let options = BasicConsumeOptions::default();
        let consuming = channel.basic_consume(short(name), tag, options, FieldTable::default());
        self.answer("consuming", consuming).await?.map_err(|error| unusable(name.to_owned(), &error))
    }

    /// A step whose refusal is the connection's end.
    async fn in_time<T>(
        &self,
        phase: &'static str,
        step: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, Trouble> {
        self.answer(phase, step).await?.map_err(|error| self.lost(&error))
    }

    /// A step that the broker may refuse without closing the connection.
    async fn answer<T>(
        &self,
        phase: &'static str,
        step: impl Future<Output = lapin::Result<T>>,
    ) -> Result<lapin::Result<T>, Trouble> {
        let after: Duration = self.config.broker.handshake_timeout;
        let answer = timeout(after, step).await.map_err(|_| Trouble::Silent {
            address: self.config.broker.address(),
            phase,
            after,
            hint: "",
        })?;
        match answer {
            Err(error) if trouble::soft(&error).is_none() => Err(self.lost(&error)),
            answer => Ok(answer),
        }
    }

    /// The connection ended in good order, and not by us.
    pub fn closed(&self) -> Trouble {
        Trouble::Lost { address: self.config.broker.address(), said: "the broker closed it".into() }
    }

    /// What we sent was not taken within `after`.
    pub fn stuck(&self, after: Duration) -> Trouble {
        let address = self.config.broker.address();
        Trouble::Silent { address, phase: "taking an acknowledgement", after, hint: "" }
    }

    pub fn lost(&self, error: &lapin::Error) -> Trouble {
        Trouble::Lost { address: self.config.broker.address(), said: trouble::said(error) }
    }
}

fn unusable(queue: String, error: &lapin::Error) -> Trouble {
    Trouble::Queue { queue, said: trouble::said(error), hint: trouble::queue_hint(error) }
}

/// Names were measured when the configuration was read.
fn short(name: &str) -> ShortString {
    ShortString::try_new(name).unwrap_or_default()
}

//! Who publishes and who listens: plain clients, that try again until they are confirmed.

use std::{collections::BTreeMap, time::Duration};

use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{
        BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions, QueueDeclareOptions,
        QueueDeleteOptions,
    },
    types::FieldTable,
};
use serde_json::Value;
use tokio::{sync::watch, task::JoinSet, time::sleep};

use super::{Books, COUNTED, NAMED, QUEUE};

/// An exchange that every broker has, and that heeds no routing key.
pub const FANOUT: &str = "amq.fanout";
const EAR: &str = "ear";
/// Between two messages of those who keep talking.
const BREATH: Duration = Duration::from_millis(25);
const RETRY_WAIT: Duration = Duration::from_millis(100);

/// A plain client of a broker.
pub struct Client {
    pub channel: Channel,
    _connection: Connection,
}

impl Client {
    pub async fn connect(url: &str) -> lapin::Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { channel, _connection: connection })
    }

    /// The queue as an administrator makes it.
    pub async fn make_queue(&self, name: &str, routing_key: &str) {
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(name.into(), options, FieldTable::default()).await.unwrap();
        let (options, table) = (QueueBindOptions::default(), FieldTable::default());
        let binding =
            self.channel.queue_bind(name.into(), "amq.topic".into(), routing_key.into(), options, table);
        binding.await.unwrap();
    }

    /// Whatever is published to `amq.fanout` comes to the queue too, whatever its routing key is.
    pub async fn feed_from_fanout(&self, queue: &str) {
        let (options, table) = (QueueBindOptions::default(), FieldTable::default());
        let binding = self.channel.queue_bind(queue.into(), FANOUT.into(), "".into(), options, table);
        binding.await.unwrap();
    }

    pub async fn delete_queue(&self, name: &str) {
        self.channel.queue_delete(name.into(), QueueDeleteOptions::default()).await.unwrap();
    }

    /// Messages in a queue that are nobody's; none where there is no such queue, or no broker.
    pub async fn ready(&self, name: &str) -> Option<u32> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let looked = self.channel.queue_declare(name.into(), options, FieldTable::default()).await;
        looked.ok().map(|queue| queue.message_count())
    }

    async fn publish(&self, thing: &str) -> lapin::Result<bool> {
        let properties = BasicProperties::default()
            .with_content_encoding("utf-8".into())
            .with_delivery_mode(2)
            .with_message_id(thing.into());
        let body = serde_json::json!({"thing": thing}).to_string();
        let options = BasicPublishOptions::default();
        let sent = self.channel.basic_publish(
            "amq.topic".into(),
            NAMED.into(),
            options,
            body.as_bytes(),
            properties,
        );
        Ok(sent.await?.await?.is_ack())
    }
}

/// Publishes messages that name one thing each, every one until the broker confirms it.
pub struct Crowd {
    url: String,
    books: Books,
    hushed: watch::Sender<bool>,
    talking: JoinSet<()>,
}

impl Crowd {
    pub fn new(url: &str, books: &Books) -> Self {
        let hushed = watch::Sender::new(false);
        Self { url: url.to_owned(), books: books.clone(), hushed, talking: JoinSet::new() }
    }

    /// Publishes so many, and hands back what they name once all are confirmed.
    pub async fn say(&self, count: usize) -> Vec<String> {
        let mut voice = Voice::new(&self.url, &self.books);
        let mut said = Vec::new();
        for _ in 0..count {
            said.push(voice.say().await);
        }
        said
    }

    /// Publishes one after the other, through every fault, until [`Self::hush`].
    pub fn talk(&mut self) {
        let (mut voice, hushed) = (Voice::new(&self.url, &self.books), self.hushed.subscribe());
        self.talking.spawn(async move {
            while !*hushed.borrow() {
                voice.say().await;
                sleep(BREATH).await;
            }
        });
    }

    /// Ends the talk, with its last message confirmed.
    pub async fn hush(&mut self) {
        self.hushed.send_replace(true);
        while let Some(ended) = self.talking.join_next().await {
            ended.unwrap();
        }
    }
}

struct Voice {
    url: String,
    books: Books,
    client: Option<Client>,
}

impl Voice {
    fn new(url: &str, books: &Books) -> Self {
        Self { url: url.to_owned(), books: books.clone(), client: None }
    }

    async fn say(&mut self) -> String {
        let thing = {
            let mut books = self.books.open();
            let thing = format!("thing-{:05}", books.said.len());
            books.said.insert(thing.clone());
            thing
        };
        while !self.try_to_say(&thing).await {
            self.client = None;
            sleep(RETRY_WAIT).await;
        }
        self.books.open().confirmed.insert(thing.clone());
        thing
    }

    async fn try_to_say(&mut self, thing: &str) -> bool {
        if self.client.is_none() {
            self.client = Client::connect(&self.url).await.ok();
        }
        let Some(client) = &self.client else { return false };
        client.publish(thing).await.unwrap_or(false)
    }
}

/// Keeps every announcement.
pub struct Ear {
    url: String,
    heard: BTreeMap<String, u32>,
}

impl Ear {
    pub async fn new(url: &str) -> Self {
        Client::connect(url).await.unwrap().make_queue(EAR, COUNTED).await;
        Self { url: url.to_owned(), heard: BTreeMap::new() }
    }

    /// How often each thing was announced.
    pub async fn heard(&mut self) -> &BTreeMap<String, u32> {
        let client = Client::connect(&self.url).await.unwrap();
        let options = BasicGetOptions { no_ack: true };
        while let Some(told) = client.channel.basic_get(EAR.into(), options).await.unwrap() {
            let body: Value = serde_json::from_slice(&told.delivery.data).unwrap();
            *self.heard.entry(body["thing"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        &self.heard
    }
}

/// Waits until the broker is well: it answers, and the queue is there.
pub async fn until_well(url: &str) {
    loop {
        if let Ok(client) = Client::connect(url).await
            && client.ready(QUEUE).await.is_some()
        {
            return;
        }
        sleep(RETRY_WAIT).await;
    }
}

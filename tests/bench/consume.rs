//! What `tests/bench/run consume` measures: a toy consumer on the real runtime, bus and ledger, whose every update marks a
//! key and whose settling is held back; and, with `--bare`, an AMQP consumer that records nothing. Ends after so many
//! messages and says on one line how long they took, from the first delivery to the last acknowledgement.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use clap::Parser;
use flatbus_base::{Clock, Random, SystemClock};
use flatbus_bus::{AmqpPublisher, AmqpSource, Config};
use flatbus_ledger::{SledStore, StoreOptions};
use flatbus_runtime::{
    Change, Consumer, Ctx, Ends, Failure, Manager, Parts, Settings, Settled, SurveyScope, Unit, Unwatched,
};
use flatbus_schemas::{Announcement, FedoraEvent, Limits};
use flatbus_telemetry::{
    logs,
    metrics::{Counter, Metrics},
};
use futures::{FutureExt, Stream, StreamExt};
use lapin::{
    Connection, ConnectionProperties,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How often it is looked whether all was consumed.
const LOOK_EVERY: Duration = Duration::from_millis(1);

#[derive(Parser)]
struct Options {
    /// The broker.
    #[arg(long)]
    url: String,
    /// A durable queue that holds the messages.
    #[arg(long)]
    queue: String,
    /// How many messages it holds.
    #[arg(long)]
    count: u64,
    /// Unacknowledged deliveries.
    #[arg(long)]
    prefetch: u16,
    /// Where the ledger goes.
    #[arg(long, required_unless_present = "bare")]
    ledger: Option<PathBuf>,
    /// Only consume and acknowledge.
    #[arg(long)]
    bare: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let options = Options::parse();
    let took = if options.bare { bare(&options).await? } else { recorded(&options).await? };
    #[expect(clippy::print_stdout, reason = "the figure is what this is for")]
    {
        println!("{}", serde_json::json!({ "messages": options.count, "consume_s": took.as_secs_f64() }));
    }
    Ok(())
}

async fn recorded(options: &Options) -> anyhow::Result<Duration> {
    logs::init(logs::Format::Text, Some("warn,lapin=off"))?;
    let (stop, metrics) = (CancellationToken::new(), Metrics::new(Toy::NAME));
    let (unit, ends) = unit(options, stop.clone(), metrics.clone()).await?;
    let mut running = JoinSet::new();
    running.spawn(unit.run(ends));
    let took = tokio::select! {
        took = watch(&metrics, options.count) => took,
        ended = running.join_next() => anyhow::bail!("ended before all was consumed: {ended:?}"),
    };
    stop.cancel();
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    Ok(took)
}

async fn unit(
    options: &Options,
    stop: CancellationToken,
    metrics: Metrics,
) -> anyhow::Result<(Unit<Toy>, Ends)> {
    let path = options.ledger.clone().context("--ledger is needed")?;
    let clock = Arc::new(SystemClock);
    let opened = SledStore::open(&path, &StoreOptions::new(clock.wall()))?;
    let settings = Settings {
        state_dir: path,
        drain_timeout: Duration::ZERO,
        doubtful_max: usize::try_from(options.count)?.saturating_add(1),
        ..Settings::of(Toy::NAME)
    };
    let parts = Parts {
        store: opened.store,
        files: opened.files,
        set_aside: opened.moved_aside,
        clock,
        random: Random::from_seed(1),
        metrics,
        gather: Box::new(|_| {}),
        progress: Arc::new(Unwatched),
        stop,
    };
    let config = config(options)?;
    let source = AmqpSource::new(config.clone(), Random::from_seed(2), Toy::NAME, Limits::default())?;
    let ends = Ends {
        source: Box::new(source),
        publisher: Arc::new(AmqpPublisher::new(config, Toy::NAME)),
        socket: None,
        monitoring: None,
        local_door: None,
        manager: Manager::default(),
    };
    Ok((Unit::open(Toy, settings, parts).await?, ends))
}

fn config(options: &Options) -> anyhow::Result<Config> {
    let Options { url, queue, prefetch, .. } = options;
    let text = format!(
        "amqp_url = {url:?}\npassive_declares = true\n[queues.{queue}]\ndurable = true\nauto_delete = false\nexclusive = false\narguments = {{}}\n\
         [[bindings]]\nqueue = {queue:?}\nexchange = \"amq.topic\"\nrouting_keys = [\"#\"]\n[qos]\nprefetch_size = 0\nprefetch_count = {prefetch}\n"
    );
    Ok(Config::from_toml(&text, "bench.toml".as_ref())?.0)
}

/// From the first delivery to the last acknowledgement.
async fn watch(metrics: &Metrics, count: u64) -> Duration {
    while metrics.get(Counter::Received) == 0 {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let began = SystemClock.monotonic();
    while metrics.get(Counter::Acked) < count {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    SystemClock.monotonic() - began
}

/// What the fastest possible consumer would do: take what is there, acknowledge it together.
async fn bare(options: &Options) -> anyhow::Result<Duration> {
    let connection = Connection::connect(&options.url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(options.prefetch, BasicQosOptions::default()).await?;
    let (queue, named) = (options.queue.as_str().into(), "bench".into());
    let mut deliveries =
        channel.basic_consume(queue, named, BasicConsumeOptions::default(), FieldTable::default()).await?;
    let (mut left, mut began) = (options.count, None);
    while left > 0 {
        let mut last = deliveries.next().await.context("the broker stopped delivering")??;
        began.get_or_insert_with(|| SystemClock.monotonic());
        left -= 1;
        while let Some(Some(next)) = deliveries.next().now_or_never() {
            last = next?;
            left -= 1;
        }
        last.acker.ack(BasicAckOptions { multiple: true }).await?;
    }
    let took = began.map_or(Duration::ZERO, |began| SystemClock.monotonic() - began);
    connection.close(200, "done".into()).await?;
    Ok(took)
}

/// Marks every update, settles none.
struct Toy;

impl Consumer for Toy {
    const NAME: &'static str = "bench";
    type Event = FedoraEvent;
    type Key = String;

    fn affected(&self, event: &FedoraEvent) -> Vec<String> {
        match event {
            FedoraEvent::Update(event) => event.update.alias.clone().into_iter().collect(),
            FedoraEvent::BuildState(_) | FedoraEvent::BuildTag(_) | FedoraEvent::Comment(_) => Vec::new(),
            FedoraEvent::Compose(_) | FedoraEvent::TagMoved(_) => Vec::new(),
            FedoraEvent::IndexPublished(_) | FedoraEvent::KeyParked(_) => Vec::new(),
            FedoraEvent::Unrelated => Vec::new(),
        }
    }

    async fn settle(&self, _ctx: &Ctx, _batch: &[String]) -> Vec<Result<Settled<String>, Failure>> {
        std::future::pending().await
    }

    fn survey(&self, _ctx: &Ctx, _scope: SurveyScope) -> impl Stream<Item = Result<String, Failure>> + Send {
        flatbus_runtime::no_survey()
    }

    fn announce(&self, _change: &Change) -> Option<Announcement> {
        None
    }
}

use std::time::Duration;

use serde::Deserialize;

use super::*;

const FILE: &str = "/etc/flatbus/mirror.toml";

fn read(text: &str) -> Config {
    Config::from_toml(text, Path::new(FILE)).unwrap().0
}

fn warnings(text: &str) -> Vec<String> {
    Config::from_toml(text, Path::new(FILE)).unwrap().1
}

fn refusal(text: &str) -> String {
    Config::from_toml(text, Path::new(FILE)).unwrap_err().to_string()
}

fn url(text: &str) -> Broker {
    read(&format!("amqp_url = {text:?}")).broker
}

/// Every key of the library, as a site would write it.
const FULL: &str = r##"
amqp_url = "amqps://fedora:@rabbitmq.example.org/%2Fpublic_pubsub?heartbeat=30&retry_delay=2.5&connection_attempts=3"
callback = "fedora_messaging.example:printer"
passive_declares = false
publish_exchange = "my.exchange"
topic_prefix = "org.fedoraproject.stg."
publish_priority = 3

[tls]
ca_cert = "/etc/fedora-messaging/cacert.pem"
keyfile = "/etc/fedora-messaging/fedora-key.pem"
certfile = "/etc/fedora-messaging/fedora-cert.pem"

[client_properties]
app = "Example Application"
app_url = "https://example.org/"
app_contacts_email = ["someuser@example.org", "other@example.org"]

[exchanges."amq.topic"]
type = "topic"
durable = true
auto_delete = false
arguments = {}

[queues.00000000-0000-0000-0000-000000000000]
durable = true
auto_delete = false
exclusive = false
arguments = { x-max-length = 1000, x-queue-type = "classic" }

[[bindings]]
queue = "00000000-0000-0000-0000-000000000000"
exchange = "amq.topic"
routing_keys = ["#.bodhi.#", "#.buildsys.#"]

[consumer_config]
anything = { goes = [1, 2] }

[qos]
prefetch_size = 0
prefetch_count = 25

[monitoring]
address = "127.0.0.1"
port = 8000

[log_config]
version = 1
[log_config.root]
level = "WARNING"
"##;

#[test]
fn every_key_of_the_library_is_read_with_its_meaning() {
    let config = read(FULL);
    assert_eq!(config.broker.address(), "rabbitmq.example.org:5671");
    assert_eq!(config.broker.vhost, "/public_pubsub");
    assert_eq!((config.broker.username.as_str(), config.broker.password.expose()), ("fedora", ""));
    assert_eq!((config.broker.heartbeat_s, config.broker.retry_delay), (30, Duration::from_millis(2500)));
    assert!(config.external_auth());
    assert_eq!(config.tls.ca_cert.as_deref(), Some(Path::new("/etc/fedora-messaging/cacert.pem")));
    assert_eq!(config.client_properties["app_contacts_email"], "someuser@example.org, other@example.org");
    assert_eq!(config.client_properties["product"], "flatbus");
    let [queue] = &config.queues[..] else { panic!("{:?}", config.queues) };
    assert!(queue.durable && !queue.auto_delete && !queue.exclusive && !queue.passive);
    assert_eq!(queue.arguments["x-max-length"], Value::Integer(1000));
    assert_eq!(queue.bindings[0].routing_keys, ["#.bodhi.#", "#.buildsys.#"]);
    assert_eq!(config.prefetch_count.get(), 25);
    assert_eq!((config.publish_exchange.as_str(), config.publish_priority), ("my.exchange", Some(3)));
    assert_eq!(config.full_topic("flatbus.tag.moved"), "org.fedoraproject.stg.flatbus.tag.moved");
}

#[test]
fn an_empty_file_means_the_librarys_defaults() {
    let config = read("");
    assert_eq!(config, Config::default());
    assert_eq!((config.broker.address().as_str(), config.broker.vhost.as_str()), ("localhost:5672", "/"));
    let [queue] = &config.queues[..] else { panic!("{:?}", config.queues) };
    assert!(queue.name.is_empty() && queue.exclusive && queue.auto_delete && !queue.durable);
    assert_eq!(queue.bindings, [Binding { exchange: "amq.topic".into(), routing_keys: vec!["#".into()] }]);
    assert_eq!((config.prefetch_count.get(), config.publish_exchange.as_str()), (10, "amq.topic"));
    assert_eq!(config.full_topic("a.b"), "a.b");
    assert!(!config.external_auth());
}

#[test]
fn top_level_keys_are_lower_cased_as_the_library_does() {
    assert_eq!(read("Topic_Prefix = 'a'").topic_prefix, "a");
    assert_eq!(
        refusal("topic_prefix = 'a'\nTOPIC_PREFIX = 'b'"),
        format!("{FILE}:1:1: topic_prefix: given twice, in different case"),
    );
}

#[test]
fn what_only_python_reads_is_accepted_with_a_warning_that_says_where() {
    let said = warnings("\ncallback = 'a:b'\n[log_config]\nversion = 1");
    assert_eq!(said[0], format!("{FILE}:2:12: callback: is for Python consumers and has no effect here"));
    assert!(said[1].starts_with(&format!("{FILE}:3:")) && said[1].contains("log_config"), "{said:?}");
}

#[test]
fn an_unknown_key_is_told_with_its_place_and_the_nearest_known_one() {
    assert_eq!(
        refusal("[qos]\nprefetch_size = 0\n  prefetch_cuont = 5"),
        format!(
            "{FILE}:3:3: qos.prefetch_cuont: unknown key; allowed here: prefetch_count, prefetch_size; \
             did you mean prefetch_count?"
        ),
    );
    let top = refusal("topic_perfix = ''");
    assert!(
        top.starts_with(&format!("{FILE}:1:1: topic_perfix: unknown key; allowed here: amqp_url, ")),
        "{top}"
    );
    assert!(top.ends_with("did you mean topic_prefix?"), "{top}");
    let far = refusal("xyzzy = 1");
    assert!(!far.contains("did you mean"), "{far}");
}

#[test]
fn each_wrong_value_is_told_with_its_place() {
    let queue = "[queues.q]\ndurable = true\nauto_delete = false\nexclusive = false\n";
    let cases = [
        ("amqp_url = 5", "1:12: amqp_url: invalid type: integer `5`, expected a string"),
        ("passive_declares = 'hunter2'", "1:20: passive_declares: a string stands here, expected a boolean"),
        (
            "[tls]\nca_certs = ''",
            "2:1: tls.ca_certs: unknown key; allowed here: ca_cert, certfile, keyfile; did you mean ca_cert?",
        ),
        ("[tls]\nca_cert = ''", "2:11: tls.ca_cert: is empty: name a PEM file, or leave the key out"),
        ("[tls]\ncertfile = 'a'", "2:12: tls.certfile: needs tls.keyfile beside it"),
        ("[tls]\nkeyfile = 'a'", "2:11: tls.keyfile: needs tls.certfile beside it"),
        (
            "[client_properties]\nproduct = 'mine'",
            "2:1: client_properties.product: is reserved: it says which software this is",
        ),
        (queue, "1:1: queues.q: the key arguments is missing"),
        (
            &format!("{queue}arguments = {{}}\nexlusive = 1"),
            "6:1: queues.q.exlusive: unknown key; allowed here: durable, auto_delete, exclusive, arguments, passive; did you mean exclusive?",
        ),
        (
            &format!("passive_declares = true\n[queues.'']\n{}arguments = {{}}", &queue[11..]),
            "2:9: queues.: a queue without a name can't be declared passively: name the queue that the broker's administrators made",
        ),
        ("[[bindings]]\nexchange = 'amq.topic'", "1:1: bindings: the key routing_keys is missing"),
        (
            "[[bindings]]\nexchange = 'a'\nrouting_keys = 'b'",
            "3:16: bindings.routing_keys: a string stands here, expected a sequence",
        ),
        (
            "[[bindings]]\nrouting_key = ['b']",
            "2:1: bindings.routing_key: unknown key; allowed here: queue, exchange, routing_keys; did you mean routing_keys?",
        ),
        (
            "[exchanges.a]\nkind = 'topic'",
            "2:1: exchanges.a.kind: unknown key; allowed here: type, durable, auto_delete, arguments",
        ),
        (
            "[qos]\nprefetch_count = 0",
            "2:18: qos.prefetch_count: must be from 1 to 65535 (0, no limit, would need endless memory)",
        ),
        ("[qos]\nprefetch_size = 9", "2:17: qos.prefetch_size: must be 0: RabbitMQ does not limit by size"),
        ("publish_priority = 256", "1:20: publish_priority: must be from 0 to 255"),
        ("publish_exchange = 1", "1:20: publish_exchange: invalid type: integer `1`, expected a string"),
        ("topic_prefix = 1", "1:16: topic_prefix: invalid type: integer `1`, expected a string"),
    ];
    for (text, expected) in cases {
        assert_eq!(refusal(text), format!("{FILE}:{expected}"), "for {text}");
    }
}

#[test]
fn text_that_is_no_toml_is_told_with_its_place() {
    let said = refusal("topic_prefix = 'a'\nqos = {");
    assert!(said.starts_with(&format!("{FILE}:2:")), "{said}");
    assert!(refusal(&"#".repeat(CONFIG_BYTES_MAX + 1)).contains("not a configuration file"));
}

#[test]
fn the_url_means_what_pika_takes_it_for() {
    assert_eq!(url("amqp://").vhost, "/");
    assert_eq!(url("amqp://host/").vhost, "/");
    assert_eq!(url("amqp://host/%2F").vhost, "/");
    assert_eq!(url("amqp://host/%2Fpubsub").vhost, "/pubsub");
    assert_eq!(url("amqp://host/a%25b").vhost, "a%b");
    assert_eq!(url("amqps://host").port, 5671);
    let user = url("amqp://us%40er:p%2Fw@host:10000");
    assert_eq!((user.username.as_str(), user.password.expose(), user.port), ("us@er", "p/w", 10000));
    let guest = url("amqp://host");
    assert_eq!((guest.username.as_str(), guest.password.expose()), ("guest", "guest"));
    let timed = url("amqp://host?socket_timeout=1.5&stack_timeout=4&heartbeat=0");
    assert_eq!(timed.connect_timeout, Duration::from_millis(1500));
    assert_eq!((timed.handshake_timeout, timed.heartbeat_s), (Duration::from_secs(4), 0));
}

#[test]
fn an_ipv6_address_is_kept() {
    let broker = url("amqps://[2001:db8::1]:5673/%2F");
    assert_eq!((broker.host.as_str(), broker.address().as_str()), ("2001:db8::1", "[2001:db8::1]:5673"));
}

#[test]
fn a_wrong_url_is_refused_without_being_shown() {
    for (wrong, why) in [
        ("http://u:hunter2@host", "must start with amqp:// or amqps://"),
        ("amqp://u:hunter2@host:99999", "not a URL"),
        ("amqp://u:hunter2@host?hartbeat=1", "did you mean heartbeat?"),
        ("amqp://u:hunter2@host?heartbeat=x", "heartbeat must be seconds"),
        ("amqp://u:hunter2@host?retry_delay=-1", "retry_delay must be seconds above 0"),
        ("amqp://u:hunter2@host?ssl_options={}", "use the table [tls]"),
        ("amqp://u:hunter2%@host", "without two hexadecimal digits"),
        ("amqp://u:hunter2@host/%ff", "not UTF-8"),
    ] {
        let said = refusal(&format!("amqp_url = {wrong:?}"));
        assert!(said.contains(why) && !said.contains("hunter2"), "{said}");
        assert!(said.starts_with(&format!("{FILE}:1:12: amqp_url: ")), "{said}");
    }
    assert!(!format!("{:?}", url("amqp://u:hunter2@host")).contains("hunter2"));
}

#[test]
fn certificates_without_amqps_change_nothing_and_say_so() {
    let text = "[tls]\ncertfile = 'a'\nkeyfile = 'b'";
    assert!(!read(text).external_auth());
    assert!(warnings(text)[0].contains("amqp_url is not amqps://"));
}

#[test]
fn a_binding_without_a_queue_is_of_the_unnamed_one_and_of_no_queue_is_warned_of() {
    let unnamed = read("[[bindings]]\nexchange = 'e'\nrouting_keys = ['k']");
    assert_eq!(
        unnamed.queues[0].bindings,
        [Binding { exchange: "e".into(), routing_keys: vec!["k".into()] }]
    );
    let text = "[[bindings]]\nqueue = 'q'\nexchange = 'e'\nrouting_keys = ['k']";
    assert_eq!(read(text).queues[0].bindings, []);
    assert!(warnings(text)[0].contains(":2:9: bindings.queue: names a queue that is not in [queues]"));
}

#[test]
fn another_crate_reads_its_own_section_from_the_same_text() {
    #[derive(Debug, Deserialize)]
    struct Own {
        consumer_config: Section,
    }
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Section {
        source: String,
    }
    let path = Path::new(FILE);
    let own: Own = parse("topic_prefix = 'a'\n[consumer_config]\nsource = 'x'", path).unwrap();
    assert_eq!(own.consumer_config.source, "x");
    let error = parse::<Own>("[consumer_config]\nsorce = 'x'", path).unwrap_err();
    assert_eq!((error.line, error.column, error.key.as_str()), (2, 1, "consumer_config.sorce"));
    assert_eq!(error.nearest.as_deref(), Some("source"));
}

#[test]
fn a_value_that_is_none_of_those_allowed_is_not_shown() {
    #[derive(Debug, Deserialize)]
    struct Own {
        #[serde(rename = "writer")]
        _writer: Writer,
    }
    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Writer {
        Mirror,
    }
    let error = parse::<Own>("writer = 'hunter2'", Path::new(FILE)).unwrap_err();
    assert_eq!(error.to_string(), format!("{FILE}:1:10: writer: unknown value; allowed here: mirror"));
}

#[test]
fn a_key_of_any_length_and_letters_is_told_in_one_short_line() {
    for key in ["x".repeat(100_000), "a\\n\\u001b[31m".to_owned()] {
        let said = refusal(&format!("[qos]\n\"{key}\" = 1"));
        assert!(said.len() < 1024 && !said.contains(char::is_control), "{said:.300}");
    }
}

use super::*;

fn config(text: &str) -> Config {
    Config::from_toml(text, Path::new("mirror.toml")).unwrap().0
}

const PRIVATE: &str = "
        amqp_url = 'amqps://mirror:hunter2@rabbitmq.example.org/%2Fpubsub'
        passive_declares = true
        topic_prefix = 'org.fedoraproject.prod'
        [queues.flatbus-mirror]
        durable = true
        auto_delete = false
        exclusive = false
        arguments = { x-max-priority = 3 }
        [[bindings]]
        queue = 'flatbus-mirror'
        exchange = 'amq.topic'
        routing_keys = ['org.fedoraproject.prod.bodhi.#']
    ";

/// Signed by itself, with a key that nobody kept: `/O=Fedora/CN=flatbus-mirror`.
const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBqDCCAU+gAwIBAgIUWIbz4Eg4z7HN3raN5tzFoNrsK8wwCgYIKoZIzj0EAwIw
KjEPMA0GA1UECgwGRmVkb3JhMRcwFQYDVQQDDA5mbGF0YnVzLW1pcnJvcjAeFw0y
NjExMjMwNTM4NDdaFw0zNjExMjAwNTM4NDdaMCoxDzANBgNVBAoMBkZlZG9yYTEX
MBUGA1UEAwwOZmxhdGJ1cy1taXJyb3IwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AARDgZP2u58bq2Nw8kOwop+VxL4AnYj2WQVGHcAjpa++SjLfDUw0YwsQPZCDx9AC
HCsNWNLuKLqa9xBI1wZzKWNmo1MwUTAdBgNVHQ4EFgQU6oLnflSsoz0Crt2fCxCa
oCeF8SowHwYDVR0jBBgwFoAU6oLnflSsoz0Crt2fCxCaoCeF8SowDwYDVR0TAQH/
BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiADzLlma5TiDlnSXXTfHI86Yy6U8oZn
oPc+MgjzpGoMCQIgYyFCUIvsKW4BqqOhyUxcS/2ZrfeqKCTyzx3hxVS0Pvo=
-----END CERTIFICATE-----
";

#[test]
fn a_request_says_everything_an_administrator_must_type() {
    let text = broker_request(&config(PRIVATE), Some("flatbus-mirror")).unwrap();
    for line in [
        "Request for the broker rabbitmq.example.org:5671, virtual host /pubsub",
        "rabbitmqctl set_permissions --vhost /pubsub flatbus-mirror '^$' '^amq\\.topic$' '^(flatbus-mirror)$'",
        "rabbitmqctl set_topic_permissions --vhost /pubsub flatbus-mirror amq.topic \
             '^org\\.fedoraproject\\.prod\\.flatbus\\..*$' '.*'",
        "rabbitmqadmin --vhost=/pubsub declare queue name=flatbus-mirror durable=true auto_delete=false \
             arguments='{\"x-max-priority\":3}'",
        "rabbitmqadmin --vhost=/pubsub declare binding source=amq.topic destination=flatbus-mirror \
             routing_key='org.fedoraproject.prod.bodhi.#'",
    ] {
        assert!(text.contains(line), "{line}\nis not in\n{text}");
    }
    assert!(!text.contains("hunter2") && !text.contains("Note:"), "{text}");
}

#[test]
fn a_queue_of_another_name_or_of_none_is_remarked_on() {
    let other = broker_request(&config(PRIVATE), Some("mirror")).unwrap();
    assert!(other.contains("a queue's name must begin with its user's name (mirror)"), "{other}");
    let unnamed = broker_request(&config(""), Some("mirror")).unwrap();
    assert!(unnamed.contains("declare queue name=mirror durable=true"), "{unnamed}");
    assert!(unnamed.contains("passive_declares = true, and [queues] names mirror"), "{unnamed}");
}

#[test]
fn the_user_is_the_certificates_common_name() {
    let cert = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&cert, CERTIFICATE).unwrap();
    let tls = format!("{PRIVATE}\n[tls]\ncertfile = '{}'\nkeyfile = '/not/read'", cert.path().display());
    let text = broker_request(&config(&tls), None).unwrap();
    assert!(
        text.contains("flatbus needs the user flatbus-mirror. It logs in with its certificate"),
        "{text}"
    );
    assert!(text.contains("rabbitmqctl clear_password flatbus-mirror"), "{text}");
}

#[test]
fn without_a_name_the_way_out_is_told() {
    let error = broker_request(&config(PRIVATE), None).unwrap_err().to_string();
    assert!(error.contains("give it with --user"), "{error}");
    let missing = format!("{PRIVATE}\n[tls]\ncertfile = '/nowhere.pem'\nkeyfile = '/nowhere.key'");
    let error = broker_request(&config(&missing), None).unwrap_err().to_string();
    assert!(error.contains("/nowhere.pem") && error.contains("--user"), "{error}");
}

#[test]
fn what_a_shell_or_an_expression_would_read_is_escaped() {
    assert_eq!(quoted("it's"), r"'it'\''s'");
    assert_eq!(quoted(""), "''");
    assert_eq!(escaped("a.b+c"), r"a\.b\+c");
}

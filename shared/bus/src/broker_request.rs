//! What the broker's administrators must add before a unit can run on a vhost where it may make nothing itself. A text
//! for a ticket: it asks nobody and changes nothing.

use std::{fmt::Write as _, path::Path};

use flatbus_base::chain;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{Config, SourceError, amqp, config::Queue};

/// Everything flatbus announces has a topic that begins so, after the configured prefix.
const OWN_TOPICS: &str = "flatbus";

/// The request for a configuration: user, queues, bindings, permissions and topic permissions, each with its command.
/// The user is `user`, else who the client certificate says.
///
/// # Errors
/// When no user is given and there is no certificate that names one.
pub fn broker_request(config: &Config, user: Option<&str>) -> Result<String, SourceError> {
    let user = match user {
        Some(user) => user.to_owned(),
        None => certificate_user(config)?,
    };
    let queues = wanted_queues(config, &user);
    let mut text = heading(config, &user);
    user_part(&mut text, config, &user, &queues);
    for queue in &queues {
        queue_part(&mut text, config, &user, queue);
    }
    Ok(text)
}

/// The common name in the client certificate: the user that a broker with `ssl_cert_login_from = common_name` sees.
fn certificate_user(config: &Config) -> Result<String, SourceError> {
    let wrong = |what: String| SourceError::Config(what);
    let Some(client) = &config.tls.client else {
        let hint =
            "there is no client certificate (tls.certfile) to read the user's name from: give it with --user";
        return Err(wrong(hint.into()));
    };
    let file = client.certfile.as_path();
    common_name(file).map_err(|reason| wrong(format!("{reason}; give the user's name with --user")))
}

fn common_name(file: &Path) -> Result<String, String> {
    let certificates = amqp::certificates(file, "tls.certfile").map_err(|error| chain(&error))?;
    let ours = certificates.first().ok_or_else(|| format!("no certificate in {}", file.display()))?;
    let (_, certificate) = X509Certificate::from_der(ours)
        .map_err(|error| format!("the certificate in {} can't be read: {error}", file.display()))?;
    let name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    name.map(str::to_owned).ok_or_else(|| format!("the certificate in {} has no common name", file.display()))
}

/// A queue without a name gets the one its user would have: nobody can be asked to make an unnamed one.
fn wanted_queues(config: &Config, user: &str) -> Vec<Queue> {
    let named = |queue: &Queue| Queue {
        name: if queue.name.is_empty() { user.to_owned() } else { queue.name.clone() },
        durable: queue.durable || queue.name.is_empty(),
        ..queue.clone()
    };
    config.queues.iter().map(named).collect()
}

fn heading(config: &Config, user: &str) -> String {
    let login = if config.external_auth() {
        "It logs in with its certificate (SASL EXTERNAL, the user is the certificate's common name)."
    } else {
        "It logs in with a password."
    };
    format!(
        "Request for the broker {}, virtual host {}\n\nflatbus needs the user {user}. {login}\n",
        config.broker.address(),
        config.broker.vhost,
    )
}

fn user_part(text: &mut String, config: &Config, user: &str, queues: &[Queue]) {
    let vhost = quoted(&config.broker.vhost);
    let read: Vec<String> = queues.iter().map(|queue| escaped(&queue.name)).collect();
    let topics = format!("^{}\\..*$", escaped(&config.full_topic(OWN_TOPICS)));
    let exchange = &config.publish_exchange;
    // Writing to a String can't fail.
    let _ = writeln!(
        text,
        "It makes nothing, publishes to {exchange} what begins with {}, and reads from its queue.\n\n  \
         rabbitmqctl add_user {user} \"$(openssl rand -hex 32)\"{}\n  \
         rabbitmqctl set_permissions --vhost {vhost} {user} '^$' {} {}\n  \
         rabbitmqctl set_topic_permissions --vhost {vhost} {user} {} {} '.*'",
        config.full_topic(OWN_TOPICS),
        if config.external_auth() {
            format!("\n  rabbitmqctl clear_password {}", quoted(user))
        } else {
            String::new()
        },
        quoted(&format!("^{}$", escaped(exchange))),
        quoted(&format!("^({})$", read.join("|"))),
        quoted(exchange),
        quoted(&topics),
        user = quoted(user),
    );
}

fn queue_part(text: &mut String, config: &Config, user: &str, queue: &Queue) {
    let vhost = quoted(&config.broker.vhost);
    let arguments: serde_json::Map<String, serde_json::Value> = amqp::json_arguments(&queue.arguments);
    let _ = writeln!(
        text,
        "\nThe queue {}, and what is routed to it:\n\n  \
         rabbitmqadmin --vhost={vhost} declare queue name={} durable={} auto_delete=false arguments={}",
        queue.name,
        quoted(&queue.name),
        queue.durable,
        quoted(&serde_json::Value::Object(arguments).to_string()),
    );
    for binding in &queue.bindings {
        for routing_key in &binding.routing_keys {
            let _ = writeln!(
                text,
                "  rabbitmqadmin --vhost={vhost} declare binding source={} destination={} routing_key={}",
                quoted(&binding.exchange),
                quoted(&queue.name),
                quoted(routing_key),
            );
        }
    }
    if !queue.name.starts_with(user) {
        let _ = writeln!(
            text,
            "\nNote: on Fedora's broker a queue's name must begin with its user's name ({user}); [queues] says {}.",
            queue.name
        );
    }
    if !config.passive_declares {
        let _ = writeln!(
            text,
            "\nThen, in the unit's configuration: passive_declares = true, and [queues] names {}.",
            queue.name
        );
    }
}

/// For a shell.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// For a regular expression.
fn escaped(text: &str) -> String {
    let special = |letter: char| r"\.+*?()|[]{}^$#".contains(letter);
    text.chars().flat_map(|letter| special(letter).then_some('\\').into_iter().chain([letter])).collect()
}

#[cfg(test)]
mod tests {
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
}

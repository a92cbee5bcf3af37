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
mod tests;

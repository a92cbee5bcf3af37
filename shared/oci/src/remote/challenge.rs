//! What a registry wants of us, from `WWW-Authenticate`, and what its tokens grant.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use flatbus_http::{HeaderMap, header};
use serde::Deserialize;

/// How a registry wants to know us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User name and password with each request.
    Basic,
    /// A token from `realm`.
    Bearer { realm: String, service: Option<String> },
}

impl Challenge {
    /// The strongest challenge of an answer that we can meet.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let all: Vec<_> = values.flat_map(parse).collect();
        let bearer = all.iter().find_map(|(scheme, parameters)| {
            let get =
                |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
            let realm = get("realm").filter(|_| scheme == "bearer")?;
            Some(Self::Bearer { realm, service: get("service") })
        });
        bearer.or_else(|| all.iter().any(|(scheme, _)| scheme == "basic").then_some(Self::Basic))
    }
}

type Parameters = Vec<(String, String)>;

/// Takes `Scheme name="value", name=value, Other …` apart. Scheme and names in lower case.
fn parse(text: &str) -> Vec<(String, Parameters)> {
    let mut all: Vec<(String, Parameters)> = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c == ',' || c.is_whitespace()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let after = after.trim_start();
        if let Some(value) = after.strip_prefix('=').filter(|_| !word.is_empty()) {
            let (value, after) = value_of(value.trim_start());
            if let Some((_, parameters)) = all.last_mut() {
                parameters.push((word.to_ascii_lowercase(), value));
            }
            rest = after;
        } else {
            if !word.is_empty() {
                all.push((word.to_ascii_lowercase(), Vec::new()));
            }
            // A stray sign is stepped over, so that nothing can hold us here.
            rest = if word.is_empty() { after.strip_prefix(['=', ',']).unwrap_or_default() } else { after };
        }
        rest = rest.trim_start_matches([',', ' ', '\t']);
    }
    all
}

/// A token or quoted string, and what comes after it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| c == ',' || c.is_whitespace()).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

/// The actions a token grants on a repository; `None` where the token doesn't tell (it is opaque to us by right).
pub(super) fn granted(token: &str, repository: &str) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Claims {
        access: Vec<Access>,
    }
    #[derive(Deserialize)]
    struct Access {
        name: String,
        #[serde(default)]
        actions: Option<Vec<String>>,
    }
    let payload = token.split('.').nth(1)?;
    let json = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let claims: Claims = serde_json::from_slice(&json).ok()?;
    let entries = claims.access.into_iter().filter(|entry| entry.name == repository);
    Some(entries.flat_map(|entry| entry.actions.unwrap_or_default()).collect())
}

#[cfg(test)]
mod tests {
    use flatbus_http::HeaderValue;

    use super::*;

    fn challenge(values: &[&'static str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static(value));
        }
        Challenge::of(&headers)
    }

    #[test]
    fn real_challenges_are_understood() {
        let quay =
            r#"Bearer realm="https://quay.io/v2/auth",service="quay.io",scope="repository:fedora/eog:pull""#;
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer { realm: realm.into(), service: service.map(Into::into) })
        };
        assert_eq!(challenge(&[quay]), bearer("https://quay.io/v2/auth", Some("quay.io")));
        assert_eq!(challenge(&[r#"Basic realm="Registry Realm""#]), Some(Challenge::Basic));
        assert_eq!(challenge(&["basic realm=x, bearer Realm=https://a/b"]), bearer("https://a/b", None));
        assert_eq!(
            challenge(&["Basic realm=\"a\\\"b, Bearer\"", quay]),
            bearer("https://quay.io/v2/auth", Some("quay.io"))
        );
    }

    #[test]
    fn nonsense_is_no_challenge_and_ends() {
        for text in [
            "",
            ",,,",
            "=",
            "= = =",
            "Bearer",
            "Bearer service=\"x\"",
            "Negotiate",
            "\"",
            "Bearer realm",
            "a=\"\\",
        ] {
            assert_eq!(challenge(&[text]), None, "{text}");
        }
    }

    #[test]
    fn a_token_tells_what_it_grants_if_it_tells_at_all() {
        let payload =
            URL_SAFE_NO_PAD.encode(r#"{"access":[{"type":"repository","name":"a/b","actions":["pull"]}]}"#);
        let token = format!("e30.{payload}.sig");
        assert_eq!(granted(&token, "a/b"), Some(vec!["pull".to_owned()]));
        assert_eq!(granted(&token, "a/c"), Some(Vec::new()));
        assert_eq!(granted("opaque", "a/b"), None);
    }
}

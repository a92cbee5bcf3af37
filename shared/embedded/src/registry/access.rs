//! Who may do what: everybody everything, or anybody pull and one user push, by password or by short-lived tokens.
//!
//! Tokens are handed out by the registry itself (`/token`), as quay and Docker Hub do. They are opaque and live in
//! memory. Knows nothing of blobs and manifests.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flatbus_base::{Clock, Random, Secret};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Content, Settings, refusal::Refusal, route::is_repository};

/// Who may do what.
#[derive(Debug, Clone)]
pub enum Access {
    /// Everybody may do everything; private repositories are nobody's concern.
    Open,
    /// Anybody pulls what is public; one user does everything, with every request by name and password.
    Basic {
        /// The user.
        user: String,
        /// Its password.
        password: Secret,
    },
    /// The same rights, by tokens that are asked for with a scope.
    Token {
        /// The user.
        user: String,
        /// Its password.
        password: Secret,
        /// How long a token is good for.
        lifetime: Duration,
    },
}

/// What a request needs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Need<'a> {
    /// Being let in at all.
    Login,
    Pull(&'a str),
    Push(&'a str),
}

/// Who asks, as far as it matters.
#[derive(Debug, Clone)]
pub(crate) enum Who {
    Anybody,
    User,
    Bearer(Scopes),
}

/// Actions granted for each repository.
type Scopes = BTreeMap<String, BTreeSet<String>>;

#[derive(Debug)]
struct Token {
    text: String,
    expires: Instant,
    scopes: Scopes,
}

/// Guards a registry.
pub(crate) struct Gate {
    access: Access,
    host: String,
    content: Arc<Content>,
    tokens: Mutex<VecDeque<Token>>,
    tokens_max: usize,
    clock: Arc<dyn Clock>,
    random: Random,
}

impl Gate {
    pub(crate) fn new(settings: &Settings, host: String) -> Self {
        Self {
            access: settings.access.clone(),
            host,
            content: settings.content.clone(),
            tokens: Mutex::default(),
            tokens_max: settings.limits.tokens_max,
            clock: settings.clock.clone(),
            random: settings.random.clone(),
        }
    }

    pub(crate) fn expire_tokens(&self) {
        self.lock().clear();
    }

    /// Lets a request through, or says how to log in.
    pub(crate) fn check(&self, headers: &HeaderMap, need: Need<'_>, scheme: &str) -> Result<Who, Refusal> {
        let who = self.who(headers).ok_or_else(|| self.challenge(need, scheme, Some("invalid_token")))?;
        let allowed = match need {
            // Clients ask `/v2/` how to log in: anonymous ones must be told, or they never try.
            Need::Login => matches!(self.access, Access::Open) || !matches!(who, Who::Anybody),
            Need::Pull(repository) => self.may_pull(&who, repository),
            Need::Push(repository) => self.may_push(&who, repository),
        };
        if allowed { Ok(who) } else { Err(self.challenge(need, scheme, None)) }
    }

    pub(crate) fn may_pull(&self, who: &Who, repository: &str) -> bool {
        match who {
            Who::User => true,
            Who::Anybody => {
                let known =
                    matches!(self.access, Access::Basic { .. }) || self.content.has_repository(repository);
                matches!(self.access, Access::Open) || known && !self.content.is_private(repository)
            }
            Who::Bearer(scopes) => granted(scopes, repository, "pull"),
        }
    }

    fn may_push(&self, who: &Who, repository: &str) -> bool {
        match who {
            Who::User => true,
            Who::Anybody => matches!(self.access, Access::Open),
            Who::Bearer(scopes) => granted(scopes, repository, "push"),
        }
    }

    /// `None`: credentials that are not good.
    fn who(&self, headers: &HeaderMap) -> Option<Who> {
        let sent = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
        match (&self.access, sent) {
            (Access::Open, _) | (_, None) => Some(Who::Anybody),
            (Access::Basic { .. }, Some(sent)) => self.user(sent),
            (Access::Token { .. }, Some(sent)) => self.bearer(sent.strip_prefix("Bearer ")?).map(Who::Bearer),
        }
    }

    fn user(&self, authorization: &str) -> Option<Who> {
        let decoded = STANDARD.decode(authorization.strip_prefix("Basic ")?.trim()).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (name, word) = text.split_once(':')?;
        if name.is_empty() && word.is_empty() {
            return Some(Who::Anybody); // What skopeo sends when it has no password.
        }
        self.is_user(name, word).then_some(Who::User)
    }

    fn is_user(&self, name: &str, word: &str) -> bool {
        match &self.access {
            Access::Open => true,
            Access::Basic { user, password } | Access::Token { user, password, .. } => {
                name == user && word == password.expose()
            }
        }
    }

    fn bearer(&self, text: &str) -> Option<Scopes> {
        let now = self.clock.monotonic();
        let tokens = self.lock();
        tokens
            .iter()
            .find(|token| token.text == text && token.expires > now)
            .map(|token| token.scopes.clone())
    }

    fn challenge(&self, need: Need<'_>, scheme: &str, error: Option<&str>) -> Refusal {
        let how = match &self.access {
            Access::Open | Access::Basic { .. } => format!(r#"Basic realm="{}""#, self.host),
            Access::Token { .. } => {
                let scope = match need {
                    Need::Login => String::new(),
                    Need::Pull(repository) => format!(r#",scope="repository:{repository}:pull""#),
                    Need::Push(repository) => format!(r#",scope="repository:{repository}:pull,push""#),
                };
                let error = error.map(|error| format!(r#",error="{error}""#)).unwrap_or_default();
                format!(r#"Bearer realm="{scheme}://{0}/token",service="{0}"{scope}{error}"#, self.host)
            }
        };
        Refusal::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "authentication required")
            .with(header::WWW_AUTHENTICATE, &how)
    }

    /// Hands out a token. `query` is the query of a GET or the form of a POST.
    pub(crate) fn token(&self, headers: &HeaderMap, query: &str) -> Result<Value, Refusal> {
        let Access::Token { lifetime, .. } = self.access else {
            return Err(Refusal::not_found());
        };
        let asked: Vec<(String, String)> =
            url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let value = |key: &str| asked.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        let who = match (headers.get(header::AUTHORIZATION), value("username")) {
            (Some(sent), _) => self.user(sent.to_str().unwrap_or_default()),
            (None, Some(name)) => {
                self.is_user(name, value("password").unwrap_or_default()).then_some(Who::User)
            }
            (None, None) => Some(Who::Anybody),
        };
        let who = who.ok_or_else(|| {
            Refusal::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "wrong user or password")
        })?;
        let scopes = asked.iter().filter(|(name, _)| name == "scope").flat_map(|(_, value)| value.split(' '));
        let scopes = scopes.filter_map(|scope| self.grant(&who, scope)).collect();
        let text = self.remember(scopes, lifetime);
        let issued = self.clock.wall().to_string();
        Ok(
            json!({"token": text, "access_token": text, "expires_in": lifetime.as_secs(), "issued_at": issued}),
        )
    }

    /// As much of a scope as is this asker's. What is not granted is silently left out, as everywhere.
    fn grant(&self, who: &Who, scope: &str) -> Option<(String, BTreeSet<String>)> {
        let (repository, actions) = scope.strip_prefix("repository:")?.rsplit_once(':')?;
        if !is_repository(repository) {
            return None;
        }
        let mut granted: BTreeSet<String> = actions.split(',').map(str::to_owned).collect();
        match who {
            Who::User => {
                if granted.remove("*") || granted.contains("delete") {
                    granted.extend(["pull", "push"].map(str::to_owned));
                }
            }
            Who::Anybody | Who::Bearer(_) => {
                granted.retain(|action| action == "pull" && self.may_pull(who, repository));
            }
        }
        Some((repository.to_owned(), granted))
    }

    fn remember(&self, scopes: Scopes, lifetime: Duration) -> String {
        let text = self.random.uuid().simple().to_string();
        let now = self.clock.monotonic();
        let mut tokens = self.lock();
        tokens.retain(|token| token.expires > now);
        if tokens.len() >= self.tokens_max {
            tokens.pop_front();
        }
        tokens.push_back(Token { text: text.clone(), expires: now + lifetime, scopes });
        text
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Token>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn granted(scopes: &Scopes, repository: &str, action: &str) -> bool {
    scopes.get(repository).is_some_and(|actions| actions.contains(action))
}

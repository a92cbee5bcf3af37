//! How we make ourselves known: nobody first, where reading; then the user of the credentials file, by password or by a
//! token that is fetched once for everybody who needs it, and anew when refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flatbus_base::{Clock, Secret};
use flatbus_http::{Client, Request, Response, StatusCode, Url, header};
use serde::Deserialize;
use tokio::time::Instant;

use super::{
    answer::{refusal, unauthorized},
    challenge::{Challenge, granted},
};
use crate::{AuthFile, Credentials, Error, Repository};

/// Lifetime of a token that doesn't tell its own (the specification's), and the longest believed.
const LIFETIME_DEFAULT: Duration = Duration::from_secs(60);
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);
/// A token is replaced this long before its end, or a quarter of its life before where that is sooner.
const MARGIN_MAX: Duration = Duration::from_secs(30);
/// Most tokens kept; past it the ended ones go.
const TOKENS_MAX: usize = 1024;
/// Largest answer of a token server, in bytes.
const TOKEN_BYTES_MAX: usize = 1 << 20;

/// What a request needs to be allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) repository: Repository,
    pub(super) write: bool,
    /// Read as well, for a mount. Not being allowed to is no error.
    pub(super) also_read: Option<Repository>,
}

impl Need {
    pub(super) fn read(repository: &Repository) -> Self {
        Self { repository: repository.clone(), write: false, also_read: None }
    }

    pub(super) fn write(repository: &Repository) -> Self {
        Self { write: true, ..Self::read(repository) }
    }

    fn scopes(&self) -> Vec<String> {
        let actions = if self.write { "pull,push" } else { "pull" };
        let own = format!("repository:{}:{actions}", self.repository);
        let other = self.also_read.iter().map(|repository| format!("repository:{repository}:pull"));
        [own].into_iter().chain(other).collect()
    }

    fn told(&self) -> String {
        format!("{} {}", if self.write { "write to" } else { "read" }, self.repository)
    }
}

/// What goes with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proof {
    /// Nothing.
    Bare,
    /// User name and password.
    Basic { user: String, password: Secret },
    /// A token; whether it was fetched for this very request.
    Bearer { token: Secret, fresh: bool },
}

impl Proof {
    pub(super) fn apply(&self, request: Request) -> Request {
        match self {
            Self::Bare => request,
            Self::Basic { user, password } => request.basic(user, password),
            Self::Bearer { token, .. } => request.bearer(token),
        }
    }
}

/// What one request was refused with so far: each is tried once, so that refusals end.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tried {
    bare: bool,
    proved: bool,
}

impl Tried {
    pub(super) fn note(&mut self, proof: &Proof) {
        match proof {
            Proof::Bare => self.bare = true,
            Proof::Basic { .. } | Proof::Bearer { .. } => self.proved = true,
        }
    }
}

/// What is known of one registry's ways.
pub(super) struct Auth {
    client: Client,
    clock: Arc<dyn Clock>,
    host: String,
    secure: bool,
    credentials: Option<Arc<AuthFile>>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    challenge: Option<Challenge>,
    /// Repositories that nobody may read bare.
    closed: BTreeSet<Repository>,
    tokens: BTreeMap<Vec<String>, Seat>,
}

/// Where a token is fetched by one while the others wait.
type Seat = Arc<tokio::sync::Mutex<Option<Token>>>;

struct Token {
    secret: Secret,
    replaced_at: Instant,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Auth {
    pub(super) fn new(
        client: Client,
        clock: Arc<dyn Clock>,
        host: String,
        secure: bool,
        credentials: Option<Arc<AuthFile>>,
    ) -> Self {
        Self { client, clock, host, secure, credentials, known: Mutex::default() }
    }

    /// What to send first: nothing where somebody unknown may read, as a stale token is refused even there.
    pub(super) async fn first(&self, need: &Need) -> Result<Proof, Error> {
        let challenged = {
            let known = self.known();
            known.challenge.is_some() && (need.write || known.closed.contains(&need.repository))
        };
        if challenged { self.prove(need, None).await } else { Ok(Proof::Bare) }
    }

    /// What to send after a 401; `None` where nothing is left to try.
    pub(super) async fn after_refusal(
        &self,
        need: &Need,
        refused: &Proof,
        tried: Tried,
        answer: &Response,
    ) -> Result<Option<Proof>, Error> {
        let challenge = Challenge::of(&answer.headers);
        {
            let mut known = self.known();
            known.challenge = challenge.or(known.challenge.take());
            if *refused == Proof::Bare && !need.write {
                known.closed.insert(need.repository.clone());
            }
            if known.challenge.is_none() {
                return Ok(None);
            }
        }
        match refused {
            Proof::Bare if tried.proved => Ok(None),
            Proof::Bare => {
                self.prove(need, None).await.map(|proof| Some(proof).filter(|proof| *proof != Proof::Bare))
            }
            Proof::Bearer { token, fresh: false } => self.prove(need, Some(token)).await.map(Some),
            // Refused with the best we have: it may have become public meanwhile.
            Proof::Basic { .. } | Proof::Bearer { .. } if !need.write && !tried.bare && self.reopen(need) => {
                Ok(Some(Proof::Bare))
            }
            Proof::Basic { .. } | Proof::Bearer { .. } => Ok(None),
        }
    }

    /// Whether the repository was held to be closed; no longer.
    fn reopen(&self, need: &Need) -> bool {
        self.known().closed.remove(&need.repository)
    }

    /// Whom we are towards this repository, in the way the registry wants. `refused` is never given again.
    async fn prove(&self, need: &Need, refused: Option<&Secret>) -> Result<Proof, Error> {
        let who = self.credentials.as_ref().and_then(|file| file.find(&self.host, &need.repository)).cloned();
        let challenge = self.known().challenge.clone();
        match (challenge, who) {
            (_, Some(Credentials::RegistryToken(token))) => Ok(Proof::Bearer { token, fresh: true }),
            (Some(Challenge::Basic), Some(Credentials::Password { user, password })) => {
                Ok(Proof::Basic { user, password })
            }
            (Some(Challenge::Basic), Some(Credentials::IdentityToken(_)) | None) => Err(unauthorized(
                &self.host,
                need.told(),
                "it wants a user name and password, and none is configured",
            )),
            (Some(Challenge::Bearer { realm, service }), who) => {
                self.token(need, &realm, service.as_deref(), who.as_ref(), refused).await
            }
            (None, _) => Ok(Proof::Bare),
        }
    }

    /// A token that is known or fetched; one fetch for all who wait.
    async fn token(
        &self,
        need: &Need,
        realm: &str,
        service: Option<&str>,
        who: Option<&Credentials>,
        refused: Option<&Secret>,
    ) -> Result<Proof, Error> {
        let seat = self.seat(need);
        let mut held = seat.lock().await;
        let now = self.clock.monotonic();
        let usable = held.as_ref().filter(|token| token.replaced_at > now && Some(&token.secret) != refused);
        if let Some(token) = usable {
            return Ok(Proof::Bearer { token: token.secret.clone(), fresh: false });
        }
        *held = None;
        let answer = self.fetch(need, realm, service, who).await?;
        let lifetime = answer.expires_in.map_or(LIFETIME_DEFAULT, Duration::from_secs).min(LIFETIME_MAX);
        let secret = match answer.token.or(answer.access_token).filter(|token| !token.is_empty()) {
            Some(token) => Secret::new(token),
            None => return Err(self.denied(need, "its token server gave no token")),
        };
        self.check_grant(need, &secret)?;
        // Reckoned from before the request: the token server's clock is its own.
        let replaced_at = now + lifetime - MARGIN_MAX.min(lifetime / 4);
        *held = Some(Token { secret: secret.clone(), replaced_at });
        Ok(Proof::Bearer { token: secret, fresh: true })
    }

    fn seat(&self, need: &Need) -> Seat {
        let now = self.clock.monotonic();
        let mut known = self.known();
        if known.tokens.len() >= TOKENS_MAX {
            known.tokens.retain(|_, seat| {
                // One that is locked is being fetched right now.
                seat.try_lock()
                    .map_or(true, |token| token.as_ref().is_some_and(|token| token.replaced_at > now))
            });
        }
        known.tokens.entry(need.scopes()).or_default().clone()
    }

    async fn fetch(
        &self,
        need: &Need,
        realm: &str,
        service: Option<&str>,
        who: Option<&Credentials>,
    ) -> Result<TokenAnswer, Error> {
        let request = self.token_request(need, realm, service, who)?;
        let answer = self.client.send(request).await?;
        if answer.status.is_success() {
            return Ok(answer.json(TOKEN_BYTES_MAX).await?);
        }
        let refused = refusal(answer).await;
        match refused.status {
            // The specification says 401; some token servers say 400 for a bad password.
            StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST => {
                let why = match who {
                    None => format!("no credentials are configured ({})", refused.said),
                    Some(_) => refused.said,
                };
                Err(unauthorized(&self.host, need.told(), &why))
            }
            StatusCode::FORBIDDEN => Err(self.denied(need, &refused.said)),
            _ => Err(refused.of_token_server(&self.host, "who we are")),
        }
    }

    fn token_request(
        &self,
        need: &Need,
        realm: &str,
        service: Option<&str>,
        who: Option<&Credentials>,
    ) -> Result<Request, Error> {
        let bad = |why: &str| Error::Protocol {
            host: self.host.clone(),
            what: "who we are".into(),
            why: format!("its token server {why}"),
        };
        let mut url = Url::parse(realm).map_err(|_| bad("has no usable address"))?;
        if self.secure && url.scheme() != "https" {
            return Err(bad("would get our password over an open connection"));
        }
        if let Some(Credentials::IdentityToken(refresh)) = who {
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            form.append_pair("grant_type", "refresh_token").append_pair("client_id", "flatbus");
            form.append_pair("service", service.unwrap_or_default())
                .append_pair("scope", &need.scopes().join(" "));
            form.append_pair("refresh_token", refresh.expose());
            let request = Request::post(url, form.finish()).no_redirects().idempotent();
            return Ok(request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded"));
        }
        url.query_pairs_mut().extend_pairs(service.map(|service| ("service", service)));
        url.query_pairs_mut().extend_pairs(need.scopes().iter().map(|scope| ("scope", scope)));
        let request = Request::get(url).no_redirects();
        Ok(match who {
            Some(Credentials::Password { user, password }) => request.basic(user, password),
            Some(Credentials::IdentityToken(_) | Credentials::RegistryToken(_)) | None => request,
        })
    }

    /// Registries grant less than was asked for without a word: said here, before an upload fails half-way.
    fn check_grant(&self, need: &Need, token: &Secret) -> Result<(), Error> {
        let Some(granted) = granted(token.expose(), need.repository.as_str()) else { return Ok(()) };
        let has = |action: &str| granted.iter().any(|granted| granted == action || granted == "*");
        let asked = if need.write { "push" } else { "pull" };
        if has(asked) {
            return Ok(());
        }
        let got = if granted.is_empty() { "nothing".to_owned() } else { granted.join(", ") };
        Err(self.denied(need, &format!("asked to {asked}, its token grants {got}")))
    }

    fn denied(&self, need: &Need, why: &str) -> Error {
        Error::Denied { host: self.host.clone(), what: need.told(), why: why.to_owned() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

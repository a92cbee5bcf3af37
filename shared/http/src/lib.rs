//! One HTTP client: time-outs on every wait, one retry loop, Retry-After, limits, redacted errors.
//!
//! [`Client::send`] retries for seconds; whoever calls it leaves longer waits to the ledger. Only the hosts that are
//! configured are ever contacted, redirects included. Nothing here decodes a body: a decoded blob is not the blob its
//! digest names.

mod body;
mod budget;
mod carrier;
mod client;
mod error;
mod rates;
mod redact;
mod request;
mod response;
mod retry;
mod settings;
mod transport;

pub use body::Body;
pub use budget::HostUsage;
pub use client::Client;
pub use error::Error;
pub use rates::{HostRate, QUAY_PER_S_MAX, RequestBudget, summed_budgets};
pub use redact::redacted;
pub use request::{Redirects, Request, Urgency};
pub use response::Response;
pub use settings::{Budget, HostList, Settings};
pub use transport::{Chunks, NotCarried, Transport};
// What the API speaks in, so that its users need no copies of their own.
pub use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
pub use url::Url;

//! Koji's hub over XML-RPC. Only reads; asking twice is harmless, so the HTTP client may.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use dxr::Value as Xml;
use flatbus_http::{Client, Request, Url, header};
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::timeout;

use super::{BUILDS_PER_CALL_MAX, Build, BuildRef, Koji};
use crate::{
    Error, fetch,
    shape::{clip, wrong},
    xmlrpc,
};

/// What is read at most, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct KojiLimits {
    /// Largest answer to one call, in bytes. A build is 20 kB as XML, some image builds ten times that.
    pub answer_bytes_max: usize,
    /// Builds asked for in one page of a listing.
    pub builds_per_page: u16,
    /// Most builds in a listing.
    pub builds_max: usize,
    /// How often a listing that shifts is read before it is given up.
    pub readings_max: u32,
    /// Longest time for a listing with all its pages.
    pub listing_timeout: Duration,
}

impl Default for KojiLimits {
    fn default() -> Self {
        Self {
            answer_bytes_max: 32 << 20,
            builds_per_page: 200,
            builds_max: 100_000,
            readings_max: 3,
            listing_timeout: Duration::from_secs(300),
        }
    }
}

/// Koji's hub.
#[derive(Debug, Clone)]
pub struct KojiHub {
    http: Client,
    hub: Url,
    limits: KojiLimits,
}

impl KojiHub {
    /// The hub at `hub` (`https://koji.fedoraproject.org/kojihub`), which the client must be allowed to contact.
    pub fn new(http: Client, hub: Url) -> Self {
        Self { http, hub, limits: KojiLimits::default() }
    }

    /// The same hub with other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: KojiLimits) -> Self {
        self.limits = limits;
        self
    }

    /// One call and its answer; a fault in its place is an error.
    async fn call(&self, method: &str, what: &str, params: Vec<Xml>) -> Result<Value, Error> {
        let body = xmlrpc::call(method, params)?;
        let request = Request::post(self.hub.clone(), body)
            .header(header::CONTENT_TYPE, "text/xml")
            .idempotent()
            .no_redirects();
        let answer = fetch::success(&self.http, request, what, self.limits.answer_bytes_max).await?;
        xmlrpc::answer(what, &answer)?.map_err(|fault| fault.into_error(what))
    }

    /// At least two: the first row of a page only proves that nothing shifted.
    fn page_rows(&self) -> u16 {
        self.limits.builds_per_page.max(2)
    }

    async fn page(&self, since: Timestamp, offset: usize) -> Result<Vec<Build>, Error> {
        let what = "koji's image builds";
        let query_opts = Xml::Struct(BTreeMap::from([
            ("order".to_owned(), Xml::String("build_id".to_owned())),
            ("offset".to_owned(), Xml::Integer(i32::try_from(offset).unwrap_or(i32::MAX))),
            ("limit".to_owned(), Xml::Integer(i32::from(self.page_rows()))),
        ]));
        let arguments = xmlrpc::named([
            ("type", Xml::String("image".to_owned())),
            ("state", Xml::Integer(1)),
            ("completeAfter", Xml::Double(seconds(since))),
            ("queryOpts", query_opts),
        ]);
        match self.call("listBuilds", what, vec![arguments]).await? {
            Value::Array(records) => records.iter().map(Build::from_json).collect(),
            _ => Err(wrong(what, "answer", "a list was expected")),
        }
    }

    /// Reads all pages once. Each page begins with the last build of the one before: where that is another build, the
    /// listing has shifted.
    async fn read_once(&self, since: Timestamp) -> Result<Reading, Error> {
        let mut builds: Vec<Build> = Vec::new();
        loop {
            let mut page = self.page(since, builds.len().saturating_sub(1)).await?;
            let full = page.len() >= usize::from(self.page_rows());
            if let Some(last) = builds.last() {
                if page.first().map(|first| first.id) != Some(last.id) {
                    return Ok(Reading::Shifted(format!("after {} builds", builds.len())));
                }
                page.remove(0);
            }
            builds.append(&mut page);
            if !full {
                return Ok(Reading::Whole(builds));
            }
            if builds.len() > self.limits.builds_max {
                return Err(Error::TooLarge {
                    what: "koji's list of image builds".to_owned(),
                    limit: self.limits.builds_max as u64,
                    unit: "builds",
                });
            }
        }
    }

    async fn read_settled(&self, since: Timestamp) -> Result<Vec<Build>, Error> {
        let mut problem = String::new();
        for _ in 0..self.limits.readings_max {
            match self.read_once(since).await? {
                Reading::Whole(builds) => return Ok(builds),
                Reading::Shifted(place) => problem = place,
            }
        }
        Err(Error::Unsettled {
            listing: "koji's list of image builds".to_owned(),
            attempts: self.limits.readings_max,
            problem,
        })
    }
}

enum Reading {
    Whole(Vec<Build>),
    Shifted(String),
}

#[async_trait]
impl Koji for KojiHub {
    async fn build(&self, build: &BuildRef) -> Result<Option<Build>, Error> {
        let param = param(build)?;
        found(build, &self.call("getBuild", &build.to_string(), vec![param]).await?)
    }

    async fn builds(&self, builds: &[BuildRef]) -> Result<Vec<Result<Option<Build>, Error>>, Error> {
        if builds.len() > BUILDS_PER_CALL_MAX {
            return Err(Error::TooLarge {
                what: "one call".to_owned(),
                limit: BUILDS_PER_CALL_MAX as u64,
                unit: "builds",
            });
        }
        let params: Vec<Result<Xml, Error>> = builds.iter().map(param).collect();
        let calls: Vec<Xml> = params.iter().filter_map(|param| param.as_ref().ok()).map(one_call).collect();
        if calls.is_empty() {
            return Ok(params.into_iter().map(|param| param.map(|_| None)).collect());
        }
        let (what, asked) = (format!("{} builds", calls.len()), calls.len());
        let answer = self.call("multiCall", &what, vec![Xml::Array(calls)]).await?;
        let mut answers = xmlrpc::multi_answer(&what, answer, asked)?.into_iter();
        Ok(builds
            .iter()
            .zip(params)
            .map(|(build, param)| {
                param?;
                match answers.next() {
                    Some(Ok(record)) => found(build, &record),
                    Some(Err(fault)) => Err(fault.into_error(&build.to_string())),
                    None => Err(wrong(&what, "answer", "one is missing")),
                }
            })
            .collect())
    }

    async fn image_builds_since(&self, since: Timestamp) -> Result<Vec<Build>, Error> {
        let limit = self.limits.listing_timeout;
        let slow = |_| Error::Slow { what: "koji's list of image builds".to_owned(), limit };
        let mut builds = timeout(limit, self.read_settled(since)).await.map_err(slow)??;
        builds.sort_by_key(|build| (build.completed, build.id));
        Ok(builds)
    }

    async fn ping(&self) -> Result<(), Error> {
        self.call("getAPIVersion", "koji's API version", Vec::new()).await.map(|_| ())
    }
}

/// The answer of `getBuild`: null for a build that Koji doesn't know, else that build and no other.
fn found(asked: &BuildRef, record: &Value) -> Result<Option<Build>, Error> {
    if record.is_null() {
        return Ok(None);
    }
    let question = asked.to_string();
    let build = Build::answered(&question, record)?;
    let same = match asked {
        BuildRef::Nvr(nvr) => build.nvr == *nvr,
        BuildRef::Id(id) => build.id == *id,
    };
    if same {
        Ok(Some(build))
    } else {
        Err(wrong(&question, "nvr", &format!("{} was answered instead", build.nvr)))
    }
}

/// What `getBuild` takes.
fn param(build: &BuildRef) -> Result<Xml, Error> {
    check_ref(build)?;
    Ok(match build {
        BuildRef::Nvr(nvr) => Xml::String(nvr.clone()),
        BuildRef::Id(id) => i32::try_from(*id).map_or(Xml::Long(*id), Xml::Integer),
    })
}

/// A name comes from a message: one that no build can have is not asked for.
pub(crate) fn check_ref(build: &BuildRef) -> Result<(), Error> {
    match build {
        BuildRef::Id(_) => Ok(()),
        BuildRef::Nvr(nvr) => match nvr_problem(nvr) {
            None => Ok(()),
            Some(problem) => {
                Err(Error::BadQuestion { what: clip(&build.to_string()), problem: problem.to_owned() })
            }
        },
    }
}

/// Longest NVR that is asked for.
const NVR_BYTES_MAX: usize = 512;

/// Why no build can have this name.
pub(crate) fn nvr_problem(nvr: &str) -> Option<&'static str> {
    if nvr.len() > NVR_BYTES_MAX {
        Some("too long for a name-version-release")
    } else if !nvr.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._+~^".contains(&byte)) {
        Some("characters that no name-version-release has")
    } else if nvr.rsplitn(3, '-').filter(|part| !part.is_empty()).count() != 3 {
        Some("not of the form name-version-release")
    } else {
        None
    }
}

fn one_call(param: &Xml) -> Xml {
    Xml::Struct(BTreeMap::from([
        ("methodName".to_owned(), Xml::String("getBuild".to_owned())),
        ("params".to_owned(), Xml::Array(vec![param.clone()])),
    ]))
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of this century fit a double")]
fn seconds(time: Timestamp) -> f64 {
    time.as_microsecond() as f64 / 1e6
}

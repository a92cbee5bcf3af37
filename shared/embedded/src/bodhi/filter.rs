//! What a query asks for, with Bodhi's own ideas of each parameter. Pure but for the question whether a release exists.

use serde_json::Value;

use super::updates::{Updates, builds, packages};
use crate::times;

/// A parameter that is not what it should be: its name, and what Bodhi says of it.
pub(crate) type Invalid = (String, String);

/// Rows a page has unless the query says otherwise.
const ROWS_PER_PAGE: usize = 20;
/// Most rows a query may ask for.
const ROWS_PER_PAGE_MAX: usize = 1000;

/// A query string, parsed.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn new(text: Option<&str>) -> Self {
        Self(url::form_urlencoded::parse(text.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// The last value of a parameter; an empty one is none.
    pub(crate) fn one(&self, name: &str) -> Option<&str> {
        let values = self.0.iter().rev().filter(|(key, _)| key == name);
        values.map(|(_, value)| value.as_str()).find(|value| !value.is_empty())
    }

    /// All values of a parameter, which may be repeated and may hold several, with commas or spaces between.
    pub(crate) fn many(&self, name: &str) -> Option<Vec<String>> {
        let values =
            self.0.iter().filter(|(key, _)| key == name).flat_map(|(_, value)| value.split([',', ' ']));
        let values: Vec<String> = values.filter(|value| !value.is_empty()).map(str::to_owned).collect();
        (!values.is_empty()).then_some(values)
    }

    fn truth(&self, name: &str) -> Result<Option<bool>, Invalid> {
        match self.one(name) {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(other) => Err((
                name.to_owned(),
                format!("\"{other}\" is neither in ('false', '0') nor in ('true', '1')"),
            )),
        }
    }

    /// A value out of a list.
    fn known(&self, name: &str, known: &[&str]) -> Result<Option<Vec<String>>, Invalid> {
        let values = self.many(name);
        match values.iter().flatten().find(|value| !known.contains(&value.as_str())) {
            None => Ok(values),
            Some(other) => Err((name.to_owned(), format!("\"{other}\" is not one of {}", known.join(", ")))),
        }
    }

    /// Page from 1, and rows on it.
    pub(crate) fn page(&self) -> Result<Page, Invalid> {
        let number = |name: &str, default: usize, max: usize| match self.one(name) {
            None => Ok(default),
            Some(text) => match text.parse::<usize>() {
                Err(_) => Err((name.to_owned(), format!("\"{text}\" is not a number"))),
                Ok(0) => Err((name.to_owned(), "0 is less than minimum value 1".to_owned())),
                Ok(n) if n > max => {
                    Err((name.to_owned(), format!("{n} is greater than maximum value {max}")))
                }
                Ok(n) => Ok(n),
            },
        };
        let rows = number("rows_per_page", ROWS_PER_PAGE, ROWS_PER_PAGE_MAX)?;
        Ok(Page { page: number("page", 1, usize::MAX)?, rows })
    }
}

/// Which part of a list is asked for.
pub(crate) struct Page {
    pub(crate) page: usize,
    pub(crate) rows: usize,
}

impl Page {
    /// The rows of this page; none past the end.
    pub(crate) fn of(&self, all: Vec<Value>) -> Vec<Value> {
        all.into_iter().skip((self.page - 1).saturating_mul(self.rows)).take(self.rows).collect()
    }
}

const STATUSES: &[&str] =
    &["pending", "testing", "stable", "unpushed", "obsolete", "side_tag_active", "side_tag_expired"];
const REQUESTS: &[&str] = &["testing", "stable", "unpush", "obsolete", "revoke"];
const CONTENT_TYPES: &[&str] = &["base", "rpm", "module", "container", "flatpak"];
const SEVERITIES: &[&str] = &["unspecified", "urgent", "high", "medium", "low"];
const TYPES: &[&str] = &["bugfix", "security", "newpackage", "enhancement", "unspecified"];

type Test = Box<dyn Fn(&Value) -> bool>;

/// Which updates are listed: all tests must pass.
pub(crate) struct Filter(Vec<Test>);

impl Filter {
    pub(crate) fn new(query: &Query, known: &Updates) -> Result<Self, Invalid> {
        let mut tests = Vec::new();
        names(query, &mut tests);
        tests.extend(releases(query, known)?);
        values(query, &mut tests)?;
        dates(query, &mut tests)?;
        Ok(Self(tests))
    }

    pub(crate) fn passes(&self, update: &Value) -> bool {
        self.0.iter().all(|test| test(update))
    }
}

/// Parameters that are lists of names of any kind: an unknown one matches nothing.
fn names(query: &Query, tests: &mut Vec<Test>) {
    let mut any = |name: &str, of: fn(&Value) -> Vec<&str>| {
        if let Some(wanted) = query.many(name) {
            tests.push(Box::new(move |update| {
                of(update).iter().any(|one| wanted.iter().any(|want| want == one))
            }));
        }
    };
    any("alias", |update| update["alias"].as_str().into_iter().collect());
    any("updateid", |update| update["alias"].as_str().into_iter().collect());
    any("builds", |update| builds(update).filter_map(|build| build["nvr"].as_str()).collect());
    any("packages", |update| packages(update).into_iter().collect());
    any("user", |update| update["user"]["name"].as_str().into_iter().collect());
    any("gating", |update| update["test_gating_status"].as_str().into_iter().collect());
    for name in ["search", "like"] {
        if let Some(part) = query.one(name).map(str::to_lowercase) {
            let holds =
                move |text: &Value| text.as_str().is_some_and(|text| text.to_lowercase().contains(&part));
            tests.push(Box::new(move |update| {
                holds(&update["alias"]) || builds(update).any(|build| holds(&build["nvr"]))
            }));
        }
    }
}

/// Releases must exist.
fn releases(query: &Query, known: &Updates) -> Result<Option<Test>, Invalid> {
    let wanted: Vec<String> =
        ["releases", "release"].iter().filter_map(|name| query.many(name)).flatten().collect();
    if let Some(unknown) = wanted.iter().find(|name| !known.has_release(name)) {
        return Err(("releases".to_owned(), format!("Invalid releases specified: {unknown}")));
    }
    if wanted.is_empty() {
        return Ok(None);
    }
    Ok(Some(Box::new(move |update| wanted.iter().any(|name| update["release"]["name"] == name.as_str()))))
}

fn values(query: &Query, tests: &mut Vec<Test>) -> Result<(), Invalid> {
    for (name, known) in
        [("status", STATUSES), ("request", REQUESTS), ("severity", SEVERITIES), ("type", TYPES)]
    {
        if let Some(wanted) = query.known(name, known)? {
            tests.push(Box::new(move |update| wanted.iter().any(|value| update[name] == value.as_str())));
        }
    }
    // Bodhi looks at the builds here: an update whose builds were all removed is not found by its content.
    if let Some(wanted) = query.known("content_type", CONTENT_TYPES)? {
        tests.push(Box::new(move |update| {
            builds(update).any(|build| wanted.iter().any(|value| build["type"] == value.as_str()))
        }));
    }
    for name in ["locked", "pushed", "critpath"] {
        if let Some(wanted) = query.truth(name)? {
            tests.push(Box::new(move |update| update[name] == wanted));
        }
    }
    if let Some(wanted) = query.truth("from_side_tag")? {
        tests.push(Box::new(move |update| update["from_tag"].is_null() != wanted));
    }
    Ok(())
}

/// A date that is null is neither since nor before.
fn dates(query: &Query, tests: &mut Vec<Test>) -> Result<(), Invalid> {
    for kind in ["submitted", "modified", "approved", "pushed"] {
        for (side, since) in [("since", true), ("before", false)] {
            let name = format!("{kind}_{side}");
            let Some(text) = query.one(&name) else { continue };
            let bound = times::parse(text).ok_or_else(|| (name, "Invalid date".to_owned()))?;
            let key = format!("date_{kind}");
            tests.push(Box::new(move |update| {
                let date = update[&key].as_str().and_then(times::parse);
                date.is_some_and(|date| if since { date >= bound } else { date < bound })
            }));
        }
    }
    Ok(())
}

//! Made-up histories beside the real one, in the shapes of today's builds: runtimes, each release in a repository of its
//! own, and an application's second package in the repository of its first.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::{Samples, images::records::new_archive, times};

/// The builds of one update, from their first message to their push to stable.
#[derive(Debug, Clone)]
pub struct Story {
    /// Bodhi's release: `F36F`. Some update of it must be among the samples.
    pub release: String,
    /// The builds.
    pub builds: Vec<StoryBuild>,
    /// When they were pushed to testing; submitted an hour before.
    pub testing: Timestamp,
    /// When they were pushed to stable, if they were; asked for an hour before.
    pub stable: Option<Timestamp>,
}

/// One build of a story.
#[derive(Debug, Clone)]
pub struct StoryBuild {
    /// Koji's number. Where the samples have this build, its record is taken, and the rest here left unread.
    pub id: i64,
    /// `name-version-release`
    pub nvr: String,
    /// Where its image is: `f36/flatpak-runtime`.
    pub repository: String,
    /// Its ref with `{arch}` for the architecture: `runtime/org.fedoraproject.Platform/{arch}/f36`.
    pub flatpak_ref: String,
    /// When it was complete.
    pub completed: Timestamp,
}

/// Why a story can't be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the samples have no {0} to make a story from")]
pub struct NoModel(String);

/// A build whose record the made-up ones are like.
const MODEL: i64 = 2_400_001;
const ARCHITECTURES: [&str; 2] = ["x86_64", "aarch64"];

/// Runtime and SDK of two releases, and `eog-flatpak`, which shares the repository `eog` with the package `eog`.
///
/// # Errors
/// Never with the samples of the project, whose times are good.
pub fn beside_the_timeline() -> Result<Vec<Story>, jiff::Error> {
    let runtimes = |id: i64, number: u32, completed: &str| -> Result<Story, jiff::Error> {
        let completed: Timestamp = completed.parse()?;
        let build = |id, package: &str, name: &str| StoryBuild {
            id,
            nvr: format!("{package}-f{number}-1"),
            repository: format!("f{number}/{package}"),
            flatpak_ref: format!("runtime/org.fedoraproject.{name}/{{arch}}/f{number}"),
            completed,
        };
        Ok(Story {
            release: format!("F{number}F"),
            builds: vec![build(id, "flatpak-runtime", "Platform"), build(id + 1, "flatpak-sdk", "Sdk")],
            testing: completed + SignedDuration::from_hours(24),
            stable: Some(completed + SignedDuration::from_hours(72)),
        })
    };
    let eog = StoryBuild {
        id: MODEL,
        nvr: "eog-flatpak-42.3-1".to_owned(),
        repository: "eog".to_owned(),
        flatpak_ref: "app/org.gnome.eog/{arch}/stable".to_owned(),
        completed: "2022-09-05T05:19:54Z".parse()?,
    };
    Ok(vec![
        runtimes(2_400_011, 35, "2021-09-28T10:00:00Z")?,
        runtimes(2_400_021, 36, "2022-05-10T10:00:00Z")?,
        Story {
            release: "F36F".to_owned(),
            builds: vec![eog],
            testing: "2022-09-20T03:00:00Z".parse()?,
            stable: Some("2022-10-01T03:00:00Z".parse()?),
        },
    ])
}

impl Story {
    /// Adds records and messages to the samples.
    ///
    /// # Errors
    /// When the samples have nothing to make them like.
    pub fn add_to(&self, samples: &mut Samples) -> Result<(), NoModel> {
        for build in &self.builds {
            if !samples.builds.contains_key(&build.id) {
                let model = samples.builds.get(&MODEL).ok_or_else(|| NoModel(format!("build {MODEL}")))?;
                let record = build.record(model);
                samples.archives.insert(build.id, build.archives(&record));
                samples.builds.insert(build.id, record);
            }
            samples.timeline.extend(build.messages(&samples.builds[&build.id]));
        }
        let of_release = |update: &&Value| update["release"]["name"] == self.release.as_str();
        let model = samples.updates.values().rev().find(of_release);
        let model = model.ok_or_else(|| NoModel(format!("update of {}", self.release)))?.clone();
        samples.timeline.extend(self.messages(&model));
        let last = if self.stable.is_some() { Moment::Stable } else { Moment::Testing };
        let mut update = self.update(&model, last);
        update["locked"] = false.into();
        update["request"] = Value::Null;
        samples.updates.insert(self.alias(), update);
        Ok(())
    }

    /// `FEDORA-FLATPAK-2022-0123456789`
    pub fn alias(&self) -> String {
        let names: Vec<&str> = self.builds.iter().map(|build| build.nvr.as_str()).collect();
        format!("FEDORA-FLATPAK-{}-{}", self.testing.strftime("%Y"), &hash(&names.join(" "))[..10])
    }

    fn messages(&self, model: &Value) -> Vec<String> {
        let hour = SignedDuration::from_hours(1);
        let mut moments = vec![(Moment::Submitted, self.testing - hour), (Moment::Testing, self.testing)];
        if let Some(stable) = self.stable {
            moments.extend([(Moment::Requested, stable - hour), (Moment::Stable, stable)]);
        }
        let line = |(moment, at): (Moment, Timestamp)| {
            let agent = if moment.pushed() { "composer" } else { "bodhi" };
            let body = json!({"agent": agent, "update": self.update(model, moment)});
            let packages: Vec<&str> =
                self.builds.iter().filter_map(|build| build.nvr.rsplitn(3, '-').nth(2)).collect();
            record_line(
                moment.topic(),
                "bodhi_messages",
                &format!("{}.v1", moment.topic()),
                &packages,
                at,
                &body,
            )
        };
        moments.into_iter().map(line).collect()
    }

    /// The update at a moment, as its message shows it.
    fn update(&self, model: &Value, moment: Moment) -> Value {
        let mut update = model.clone();
        let title: Vec<&str> = self.builds.iter().map(|build| build.nvr.as_str()).collect();
        let release_id = model["builds"][0]["release_id"].clone();
        let build =
            |nvr: &&str| json!({"nvr": nvr, "release_id": release_id, "signed": true, "type": "flatpak"});
        let alias = self.alias();
        let submitted = self.testing - SignedDuration::from_hours(1);
        let testing = (moment >= Moment::Testing).then(|| times::bodhi(self.testing));
        let stable = self.stable.filter(|_| moment == Moment::Stable).map(times::bodhi);
        let now = json!({
            "alias": alias, "updateid": alias, "title": title.join(" "),
            "url": format!("https://bodhi.fedoraproject.org/updates/{alias}"),
            "builds": title.iter().map(build).collect::<Vec<_>>(),
            "comments": [], "bugs": [], "test_cases": [], "notes": "", "karma": 0,
            "status": moment.status(), "request": moment.request(), "locked": moment.pushed(),
            "pushed": moment >= Moment::Testing, "date_submitted": times::bodhi(submitted), "date_modified": null,
            "date_approved": null, "date_pushed": stable.clone().or_else(|| testing.clone()),
            "date_testing": testing, "date_stable": stable,
        });
        if let (Some(update), Value::Object(now)) = (update.as_object_mut(), now) {
            update.extend(now);
        }
        update
    }
}

/// The steps of an update, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    Submitted,
    Testing,
    Requested,
    Stable,
}

impl Moment {
    fn topic(self) -> &'static str {
        match self {
            Self::Submitted => "bodhi.update.request.testing",
            Self::Testing => "bodhi.update.complete.testing",
            Self::Requested => "bodhi.update.request.stable",
            Self::Stable => "bodhi.update.complete.stable",
        }
    }

    fn status(self) -> &'static str {
        match self {
            Self::Submitted => "pending",
            Self::Testing | Self::Requested => "testing",
            Self::Stable => "stable",
        }
    }

    fn request(self) -> &'static str {
        match self {
            Self::Submitted | Self::Testing => "testing",
            Self::Requested | Self::Stable => "stable",
        }
    }

    /// Said by the composer, which still holds the update.
    fn pushed(self) -> bool {
        matches!(self, Self::Testing | Self::Stable)
    }
}

impl StoryBuild {
    fn parts(&self) -> [&str; 3] {
        let mut parts = self.nvr.rsplitn(3, '-');
        let (release, version) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        [parts.next().unwrap_or_default(), version, release]
    }

    /// What `getBuild` answers, but for the image, which is not made yet.
    fn record(&self, model: &Value) -> Value {
        let [name, version, release] = self.parts();
        let tag = format!("{version}-{release}");
        let place = format!("candidate-registry.fedoraproject.org/{}", self.repository);
        let digest = format!("sha256:{}", hash(&self.nvr));
        let image = json!({"flatpak": true, "index": {
            "tags": [tag], "pull": [format!("{place}@{digest}"), format!("{place}:{tag}")],
            "digests": {"application/vnd.oci.image.index.v1+json": digest},
        }});
        let started = self.completed - SignedDuration::from_mins(5);
        let (begun, ended) = (started.as_second(), self.completed.as_second());
        let own = json!({
            "id": self.id, "build_id": self.id, "nvr": self.nvr, "name": name, "package_name": name,
            "version": version, "release": release, "task_id": 100_000_000 + self.id, "package_id": 40_000 + self.id % 1000,
            "source": format!("https://src.fedoraproject.org/flatpaks/{name}.git#{}", &hash(name)[..40]),
            "creation_time": koji_time(started), "creation_ts": begun, "start_time": koji_time(started), "start_ts": begun,
            "completion_time": koji_time(self.completed), "completion_ts": ended,
            "extra": {"image": image, "typeinfo": {"image": image}},
        });
        let mut record = model.clone();
        if let (Some(record), Value::Object(own)) = (record.as_object_mut(), own) {
            record.extend(own);
        }
        record
    }

    /// Archives that tell of the labels; the rest is told once there is an image.
    fn archives(&self, record: &Value) -> Vec<Value> {
        let archive = |(number, architecture): (usize, &str)| {
            let name = self.flatpak_ref.replace("{arch}", architecture);
            let labels = json!({"org.flatpak.ref": name, "org.flatpak.metadata": metadata(&name)});
            let mut archive = new_archive(record, number);
            archive["extra"] = json!({
                "image": {"arch": architecture}, "docker": {"config": {"config": {"Labels": labels}}},
            });
            archive
        };
        ARCHITECTURES.into_iter().enumerate().map(archive).collect()
    }

    /// The messages of a build with a task: begun, and complete.
    fn messages(&self, record: &Value) -> [String; 2] {
        let [name, version, release] = self.parts();
        let begun = self.completed - SignedDuration::from_mins(5);
        let request = json!([record["source"], "f36-flatpak-candidate", {}]);
        let message = |new: i64, at: Timestamp| {
            let completed = (new == 1).then(|| at.to_string());
            let body = json!({
                "attribute": "state", "old": if new == 1 { json!(0) } else { Value::Null }, "new": new,
                "build_id": self.id, "name": name, "version": version, "release": release, "epoch": null,
                "task_id": record["task_id"], "request": request, "owner": record["owner_name"],
                "task": {
                    "id": record["task_id"], "method": "flatpakBuild", "arch": "noarch", "state": new + 1, "request": request,
                    "host_id": null, "parent": null, "children": [], "result": null, "owner": record["owner_name"],
                },
                "instance": "primary", "creation_time": begun.to_string(), "completion_time": completed,
                "base_url": "https://koji.fedoraproject.org", "files_base_url": "https://kojipkgs.fedoraproject.org/work",
                "url": format!("https://koji.fedoraproject.org/koji/buildinfo?buildID={}", self.id),
            });
            let schema = "koji_fedoramessaging.build.BuildStateChangeV1";
            record_line(
                "buildsys.build.state.change",
                "koji_fedoramessaging_messages",
                schema,
                &[name],
                at,
                &body,
            )
        };
        [message(0, begun), message(1, self.completed)]
    }
}

/// A line of a recording.
fn record_line(
    topic: &str,
    package: &str,
    schema: &str,
    packages: &[&str],
    at: Timestamp,
    body: &Value,
) -> String {
    let mut headers = Map::new();
    for name in packages {
        headers.insert(format!("fedora_messaging_rpm_{name}"), true.into());
    }
    headers.insert("fedora_messaging_schema".to_owned(), schema.into());
    headers.insert("fedora_messaging_schema_package".to_owned(), package.into());
    headers.insert("fedora_messaging_severity".to_owned(), 20.into());
    headers.insert("priority".to_owned(), 0.into());
    headers.insert("sent-at".to_owned(), at.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string().into());
    let topic = format!("org.fedoraproject.prod.{topic}");
    let id = uuid(&hash(&format!("{topic} {at} {packages:?}")));
    json!({"body": body, "headers": headers, "id": id, "priority": 0, "queue": null, "topic": topic})
        .to_string()
}

/// A hash in the shape of a UUIDv4: the same on every machine.
fn uuid(hex: &str) -> String {
    format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

fn koji_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S+00:00").to_string()
}

/// A runtime's metadata as flatpak writes it.
fn metadata(flatpak_ref: &str) -> String {
    let parts: Vec<&str> = flatpak_ref.split('/').collect();
    let [_, id, architecture, branch] = parts[..] else { return String::new() };
    let of = |name: &str| format!("org.fedoraproject.{name}/{architecture}/{branch}");
    format!("[Runtime]\nname={id}\nruntime={}\nsdk={}\n", of("Platform"), of("Sdk"))
}

fn hash(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

//! What is told after the real history, in the shapes of today's builds: one package in two nested repositories, two
//! packages in one repository, and an application that goes out of testing again.

use flatbus_embedded::history::{Story, StoryBuild};
use jiff::{SignedDuration, Timestamp};

const F35: &str = "F35F";
const F36: &str = "F36F";

/// All of them, in order of time, after the real history's last message.
pub fn stories() -> Vec<Story> {
    vec![
        story(F35, vec![platform(2_400_041, 35, 1), sdk(2_400_042, 35)], 1, true),
        story(F36, vec![platform(2_400_051, 36, 1), sdk(2_400_052, 36)], 2, true),
        // The same package's last push, and the other release keeps its own.
        story(F35, vec![platform(2_400_061, 35, 2)], 10, true),
        story(F36, vec![application(2_400_071, "eog-flatpak-43.0-1", "eog", "org.gnome.eog")], 11, true),
        withdrawn(),
    ]
}

/// Whether a build is one of these stories'.
pub fn has(nvr: &str) -> bool {
    stories().iter().flat_map(|story| &story.builds).any(|build| build.nvr == nvr)
}

/// An application whose only update comes to testing, and is taken back.
pub fn withdrawn() -> Story {
    let build = application(2_400_081, "hello-flatpak-1.0~rc1-1", "hello", "org.fedoraproject.hello");
    story(F36, vec![build], 20, false)
}

/// Built on this day of October 2022, in testing a day later, in stable after three.
fn story(release: &str, mut builds: Vec<StoryBuild>, day: i64, stable: bool) -> Story {
    let begin: Timestamp = "2022-10-01T10:00:00Z".parse().unwrap();
    let after = |days: i64| begin + SignedDuration::from_hours(24 * (day + days));
    for build in &mut builds {
        build.completed = after(0);
    }
    Story { release: release.to_owned(), builds, testing: after(1), stable: stable.then(|| after(3)) }
}

fn platform(id: i64, number: u32, counter: u32) -> StoryBuild {
    runtime(id, number, &format!("flatpak-runtime-f{number}-{counter}"), "flatpak-runtime", "Platform")
}

fn sdk(id: i64, number: u32) -> StoryBuild {
    runtime(id, number, &format!("flatpak-sdk-f{number}-1"), "flatpak-sdk", "Sdk")
}

fn runtime(id: i64, number: u32, nvr: &str, package: &str, name: &str) -> StoryBuild {
    let flatpak_ref = format!("runtime/org.fedoraproject.{name}/{{arch}}/f{number}");
    build(id, nvr, format!("f{number}/{package}"), flatpak_ref)
}

fn application(id: i64, nvr: &str, repository: &str, name: &str) -> StoryBuild {
    build(id, nvr, repository.to_owned(), format!("app/{name}/{{arch}}/stable"))
}

fn build(id: i64, nvr: &str, repository: String, flatpak_ref: String) -> StoryBuild {
    StoryBuild { id, nvr: nvr.to_owned(), repository, flatpak_ref, completed: Timestamp::UNIX_EPOCH }
}

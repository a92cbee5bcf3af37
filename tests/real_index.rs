//! The real index between real servers and the real client: `flatbus run index` follows docker-registry, told by messages
//! over RabbitMQ, and Debian's flatpak lists, installs, runs and updates what its site server, or Apache httpd, gives.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "support/flatpak/mod.rs"]
mod flatpak;
#[path = "support/httpd.rs"]
mod httpd;
#[path = "support/index/mod.rs"]
mod index;
#[path = "support/rabbitmq.rs"]
mod rabbitmq;
#[path = "support/registry.rs"]
mod registry;
#[path = "support/run/mod.rs"]
#[allow(dead_code, reason = "the real run uses all of it")]
mod run;

use std::{collections::BTreeSet, fs, thread::sleep, time::Duration};

use flatbus_base::{Clock as _, Random, SystemClock};
use flatpak::{Asked, Child, FlatpakClient, HELLO, Image, Index as _, Offer, icon};
use httpd::Httpd;
use index::{RealIndex, reader::Reader, upstream::Upstream};
use run::until;
use serde_json::Value;

/// Longest until something is seen that the index does by itself.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the index is killed, and how long after an announcement at most.
const KILLS: usize = 20;
const KILLS_OF_A_SOAK: usize = 200;
const KILLED_WITHIN_MS: u64 = 90;
/// Files that the shipped example has written.
const OUTPUTS: usize = 16;
/// How many moves are timed.
const MOVES: usize = 11;
const LOOK: Duration = Duration::from_millis(1);

/// A user, and an index. Ended from the top: who asks goes before who answers.
struct Stage {
    user: FlatpakClient,
    index: RealIndex,
}

#[test]
fn a_tag_that_moves_is_what_users_update_to() {
    let (platform, first, second) = (Image::platform(1), Image::hello(1), Image::hello(2));
    let mut stage = Stage::set(RealIndex::start());
    stage.index.publish(&[&platform, &first]);
    stage.user.remote_add(&stage.index.url());
    let mut offered = stage.user.remote_ls();
    offered.sort();
    assert_eq!(offered, [Offer::of(first.host_child()), Offer::of(platform.host_child())]);
    stage.user.install(&first.host_child().flatpak_ref);
    assert_eq!(stage.user.run(HELLO), "Hello v1 on Platform v1\n");
    stage.an_index_that_did_not_change_is_answered_with_304();

    stage.index.publish(&[&platform, &second]);
    stage.runs_after_an_update("Hello v2 on Platform v1\n");
    assert_eq!(stage.user.installed_digest(HELLO), Some(second.host_child().digest()));
    stage.index.publish(&[&Image::platform(2), &second]);
    stage.runs_after_an_update("Hello v2 on Platform v2\n");
}

/// From a push in Bodhi on, without a step by hand: Koji and Bodhi, mirror, index, and the user.
#[test]
fn a_push_in_bodhi_is_what_users_update_to() {
    let (platform, first, second) = (Image::platform(1), Image::hello(1), Image::hello(2));
    let stage = Stage::set(RealIndex::start());
    let mut upstream = Upstream::start(&stage.index, &[&[&platform, &first], &[&second]]);
    upstream.push_next();
    stage.index.until_serves("latest", &[&platform, &first]);
    stage.user.remote_add(&stage.index.url());
    stage.user.install(HELLO);
    assert_eq!(stage.user.run(HELLO), "Hello v1 on Platform v1\n");
    upstream.push_next();
    stage.index.until_serves("latest", &[&platform, &second]);
    stage.runs_after_an_update("Hello v2 on Platform v1\n");
}

#[test]
fn testing_is_a_remote_of_its_own() {
    let (platform, first, second) = (Image::platform(1), Image::hello(1), Image::hello(2));
    let stage = Stage::installed(RealIndex::start());
    for image in [&platform, &second] {
        stage.index.move_tag(image, "testing");
    }
    stage.index.until_serves("testing", &[&platform, &second]);
    let tester = FlatpakClient::new();
    tester.remote_add(&format!("{}#testing", stage.index.url()));
    assert!(tester.remote_ls().contains(&Offer::of(second.host_child())));
    tester.install(HELLO);
    assert_eq!(tester.run(HELLO), "Hello v2 on Platform v1\n");
    stage.index.until_serves("latest", &[&platform, &first]);
    stage.runs_after_an_update("Hello v1 on Platform v1\n");
}

#[test]
fn description_and_icons_reach_the_user_as_files_of_their_own() {
    let mut stage = Stage::set(RealIndex::start());
    for version in [1, 2] {
        stage.index.publish(&[&Image::platform(1), &Image::hello(version)]);
        if version == 1 {
            stage.user.remote_add(&stage.index.url());
        }
        let told = stage.user.appstream();
        assert!(told.contains(HELLO) && told.contains(&format!("Says hello, version {version}")), "{told}");
        for pixels in [64, 128] {
            assert_eq!(stage.user.icon(HELLO, pixels), Some(icon(version, pixels)));
        }
        let asked = stage.user.take_asked().into_iter().filter(|asked| asked.path.contains("/icons/"));
        let asked: Vec<_> = asked.filter(|asked| asked.status == Some(200)).collect();
        assert_eq!(asked.len(), 2, "{asked:#?}");
        assert!(
            asked.iter().all(|asked| asked.answer["cache-control"].to_str().unwrap().contains("immutable"))
        );
    }
}

#[test]
fn each_file_holds_the_architectures_that_it_says() {
    let mut stage = Stage::set(RealIndex::start());
    stage.index.publish(&[&Image::platform(1), &Image::hello(1)]);
    for (ending, architectures) in
        [("", &["amd64", "arm64"][..]), ("-amd64", &["amd64"]), ("-arm64", &["arm64"]), ("-ppc64le", &[])]
    {
        for (form, labels) in [("", "Labels"), ("-annotations", "Annotations")] {
            let file = stage.index.file(&format!("index/flatpak-latest{ending}{form}.json"));
            let index: Value = serde_json::from_str(&file).unwrap();
            let results = index["Results"].as_array().unwrap();
            let images: Vec<&Value> =
                results.iter().flat_map(|one| one["Images"].as_array().unwrap()).collect();
            let held: BTreeSet<_> =
                images.iter().map(|image| image["Architecture"].as_str().unwrap()).collect();
            assert_eq!(held, architectures.iter().copied().collect(), "{ending}{form}");
            assert!(images.iter().all(|image| image[labels]["org.flatpak.ref"].is_string()), "{file}");
            assert_eq!(images.len(), 2 * architectures.len());
        }
    }
}

/// Or it would be offered, and could not be installed.
#[test]
fn an_application_waits_for_its_runtime_also_over_a_restart() {
    let (platform, hello) = (Image::platform(1), Image::hello(1));
    let mut stage = Stage::set(RealIndex::start());
    stage.index.move_tag(&hello, "latest");
    stage.until_withheld("hello");
    stage.index.until_serves("latest", &[]);
    stage.index.unit.kill();
    stage.index.unit.start();
    stage.index.move_tag(&platform, "latest");
    stage.index.until_serves("latest", &[&platform, &hello]);
}

#[test]
fn a_runtime_goes_once_no_application_needs_it() {
    let (platform, hello) = (Image::platform(1), Image::hello(1));
    let mut stage = Stage::set(RealIndex::start());
    stage.index.publish(&[&platform, &hello]);
    stage.index.withdraw(&platform.repository, "latest");
    stage.until_withheld(&platform.repository);
    stage.index.until_serves("latest", &[&platform, &hello]);
    stage.index.withdraw(&hello.repository, "latest");
    stage.index.until_serves("latest", &[]);
}

#[test]
fn what_is_withdrawn_is_offered_no_more_and_stays_with_those_who_have_it() {
    let platform = Image::platform(1);
    let mut stage = Stage::installed(RealIndex::start());
    stage.index.publish(&[&platform]);
    assert!(stage.user.update().contains("Nothing to do"));
    assert_eq!(stage.user.remote_ls(), [Offer::of(platform.host_child())]);
    assert_eq!(stage.user.run(HELLO), "Hello v1 on Platform v1\n");
}

#[test]
fn what_is_announced_while_the_index_is_dead_is_published_when_it_lives() {
    let (platform, second) = (Image::platform(1), Image::hello(2));
    let mut stage = Stage::installed(RealIndex::start());
    stage.index.unit.kill();
    stage.index.move_tag(&second, "latest");
    stage.index.unit.start();
    stage.index.until_serves("latest", &[&platform, &second]);
    stage.runs_after_an_update("Hello v2 on Platform v1\n");
}

#[test]
fn killed_while_it_publishes_the_index_loses_nothing_and_who_reads_all_the_time_sees_whole_files() {
    let (platform, versions) = (Image::platform(1), [Image::hello(1), Image::hello(2)]);
    let mut stage = Stage::installed(RealIndex::start());
    let random = Random::from_system();
    let reader = Reader::start(&stage.index.unit.site_dir);
    let soak = std::env::var_os("FLATBUS_SOAK_S").is_some();
    for new in versions.iter().rev().cycle().take(if soak { KILLS_OF_A_SOAK } else { KILLS }) {
        stage.index.move_tag(new, "latest");
        sleep(Duration::from_millis(random.below(KILLED_WITHIN_MS)));
        stage.index.unit.kill();
        stage.every_file_is_whole();
        stage.index.unit.start();
        stage.index.until_serves("latest", &[&platform, new]);
    }
    let seen = reader.seen();
    assert!(seen.wrong.is_empty(), "{:?}", seen.wrong);
    let known = [&platform, &versions[0], &versions[1]].into_iter().flat_map(|image| &image.children);
    let known: BTreeSet<String> = known.map(Child::digest).collect();
    assert!(seen.digests.is_subset(&known), "an image that nobody pushed: {:?}", seen.digests);
    assert!(seen.files > KILLS * OUTPUTS * 2, "only {} files were read", seen.files);
    stage.runs_after_an_update("Hello v1 on Platform v1\n");
}

#[test]
fn a_registry_that_is_away_empties_no_index_and_is_read_when_it_is_back() {
    let (platform, first, second) = (Image::platform(1), Image::hello(1), Image::hello(2));
    let mut stage = Stage::set(RealIndex::start());
    stage.index.publish(&[&platform, &first]);
    stage.index.push(&second, "latest");
    stage.index.registry.kill();
    stage.index.announce(&platform, "latest");
    stage.index.announce(&second, "latest");
    let waits = || (stage.index.unit.status()["ledger"]["waiting"] == 2).then_some(());
    until("both are to be looked at again", PATIENCE, || stage.index.unit.trouble(), waits);
    stage.index.until_serves("latest", &[&platform, &first]);
    stage.index.registry.start_again();
    stage.index.until_serves("latest", &[&platform, &second]);
}

#[test]
fn a_move_that_nobody_told_of_is_found_by_a_survey() {
    let (platform, second) = (Image::platform(1), Image::hello(2));
    let mut stage = Stage::set(RealIndex::start());
    stage.index.publish(&[&platform, &Image::hello(1)]);
    stage.index.push(&second, "latest");
    stage.index.unit.ask(&["survey", "index"]);
    stage.index.until_serves("latest", &[&platform, &second]);
}

#[test]
fn behind_the_site_servers_redirects_everything_is_installed() {
    let mut stage = Stage::installed(RealIndex::start_as_front());
    stage.came_through_the_front(&stage.index.url());
    stage.index.publish(&[&Image::platform(1), &Image::hello(2)]);
    stage.runs_after_an_update("Hello v2 on Platform v1\n");
}

#[test]
fn from_apache_httpd_and_behind_its_redirects_everything_is_installed() {
    let mut index = RealIndex::configure();
    index.open_to_all();
    index.send_clients_to("http://127.0.0.1:1"); // That there is a front is all that the rendering need know.
    let httpd = Httpd::start(&index.unit.ask(&["index", "httpd-config"]));
    let front = format!("http://{}", httpd.host());
    index.send_clients_to(&front);
    index.unit.start();
    let mut stage = Stage::set(index);
    stage.index.publish(&[&Image::platform(1), &Image::hello(1)]);
    stage.user.remote_add(&front);
    stage.user.install(HELLO);
    assert_eq!(stage.user.run(HELLO), "Hello v1 on Platform v1\n");
    stage.came_through_the_front(&front);
    stage.an_index_that_did_not_change_is_answered_with_304();
    stage.index.publish(&[&Image::platform(1), &Image::hello(2)]);
    stage.runs_after_an_update("Hello v2 on Platform v1\n");
    stage.user.appstream();
    assert_eq!(stage.user.icon(HELLO, 64), Some(icon(2, 64)));
}

/// Told, and held to nothing: that is for a bench, with a program that was built for speed.
#[test]
fn the_time_from_an_announcement_to_the_file_is_told() {
    let versions = [Image::hello(1), Image::hello(2)];
    let mut stage = Stage::set(RealIndex::start());
    stage.index.publish(&[&Image::platform(1), &versions[0]]);
    let mut times_ms = Vec::new();
    for new in versions.iter().rev().cycle().take(MOVES) {
        stage.index.push(new, "latest");
        let (digest, begun) = (new.host_child().digest(), SystemClock.monotonic());
        stage.index.announce(new, "latest");
        while !stage.index.file("index/flatpak-latest-amd64.json").contains(&digest) {
            assert!(begun.elapsed() < PATIENCE, "{}", stage.index.unit.trouble());
            sleep(LOOK);
        }
        times_ms.push(begun.elapsed().as_millis());
    }
    let told = format!("{times_ms:?}");
    times_ms.sort_unstable();
    println!("From tag.moved to the file, in ms: {} at the median of {told}", times_ms[MOVES / 2]);
}

impl Stage {
    /// Nobody has anything yet.
    fn set(index: RealIndex) -> Self {
        Self { user: FlatpakClient::new(), index }
    }

    /// The user has the first version of both.
    fn installed(index: RealIndex) -> Self {
        let mut stage = Self::set(index);
        stage.index.publish(&[&Image::platform(1), &Image::hello(1)]);
        stage.user.remote_add(&stage.index.url());
        stage.user.install(HELLO);
        assert_eq!(stage.user.run(HELLO), "Hello v1 on Platform v1\n");
        stage
    }

    /// Each index names one of each that it should, and icons that are there.
    fn every_file_is_whole(&self) {
        let files = fs::read_dir(self.index.unit.site_dir.join("index")).unwrap().map(|file| file.unwrap());
        let names = files.map(|file| file.file_name().into_string().unwrap());
        let names: Vec<String> =
            names.filter(|name| name.starts_with("flatpak-") && name.ends_with(".json")).collect();
        assert_eq!(names.len(), OUTPUTS, "{names:?}");
        for name in names {
            let file = self.index.file(&format!("index/{name}"));
            let whole: Value =
                serde_json::from_str(&file).unwrap_or_else(|error| panic!("{name}: {error}\n{file}"));
            let filled = name.starts_with("flatpak-latest") && !name.contains("ppc64le");
            let named = whole["Results"].as_array().map(Vec::len);
            assert_eq!(named, Some(if filled { 2 } else { 0 }), "{name}: {file}");
            let icons: Vec<&str> =
                file.split("\"/icons/").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
            assert_eq!(!icons.is_empty(), filled, "{name}: {file}");
            for icon in icons {
                assert!(self.index.unit.site_dir.join("icons").join(icon).exists(), "{name} names {icon}");
            }
        }
    }

    #[track_caller]
    fn until_withheld(&self, repository: &str) {
        let key = format!("withheld/{repository}");
        let is = || self.index.unit.ask(&["ledger", "list", "index"]).contains(&key).then_some(());
        until(&format!("{repository} is withheld"), PATIENCE, || self.index.unit.trouble(), is);
    }

    #[track_caller]
    fn runs_after_an_update(&self, told: &str) {
        let said = self.user.update();
        assert_eq!(self.user.run(HELLO), told, "{said}");
    }

    fn an_index_that_did_not_change_is_answered_with_304(&self) {
        self.user.forget_index_cache();
        self.user.take_asked();
        self.user.update();
        let first = self.user.take_asked_for_index().swap_remove(0);
        assert_eq!((first.status, first.header("if-none-match")), (Some(200), None));
        let etag = first.answer["etag"].to_str().unwrap();
        self.user.update();
        let asked = self.user.take_asked_for_index();
        assert!(!asked.is_empty(), "the index says no-cache");
        let unchanged =
            |asked: &Asked| asked.status == Some(304) && asked.header("if-none-match") == Some(etag);
        assert!(asked.iter().all(unchanged), "{asked:#?}");
    }

    /// Each manifest and blob was asked of the front by its plain name, and then of the registry below the namespace.
    fn came_through_the_front(&self, front: &str) {
        let asked = self.user.take_asked();
        let images: Vec<_> = asked.iter().filter(|asked| asked.path.starts_with("/v2/")).collect();
        let front = front.trim_start_matches("http://");
        let (to_front, to_registry): (Vec<&Asked>, Vec<&Asked>) =
            images.into_iter().partition(|asked| asked.host == front);
        let sent: BTreeSet<_> =
            to_front.iter().map(|asked| asked.path.replace("/v2/", "/v2/fedora/")).collect();
        let found: BTreeSet<_> = to_registry.iter().map(|asked| asked.path.clone()).collect();
        assert!(sent == found && sent.len() == 6, "{asked:#?}");
        assert!(to_front.iter().all(|asked| asked.status == Some(302)), "{to_front:#?}");
        assert!(to_registry.iter().all(|asked| asked.status == Some(200)), "{to_registry:#?}");
    }
}

//! Uploads that a registry begins, continues or ends in another way than it should.

use flatbus_embedded::{Fault, Seen};
use flatbus_oci::{CopySettings, UploadMode};
use http::{Method, StatusCode, header};

use super::{
    hosts::{EOG, PUBLIC},
    stage::{Setting, story, story_on},
    strike::is,
    truth::Push::Stable,
};

/// A destination that takes layers in pieces, and layers of several pieces.
fn in_chunks() -> Setting {
    let setting = Setting::default();
    let upload = UploadMode::Chunks { bytes: 200_000 };
    let copies = CopySettings { upload, ..setting.copies };
    Setting { copies, layer_bytes: 600_000, ..Setting::default() }
}

/// A piece that is not the first.
fn later_piece(method: Method) -> impl Fn(&Seen) -> bool + Send + 'static {
    move |seen| {
        let range = seen.headers.get(header::CONTENT_RANGE);
        seen.method == method && range.is_some_and(|range| !range.as_bytes().starts_with(b"0-"))
    }
}

#[test]
fn an_upload_without_location_is_begun_again() {
    story(async |stage| {
        stage.strike(PUBLIC, 1, is(Method::POST, "/uploads/"), Fault::DropHeader(header::LOCATION));
        stage.push(1, Stable);
    });
}

#[test]
fn a_mount_that_only_begins_an_upload_is_gone_on_with() {
    let setting = Setting { config: "staging = \"https://public.test/staging\"\n", ..Setting::default() };
    story_on(setting, async |stage| {
        stage.complete(1);
        stage.quiet().await;
        let begun = format!("/v2/{EOG}/blobs/uploads/");
        let mount = |seen: &Seen| seen.query.contains("mount=");
        stage.strike(PUBLIC, 2, mount, Fault::Instead { target: begun });
        stage.push(1, Stable);
    });
}

#[test]
fn a_416_on_a_stream_makes_the_destination_say_where_it_stands() {
    story(async |stage| {
        let refused = Fault::status(StatusCode::RANGE_NOT_SATISFIABLE);
        stage.strike(PUBLIC, 1, is(Method::PATCH, "/uploads/"), refused);
        stage.push(1, Stable);
        stage.quiet().await;
        assert!(!stage.asked(PUBLIC, is(Method::GET, "/uploads/")).is_empty());
    });
}

#[test]
fn a_416_on_a_chunk_makes_the_destination_say_where_it_stands() {
    story_on(in_chunks(), async |stage| {
        stage.strike(PUBLIC, 1, later_piece(Method::PATCH), Fault::status(StatusCode::RANGE_NOT_SATISFIABLE));
        stage.push(1, Stable);
        stage.quiet().await;
        assert!(!stage.asked(PUBLIC, is(Method::GET, "/uploads/")).is_empty());
    });
}

/// Every upload is forgotten just before such a request.
fn forgotten_at(setting: Setting, kind: impl Fn(&Seen) -> bool + Send + 'static) {
    story_on(setting, async |stage| {
        let control = stage.hosts.public.control();
        stage.strike_by(PUBLIC, 1, kind, move |_| {
            control.forget_uploads();
            Fault::None
        });
        stage.push(1, Stable);
        stage.quiet().await;
        assert_eq!(stage.put_off(), 0, "an upload that is lost is begun again at once");
    });
}

/// The end of an upload, with so many bytes.
fn ends_with(told: impl Fn(&str) -> bool + Send + 'static) -> impl Fn(&Seen) -> bool + Send + 'static {
    move |seen| {
        let length = seen.headers.get(header::CONTENT_LENGTH).and_then(|told| told.to_str().ok());
        is(Method::PUT, "/uploads/")(seen) && told(length.unwrap_or("0"))
    }
}

#[test]
fn an_upload_forgotten_before_its_stream_is_begun_again() {
    forgotten_at(Setting::default(), is(Method::PATCH, "/uploads/"));
}

#[test]
fn an_upload_forgotten_before_its_end_is_begun_again() {
    forgotten_at(Setting::default(), ends_with(|length| length == "0"));
}

#[test]
fn an_upload_forgotten_before_its_only_piece_is_begun_again() {
    forgotten_at(Setting::default(), ends_with(|length| length != "0"));
}

#[test]
fn an_upload_forgotten_before_its_last_chunk_is_begun_again() {
    forgotten_at(in_chunks(), later_piece(Method::PUT));
}

#[test]
fn a_registry_that_restarts_in_mid_upload_is_sent_the_layer_again() {
    story(async |stage| {
        let control = stage.hosts.public.control();
        stage.strike_by(PUBLIC, 1, is(Method::PATCH, "/uploads/"), move |_| {
            control.forget_uploads();
            Fault::HangUp
        });
        stage.push(1, Stable);
    });
}

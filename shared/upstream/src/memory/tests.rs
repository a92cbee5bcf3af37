use std::time::Duration;

use flatbus_base::{Remediable, Remedy};
use serde_json::json;

use super::*;
use crate::{
    Error,
    bodhi::{Bodhi, Status, UpdateQuery},
    koji::{BuildRef, BuildState, Koji},
    quay::{Quay, Visibility},
};

const BUILD: &str =
    include_str!("../../../../schemas/samples/koji/builds/eog-stable-3620220905044417.1.json");
const UPDATE: &str =
    include_str!("../../../../schemas/samples/bodhi/updates/FEDORA-FLATPAK-2022-efcca6b48a.json");

fn koji() -> (MemoryKoji, BuildRef) {
    let koji = MemoryKoji::new();
    let build = koji.load(&serde_json::from_str(BUILD).unwrap()).unwrap();
    (koji, BuildRef::Nvr(build.nvr))
}

#[tokio::test]
async fn calls_are_counted_and_faults_come_in_the_order_they_were_ordered() {
    let (koji, build) = koji();
    koji.desk().fail_next(1, Fault::Status(503));
    koji.desk().fail_next(2, Fault::WrongShape);
    let mut outcomes = Vec::new();
    for _ in 0..4 {
        outcomes.push(koji.build(&build).await.map(|found| found.is_some()));
    }
    assert!(matches!(&outcomes[0], Err(Error::Http(_))));
    assert!(matches!(&outcomes[1], Err(Error::WrongShape { .. })));
    assert!(matches!(&outcomes[2], Err(Error::WrongShape { .. })));
    assert_eq!(outcomes[3], Ok(true));
    assert_eq!((koji.desk().count(), koji.desk().calls()[3].clone()), (4, KojiCall::Build(build)));
}

#[tokio::test]
async fn a_stale_answer_is_the_one_before_the_last_change_and_an_empty_one_is_a_lie() {
    let (koji, build) = koji();
    koji.set_state("eog-stable-3620220905044417.1", BuildState::Deleted);
    koji.desk().fail_next(1, Fault::Stale);
    koji.desk().fail_next(1, Fault::Empty);
    let states = [koji.build(&build).await, koji.build(&build).await, koji.build(&build).await];
    let states = states.map(|found| found.unwrap().map(|build| build.state));
    assert_eq!(states, [Some(BuildState::Complete), None, Some(BuildState::Deleted)]);
}

#[tokio::test(start_paused = true)]
async fn a_time_out_takes_its_time_and_lasts_until_healed() {
    let (koji, build) = koji();
    koji.desk().fail_always(Fault::TimeOut(Duration::from_secs(60)));
    let waited = tokio::time::timeout(Duration::from_secs(59), koji.build(&build)).await;
    assert!(waited.is_err(), "nothing comes before the time is out");
    assert_eq!(koji.build(&build).await.unwrap_err().remedy(), Remedy::Retry);
    koji.desk().heal();
    assert!(koji.build(&build).await.unwrap().is_some());
}

#[tokio::test]
async fn a_hook_decides_by_the_call() {
    let bodhi = MemoryBodhi::new();
    bodhi.load(&serde_json::from_str(UPDATE).unwrap()).unwrap();
    bodhi.desk().fail_by(|call| {
        matches!(call, BodhiCall::Updates(_)).then_some(Fault::Limited(Duration::from_secs(7)))
    });
    let error = bodhi.updates(&UpdateQuery::default()).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::RetryAfter(Duration::from_secs(7)));
    assert!(bodhi.update("FEDORA-FLATPAK-2022-efcca6b48a").await.unwrap().is_some());
}

#[tokio::test]
async fn an_edited_update_is_listed_as_it_is_now() {
    let bodhi = MemoryBodhi::new();
    let update = bodhi.load(&serde_json::from_str(UPDATE).unwrap()).unwrap();
    assert!(bodhi.edit(&update.alias, |update| update.status = Status::Unpushed));
    assert!(!bodhi.edit("FEDORA-FLATPAK-2022-unknown", |_| {}));
    let listed = bodhi
        .updates(&UpdateQuery { packages: vec!["eog".to_owned()], ..UpdateQuery::default() })
        .await
        .unwrap();
    assert_eq!(listed.iter().map(|update| update.status).collect::<Vec<_>>(), [Status::Unpushed]);
    bodhi.remove(&update.alias);
    assert_eq!(bodhi.update(&update.alias).await, Ok(None));
}

#[tokio::test]
async fn quay_tells_who_listens_and_keeps_what_exists() {
    let quay = MemoryQuay::new();
    let (heard, told) = std::sync::mpsc::channel();
    quay.on_change(move |repository, visibility| heard.send((repository.to_owned(), visibility)).unwrap());
    quay.set("fedora/eog", Visibility::Private);
    quay.create_public("fedora/eog").await.unwrap();
    assert_eq!(quay.get("fedora/eog"), Some(Visibility::Private), "creating what exists changes nothing");
    quay.make_public("fedora/eog").await.unwrap();
    assert_eq!(
        told.try_iter().map(|(_, visibility)| visibility).collect::<Vec<_>>(),
        [Visibility::Private, Visibility::Public]
    );
}

#[test]
fn a_record_in_the_wrong_shape_is_refused() {
    assert!(MemoryKoji::new().load(&json!({ "nvr": "a-1-1" })).is_err());
    assert!(MemoryBodhi::new().load(&json!({ "alias": "A" })).is_err());
}

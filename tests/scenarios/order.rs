//! Order does not matter, and no step does: drawn histories, each step of short ones interrupted in turn.

use flatbus_world::{
    Blow, Chapter, Event, Fault, History, draw,
    fault::Realm,
    many::{Order, play_many},
    play,
};

/// Events of a short history.
const SHORT: usize = 8;

/// Short histories, fixed: everything but deaths.
fn short(seed: u64) -> History {
    let mut history = draw::history(seed, SHORT);
    history.chapters.retain(
        |chapter| !matches!(chapter.event, Event::Blow(blow) if blow.fault.realm() == Realm::Process),
    );
    history
}

fn killed_at(history: &History, call: u16) -> History {
    let blow = Blow::of(Fault::Killed).after(call).times(call % 3);
    let mut killed = history.clone();
    killed.chapters.insert(0, Chapter { after: std::time::Duration::ZERO, event: Event::Blow(blow) });
    killed
}

#[test]
fn each_step_of_twenty_short_histories_can_be_the_last_of_its_process() {
    let (mut steps, mut deaths) = (0_u64, 0);
    for seed in 1000..1020 {
        let history = short(seed);
        let whole = play(&history);
        assert_eq!(whole.violations, [], "{history}");
        let calls: u64 = whole.calls.values().sum();
        for call in 0..calls {
            let killed = killed_at(&history, u16::try_from(call).unwrap());
            let report = play(&killed);
            assert_eq!(report.violations, [], "killed at call {call} of\n{history}");
            assert_eq!(report.desired, whole.desired, "killed at call {call} of\n{history}");
            (steps, deaths) = (steps + 1, deaths + report.lives.saturating_sub(whole.lives));
        }
    }
    assert!(steps > 1000 && deaths * 10 > steps * 9, "{steps} steps, {deaths} deaths");
}

#[test]
fn some_hundred_histories_keep_every_promise_and_see_every_fault() {
    let sum = play_many(Order { from: 1, histories: 300, events: 100, threads: 1 }, |_| true);
    if let Some((history, report)) = sum.failed {
        panic!("{:?}\n{history}", report.violations);
    }
    let never: Vec<Fault> = Fault::ALL.into_iter().filter(|fault| !sum.struck.contains_key(fault)).collect();
    assert_eq!(never, [], "no history met these");
    assert!(sum.compared > 1000, "only {} settles could be compared with their second", sum.compared);
}

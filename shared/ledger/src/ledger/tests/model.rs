//! Random histories with crashes. After each step the ledger agrees with a simple model; after a crash it is exactly
//! what it was after some step, none before the last one answered.

use std::collections::{BTreeMap, BTreeSet};

use flatbus_base::Random;

use super::*;

const SEEDS: u64 = 60;
const STEPS: usize = 250;
const KEYS: u64 = 6;

/// What the model knows of a doubtful key.
#[derive(Debug, Clone, Default, PartialEq)]
struct Doubt {
    parked: bool,
    /// In flight: marked since by the survey, by others.
    flight: Option<(bool, bool)>,
}

/// What must hold, said simply.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    doubts: BTreeMap<String, Doubt>,
    facts: BTreeMap<String, String>,
    announced: usize,
    position: Option<String>,
}

impl Model {
    fn mark(&mut self, key: &str, news: bool) {
        let doubt = self.doubts.entry(key.to_owned()).or_default();
        match &mut doubt.flight {
            Some((surveyed, marked)) => (*surveyed, *marked) = (*surveyed || !news, *marked || news),
            None if news => doubt.parked = false,
            None => {}
        }
    }

    fn settle(&mut self, key: &str) {
        let marked_again = matches!(self.doubts.remove(key).unwrap().flight, Some((true, _) | (_, true)));
        if marked_again {
            self.doubts.insert(key.to_owned(), Doubt::default());
        }
    }

    /// Whether this parks it, and it was not before.
    fn fail(&mut self, key: &str, park: bool) -> bool {
        let doubt = self.doubts.get_mut(key).unwrap();
        let news = doubt.flight.take().unwrap().1;
        let before = doubt.parked;
        doubt.parked = !news && (park || before);
        doubt.parked && !before
    }

    /// As after a restart.
    fn at_rest(mut self) -> Self {
        for doubt in self.doubts.values_mut() {
            if let Some((_, true)) = doubt.flight.take() {
                doubt.parked = false;
            }
        }
        self
    }
}

/// Everything durable of a ledger, as it would be read after a restart now.
#[derive(Debug, Clone, PartialEq)]
struct Dump {
    doubts: BTreeMap<String, Vec<u8>>,
    facts: Vec<(String, String)>,
    memos: Vec<(String, Vec<u8>)>,
    outbox: Vec<(u64, Vec<u8>)>,
    position: Option<String>,
    survey: SurveyState,
}

fn dump(ledger: &Ledger) -> Dump {
    let shown = ledger.list(&Filter::default(), None, usize::MAX);
    let state = ledger.state();
    let doubts = shown.into_iter().map(|shown| (shown.key.clone(), state.table.record(&shown.key).unwrap()));
    let doubts = doubts.collect();
    drop(state);
    Dump {
        doubts,
        facts: ledger.facts("", None, 999).unwrap(),
        memos: ledger.memos("", None, 999).unwrap(),
        outbox: ledger.outbox(999).unwrap(),
        position: ledger.position("p").unwrap(),
        survey: ledger.survey(),
    }
}

struct Run {
    desk: Desk,
    random: Random,
    model: Model,
    /// What held after each step since the last restart.
    history: Vec<(Dump, Model)>,
    /// The last step that was answered.
    answered: usize,
    commits: Vec<(usize, Commit)>,
    flying: Vec<Taken>,
    step: usize,
}

#[tokio::test(start_paused = true)]
async fn random_histories_with_crashes_agree_with_a_simple_model() {
    let mut restarts = 0;
    for seed in 0..SEEDS {
        let desk = Desk::new().await;
        let (model, random) = (Model::default(), Random::from_seed(seed));
        let history = vec![(dump(&desk.ledger), model.clone())];
        let mut run =
            Run { desk, random, model, history, answered: 0, commits: vec![], flying: vec![], step: 0 };
        for step in 0..STEPS {
            run.step = step;
            restarts += usize::from(run.step().await);
            run.check(seed);
        }
    }
    assert!(restarts > SEEDS as usize, "the histories crash");
}

impl Run {
    /// Answers whether it was a restart.
    async fn step(&mut self) -> bool {
        self.desk.later(self.random.below(3));
        let commit = match self.random.below(14) {
            0..=3 => Some(self.mark()),
            4 | 5 => self.take(),
            6 | 7 => self.settle(),
            8 => self.fail(),
            9 => self.drop_or_retry(),
            10 => self.send(),
            11 => {
                self.disturb();
                None
            }
            12 => {
                self.wait().await;
                None
            }
            _ => {
                if self.random.below(3) == 0 {
                    self.crash().await;
                    return true;
                }
                None
            }
        };
        self.history.push((dump(&self.desk.ledger), self.model.clone()));
        if let Some(commit) = commit {
            self.commits.push((self.history.len() - 1, commit));
        }
        false
    }

    fn key(&self) -> String {
        self.random.below(KEYS).to_string()
    }

    fn mark(&mut self) -> Commit {
        let origin =
            [Origin::Event, Origin::Also, Origin::Hand, Origin::Survey][self.random.below(4) as usize];
        let key = self.key();
        self.model.mark(&key, origin != Origin::Survey);
        let position = (self.random.below(2) == 0).then(|| self.step.to_string());
        self.model.position = position.clone().or(self.model.position.take());
        let position = position.map(|position| Position { source: "p".to_owned(), position });
        self.desk
            .ledger
            .mark(&[mark(&key, origin)], &[self.step.to_string()], position, self.desk.now())
            .commit
    }

    fn take(&mut self) -> Option<Commit> {
        let max = self.random.below(3) as usize;
        let taken = self.desk.ledger.take(self.desk.now(), max, &mut |_| true);
        for taken in &taken {
            let doubt = self.model.doubts.get_mut(&taken.key).unwrap();
            assert_eq!((doubt.flight, doubt.parked), (None, taken.parked));
            doubt.flight = Some((false, false));
        }
        self.flying.extend(taken);
        None
    }

    fn landing(&mut self) -> Option<Taken> {
        let at = self.random.below(self.flying.len() as u64) as usize;
        (at < self.flying.len()).then(|| self.flying.swap_remove(at))
    }

    fn settle(&mut self) -> Option<Commit> {
        let taken = self.landing()?;
        let (subject, value) = (self.key(), (self.random.below(2) == 0).then(|| self.step.to_string()));
        let memo = value.clone().map(|value| value.into_bytes().repeat(2000));
        self.model.settle(&taken.key);
        match value.clone() {
            Some(value) => self.model.facts.insert(subject.clone(), value),
            None => self.model.facts.remove(&subject),
        };
        let found = self.key();
        self.model.mark(&found, taken.origin != Origin::Survey);
        self.model.announced += 1;
        let settlement = Settlement {
            facts: vec![(subject.clone(), value)],
            outbox: vec![self.step.to_string().into_bytes()],
            also: vec![mark(&found, Origin::Also)],
            memos: vec![(subject, memo)],
            deeds: vec![],
        };
        Some(self.desk.ledger.settled(&taken, settlement, self.desk.now()))
    }

    fn fail(&mut self) -> Option<Commit> {
        let taken = self.landing()?;
        if self.random.below(4) == 0 {
            self.desk.ledger.release(&taken);
            let doubt = self.model.doubts.get_mut(&taken.key).unwrap();
            doubt.parked &= !doubt.flight.take().unwrap().1;
            return None;
        }
        let next = [wait(3), told(3), Next::Park][self.random.below(3) as usize];
        let park = next == Next::Park;
        self.model.announced += usize::from(self.model.fail(&taken.key, park) && park);
        let outbox = if park { vec![b"parked".to_vec()] } else { Vec::new() };
        Some(self.desk.ledger.failed(&taken, "no", next, outbox, self.desk.now()))
    }

    fn drop_or_retry(&mut self) -> Option<Commit> {
        let key = self.key();
        if self.random.below(2) == 0 {
            self.model.doubts.remove(&key);
            self.flying.retain(|taken| taken.key != key);
            return self.desk.ledger.drop_key(&key);
        }
        if self.model.doubts.contains_key(&key) {
            self.model.mark(&key, true);
        }
        self.desk.ledger.retry(&key, self.desk.now())
    }

    fn send(&mut self) -> Option<Commit> {
        let (number, _) = self.desk.ledger.outbox(1).unwrap().pop()?;
        self.model.announced -= 1;
        Some(self.desk.ledger.outbox_sent(&[number]))
    }

    fn disturb(&mut self) {
        let fault = (self.random.below(3) == 0).then_some(Fault::Full);
        self.desk.store.set_fault(fault);
        self.desk.files.set_full(fault.is_some());
        self.desk.store.set_slow((self.random.below(2) == 0).then_some(Duration::from_millis(10)));
    }

    /// Waits for some of the commits; others are never waited for.
    async fn wait(&mut self) {
        for (at, commit) in std::mem::take(&mut self.commits) {
            match self.random.below(3) {
                0 => drop(commit),
                1 => self.commits.push((at, commit)),
                _ if commit.await.is_ok() => self.answered = self.answered.max(at),
                _ => {}
            }
        }
    }

    async fn crash(&mut self) {
        self.desk.store.set_fault(None);
        self.desk.files.set_full(false);
        let kept = self.random.below(3) as usize;
        let store = self.desk.store.crash_keeping(kept);
        self.desk.ledger = self.desk.open(&store).await.unwrap();
        self.desk.store = store;
        let found = dump(&self.desk.ledger);
        let stands = self.history[self.answered..].iter().rev().find(|(then, _)| *then == found);
        let Some((_, model)) = stands else {
            panic!("the ledger is what it never was since the last answer: {found:#?}");
        };
        self.model = model.clone().at_rest();
        self.history = vec![(found, self.model.clone())];
        (self.answered, self.commits, self.flying) = (0, Vec::new(), Vec::new());
    }

    fn check(&self, seed: u64) {
        let (ledger, step) = (&self.desk.ledger, self.step);
        let shown = ledger.list(&Filter::default(), None, usize::MAX);
        let doubtful: BTreeSet<(String, bool)> =
            shown.iter().map(|shown| (shown.key.clone(), shown.parked_since.is_some())).collect();
        let expected = self.model.doubts.iter().map(|(key, doubt)| (key.clone(), doubt.parked)).collect();
        assert_eq!(doubtful, expected, "seed {seed} step {step}");
        let facts: BTreeMap<_, _> = ledger.facts("", None, 999).unwrap().into_iter().collect();
        assert_eq!(facts, self.model.facts, "seed {seed} step {step}");
        assert_eq!(ledger.position("p").unwrap(), self.model.position, "seed {seed} step {step}");
        let counts = ledger.counts();
        assert_eq!(counts.outbox, self.model.announced, "seed {seed} step {step}");
        assert_eq!(counts.in_flight, self.flying.len(), "seed {seed} step {step}");
        assert_eq!(counts.memos, self.model.facts.len(), "seed {seed} step {step}");
        let resting = counts.due + counts.waiting + counts.in_flight;
        assert!(
            counts.doubtful >= resting && counts.doubtful - resting <= counts.parked,
            "seed {seed} step {step}"
        );
    }
}

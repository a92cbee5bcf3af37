//! One seed, one trace.

use flatbus_world::{draw, tell};

#[test]
fn the_same_seed_gives_the_same_trace_to_the_byte() {
    for seed in 0..50 {
        let history = draw::history(seed, 100);
        let (first, second) = (tell(&history).trace, tell(&history).trace);
        assert!(first.lines().count() > 100, "seed {seed} tells nothing");
        if first != second {
            let differs = first.lines().zip(second.lines()).find(|(a, b)| a != b);
            panic!("seed {seed} told two traces; they differ first in {differs:#?}");
        }
    }
}

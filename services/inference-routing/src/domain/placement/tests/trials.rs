//! Calls on trial, and what follows them.

use super::*;

#[test]
fn while_calls_on_trial_have_no_end_few_others_follow_them() {
    let mut world = world(Policy::PrefixAware, 2, 3);
    let hung = SlotId(1);
    let stuck = Progress {
        waiting: LIMITS.breaker.failures,
        came: 0,
    };
    while world.placement.asked(hung, Health::Well, stuck, world.now) != Change::Ejected {
        world.now += LIMITS.stall;
    }
    let mut given = 0;
    // Two minutes, in which answers in one piece may be on their way.
    for _ in 0..1200 {
        let prompt = world.prompt(4);
        let choice = world.placement.choose(&prompt, &[], world.now).unwrap();
        if choice.id == hung {
            assert!(choice.on_trial);
            given += 1;
        } else {
            world.end(choice.id, Ending::Well);
        }
        world.now += Duration::from_millis(100);
    }
    assert!((5..=8).contains(&given), "{given}");
    // The end of any of them decides.
    assert_eq!(world.end(hung, Ending::Well), Change::Trusted);
}

//! What is learned by asking replicas how they are.

use super::*;

#[test]
fn a_replica_whose_streams_go_on_is_left_in_however_often_the_question_is_lost() {
    for seed in 0..30 {
        let mut world = world(Policy::PrefixAware, 2, seed);
        let noisy = SlotId(1);
        let mut progress = Progress::default();
        let lost = |world: &mut World, progress: Progress| {
            world.now += Duration::from_secs(1);
            world
                .placement
                .asked(noisy, Health::Lost, progress, world.now)
        };
        for _ in 0..200 {
            // No call ends for long.
            progress.came += rand::Rng::random_range(&mut world.chance, 1..9_u64);
            assert_eq!(lost(&mut world, progress), Change::None, "seed {seed}");
        }
        let silent = (1..100).find(|_| lost(&mut world, progress) == Change::Ejected);
        // The first of them came with the last token.
        let most = LIMITS.breaker.transport_failures - 1;
        assert_eq!(silent, Some(most), "seed {seed}");
    }
}

#[test]
fn a_replica_that_is_too_busy_to_answer_the_question_in_time_is_left_in_while_it_answers_calls() {
    for seed in 0..30 {
        let mut world = world(Policy::PrefixAware, 2, seed);
        let busy = SlotId(1);
        let mut progress = Progress::default();
        let late = |world: &mut World, progress: Progress| {
            world.now += Duration::from_secs(1);
            world
                .placement
                .asked(busy, Health::Late, progress, world.now)
        };
        for _ in 0..200 {
            progress.came += rand::Rng::random_range(&mut world.chance, 1..9_u64);
            assert_eq!(late(&mut world, progress), Change::None, "seed {seed}");
        }
        let silent = (1..100).find(|_| late(&mut world, progress) == Change::Ejected);
        assert_eq!(silent, Some(LIMITS.breaker.failures), "seed {seed}");
    }
}

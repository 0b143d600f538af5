use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::{Instant, advance};
use wanwu_watch::{ASK_TIMEOUT, FRESH_FOR, HolderEvent, Unknown};

use crate::owner::{Owner, settle};

#[tokio::test(start_paused = true)]
async fn a_value_is_asked_for_once_and_then_held() {
    let owner = Owner::default();
    owner.set("a", 1);
    let holder = owner.holder(10).await;
    owner.heartbeat().await;
    for _ in 0..5 {
        assert_eq!(holder.get("a").await.unwrap().unwrap().version, 1);
    }
    assert_eq!(owner.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_watch_tells_is_seen_at_once() {
    let owner = Owner::default();
    owner.set("a", 1);
    let holder = owner.holder(10).await;
    owner.heartbeat().await;
    holder.get("a").await.unwrap();
    owner.tell("a", 2).await;
    assert_eq!(holder.fresh("a").unwrap().version, 2);
    owner.tell("a", 1).await;
    assert_eq!(
        holder.fresh("a").unwrap().version,
        2,
        "the higher version wins"
    );
    assert_eq!(owner.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_heartbeats_each_value_is_asked_for() {
    let owner = Owner::default();
    owner.set("a", 1);
    let holder = owner.holder(10).await;
    owner.heartbeat().await;
    holder.get("a").await.unwrap();
    advance(FRESH_FOR).await;
    assert!(!holder.is_fresh());
    assert!(holder.fresh("a").is_none());
    owner.set("a", 2);
    assert_eq!(holder.get("a").await.unwrap().unwrap().version, 2);
    assert_eq!(holder.get("a").await.unwrap().unwrap().version, 2);
    assert_eq!(owner.asked(), 3);
    owner.heartbeat().await;
    assert_eq!(holder.fresh("a").unwrap().version, 2);
}

#[tokio::test(start_paused = true)]
async fn a_change_is_no_heartbeat() {
    let owner = Owner::default();
    owner.set("a", 1);
    let holder = owner.holder(10).await;
    owner.heartbeat().await;
    advance(FRESH_FOR).await;
    owner.tell("a", 2).await;
    assert!(!holder.is_fresh());
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_it_is_unknown_after_two_questions_of_200_ms() {
    let owner = Owner::default();
    owner.set("a", 1);
    owner.silent.store(true, Ordering::SeqCst);
    let holder = owner.holder(10).await;
    let begun = Instant::now();
    assert_eq!(holder.get("a").await.unwrap_err(), Unknown);
    assert!(begun.elapsed() <= 2 * ASK_TIMEOUT + Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_nobody_knows_is_an_answer() {
    let owner = Owner::default();
    let holder = owner.holder(10).await;
    owner.heartbeat().await;
    assert!(holder.get("nobody").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn questions_at_the_same_time_are_one() {
    let owner = Owner::default();
    owner.set("a", 1);
    owner.held_back.store(true, Ordering::SeqCst);
    let holder = owner.holder(10).await;
    let askers: Vec<_> = (0..50)
        .map(|_| {
            let holder = holder.clone();
            tokio::spawn(async move { holder.get("a").await.unwrap().unwrap().version })
        })
        .collect();
    settle().await;
    owner.let_go.notify_one();
    for asker in askers {
        assert_eq!(asker.await.unwrap(), 1);
    }
    assert_eq!(owner.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_first_asker_that_gives_up_leaves_the_answer_to_the_others() {
    let owner = Owner::default();
    owner.set("a", 1);
    owner.held_back.store(true, Ordering::SeqCst);
    let holder = owner.holder(10).await;
    let ask = || {
        let holder = holder.clone();
        tokio::spawn(async move { holder.get("a").await })
    };
    let first = ask();
    settle().await;
    let second = ask();
    settle().await;
    first.abort();
    owner.let_go.notify_one();
    assert_eq!(second.await.unwrap().unwrap().unwrap().version, 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_during_a_question_is_not_lost() {
    let owner = Owner::default();
    owner.set("a", 1);
    owner.held_back.store(true, Ordering::SeqCst);
    let holder = owner.holder(10).await;
    owner.heartbeat().await;
    let asker = holder.clone();
    let asked = tokio::spawn(async move { asker.get("a").await });
    settle().await;
    // The owner read version 1; before its answer arrives, the watch tells version 2.
    owner.tell("a", 2).await;
    owner.let_go.notify_one();
    assert_eq!(asked.await.unwrap().unwrap().unwrap().version, 2);
    assert_eq!(holder.fresh("a").unwrap().version, 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_comes_to_be_during_a_question_is_not_lost() {
    let owner = Owner::default();
    owner.held_back.store(true, Ordering::SeqCst);
    let holder = owner.holder(10).await;
    owner.heartbeat().await;
    let asker = holder.clone();
    let asked = tokio::spawn(async move { asker.get("a").await });
    settle().await;
    owner.tell("a", 1).await;
    owner.let_go.notify_one();
    assert_eq!(asked.await.unwrap().unwrap().unwrap().version, 1);
}

#[tokio::test(start_paused = true)]
async fn everything_is_forgotten_when_the_stream_begins_anew() {
    let owner = Owner::default();
    owner.set("a", 1);
    let holder = owner.holder(10).await;
    owner.heartbeat().await;
    holder.get("a").await.unwrap();
    let mut events = holder.events();
    owner.cut();
    settle().await;
    assert!(!holder.is_fresh(), "a stream that ended is stale at once");
    // A change that no stream told.
    owner.set("a", 2);
    owner.opened(2).await;
    owner.heartbeat().await;
    assert!(matches!(events.try_recv(), Ok(HolderEvent::Cleared)));
    assert_eq!(holder.held(), 0);
    assert_eq!(holder.get("a").await.unwrap().unwrap().version, 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_from_before_a_new_stream_is_not_held() {
    let owner = Owner::default();
    owner.set("a", 1);
    owner.held_back.store(true, Ordering::SeqCst);
    let holder = owner.holder(10).await;
    let asker = holder.clone();
    let asked = tokio::spawn(async move { asker.get("a").await });
    settle().await;
    owner.cut();
    owner.opened(2).await;
    owner.heartbeat().await;
    owner.let_go.notify_one();
    assert_eq!(asked.await.unwrap().unwrap().unwrap().version, 1);
    assert!(holder.fresh("a").is_none());
}

#[tokio::test(start_paused = true)]
async fn an_empty_key_forgets_everything() {
    let owner = Owner::default();
    owner.set("a", 1);
    let holder = owner.holder(10).await;
    owner.heartbeat().await;
    holder.get("a").await.unwrap();
    owner.tell("", 0).await;
    assert!(holder.fresh("a").is_none());
    assert!(holder.is_fresh());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_silent_is_opened_again() {
    let owner = Owner::default();
    let _holder = owner.holder(10).await;
    owner.heartbeat().await;
    advance(Duration::from_secs(3)).await;
    owner.opened(2).await;
}

#[tokio::test(start_paused = true)]
async fn a_change_of_what_is_not_held_is_told_to_those_that_compose() {
    let owner = Owner::default();
    let holder = owner.holder(10).await;
    let mut events = holder.events();
    owner.tell("a", 7).await;
    let Ok(HolderEvent::Changed(value)) = events.try_recv() else {
        panic!("a change")
    };
    assert_eq!((value.account_id.as_str(), value.version), ("a", 7));
    assert_eq!(holder.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn it_holds_no_more_than_its_capacity() {
    let owner = Owner::default();
    let holder = owner.holder(10).await;
    owner.heartbeat().await;
    for i in 0..100 {
        let key = i.to_string();
        owner.set(&key, 1);
        holder.get(&key).await.unwrap();
    }
    assert_eq!(holder.held(), 10);
}
